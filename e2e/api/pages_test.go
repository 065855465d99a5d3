package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"e2e/harness/checkout"
)

// A step is a command of a page and the output that the page shows.
type step struct {
	line    int
	command string
	output  []string
}

// follows reports whether a command runs until it is interrupted.
func (s step) follows() bool {
	return strings.Contains(s.command, " -f ") || strings.Contains(s.command, "curl -sN ")
}

// steps returns the commands in the console blocks of a page, in order.
func steps(text string) []step {
	var all []step
	inside := false
	for i, line := range strings.Split(text, "\n") {
		command, isCommand := strings.CutPrefix(line, "$ ")
		more, isMore := strings.CutPrefix(line, "> ")
		last := len(all) - 1
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case isCommand:
			all = append(all, step{line: i + 1, command: command})
		case isMore && last >= 0 && len(all[last].output) == 0:
			all[last].command += "\n" + more
		case last >= 0:
			all[last].output = append(all[last].output, line)
		}
	}
	return all
}

// pattern matches what the page shows: "..." stands for anything, an id for any
// id, an age for any age, and spaces for one or more.
func (s step) pattern() *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for _, line := range s.output {
		if line == "..." {
			b.WriteString(`(.*\n)?`)
			continue
		}
		part := regexp.QuoteMeta(line)
		part = strings.ReplaceAll(part, `\.\.\.`, `[^\n]*`)
		part = regexp.MustCompile(`\b(ws|tok)_[a-z0-9]{20,}`).ReplaceAllString(part, `${1}_[a-z0-9]+`)
		part = regexp.MustCompile(`\b\d+[smhd]\b`).ReplaceAllString(part, `\d+[smhd]`)
		part = regexp.MustCompile(` +`).ReplaceAllString(part, ` +`)
		b.WriteString(part)
		b.WriteString(`\n`)
	}
	if s.follows() {
		return regexp.MustCompile(b.String())
	}
	return regexp.MustCompile(b.String() + `$`)
}

// A session is a shell that keeps its variables from one command to the next.
type session struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
	dir string
}

// newSession starts a shell in the repository's root.
func newSession(t *testing.T, env ...string) *session {
	t.Helper()
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh") // not with t.Context, which ends before the cleanup
	cmd.Dir, cmd.Env = root, env
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, printed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = printed, printed
	err = cmd.Start()
	if err = errors.Join(err, printed.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait(), out.Close()); err != nil {
			t.Errorf("the shell ends with %v", err)
		}
	})
	s := &session{t: t, in: in, out: bufio.NewReader(out), dir: t.TempDir()}
	s.run("set -a") // so followers see the variables, too
	return s
}

// run runs a command to its end and returns what it printed, in whole lines,
// and its exit code.
func (s *session) run(command string) (string, string) {
	s.t.Helper()
	const end = "@end "
	if _, err := fmt.Fprintf(s.in, "{ %s\n} </dev/null\nprintf '\\n%s%%d\\n' $?\n", command, end); err != nil {
		s.t.Fatal(err)
	}
	var text strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if code, ok := strings.CutPrefix(line, end); ok {
			return strings.TrimSuffix(text.String(), "\n"), strings.TrimSpace(code)
		}
		text.WriteString(line)
		if err != nil {
			s.t.Fatalf("%s: the shell printed %q, and then nothing: %v", command, text.String(), err)
		}
	}
}

// follow starts a command, waits until its output matches, and interrupts it.
func (s *session) follow(command string, want *regexp.Regexp) (string, bool) {
	s.t.Helper()
	script, printed := filepath.Join(s.dir, "follow"), filepath.Join(s.dir, "printed")
	if err := os.WriteFile(script, []byte("exec "+command+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.run("sh " + script + " >" + printed + " 2>&1 & follower=$!")
	defer s.run("kill $follower; wait $follower")
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(printed)
		if err == nil && want.Match(text) {
			return string(text), true
		}
		if time.Now().After(end) {
			return string(text), false
		}
	}
}

// tokenID matches the id of a token that a command of a page names.
var tokenID = regexp.MustCompile(`\btok_[a-z0-9]{20,}`)

// TestWorkspacesPage runs docs/workspaces.md, command by command.
func TestWorkspacesPage(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("this needs curl: ", err)
	}
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "workspaces.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := steps(string(text))
	if len(all) < 40 {
		t.Fatalf("docs/workspaces.md shows %d commands, want all of its tasks", len(all))
	}
	url, token := start(t)
	home := t.TempDir()
	bin := filepath.Join(home, "bin")
	s := newSession(t, append(
		os.Environ(),
		"HOME="+home, "XDG_CONFIG_HOME=", "GOBIN="+bin, "GOFLAGS=-buildvcs=false", "GOPATH="+goEnv(t, "GOPATH"), "GOCACHE="+goEnv(t, "GOCACHE"),
		"PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"LISTEN_ADDR="+strings.TrimPrefix(url, "http://"), "WORKSPACE_SERVER=", "WORKSPACE_SERVER_TOKEN=", "FIRST_TOKEN="+token,
	)...)
	// Whatever happens, no agent may outlive the test.
	t.Cleanup(func() {
		s.run(`for id in $(workspace-server ws list | sed -n 's/^\(ws_[a-z0-9]*\).*/\1/p'); do workspace-server ws delete --children cascade "$id"; done`)
	})
	created := "" // the id of the token that the page created last
	for _, step := range all {
		command := strings.NewReplacer("make token", `echo "$FIRST_TOKEN"`, "http://localhost:8080", url).Replace(step.command)
		command = tokenID.ReplaceAllString(command, created)
		want := step.pattern()
		if step.follows() {
			if got, ok := s.follow(command, want); !ok {
				t.Errorf("docs/workspaces.md:%d: %s\nprinted\n%swant\n%s", step.line, step.command, got, strings.Join(step.output, "\n"))
			}
			continue
		}
		got, code := s.run(command)
		if m := regexp.MustCompile(`(?m)^created (tok_\w+)$`).FindStringSubmatch(got); m != nil {
			created = m[1]
		}
		if got != "" && !strings.HasSuffix(got, "\n") {
			got += "\n"
		}
		if code != "0" || !want.MatchString(got) {
			t.Errorf("docs/workspaces.md:%d: %s\nexit code %s, printed\n%swant\n%s", step.line, step.command, code, got, strings.Join(step.output, "\n"))
		}
	}
}

// goEnv returns a setting of the go command, which would look for it in HOME.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
