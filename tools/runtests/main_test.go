package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test binary the program itself.
const asProgram = "RUNTESTS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// repository makes a directory with these files, in modules named after their
// directories.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, "devloop/go.mod", "module devloop\n\ngo 1.26\n")
	for name, content := range files {
		write(t, root, name, content)
	}
	return root
}

func write(t *testing.T, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// program returns the command that runs the program in a repository, without
// Docker and the race detector.
func program(t *testing.T, root string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"go", "git", "sleep"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), asProgram+"=1", "PATH="+bin, "CGO_ENABLED=0", "TEST_DATABASE_URL=", "REQUIRE_DOCKER=", "GOTESTSUM_FORMAT=", "GOFLAGS=-count=1")
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 10 * time.Second
	return cmd, out
}

// said runs the program to its end, and returns what it printed and whether it
// succeeded.
func said(t *testing.T, root string, args ...string) (string, bool) {
	t.Helper()
	cmd, out := program(t, root, args...)
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), err == nil
}

const head = "package p\n\nimport \"testing\"\n\n"

// TestRun runs the tests of small packages.
func TestRun(t *testing.T) {
	tests := []struct {
		name   string
		test   string // a file of package p
		counts string // the last line; the race detector is always skipped
		want   []string
		silent string // not in the output
	}{
		{
			name:   "passes",
			test:   head + `func TestA(t *testing.T) { t.Log("chatter"); t.Run("x", func(*testing.T) {}) }`,
			counts: "2 passed, 0 failed, 1 skipped", want: []string{"✓  devloop/p (", "skipped: needs a C compiler: there is none\n  the race detector\n"}, silent: "chatter",
		},
		{
			name:   "a report is shown",
			test:   head + `func TestA(t *testing.T) { t.Log("report: median 1s") }`,
			counts: "1 passed, 0 failed, 1 skipped", want: []string{"✓  devloop/p (", "\n     TestA: median 1s\n"},
		},
		{
			name:   "a failure is shown in full",
			test:   head + `func TestA(t *testing.T) { t.Run("x", func(t *testing.T) { t.Error("got 1, want 2") }) }`,
			counts: "0 passed, 2 failed, 1 skipped", want: []string{"✖  devloop/p (", "=== FAIL: devloop/p TestA/x", "\n    devloop/p/p_test.go:5: got 1, want 2\n"},
		},
		{
			name:   "a skip tells why",
			test:   head + `func TestA(t *testing.T) { t.Skip("needs a moon: there is none") }`,
			counts: "0 passed, 0 failed, 2 skipped", want: []string{"skipped: needs a moon: there is none\n  devloop/p TestA\n"},
		},
		{
			name:   "a panic is a failure",
			test:   head + `func TestA(t *testing.T) { panic("boom") }`,
			counts: "0 passed, 1 failed, 1 skipped", want: []string{"panic: boom"},
		},
		{
			name:   "so is a death outside of a test",
			test:   "package p\n\nimport (\n\"os\"\n\"testing\"\n)\n\nfunc TestMain(m *testing.M) { println(\"no database\"); os.Exit(3) }",
			counts: "0 passed, 1 failed, 1 skipped", want: []string{"=== FAIL: devloop/p ", "no database"},
		},
		{
			name:   "and one that does not compile",
			test:   head + `func TestA(t *testing.T) { undefined() }`,
			counts: "0 passed, 1 failed, 1 skipped", want: []string{"devloop/p/p_test.go:5:28: undefined: undefined", "[build failed]"},
		},
		{
			name:   "a package without tests is named",
			test:   head + "type T = testing.T",
			counts: "0 passed, 0 failed, 1 skipped", want: []string{"∅  devloop/p"},
		},
		{
			name:   "a file for another system is skipped",
			test:   "//go:build plan9\n\n" + head + `func TestA(t *testing.T) {}`,
			counts: "0 passed, 0 failed, 2 skipped", want: []string{"skipped: its build constraint is not met here\n  devloop/p p_test.go\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := repository(t, map[string]string{"devloop/p/p.go": "package p", "devloop/p/p_test.go": tt.test})
			out, ok := said(t, root)
			if want := strings.Contains(tt.counts, " 0 failed"); ok != want {
				t.Errorf("runtests succeeds: %v, want %v", ok, want)
			}
			for _, want := range append(tt.want, "\n\n"+tt.counts+"\n") {
				if !strings.Contains(out, want) {
					t.Errorf("runtests printed\n%s\nwant %q in it", out, want)
				}
			}
			if !strings.HasSuffix(out, "\n"+tt.counts+"\n") {
				t.Errorf("runtests printed\n%s\nwant %q last", out, tt.counts)
			}
			if tt.silent != "" && strings.Contains(out, tt.silent) {
				t.Errorf("runtests printed\n%s\nwant no %q in it", out, tt.silent)
			}
		})
	}
}

