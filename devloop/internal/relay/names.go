package relay

import (
	"bytes"
	"encoding/json"
	"strings"

	"devloop/internal/dap"
	"devloop/internal/filenames"
)

// named returns the names that a process has for its sources.
func (r *Relay) named(pid int, before filenames.Names) filenames.Names {
	if r.Names == nil {
		return filenames.Names{}.Linked(before)
	}
	return r.Names(pid).Linked(before)
}

// A substitution is one of an editor's rules for paths: dlv applies them, too.
type substitution struct{ From, To string }

func (s *session) substitutions() []substitution {
	var arguments struct {
		SubstitutePath []substitution `json:"substitutePath"`
	}
	_ = s.attach.Field("arguments", &arguments) // none
	return arguments.SubstitutePath
}

func substitute(path, from, to string) (string, bool) {
	from, to = strings.TrimSuffix(from, "/"), strings.TrimSuffix(to, "/")
	rest, ok := strings.CutPrefix(path, from)
	return to + rest, ok && from != "" && (rest == "" || rest[0] == '/')
}

// source returns where a file of the editor is here, by its rules.
func (s *session) source(path string) string {
	for _, rule := range s.substitutions() {
		if here, ok := substitute(path, rule.From, rule.To); ok {
			return here
		}
	}
	return path
}

// unsource is the opposite of source.
func (s *session) unsource(path string) string {
	for _, rule := range s.substitutions() {
		if theirs, ok := substitute(path, rule.To, rule.From); ok {
			return theirs
		}
	}
	return path
}

// toProgram has a request name files so that dlv finds them with the editor's rules.
func (s *session) toProgram(m dap.Message) dap.Message {
	if m.Command != "setBreakpoints" {
		return m
	}
	return renamed(m, "arguments", func(path string) string {
		here := s.source(path)
		there := s.names.Program(here)
		if there == here {
			return path
		}
		if theirs := s.unsource(there); s.source(theirs) == there {
			return theirs
		}
		return there
	})
}

// toEditor has a message name files as the editor does.
func (s *session) toEditor(m dap.Message) dap.Message {
	if s.names.Plain() {
		return m
	}
	return renamed(m, "body", func(path string) string {
		if here := s.names.Editor(path); here != path {
			return s.unsource(here)
		}
		return path
	})
}

// renamed changes all names of files in a part of a message.
func renamed(m dap.Message, part string, rename func(string) string) dap.Message {
	raw := m.Raw(part)
	if !bytes.Contains(raw, []byte(`"path"`)) {
		return m
	}
	changed, ok := rewritten(raw, "path", rename)
	if !ok {
		return m
	}
	return m.With(part, changed)
}

// rewritten changes all texts of a name in a JSON value, and reports whether any
// did change.
func rewritten(raw json.RawMessage, name string, rename func(string) string) (json.RawMessage, bool) {
	in := json.NewDecoder(bytes.NewReader(raw))
	in.UseNumber() // an address is longer than a float
	var value any
	if in.Decode(&value) != nil {
		return raw, false
	}
	changed := false
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, each := range value {
				text, ok := each.(string)
				if !ok || key != name {
					walk(each)
				} else if to := rename(text); to != text {
					value[key], changed = to, true
				}
			}
		case []any:
			for _, each := range value {
				walk(each)
			}
		}
	}
	walk(value)
	if !changed {
		return raw, false
	}
	text, err := json.Marshal(value)
	return text, err == nil
}

// toProgram is the same for Delve's own protocol, in which the client has no rules
// that are known here.
func (s *rpcSession) toProgram(m rpcMessage) rpcMessage {
	if len(m.Params) != 1 {
		return m
	}
	changed, ok := m.Params[0], false
	switch m.Method {
	case "RPCServer.CreateBreakpoint", "RPCServer.AmendBreakpoint":
		changed, ok = rewritten(changed, "file", s.names.Program)
	case "RPCServer.FindLocation":
		changed, ok = rewritten(changed, "Loc", func(at string) string {
			i := strings.LastIndexByte(at, ':')
			if !strings.HasPrefix(at, "/") || i < 0 {
				return at
			}
			return s.names.Program(at[:i]) + at[i:]
		})
	}
	if ok {
		m.Params = []json.RawMessage{changed}
	}
	return m
}

// toClient has an answer name files as the client does.
func (s *rpcSession) toClient(m rpcMessage) rpcMessage {
	if s.names.Plain() || !bytes.Contains(m.Result, []byte(`"file"`)) {
		return m
	}
	m.Result, _ = rewritten(m.Result, "file", s.names.Editor)
	return m
}
