package systemd

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
)

// TestMain is also the process that inherits a socket.
func TestMain(m *testing.M) {
	if os.Getenv("SYSTEMD_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	if pid := os.Getenv("LISTEN_PID"); pid == "self" {
		_ = os.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	}
	env, err := Take(os.Getenv, os.Unsetenv)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET"} {
		if _, ok := os.LookupEnv(name); ok {
			fmt.Println(name, "is still set")
		}
	}
	ln, err := env.Listener()
	switch {
	case err != nil:
		fmt.Println("error:", err)
	case ln == nil:
		fmt.Println("none")
	default:
		fmt.Println(ln.Addr())
		// A process that is started now must not get the socket.
		list, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
		if err == nil && strings.Contains(string(list), "socket:") {
			fmt.Printf("a child has the socket:\n%s", list)
		}
	}
}

// child runs this program with a descriptor 3 and returns what it prints.
func child(t *testing.T, file *os.File, env ...string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), append(env, "SYSTEMD_TEST_CHILD=1")...)
	if file != nil {
		cmd.ExtraFiles = []*os.File{file}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("child with %q: %v\n%s", env, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	plain, err := os.Create(filepath.Join(t.TempDir(), "plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()

	tests := []struct {
		file *os.File
		env  []string
		want string
	}{
		{socket, []string{"LISTEN_FDS=1"}, ln.Addr().String()},
		{socket, []string{"LISTEN_FDS=1", "LISTEN_PID=self"}, ln.Addr().String()},
		{socket, []string{"LISTEN_FDS=1", "LISTEN_PID=1"}, "none"},
		{socket, nil, "none"},
		{socket, []string{"LISTEN_FDS="}, "none"},
		{socket, []string{"LISTEN_FDS=2"}, `error: LISTEN_FDS="2" is not accepted: pass exactly one socket`},
		{socket, []string{"LISTEN_FDS=x"}, `error: LISTEN_FDS="x" is not accepted: pass exactly one socket`},
		{plain, []string{"LISTEN_FDS=1"}, "error: LISTEN_FDS=1, but descriptor 3 is not a listening socket"},
		{nil, []string{"LISTEN_FDS=1"}, "error: LISTEN_FDS=1, but descriptor 3 is not a listening socket"},
	}
	for _, tt := range tests {
		if got := child(t, tt.file, tt.env...); got != tt.want && !strings.HasPrefix(got, tt.want+":") {
			t.Errorf("Listener with %q = %s, want %s", tt.env, got, tt.want)
		}
	}
}

func TestNotify(t *testing.T) {
	names := []string{filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		names = append(names, fmt.Sprintf("@workspace-server-test-%d", os.Getpid()))
	}
	for _, name := range names {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		if err := (Environment{notify: name}).Notify(Ready); err != nil {
			t.Errorf("Notify to %s = %v", name, err)
		}
		buf := make([]byte, 100)
		if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
			t.Errorf("Notify to %s sent %q, %v, want READY=1", name, buf[:n], err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if err := (Environment{notify: name}).Notify(Stopping); err == nil {
			t.Errorf("Notify to %s, which no process reads, = nil, want an error", name)
		}
	}
	if err := (Environment{}).Notify(Ready); err != nil {
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