// TestModules: each module is tested, or what was asked for, and the database
// that is missing is told.
func TestModules(t *testing.T) {
	passes := head + "func TestA(t *testing.T) {}\n\nfunc TestB(t *testing.T) {}"
	root := repository(t, map[string]string{
		"workspace-server/go.mod":    "module workspace-server\n\ngo 1.26\n",
		"workspace-server/p_test.go": passes,
		"devloop/p_test.go":          passes,
		"e2e/go.mod":                 "module e2e\n\ngo 1.26\n",
		"e2e/p_test.go":              head + "func TestB(t *testing.T) { t.Fatal(\"no\") }",
		"tools/lint/go.mod":          "module tools/lint\n\ngo 1.26\n",
		"tools/lint/p_test.go":       passes,
	})
	const noDocker = "skipped: needs Docker, or TEST_DATABASE_URL: the docker command is missing\n  workspace-server on Postgres\n"
	tests := []struct {
		args, counts string
		want, not    []string
	}{
		{"", "6 passed, 1 failed, 2 skipped", []string{noDocker, "✓  workspace-server", "✓  devloop", "✖  e2e", "✓  tools/lint"}, nil},
		{"-run TestA", "3 passed, 0 failed, 2 skipped", []string{noDocker}, []string{"  e2e", "✖"}},
		{"-only devloop", "2 passed, 0 failed, 4 skipped", []string{"skipped: -only devloop\n  module workspace-server\n  module e2e\n  module tools/lint\n"}, []string{"Postgres"}},
		{"-only e2e -run TestA", "0 passed, 0 failed, 4 skipped", nil, []string{"Postgres"}},
	}
	for _, tt := range tests {
		out, ok := said(t, root, strings.Fields(tt.args)...)
		if !strings.HasSuffix(out, "\n"+tt.counts+"\n") || ok == strings.Contains(out, "✖") {
			t.Errorf("runtests %s succeeds: %v; it printed\n%s\nwant %q last", tt.args, ok, out, tt.counts)
		}
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("runtests %s printed\n%s\nwant %q in it", tt.args, out, want)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(out, not) {
				t.Errorf("runtests %s printed\n%s\nwant no %q in it", tt.args, out, not)
			}
		}
	}

	cmd, out := program(t, root, "-only", "workspace-server")
	cmd.Env = append(cmd.Env, "REQUIRE_DOCKER=1")
	err := cmd.Run()
	if want := "FAIL  REQUIRE_DOCKER=1, but there is no Postgres to test on: the docker command is missing\n\n2 passed, 1 failed, "; err == nil || !strings.Contains(out.String(), want) {
		t.Errorf("runtests with REQUIRE_DOCKER=1: %v\n%s\nwant %q", err, out, want)
	}
	for args, want := range map[string]string{
		"-only web": `there is no module "web"; there are workspace-server, devloop, e2e, tools/lint`,
		"TestA":     `the argument "TestA" is unexpected: -only takes a module, -run a pattern`,
	} {
		if out, ok := said(t, root, strings.Fields(args)...); ok || out != "runtests: "+want+"\n" {
			t.Errorf("runtests %s succeeds: %v; it printed\n%s\nwant %q", args, ok, out, want)
		}
	}
}

