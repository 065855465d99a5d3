package relay

import (
	"encoding/json"
	"maps"
	"os"
	"slices"

	"devloop/internal/dap"
	"devloop/internal/lines"
)

// versions keeps the text of the files that have breakpoints, so that these can
// follow their lines into the next build.
type versions map[string]string // by path

// note keeps the present text of a file, and the one from before if there is one.
func (v versions) note(path string) {
	if _, known := v[path]; !known {
		v.renew(path)
	}
}

// renew keeps the present text of a file.
func (v versions) renew(path string) {
	text, err := os.ReadFile(path)
	if err != nil { // the editor sees other paths, or the file is gone
		delete(v, path)
		return
	}
	v[path] = string(text)
}

// next returns where the lines of each file are now, and keeps the present texts.
func (v versions) next() map[string]lines.Map {
	moved := make(map[string]lines.Map)
	for _, path := range slices.Sorted(maps.Keys(v)) {
		before := v[path]
		v.renew(path)
		if after, ok := v[path]; ok && after != before {
			moved[path] = lines.Between(before, after)
		}
	}
	return moved
}

// followLines has the client's breakpoints follow their lines into the build that
// serves now. One whose line is gone is disabled.
func (s *rpcSession) followLines() {
	moved := s.versions.next()
	for i, b := range s.breakpoints {
		m, ok := moved[b.text("file")]
		if !ok {
			continue
		}
		line, found := m.Line(b.number("line"))
		if found {
			b.set("line", line)
			continue
		}
		b["disabled"] = json.RawMessage("true")
		s.breakpoints[i] = b
		s.relay.Reporter.BreakpointLost(b.text("file"), b.number("line"))
	}
}

// breakpointsIn is what the relay reads of a request for the breakpoints of a file.
type breakpointsIn struct {
	Source struct {
		Path string `json:"path"`
	} `json:"source"`
	Breakpoints []breakpoint `json:"breakpoints"`
}

// followLines has breakpoints that the editor does not send again follow their
// lines into the build that serves now. One whose line is gone is removed.
func (s *session) followLines() {
	moved := s.versions.next()
	for i := range s.config.entries {
		e := &s.config.entries[i]
		var in breakpointsIn
		arguments := make(map[string]json.RawMessage)
		if e.fresh || e.request.Command != "setBreakpoints" || e.request.Field("arguments", &in) != nil ||
			e.request.Field("arguments", &arguments) != nil {
			continue
		}
		m, ok := moved[s.source(in.Source.Path)]
		if !ok {
			continue
		}
		var kept []breakpoint
		var ids []int
		for n, b := range in.Breakpoints {
			line, found := m.Line(b.number("line"))
			if !found {
				s.relay.Reporter.BreakpointLost(in.Source.Path, b.number("line"))
				if n < len(e.ids) {
					s.send(dap.NewEvent("breakpoint", map[string]any{"reason": "removed", "breakpoint": map[string]any{"id": e.ids[n], "verified": false}}))
				}
				continue
			}
			b.set("line", line)
			kept = append(kept, b)
			if n < len(e.ids) {
				ids = append(ids, e.ids[n])
			}
		}
		delete(arguments, "lines") // the old form of the same
		arguments["breakpoints"], _ = json.Marshal(append([]breakpoint{}, kept...))
		e.request, e.ids = e.request.With("arguments", arguments), ids
	}
}
