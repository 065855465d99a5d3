//go:build linux

package process

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"workspace-server/internal/provision"
)

// server is a server process.
type server struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startServer(t *testing.T, exe, dir string) *server {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), exe, "serve", dir)
	cmd.Env = append(os.Environ(), quiet+"=atexit_sleep_ms=0", "DATABASE_URL=postgres://the-server-alone")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{cmd, in, bufio.NewReader(out)}
	s.want(t, "ready")
	return s
}

func (s *server) want(t *testing.T, want string) {
	t.Helper()
	if got, err := s.out.ReadString('\n'); err != nil || got != want+"\n" {
		t.Fatalf("the server says %q, %v, want %q", got, err, want)
	}
}

func (s *server) start(t *testing.T, spec provision.Spec) {
	t.Helper()
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.in.Write(append(text, '\n')); err != nil {
		t.Fatal(err)
	}
}

// kill ends the server at once.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// agent returns what to start.
func agent(t *testing.T, generation int64) provision.Spec {
	t.Helper()
	configs := t.TempDir()
	if err := os.WriteFile(filepath.Join(configs, "agents"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return provision.Spec{
		Workspace: "ws_a", Generation: generation, Tier: 1, Configs: configs,
		Env: map[string]string{"PROVISION_TEST_AGENT": "1", quiet: "atexit_sleep_ms=0"},
	}
}

// belonging returns the numbers of the processes that have a workspace's HOME:
// the agent and what it started.
func belonging(t *testing.T, dir string) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, process := range all {
		env, err := os.ReadFile(filepath.Join(process, "environ"))
		if err != nil || !strings.Contains("\x00"+string(env), "\x00HOME="+filepath.Join(dir, "ws_a", homeDir)+"\x00") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(process)); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

func wantBelonging(t *testing.T, dir string, want int) []int {
	t.Helper()
	found := belonging(t, dir)
	if len(found) != want {
		t.Errorf("the workspace has the processes %v, want %d", found, want)
	}
	return found
}

// ready waits until an agent answers.
func ready(t *testing.T, in provision.Instance) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Get("http://" + in.Address + "/env")
	if err != nil {
		t.Fatalf("the agent does not answer: %v", err)
	}
	_ = resp.Body.Close()
}

func mustStart(t *testing.T, d *Driver, spec provision.Spec) provision.Instance {
	t.Helper()
	in, err := d.Start(t.Context(), spec)
	if err != nil || in.State != provision.Running {
		t.Fatalf("Start = %+v, %v, want it running", in, err)
	}
	ready(t, in)
	return in
}

func mustRemove(t *testing.T, d *Driver) {
	t.Helper()
	if err := d.Remove(t.Context(), "ws_a", false); err != nil {
		t.Errorf("Remove = %v", err)
	}
	wantBelonging(t, d.dir, 0)
}

// At whatever moment a server is killed, the next one finds or makes the instance.
func TestServerIsKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	dir := install(t)
	d := newDriver(t, dir)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for generation := int64(1); generation <= 20; generation++ {
		spec := agent(t, generation)
		s := startServer(t, exe, dir)
		s.start(t, spec)
		kill := time.AfterFunc(time.Duration(rand.Int64N(int64(120*time.Millisecond))), s.kill)
		in := mustStart(t, d, spec)
		if kill.Stop() {
			s.kill()
		}
		if got, err := d.Inspect(t.Context(), "ws_a"); err != nil || got != in {
			t.Errorf("Inspect = %+v, %v, want %+v", got, err, in)
		}
		wantBelonging(t, dir, 1)
	}
	mustRemove(t, d)
}