// TestBroken: what the go command cannot even start is a failure.
func TestBroken(t *testing.T) {
	const imports = head + "import _ \"example.org/nowhere\"\n\nfunc TestA(t *testing.T) {}"
	for name, tt := range map[string]struct{ mod, want string }{
		"a dependency is missing": {"require example.org/nowhere v0.1.0\n\nreplace example.org/nowhere => ../nowhere\n", "devloop/p_test.go:5:8: example.org/nowhere@v0.1.0: "},
		"go.mod is junk":          {"junk", "FAIL  list the packages of devloop: exit status 1: "},
	} {
		root := repository(t, map[string]string{"devloop/go.mod": "module devloop\n\ngo 1.26\n\n" + tt.mod, "devloop/p_test.go": imports})
		if out, ok := said(t, root); ok || !strings.Contains(out, tt.want) || !strings.HasSuffix(out, "\n0 passed, 1 failed, 1 skipped\n") {
			t.Errorf("%s: runtests succeeds: %v\n%s\nwant one failure: %s", name, ok, out, tt.want)
		}
	}
}

// TestInterrupt: an interrupt ends the tests and what they started, those get to
// clean up, and no more are begun.
func TestInterrupt(t *testing.T) {
	const sleeps = `package p

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"testing"
)

func TestA(t *testing.T) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	child := exec.Command("sleep", "300")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	os.WriteFile("started.new", []byte(fmt.Sprint(os.Getpid(), " ", child.Process.Pid)), 0o644)
	os.Rename("started.new", "started")
	<-interrupted
	os.WriteFile("cleaned", nil, 0o644)
}
`
	root := repository(t, map[string]string{
		"workspace-server/go.mod":      "module workspace-server\n\ngo 1.26\n",
		"workspace-server/a/a_test.go": sleeps, "workspace-server/b/b_test.go": sleeps,
		"devloop/p/p_test.go": head + `func TestA(t *testing.T) { t.Fatal("it ran") }`,
	})
	cmd, out := program(t, root)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []string
	poll(t, "both packages are tested", func() bool {
		pids = nil
		for _, dir := range []string{"a", "b"} {
			b, _ := os.ReadFile(filepath.Join(root, "workspace-server", dir, "started"))
			pids = append(pids, strings.Fields(string(b))...)
		}
		return len(pids) == 4
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if cmd.ProcessState.ExitCode() != 1 || !strings.HasSuffix(out.String(), "\n\n2 passed, 0 failed, 2 skipped\nruntests: interrupt signal received\n") || strings.Contains(out.String(), "it ran") {
		t.Errorf("interrupted: %v, and printed\n%s\nwant exit code 1, what passed until then, and that an interrupt was received", err, out)
	}
	for _, pid := range pids {
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		poll(t, "process "+pid+" is gone", func() bool { return gone(n) })
	}
	for _, dir := range []string{"a", "b"} {
		if _, err := os.Stat(filepath.Join(root, "workspace-server", dir, "cleaned")); err != nil {
			t.Errorf("the test of workspace-server/%s did not clean up: %v", dir, err)
		}
	}
}

// gone reports whether a process has ended.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z ")) // no one has asked for its end yet
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Minute); !ok(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// TestCopy copies two commands that run at the same time.
func TestCopy(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out, "/repo", false)
	s, err := r.open()
	if err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	for _, module := range []string{"a", "b"} {
		both.Go(func() {
			var in strings.Builder
			fmt.Fprintln(&in, "go: the go command's own words")
			for n := range 100 {
				name, result := fmt.Sprint("TestX", n), "pass"
				if module == "b" && n == 50 {
					result = "fail"
				}
				fmt.Fprintf(&in, `{"Action":"run","Package":%q,"Test":%q}`+"\n", module, name)
				fmt.Fprintf(&in, `{"Action":"output","Package":%q,"Test":%q,"Output":"/repo/%s/x_test.go:%d: word\n"}`+"\n", module, name, module, n)
				fmt.Fprintf(&in, `{"Action":%q,"Package":%q,"Test":%q}`+"\n", result, module, name)
			}
			fmt.Fprintf(&in, `{"Action":%q,"Package":%q}`+"\n", map[string]string{"a": "pass", "b": "fail"}[module], module)
			if failed, err := s.copy("/repo", module, strings.NewReader(in.String())); failed != (module == "b") || err != nil {
				t.Errorf("copy(%s) = %v, %v, want %v", module, failed, err, module == "b")
			}
		})
	}
	both.Wait()
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if err := r.summary(); err == nil {
		t.Error("summary() = nil, want an error for the failure")
	}
	got := out.String()
	if !strings.HasSuffix(got, "\n199 passed, 1 failed, 0 skipped\n") || !strings.Contains(got, "\nb/x_test.go:50: word\n") || strings.Count(got, "word\n") != 1 || strings.Count(got, "own words\n") != 2 {
		t.Errorf("the report is\n%s\nwant 199 passed, one failure with its output, and the go command's words", got)
	}
}

// TestCopyCut: tests that are cut short have failed.
func TestCopyCut(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out, "/repo", false)
	s, err := r.open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.copy("/repo", "m", strings.NewReader(`{"Action":"start","Package":"m"}`+"\n"+`{"Action":"run","Package":"m","Test":"TestA"}`+"\n")); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if err := r.summary(); err == nil || !strings.HasSuffix(out.String(), "\n0 passed, 1 failed, 0 skipped\n") {
		t.Errorf("summary() = %v after\n%s\nwant one failure", err, out.String())
	}
}

