package relay

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
)

// set sets one of the client's breakpoints in the present process, under its
// number. If dlv refuses one there, the others still count.
func (s *rpcSession) set(b breakpoint) error {
	in := breakpointIn{Breakpoint: maps.Clone(b), Suspended: true}
	// By file and line, not by where they were in another build.
	for _, name := range []string{"addr", "addrs", "addrpid"} {
		delete(in.Breakpoint, name)
	}
	if file := b.text("file"); file != "" {
		in.Breakpoint["file"], _ = json.Marshal(s.names.Program(file))
	} else {
		in.LocExpr = b.text("ExprString")
	}
	_, err := s.backend.call(s.ctx, "RPCServer.CreateBreakpoint", in, s.answer)
	if err == nil && string(b["disabled"]) == "true" { // which that request has no part in
		_, err = s.backend.call(s.ctx, "RPCServer.AmendBreakpoint", breakpointIn{Breakpoint: in.Breakpoint}, s.answer)
	}
	if _, refused := errors.AsType[*rpcRefusal](err); refused {
		return nil
	}
	return err
}

// listed notes which breakpoints the client has.
func (s *rpcSession) listed(result json.RawMessage) {
	var out listOut
	if json.Unmarshal(result, &out) != nil {
		return
	}
	s.stale = false
	// Leave out dlv's own, and watchpoints, which end with what they watch.
	list := slices.DeleteFunc(out.Breakpoints, func(b breakpoint) bool { return b.id() <= 0 || b.text("WatchExpr") != "" })
	for _, b := range list {
		// While there is no code at a breakpoint's place, dlv does not tell it.
		i := slices.IndexFunc(s.breakpoints, func(known breakpoint) bool { return known.id() == b.id() })
		if i >= 0 && b.text("file") == "" {
			b["file"], b["line"] = s.breakpoints[i]["file"], s.breakpoints[i]["line"]
		}
		// The next program may have other names.
		file := s.names.File(b.text("file"))
		b["file"], _ = json.Marshal(file)
		s.versions.note(file)
	}
	// The one that is set last is what dlv counts on from.
	slices.SortFunc(list, func(a, b breakpoint) int { return a.id() - b.id() })
	s.breakpoints = list
}

func changesBreakpoints(method string) bool {
	return strings.HasSuffix(method, "Breakpoint") && method != "RPCServer.GetBreakpoint"
}
