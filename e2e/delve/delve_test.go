// Package delve runs Delve's own tests of its remote clients, as they are,
// through the relay command. What the tests take for dlv is dlv with the relay
// in front of it.
package delve

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/janitor"
)

// cleaner removes what the tests made, however they end.
var cleaner *janitor.Janitor

func TestMain(m *testing.M) {
	if os.Getenv(binaries) != "" {
		os.Exit(relayed(os.Args[1:]))
	}
	janitor.Tests(m, &cleaner)
}

// A suite is Delve's tests, ready to run.
type suite struct {
	dir string   // private, with all that follows in it
	run string   // what its processes are known by
	env []string // for the tests
}

// tool is the module whose version devloop/tools.mod pins.
const tool = "github.com/go-delve/delve"

func prepare(t *testing.T) *suite {
	t.Helper()
	root, err := checkout.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{dir: dir, run: filepath.Base(dir) + "-" + rand.Text()[:8]}
	for _, thing := range []janitor.Thing{janitor.Directory(dir), janitor.Processes(s.run)} {
		if err := cleaner.Add(thing); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := cleaner.Remove(context.Background(), thing); err != nil {
				t.Errorf("clean up: %v", err)
			}
		})
	}
	devloop := filepath.Join(root, "devloop")
	var module struct{ Dir, Version, Error string }
	download := exec.CommandContext(within(t, 5*time.Minute), "go", "mod", "download", "-modfile=tools.mod", "-json", tool)
	download.Dir = devloop
	download.Env = append(os.Environ(), "GOWORK=off") // -modfile does not go with a go.work
	out, err := download.Output()
	if jsonErr := json.Unmarshal(out, &module); err != nil || jsonErr != nil {
		t.Fatalf("download %s: %v: %s", tool, err, out)
	}
	t.Logf("%s %s", tool, module.Version)
	// The go command's own copy cannot be written to, and the tests do.
	if err := os.CopyFS(s.file("delve"), os.DirFS(module.Dir)); err != nil {
		t.Fatal(err)
	}
	// As scripts build them, so each is compiled once.
	s.env = []string{"CGO_ENABLED=0", "GOWORK=off"}
	build := func(command, program, pkg string, flags ...string) {
		s.sh(t, devloop, slices.Concat([]string{"go"}, strings.Fields(command), []string{"-buildvcs=false", "-o", s.file(program)}, flags, []string{pkg})...)
	}
	build("build", "bin/devloop", "./cmd/devloop")
	build("build", "bin/dlv", tool+"/cmd/dlv", "-modfile=tools.mod")
	build("test -c", "delve.test", tool+"/cmd/dlv", "-modfile=tools.mod")
	s.stand(t)
	return s
}

func (s *suite) file(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

func within(t *testing.T, d time.Duration) context.Context { return janitor.Within(t, d) }

// sh runs a command that must succeed, and returns what it printed.
func (s *suite) sh(t *testing.T, dir string, args ...string) string {
	t.Helper()
	code, out, err := command.Run(within(t, 10*time.Minute), command.Options{Dir: dir, Run: s.run, Env: s.env}, args...)
	if err != nil || code != 0 {
		t.Fatalf("%s: exit code %d, %v, printed\n%s", strings.Join(args, " "), code, err, out)
	}
	return out
}

// stand has the tests run as far from this user's settings as they can, and puts a
// program in their way: a go command that, when the tests build dlv, copies a script
// that calls relayed.
func (s *suite) stand(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	settings, err := exec.Command(goTool, "env", "GOENV").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		// Or dlv starts a process that outlives it.
		"config/go/telemetry/mode": "off\n",
		"relayed":                  "#!/bin/sh\n" + fmt.Sprintf("%s='%s' exec '%s' \"$@\"\n", binaries, s.file("bin"), self),
		"path/go": fmt.Sprintf(`#!/bin/sh
case "$*" in
"build -o "*" %s/cmd/dlv") exec cp '%s' "$3" ;;
esac
exec '%s' "$@"
`, tool, s.file("relayed"), goTool),
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(s.file(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.file(name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.env = []string{
		"PATH=" + s.file("path") + string(filepath.ListSeparator) + os.Getenv("PATH"),
		"XDG_CONFIG_HOME=" + s.file("config"), "GOENV=" + strings.TrimSpace(string(settings)),
		logs + "=" + s.file("logs"),
	}
}

// passed returns what the relays of a test handed on, in lines.
func (s *suite) passed(t *testing.T) []string {
	t.Helper()
	var lines []string
	files, err := filepath.Glob(s.file("logs/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(strings.TrimRight(string(text), "\n"), "\n")...)
	}
	return lines
}

func count(lines []string, pattern string) int {
	re := regexp.MustCompile(pattern)
	return len(slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !re.MatchString(line) }))
}

func TestThroughRelay(t *testing.T) {
	s := prepare(t)
	tests := []struct {
		name        string
		connections int
		lines       []string // patterns of what must have gone through
	}{
		{"TestRemoteDAPClient", 1, []string{`-> .*"command":"attach"`, `<- .*"event":"exited"`, `<- .*"event":"terminated"`}},
		{"TestRemoteDAPClientMulti", 5, []string{`-> .*"command":"setFunctionBreakpoints"`, `<- .*"event":"stopped"`, `-> .*RPCServer\.Restart`, `-> .*RPCServer\.Detach`}},
		{"TestRemoteDAPClientAfterContinue", 2, []string{`-> .*"command":"continue"`, `-> .*"terminateDebuggee":true`}},
		{"TestContinue", 1, []string{`-> .*RPCServer\.SetApiVersion`, `-> .*RPCServer\.Detach`}},
		{"TestRedirect", 1, []string{`-> .*RPCServer\.SetApiVersion`, `-> .*RPCServer\.Detach`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.RemoveAll(s.file("logs")); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(s.file("logs"), 0o755); err != nil {
				t.Fatal(err)
			}
			out := s.sh(t, s.file("delve/cmd/dlv"), s.file("delve.test"), "-test.v", "-test.timeout=3m", "-test.run=^"+tt.name+"$")
			lines := s.passed(t)
			if !strings.Contains(out, "--- PASS: "+tt.name+" ") {
				t.Errorf("%s did not run to its end:\n%s", tt.name, out)
			}
			if n := count(lines, `^\d+ connected: `); n != tt.connections {
				t.Errorf("%d connections went through the relay, want %d", n, tt.connections)
			}
			for _, pattern := range append(tt.lines, `<- `) {
				if count(lines, `^\d+ `+pattern) == 0 {
					t.Errorf("nothing like %q went through the relay", pattern)
				}
			}
			if left := command.Outliving(s.run); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if t.Failed() {
				t.Logf("%s\nthe relay tells:\n%s", out, strings.Join(lines, "\n"))
			}
		})
	}
}