func TestClickable(t *testing.T) {
	tests := []struct{ module, line, want string }{
		{"a mod", "x/y.go:1:2: undefined: z\n", "a mod/x/y.go:1:2: undefined: z\n"},
		{"a mod", "./y_test.go:1:2: undefined: z\n", "a mod/y_test.go:1:2: undefined: z\n"},
		{"a mod", "vet: x/y.go:1:2: undefined: z\n", "vet: a mod/x/y.go:1:2: undefined: z\n"},
		{"a mod", "my x.go:1: y\n", "a mod/my x.go:1: y\n"},
		{"", "    /my repo/a mod/x/y_test.go:7: got 1, want 2\n", "    a mod/x/y_test.go:7: got 1, want 2\n"},
		{"", "    /my repo/y_test.go:7: see /my repo/z.go:1: it\n", "    y_test.go:7: see /my repo/z.go:1: it\n"},

		// Elsewhere, or no place.
		{"a mod", "/usr/local/go/src/testing/testing.go:1: x\n", "/usr/local/go/src/testing/testing.go:1: x\n"},
		{"a mod", "../../y.go:1:2: x\n", "../../y.go:1:2: x\n"},
		{"a mod", "# a/b\n", "# a/b\n"},
		{"", "\t/my repo/a mod/x.go:1 +0x2\n", "\t/my repo/a mod/x.go:1 +0x2\n"},
		{"", "        x/y.go:1:2: undefined: z\n", "        x/y.go:1:2: undefined: z\n"},
		{"", "ok  \ta/b\t0.1s\n", "ok  \ta/b\t0.1s\n"},
		{"", "\n", "\n"},
	}
	for _, tt := range tests {
		if got := clickable("/my repo", tt.module, tt.line); got != tt.want {
			t.Errorf("clickable(%q, %q) = %q, want %q", tt.module, tt.line, got, tt.want)
		}
	}
}

// TestRewrite: an event keeps all that it says.
func TestRewrite(t *testing.T) {
	const line = `{"Time":"2030-01-02T03:04:05.123456789Z","Action":"output","Package":"m","Test":"TestA","Output":"/repo/m/x_test.go:1: <&>\n","Key":"k"}` + "\n"
	got, _ := rewrite("/repo", "m", []byte(line))
	var event, want map[string]any
	if err := errors.Join(json.Unmarshal(got, &event), json.Unmarshal([]byte(line), &want)); err != nil {
		t.Fatal(err)
	}
	want["Output"] = "m/x_test.go:1: <&>\n"
	if fmt.Sprint(event) != fmt.Sprint(want) {
		t.Errorf("rewrite(%s) = %s, want %v", line, got, want)
	}
}

func TestGrouped(t *testing.T) {
	var skips []skip
	for _, module := range []string{"a", "b", "c", "d"} {
		skips = append(skips, skip{name: "module " + module, why: "-only devloop"})
	}
	for n := range 4 {
		skips = append(skips, skip{fmt.Sprint("m/p Test", n), "no moon", "m/p"})
	}
	skips = append(skips, skip{"m/q TestA", "no moon", "m/q"}, skip{"m/p TestA", "no sun", "m/p"})
	want := `
skipped: -only devloop
  module a
  module b
  module c
  module d

skipped: no moon
  m/p: 4 tests
  m/q TestA

skipped: no sun
  m/p TestA`
	if got := strings.Join(grouped(skips), "\n"); got != want {
		t.Errorf("grouped(%v) is\n%s\nwant\n%s", skips, got, want)
	}
}
