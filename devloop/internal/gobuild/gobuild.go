// Package gobuild runs "go build": its output appears whole or not at all, and
// cancelling it ends everything that it started.
package gobuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"devloop/internal/process"
)

// A Request is one build as the caller of "devloop build" asked for it.
type Request struct {
	Dir  string   // absolute working directory
	Args []string // arguments of "go build"; one must be -o FILE
	Env  []string // environment, as of os.Environ
}

// A CompileError is a build that the go command refused.
type CompileError struct {
	Lines []string // its output, without headings
}

func (e *CompileError) Error() string { return strings.Join(e.Lines, "\n") }

// Output returns the absolute path of the binary that the request asks for.
func (r Request) Output() (string, error) {
	i, value, err := findOutput(r.Args)
	if err != nil {
		return "", err
	}
	if i < 0 || value == "" {
		return "", errors.New("devloop build needs -o FILE among its arguments: the binary that 'devloop run' runs")
	}
	if !filepath.IsAbs(value) {
		value = filepath.Join(r.Dir, value)
	}
	return value, nil
}

// findOutput returns the index of the -o argument, or -1, and its value.
func findOutput(args []string) (int, string, error) {
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		if name != "-o" && name != "--o" {
			continue
		}
		if joined {
			return i, value, nil
		}
		if i+1 == len(args) {
			return 0, "", errors.New("flag needs an argument: -o")
		}
		return i, args[i+1], nil
	}
	return -1, "", nil
}

// withOutput returns the arguments with another -o, in the same place, since go
// wants -C to stay first, and with -v, which has go name what it compiles.
func withOutput(args []string, output string) []string {
	i, _, _ := findOutput(args)
	rest := args[i+1:]
	if !strings.Contains(args[i], "=") {
		rest = args[i+2:]
	}
	return slices.Concat(args[:i], []string{"-o=" + output, "-v"}, rest)
}

// Run builds into a file beside the output and renames it when it is whole. It
// tells compiles, unless that is nil, the import path of each package as its
// turn comes. It returns a *CompileError when the go command refused the sources,
// the context's error when it was cancelled, and any other error as it came.
func Run(ctx context.Context, starter *process.Starter, r Request, compiles func(string)) error {
	output, err := r.Output()
	if err != nil {
		return err
	}
	// A directory, not a file: go build refuses to overwrite what is not a binary.
	scratch, err := Scratch(output)
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	fresh := filepath.Join(scratch, filepath.Base(output))

	said := &said{compiles: compiles}
	cmd := exec.Command("go", append([]string{"build"}, withOutput(r.Args, fresh)...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.Dir, said, said
	// The go command's own scratch goes with ours when it is killed, and
	// being on the output's file system saves it copying the binary.
	cmd.Env = append(slices.Clone(r.Env), "GOTMPDIR="+scratch)
	state, err := finish(ctx, starter, cmd)
	if err != nil {
		return err
	}
	if !state.Success() {
		lines := Lines(said.end())
		if len(lines) == 0 {
			lines = []string{"go build: " + state.String()}
		}
		return &CompileError{lines}
	}
	if err := os.Rename(fresh, output); err != nil {
		return fmt.Errorf("put the binary in place: %w", err)
	}
	return nil
}

// finish runs a command to its end. Once ctx is done, the command and its children are
// killed, and the error is the cause.
func finish(ctx context.Context, starter *process.Starter, cmd *exec.Cmd) (*os.ProcessState, error) {
	p, err := starter.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.Done():
		return p.State(), nil
	case <-ctx.Done():
		p.Kill()
		return nil, context.Cause(ctx)
	}
}

// Scratch makes a directory beside the output, for what becomes the output.
func Scratch(output string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return "", fmt.Errorf("make the output's directory: %w", err)
	}
	scratch, err := os.MkdirTemp(filepath.Dir(output), ".build-")
	if err != nil {
		return "", fmt.Errorf("make room for the output: %w", err)
	}
	return scratch, nil
}

// said takes what "go build -v" prints, and sets apart the import paths in it.
type said struct {
	compiles func(string)
	part     []byte
	text     bytes.Buffer // the rest
}

// importPath matches a line that is an import path alone. What the compiler, the
// linker and the go command complain of has a space or a colon in it.
var importPath = regexp.MustCompile(`^[\w.~+-]+(/[\w.~+-]+)*\n$`)

func (s *said) Write(p []byte) (int, error) {
	s.part = append(s.part, p...)
	for {
		i := bytes.IndexByte(s.part, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := s.part[:i+1]
		switch {
		case !importPath.Match(line):
			s.text.Write(line)
		case s.compiles != nil:
			s.compiles(string(line[:i]))
		}
		s.part = s.part[i+1:]
	}
}

// end takes a last line that is not ended.
func (s *said) end() string {
	s.text.Write(s.part)
	return s.text.String()
}

// Lines returns what the go command printed without blank lines and without
// the "# package" headings, which repeat what the paths say.
func Lines(output string) []string {
	var out []string
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		out = append(out, line)
	}
	return out
}