// An agent outlives its server and the server's terminal, and a newer build at the
// program's path does not disturb a start.
func TestAgentIsItsOwn(t *testing.T) {
	t.Parallel()
	dir := install(t)
	d := newDriver(t, dir)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	replaced := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(replaced, program, 0o700); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, replaced, dir)
	if err := os.Remove(replaced); err != nil {
		t.Fatal(err)
	}
	s.start(t, agent(t, 1))
	s.want(t, "started")
	s.kill()
	in, err := d.Inspect(t.Context(), "ws_a")
	if err != nil || in.State != provision.Running {
		t.Fatalf("Inspect after the server's end = %+v, %v, want it running", in, err)
	}
	ready(t, in)
	k, err := d.find(t.Context(), "ws_a")
	if err != nil {
		t.Fatal(err)
	}
	pids := append(wantBelonging(t, dir, 1), k.Keeper)
	sessions := map[string]bool{session(t, os.Getpid()): true}
	for _, pid := range pids {
		sessions[session(t, pid)] = true
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || strings.Contains(string(env), "the-server-alone") {
			t.Errorf("process %d has the server's environment, %v", pid, err)
		}
	}
	if len(sessions) != 3 {
		t.Errorf("the test, the keeper and the agent have the sessions %v, want three", sessions)
	}
	// The agent has none of the driver's files open.
	for _, open := range processes(t, dir) {
		if strings.HasPrefix(open, fmt.Sprintf("/proc/%d/", pids[0])) {
			t.Errorf("the agent has %s", open)
		}
	}
	mustRemove(t, d)
}

func session(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name before may have spaces
	return strings.Fields(rest)[3]
}

// An agent whose keeper is killed ends, and the driver reports that.
func TestKeeperIsKilled(t *testing.T) {
	t.Parallel()
	dir := install(t)
	d := newDriver(t, dir)
	mustStart(t, d, agent(t, 1))
	k, err := d.find(t.Context(), "ws_a")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(k.Keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var in provision.Instance
	for in.State != provision.Exited {
		if in, err = d.Inspect(t.Context(), "ws_a"); err != nil {
			t.Fatal(err)
		}
	}
	if in.ExitCode != -1 || !strings.Contains(in.Message, "is not known") {
		t.Errorf("Inspect = %+v, want that it is not known how it ended", in)
	}
	// The kernel ends the agent just after its keeper.
	for deadline := time.Now().Add(time.Minute); len(belonging(t, dir)) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the agent goes on without its keeper")
		}
	}
	if err := d.Stop(t.Context(), "ws_a", time.Minute); err != nil {
		t.Errorf("Stop = %v", err)
	}
	mustStart(t, d, agent(t, 2))
	wantBelonging(t, dir, 1)
	mustRemove(t, d)
}

// Signals to the whole group, or repeated ones, do not end a keeper.
func TestKeeperOutlivesSignals(t *testing.T) {
	t.Parallel()
	dir := install(t)
	d := newDriver(t, dir)
	spec := agent(t, 1)
	spec.Env["PROVISION_TEST_IGNORE_TERM"] = "1"
	mustStart(t, d, spec)
	k, err := d.find(t.Context(), "ws_a")
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGTERM, syscall.SIGTERM, syscall.SIGINT} {
		if err := syscall.Kill(k.Keeper, sig); err != nil {
			t.Fatalf("%v: %v", sig, err)
		}
	}
	if err := d.Stop(t.Context(), "ws_a", 50*time.Millisecond); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if in, err := d.Inspect(t.Context(), "ws_a"); err != nil || in.ExitCode != 137 {
		t.Errorf("Inspect = %+v, %v, want that the agent was killed, and the keeper says so", in, err)
	}
	mustRemove(t, d)
}

