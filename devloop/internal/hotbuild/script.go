package hotbuild

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// A script is what "go build -a -n" prints, as far as it compiles and links
// (cmd/go/internal/work, gc.go and shell.go).
type script struct {
	compiles map[string][]string // arguments, by the directory of the output
	links    []command
	files    map[string]string // texts of the files that it writes
}

// A command is a call of a tool.
type command struct {
	env  []string
	args []string
}

// parseScript reads a script. Tools is the directory of the toolchain's programs.
func parseScript(text, tools string) (script, error) {
	s := script{compiles: make(map[string][]string), files: make(map[string]string)}
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if name, ok := strings.CutPrefix(line, "cat >"); ok {
			name, _, _ = strings.Cut(name, " << 'EOF'")
			if s.files[name], text, ok = heredoc(text); !ok {
				return s, fmt.Errorf("go build -n writes a file in a way that is not known: %s", line)
			}
			continue
		}
		if contents, ok := strings.CutPrefix(line, "echo '"); ok { // a file of one line
			if contents, name, ok := strings.Cut(contents, "' > "); ok {
				s.files[strings.TrimSuffix(name, " # internal")] = contents + "\n"
			}
			continue
		}
		if !strings.Contains(line, tools) {
			continue
		}
		c, err := parseCommand(line)
		if err != nil {
			return s, err
		}
		if len(c.args) == 0 {
			continue
		}
		switch c.args[0] {
		case path.Join(tools, "compile"):
			s.compiles[path.Dir(value(c.args, "-o"))] = c.args[1:]
		case path.Join(tools, "link"):
			c.args = c.args[1:]
			s.links = append(s.links, c)
		}
	}
	return s, nil
}

// heredoc returns what stands before the line EOF, and what behind. A file that
// does not end in a new line, as JSON does, has EOF at its very end.
func heredoc(text string) (contents, rest string, ok bool) {
	at := 0
	for line := range strings.Lines(text) {
		at += len(line)
		if line == "EOF\n" || line == "}EOF\n" {
			return text[:at-len("EOF\n")], text[at:], true
		}
	}
	return "", "", false
}

// parseCommand takes a line apart: variables with values in single quotes, then
// words, of which some are quoted as in Go.
func parseCommand(line string) (command, error) {
	var c command
	rest := line
	for len(c.args) == 0 {
		name, after, ok := strings.Cut(rest, "='")
		if !ok || strings.ContainsAny(name, " \"/") {
			break
		}
		val, after, ok := strings.Cut(after, "' ")
		if !ok {
			return c, fmt.Errorf("go build -n sets a variable in a way that is not known: %s", line)
		}
		c.env = append(c.env, name+"="+val)
		rest = after
	}
	for rest = strings.TrimLeft(rest, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		word, after, _ := strings.Cut(rest, " ")
		if rest[0] == '"' {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return c, fmt.Errorf("go build -n quotes a word in a way that is not known: %s", line)
			}
			after = rest[len(quoted):]
			if word, err = strconv.Unquote(quoted); err != nil {
				return c, err
			}
		}
		c.args = append(c.args, word)
		rest = after
	}
	return c, nil
}

// value returns the value of a flag that stands apart from it.
func value(args []string, flag string) string {
	for i, arg := range args[:max(0, len(args)-1)] {
		if arg == flag {
			return args[i+1]
		}
	}
	return ""
}

// importConfig reads a file that tells the compiler or the linker where packages
// are (cmd/compile/internal/base, flag.go, readImportCfg).
func importConfig(text string) (archives map[string]string, paths, others []string) {
	archives = make(map[string]string)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		spec, ok := strings.CutPrefix(line, "packagefile ")
		name, file, cut := strings.Cut(spec, "=")
		switch {
		case ok && cut:
			archives[name] = file
			paths = append(paths, name)
		case line != "" && !strings.HasPrefix(line, "#"):
			others = append(others, line)
		}
	}
	return archives, paths, others
}
