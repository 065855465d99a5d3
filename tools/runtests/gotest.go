package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// run runs the tests and copies what the go command says to the stream.
func (o job) run(ctx context.Context, r *report, s *stream) error {
	args := append([]string{"test", "-json", "-fullpath"}, o.flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, o.packages...)...)
	cmd.Dir, cmd.Stderr = filepath.Join(r.root, o.module), s.errors
	cmd.Env = append(os.Environ(), o.env...)
	// Its own group gets one signal, whoever sends it, and lets the tests
	// remove what they made.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	const patience = 20 * time.Second
	hard := time.NewTimer(0)
	hard.Stop()
	cmd.Cancel = func() error {
		hard = time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	failed, copyErr := s.copy(r.root, o.module, stdout)
	waitErr := cmd.Wait()
	hard.Stop()
	if waitErr != nil && !failed && ctx.Err() == nil {
		r.fail(fmt.Sprintf("go test in %s: %v", o.module, waitErr))
	}
	return copyErr
}

// copy copies the lines of one "go test -json" that runs in a module, with paths
// as a person needs them. It reports whether a package failed.
func (s *stream) copy(root, module string, in io.Reader) (failed bool, err error) {
	lines := bufio.NewReader(in)
	for {
		line, readErr := lines.ReadBytes('\n')
		if len(line) > 0 {
			var fails bool
			line, fails = rewrite(root, module, line)
			failed = failed || fails
			if err == nil { // else read on, so the command does not block
				_, err = s.events.Write(line)
			}
		}
		if readErr != nil {
			if readErr == io.EOF {
				readErr = nil
			}
			return failed, errors.Join(err, readErr)
		}
	}
}

// rewrite makes the path of an event's output clickable, and reports whether
// the event is the failure of a package.
func rewrite(root, module string, line []byte) (_ []byte, fails bool) {
	var event map[string]any
	if json.Unmarshal(line, &event) != nil {
		return line, false // the go command's own words
	}
	output, _ := event["Output"].(string)
	switch event["Action"] {
	case "output":
		output = clickable(root, "", output)
	case "build-output":
		output = clickable(root, module, output)
	default:
		return line, event["Action"] == "fail" && event["Package"] != nil
	}
	event["Output"] = output
	changed, err := json.Marshal(event)
	if err != nil {
		return line, false
	}
	return append(changed, '\n'), false
}

// position matches the start of a line about a place in the sources.
var position = regexp.MustCompile(`^(\s*(?:vet: )?)([^\s:][^:]*\.go)(:\d+:)`)

// clickable rewrites a line's path so a terminal opened at root, where make
// runs, can follow it. The compiler's paths are relative to a module, and those
// of tests absolute, with -fullpath; what else a test prints has no module.
func clickable(root, module, line string) string {
	m := position.FindStringSubmatch(line)
	if m == nil {
		return line
	}
	path := m[2]
	switch {
	case filepath.IsAbs(path):
	case module == "":
		return line
	default:
		path = filepath.Join(root, module, path)
	}
	rel, err := filepath.Rel(root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return line
	}
	return m[1] + rel + line[len(m[1])+len(m[2]):]
}