// Processes that an agent started end with it, even if they hold its output.
func TestAgentsChildrenEnd(t *testing.T) {
	t.Parallel()
	dir := install(t)
	d := newDriver(t, dir)
	spec := agent(t, 1)
	spec.Env[envChild] = "1"
	mustStart(t, d, spec)
	wantBelonging(t, dir, 2)
	if err := d.Stop(t.Context(), "ws_a", time.Minute); err != nil {
		t.Errorf("Stop = %v", err)
	}
	wantBelonging(t, dir, 0)
	if in, err := d.Inspect(t.Context(), "ws_a"); err != nil || in.ExitCode != 0 {
		t.Errorf("Inspect = %+v, %v, want exit code 0", in, err)
	}
	mustRemove(t, d)
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	dir := install(t)
	d := newDriver(t, dir)
	change := func(change func(*provision.Spec)) provision.Spec {
		spec := agent(t, 1)
		change(&spec)
		return spec
	}
	tests := []struct {
		spec provision.Spec
		want string // part of the error
	}{
		{change(func(s *provision.Spec) { s.Env["A"] = "b\x00c" }), `The variable "A" holds a NUL byte`},
		{change(func(s *provision.Spec) { s.Env["A=B"] = "" }), `A variable cannot have the name "A=B".`},
		{change(func(s *provision.Spec) { s.Env[""] = "a" }), `A variable cannot have the name "".`},
		{change(func(s *provision.Spec) { s.Plugins = map[string]string{"../x": "/"} }), `A plugin cannot have the name "../x".`},
		{change(func(s *provision.Spec) { s.Plugins = map[string]string{"": "/"} }), `A plugin cannot have the name "".`},
		{change(func(s *provision.Spec) { s.Generation = -1 }), "not negative"},
		{change(func(s *provision.Spec) { s.Env["A"] = strings.Repeat("a", 1<<20) }), "the agent does not run: "},
	}
	for _, tt := range tests {
		if in, err := d.Start(t.Context(), tt.spec); err == nil || provision.IsAbsent(err) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Start(%+v) = %+v, %v, want an error with %q", tt.spec, in, err, tt.want)
		}
		if in, err := d.Inspect(t.Context(), "ws_a"); !provision.IsAbsent(err) {
			t.Errorf("Inspect after a Start that failed = %+v, %v, want that it is absent", in, err)
		}
		wantBelonging(t, dir, 0)
	}
	mustStart(t, d, agent(t, 1))
	mustRemove(t, d)
}

// No id leads out of the driver's directory.
func TestIDsArePlain(t *testing.T) {
	t.Parallel()
	dir := install(t)
	d := newDriver(t, dir)
	for _, id := range []string{"", ".", "..", "../x", "a/b", "/a", "a/", ".hidden"} {
		spec := agent(t, 1)
		spec.Workspace = id
		_, startErr := d.Start(t.Context(), spec)
		_, inspectErr := d.Inspect(t.Context(), id)
		_, logsErr := d.Logs(t.Context(), id, -1, false)
		for call, err := range map[string]error{
			"Start": startErr, "Inspect": inspectErr, "Logs": logsErr,
			"Stop": d.Stop(t.Context(), id, 0), "Remove": d.Remove(t.Context(), id, false),
		} {
			if err == nil || provision.IsAbsent(err) || !strings.Contains(err.Error(), "A workspace cannot have the id") {
				t.Errorf("%s(%q) = %v, want that it is no id", call, id, err)
			}
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the driver's directory was made")
	}
}

// With keepData, what a workspace wrote outlives it.
func TestRemoveKeepsData(t *testing.T) {
	t.Parallel()
	d := newDriver(t, install(t))
	mustStart(t, d, agent(t, 1))
	kept := filepath.Join(d.dir, "ws_a", "home", "kept")
	if err := os.WriteFile(kept, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Remove(t.Context(), "ws_a", true); err != nil {
			t.Errorf("Remove, keeping the data = %v", err)
		}
		_, inspectErr := d.Inspect(t.Context(), "ws_a")
		all, err := d.List(t.Context())
		if !provision.IsAbsent(inspectErr) || err != nil || len(all) != 0 {
			t.Errorf("Inspect = %v, List = %+v, %v, want none", inspectErr, all, err)
		}
		if _, err := os.Stat(kept); err != nil {
			t.Errorf("the data is gone: %v", err)
		}
	}
	mustRemove(t, d)
	if _, err := os.Stat(kept); err == nil {
		t.Error("the data is left, though it was not to be kept")
	}
}
