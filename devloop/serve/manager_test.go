package serve

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"devloop/internal/testkit"
)

// TestMain is also the process that inherits sockets.
func TestMain(m *testing.M) {
	if os.Getenv("SERVE_TEST_CHILD") == "" {
		testkit.Main(m)
	}
	if pid := os.Getenv("LISTEN_PID"); pid == "self" {
		_ = os.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	}
	manager, err := Take(os.Getenv, os.Unsetenv)
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"} {
		if _, ok := os.LookupEnv(name); ok {
			fmt.Println(name, "is still set")
		}
	}
	for _, socket := range manager.Sockets {
		fmt.Printf("%q %s\n", socket.Name, socket.Listener.Addr())
	}
	if len(manager.Sockets) == 0 {
		return
	}
	// A process that is started now must not get the sockets.
	list, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
	if err == nil && strings.Contains(string(list), "socket:") {
		fmt.Printf("a child has a socket:\n%s", list)
	}
}

// child runs this program with descriptors from 3 on, and returns what it prints.
func child(t *testing.T, files []*os.File, env ...string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), append(env, "SERVE_TEST_CHILD=1")...)
	cmd.ExtraFiles = files
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("child with %q: %v\n%s", env, err, out)
	}
	return string(out)
}

func TestTake(t *testing.T) {
	sockets := make([]*os.File, 2)
	lines := make([]string, 2)
	for i := range sockets {
		socket := newShared(t)
		file, err := socket.ln.File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		sockets[i], lines[i] = file, socket.addr()+"\n"
	}
	plain, err := os.Create(filepath.Join(t.TempDir(), "plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()

	tests := []struct {
		files []*os.File
		env   []string
		want  string
	}{
		{sockets[:1], []string{"LISTEN_FDS=1"}, `"" ` + lines[0]},
		{sockets[:1], []string{"LISTEN_FDS=1", "LISTEN_PID=self"}, `"" ` + lines[0]},
		{sockets[:1], []string{"LISTEN_FDS=1", "LISTEN_PID=1"}, ""},
		{sockets, []string{"LISTEN_FDS=2"}, `"" ` + lines[0] + `"" ` + lines[1]},
		{sockets, []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=web:admin"}, `"web" ` + lines[0] + `"admin" ` + lines[1]},
		{sockets, []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=web"}, `"web" ` + lines[0] + `"" ` + lines[1]},
		{sockets[:1], []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=web:admin"}, `"web" ` + lines[0]},
		{sockets[:1], nil, ""},
		{sockets[:1], []string{"LISTEN_FDS="}, ""},
		{sockets[:1], []string{"LISTEN_FDS=0"}, ""},
		{sockets[:1], []string{"LISTEN_FDS=x"}, `error: LISTEN_FDS="x" is not accepted: it must be the number of the sockets`},
		{sockets[:1], []string{"LISTEN_FDS=-1"}, `error: LISTEN_FDS="-1" is not accepted`},
		{sockets[:1], []string{"LISTEN_FDS=1000000"}, `error: LISTEN_FDS="1000000" is not accepted`},
		{[]*os.File{plain}, []string{"LISTEN_FDS=1"}, "error: LISTEN_FDS=1: descriptor 3 is not a listening socket:"},
		{[]*os.File{sockets[0], plain}, []string{"LISTEN_FDS=2"}, "error: LISTEN_FDS=2: descriptor 4 is not a listening socket:"},
		{nil, []string{"LISTEN_FDS=1"}, "error: LISTEN_FDS=1: descriptor 3 is not a listening socket:"},
	}
	for _, tt := range tests {
		got := child(t, tt.files, tt.env...)
		if isError := strings.HasPrefix(tt.want, "error:"); got != tt.want && !(isError && strings.HasPrefix(got, tt.want)) {
			t.Errorf("Take with %q and %d sockets prints %q, want %q", tt.env, len(tt.files), got, tt.want)
		}
	}
}

func TestListenAll(t *testing.T) {
	passed := func(n int) *Manager {
		m := &Manager{}
		for range n {
			m.Sockets = append(m.Sockets, Socket{Listener: newShared(t).listener()})
		}
		return m
	}
	const free = "127.0.0.1:0"
	taken := newShared(t).addr()
	tests := []struct {
		manager   *Manager
		addresses []string
		err       string
	}{
		{&Manager{}, []string{free}, ""},
		{&Manager{}, []string{free, free}, ""},
		{&Manager{}, []string{free, taken}, "address already in use"},
		{passed(1), []string{"never used"}, ""},
		{passed(2), []string{":1", ":2"}, ""},
		{passed(1), []string{":1", ":2"}, "LISTEN_FDS=1, but this program listens on 2 addresses (:1, :2): pass one socket for each, in this order"},
		{passed(2), []string{":1"}, "LISTEN_FDS=2, but this program listens on 1 addresses (:1): pass one socket for each, in this order"},
	}
	for _, tt := range tests {
		got, err := tt.manager.ListenAll(t.Context(), tt.addresses...)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("ListenAll(%q) with %d sockets = %v, want %s", tt.addresses, len(tt.manager.Sockets), err, tt.err)
			}
			continue
		}
		if err != nil || len(got) != len(tt.addresses) {
			t.Errorf("ListenAll(%q) with %d sockets = %v, %v", tt.addresses, len(tt.manager.Sockets), got, err)
		}
		for i, socket := range tt.manager.Sockets {
			if got[i] != socket.Listener {
				t.Errorf("ListenAll(%q): listener %d is not the socket that was passed", tt.addresses, i)
			}
		}
		if err := closeAll(got); err != nil {
			t.Error(err)
		}
	}
}

func TestNotify(t *testing.T) {
	names := []string{filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		names = append(names, fmt.Sprintf("@devloop-serve-test-%d", os.Getpid()))
	}
	for _, name := range names {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		if err := (&Manager{notify: name}).Notify(Ready); err != nil {
			t.Errorf("Notify to %s = %v", name, err)
		}
		buf := make([]byte, 100)
		if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
			t.Errorf("Notify to %s sent %q, %v, want READY=1", name, buf[:n], err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if err := (&Manager{notify: name}).Notify(Stopping); err == nil {
			t.Errorf("Notify to %s, which no process reads, = nil, want an error", name)
		}
	}
	if err := (&Manager{}).Notify(Ready); err != nil {
		t.Errorf("Notify without a socket = %v, want nil", err)
	}
}

func TestTakeReportsWhatCannotBeUnset(t *testing.T) {
	failure := errors.New("no")
	_, err := Take(func(string) string { return "" }, func(string) error { return failure })
	if !errors.Is(err, failure) {
		t.Errorf("Take = %v, want %v", err, failure)
	}
}
