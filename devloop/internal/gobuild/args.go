package gobuild

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
)

// An argument is a flag of "go build", or a package at the end.
type argument struct {
	name  string   // of the flag, without dashes; empty for a package
	value string   // of the flag, if it has one
	words []string // as they were given
}

// arguments takes the request's arguments apart.
func (r Request) arguments() []argument {
	// Every other flag of "go build" has a value.
	switches := []string{"a", "n", "race", "msan", "asan", "cover", "v", "work", "x", "json", "buildvcs", "linkshared", "modcacherw", "trimpath", "i"}
	var out []argument
	for i := 0; i < len(r.Args); i++ {
		word := r.Args[i]
		if len(word) < 2 || word[0] != '-' || word == "--" {
			for _, p := range r.Args[i:] {
				out = append(out, argument{words: []string{p}})
			}
			break
		}
		name, value, joined := strings.Cut(strings.TrimPrefix(word[1:], "-"), "=")
		a := argument{name: name, value: value, words: r.Args[i : i+1]}
		if !joined && !slices.Contains(switches, name) && i+1 < len(r.Args) {
			a.value, a.words = r.Args[i+1], r.Args[i:i+2]
			i++
		}
		out = append(out, a)
	}
	return out
}

// flag returns the value of a flag, or nothing.
func (r Request) flag(name string) string {
	value := ""
	for _, a := range r.arguments() {
		if a.name == name {
			value = a.value
		}
	}
	return value
}

// Has reports whether a flag is among the arguments, by its name without dashes.
func (r Request) Has(flag string) bool {
	return slices.ContainsFunc(r.arguments(), func(a argument) bool { return a.name == flag })
}

// Directory is where the go command works.
func (r Request) Directory() string {
	switch dir := r.flag("C"); {
	case dir == "":
		return r.Dir
	case filepath.IsAbs(dir):
		return filepath.Clean(dir)
	default:
		return filepath.Join(r.Dir, dir)
	}
}

// listArgs are the arguments for "go list": those that decide which files are
// built, and not those about how.
func (r Request) listArgs() []string {
	how := []string{"C", "o", "a", "n", "v", "x", "i", "work", "json", "toolexec", "p"}
	var out []string
	for _, a := range r.arguments() {
		if a.name == "" || !slices.Contains(how, a.name) {
			out = append(out, a.words...)
		}
	}
	return out
}

// env returns the value of a variable: the last one, as the system does.
func (r Request) env(name string) string {
	for _, entry := range slices.Backward(r.Env) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// Same reports whether two requests are for the same build. The shell's own
// variables do not matter.
func (r Request) Same(other Request) bool {
	return r.Dir == other.Dir && slices.Equal(r.Args, other.Args) && slices.Equal(r.relevant(), other.relevant())
}

func (r Request) relevant() []string {
	own := []string{"_", "PWD", "OLDPWD", "SHLVL", "LINES", "COLUMNS"}
	var out []string
	for _, entry := range r.Env {
		if name, _, _ := strings.Cut(entry, "="); !slices.Contains(own, name) {
			out = append(out, entry)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// LacksCgo reports whether a build failed only because the request has cgo off:
// the race detector and the sanitizers need it.
func (r Request) LacksCgo(err error) bool {
	failed, ok := errors.AsType[*CompileError](err)
	return ok && r.env("CGO_ENABLED") == "0" && slices.ContainsFunc(failed.Lines, func(line string) bool {
		return strings.Contains(line, "requires cgo; enable cgo by setting CGO_ENABLED=1")
	})
}

// WithCgo returns the request with cgo on.
func (r Request) WithCgo() Request {
	r.Env = append(slices.Clone(r.Env), "CGO_ENABLED=1")
	return r
}
