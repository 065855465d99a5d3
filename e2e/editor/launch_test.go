package editor

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sample is the file that is open in the editor.
const sample = "workspace-server/internal/api/health.go"

// resolve replaces the editor's variables.
func resolve(t *testing.T, s string) string {
	t.Helper()
	s = strings.NewReplacer(
		"${workspaceFolder}", root(t),
		"${fileDirname}", filepath.Join(root(t), filepath.Dir(sample)),
	).Replace(s)
	if left := regexp.MustCompile(`\$\{(command|input):[^}]*\}`).ReplaceAllString(s, ""); strings.Contains(left, "${") {
		t.Errorf("%q has a variable that is not known here", s)
	}
	return s
}

type launch struct {
	Name, Type, Request, Mode, DebugAdapter string
	Host                                    string
	Port                                    int
	SubstitutePath                          []struct{ From, To string }
	PreLaunchTask                           string
	ProcessID                               string
	Program, Cwd, Output, BuildFlags        string
	Args                                    []string
	Env                                     map[string]string
}

func readLaunch(t *testing.T) map[string]launch {
	t.Helper()
	var file struct {
		Configurations []launch
		Inputs         []struct{ ID string }
	}
	decode(t, ".vscode/launch.json", &file)
	named := map[string]launch{}
	for _, c := range file.Configurations {
		named[c.Name] = c
		for _, m := range regexp.MustCompile(`\$\{input:([^}]*)\}`).FindAllStringSubmatch(strings.Join(c.Args, " "), -1) {
			if !slices.ContainsFunc(file.Inputs, func(i struct{ ID string }) bool { return i.ID == m[1] }) {
				t.Errorf("%s asks for input %q, which is not defined", c.Name, m[1])
			}
		}
	}
	return named
}

func TestLaunch(t *testing.T) {
	configs := readLaunch(t)
	container, _ := readDevcontainer(t)
	var tasks struct{ Tasks []struct{ Label string } }
	decode(t, ".vscode/tasks.json", &tasks)
	for _, name := range []string{"Attach to live server", "Attach from the host", "Attach to a local process", "Debug this test", "Launch server under the debugger"} {
		if _, ok := configs[name]; !ok {
			t.Errorf("launch.json has no %q", name)
		}
	}
	for _, m := range regexp.MustCompile(`"(Attach [^"]*)"`).FindAllStringSubmatch(read(t, "README.md"), -1) {
		if _, ok := configs[m[1]]; !ok {
			t.Errorf("README.md names %q, which launch.json does not have", m[1])
		}
	}
	for name, c := range configs {
		// The legacy adapter would be the default for remote ones.
		if c.Type != "go" || c.DebugAdapter != "dlv-dap" {
			t.Errorf("%s: type %q, debugAdapter %q; want go, dlv-dap", name, c.Type, c.DebugAdapter)
		}
		if c.PreLaunchTask != "" && !slices.ContainsFunc(tasks.Tasks, func(t struct{ Label string }) bool { return t.Label == c.PreLaunchTask }) {
			t.Errorf("%s: there is no task %q", name, c.PreLaunchTask)
		}
		switch {
		case c.Request == "attach" && c.Mode == "remote":
			// The port is code execution.
			if c.Host != "127.0.0.1" || container.PortsAttributes["2345"].Label == "" || c.Port != 2345 {
				t.Errorf("%s: attaches to %s:%d, want the debugger's port on loopback", name, c.Host, c.Port)
			}
		case c.Request == "attach":
			if c.Mode != "local" || c.ProcessID != "${command:pickGoProcess}" {
				t.Errorf("%s: mode %q, process %q; want a local process that is picked: its name changes", name, c.Mode, c.ProcessID)
			}
		case c.Request == "launch":
			launches(t, c)
		default:
			t.Errorf("%s: request %q", name, c.Request)
		}
	}
	for _, port := range composeService(t).Ports {
		if strings.Contains(port, "DEBUG_PORT") && port != "127.0.0.1:${DEBUG_PORT:-2345}:2345" {
			t.Errorf("docker-compose.dev.yml publishes %q, want the debugger's port as launch.json has it", port)
		}
	}
	host := configs["Attach from the host"]
	if len(host.SubstitutePath) != 1 || host.SubstitutePath[0].From != "${workspaceFolder}" || host.SubstitutePath[0].To != container.WorkspaceFolder {
		t.Errorf("%s: substitutePath %v, want the workspace folder to be %s", host.Name, host.SubstitutePath, container.WorkspaceFolder)
	}
	if p := configs["Attach to live server"].SubstitutePath; len(p) > 0 {
		t.Errorf("inside of the container paths need no substitution, got %v", p)
	}
}

// launches checks a configuration that starts a program.
func launches(t *testing.T, c launch) {
	t.Helper()
	program, cwd := resolve(t, c.Program), resolve(t, c.Cwd)
	out, err := list(program)
	if err != nil {
		t.Fatalf("%s: program %s: %v", c.Name, program, err)
	}
	want := map[string]string{"debug": "main", "test": filepath.Base(program)}[c.Mode]
	if out != want {
		t.Errorf("%s: mode %s of package %q in %s, want %q", c.Name, c.Mode, out, program, want)
	}
	if _, err := list(cwd + "/..."); err != nil {
		t.Errorf("%s: cwd %s is in no module: %v", c.Name, cwd, err)
	}
	// Where nothing is watched, and nothing is tracked.
	if output := resolve(t, c.Output); !strings.HasPrefix(output, filepath.Join(root(t), "workspace-server/tmp")+"/") {
		t.Errorf("%s: output %s, want it where the loop's own goes", c.Name, output)
	}
	if addr := c.Env["LISTEN_ADDR"]; c.Mode == "debug" && (!strings.HasPrefix(addr, "127.0.0.1:") || strings.HasSuffix(addr, ":8080")) {
		t.Errorf("%s: listens on %q, want loopback, and another port than the loop's", c.Name, addr)
	}
}

// list returns the name of the package in a directory.
func list(dir string) (string, error) {
	base := strings.TrimSuffix(dir, "/...")
	cmd := exec.Command("go", "list", "-f", "{{.Name}}", "."+strings.TrimPrefix(dir, base))
	cmd.Dir = base
	out, err := cmd.Output()
	name, _, _ := strings.Cut(string(out), "\n")
	return name, err
}
