package listener

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"devloop/internal/testkit"
)

func TestMain(m *testing.M) {
	if os.Getenv("HELPER") == "inherit" {
		inherit()
	}
	testkit.Main(m)
}

// inherit is a program that takes the listener as any Go server does, answers
// one connection and ends.
func inherit() {
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		panic(err)
	}
	conn, err := l.Accept()
	if err != nil {
		panic(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		panic(err)
	}
	if err := conn.Close(); err != nil {
		panic(err)
	}
	os.Exit(0)
}

func open127(t *testing.T) *Sockets {
	t.Helper()
	s, err := Open(t.Context(), []string{"127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// blocking reports the mode of the open file without changing it, as
// os.File.Fd may.
func blocking(t *testing.T, f *os.File) bool {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var flags uintptr
	var errno syscall.Errno
	if err := raw.Control(func(fd uintptr) {
		flags, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
	}); err != nil || errno != 0 {
		t.Fatal(err, errno)
	}
	return flags&syscall.O_NONBLOCK == 0
}

// TestStaysNonBlocking passes the socket on: os/exec takes the descriptor from
// the os.File, which for most files turns on blocking mode, for all processes.
func TestStaysNonBlocking(t *testing.T) {
	s := open127(t)
	if blocking(t, s.Files()[0]) {
		t.Fatal("the socket is in blocking mode from the start")
	}
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "HELPER=inherit", "GORACE=atexit_sleep_ms=0")
		cmd.ExtraFiles = s.Files()
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if blocking(t, s.Files()[0]) {
			t.Error("starting a child turned on blocking mode")
		}
		conn, err := net.Dial("tcp", s.Addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 10)
		if n, err := conn.Read(buf); string(buf[:n]) != "hello" {
			t.Errorf("the child answered %q, %v, want hello", buf[:n], err)
		}
		conn.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the child: %v", err)
		}
		if blocking(t, s.Files()[0]) {
			t.Error("the child left the socket in blocking mode")
		}
	}
}

// TestBlockedAcceptEnds turns on blocking mode while a program accepts, as the
// start of another one does for a moment.
func TestBlockedAcceptEnds(t *testing.T) {
	s := open127(t)
	l, err := net.FileListener(s.Files()[0])
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Files()[0].SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.SetNonblock(int(fd), false) }); err != nil {
		t.Fatal(err)
	}
	accepting := make(chan struct{})
	accepted := make(chan error)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			conn.Close()
			close(accepting)
			_, err = l.Accept() // blocks in the kernel, since the mode is read at each call
		}
		accepted <- err
	}()
	conn, err := net.Dial("tcp", s.Addresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	testkit.Within(t, "an accepted connection", accepting)
	closed := make(chan error)
	go func() { closed <- l.Close() }()
	if err := testkit.Within(t, "the listener's Close", closed); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if err := testkit.Within(t, "the end of Accept", accepted); err == nil {
		t.Error("Accept() = nil, want an error")
	}
}

// TestQueueSurvives connects while no one accepts.
func TestQueueSurvives(t *testing.T) {
	s := open127(t)
	conn, err := net.Dial("tcp", s.Addresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, err := net.FileListener(s.Files()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if got.RemoteAddr().String() != conn.LocalAddr().String() {
		t.Errorf("accepted %v, want %v", got.RemoteAddr(), conn.LocalAddr())
	}
}

func TestOpen(t *testing.T) {
	before := testkit.FDs(t)
	s, err := Open(t.Context(), []string{"127.0.0.1:0", "localhost:0", ":0"})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(s.Files()); got != 3 {
		t.Errorf("len(Files()) = %d, want 3", got)
	}
	for i, address := range s.Addresses() {
		_, port, err := net.SplitHostPort(address)
		if err != nil || port == "0" {
			t.Errorf("Addresses()[%d] = %s, want a real port", i, address)
		}
	}
	first := s.Addresses()[0]

	_, err = Open(t.Context(), []string{"127.0.0.1:0", first})
	if err == nil || !strings.Contains(err.Error(), first+" is in use") {
		t.Errorf("Open of a taken address = %v, want an error that says so", err)
	}
	for _, bad := range []string{"127.0.0.1:99999", "nowhere.invalid:1", "192.0.2.1:80"} {
		if s, err := Open(t.Context(), []string{"127.0.0.1:0", bad}); err == nil {
			s.Close()
			t.Errorf("Open(%s) = nil, want an error", bad)
		}
	}
	s.Close()
	s.Close()
	if l, err := net.Listen("tcp", first); err != nil {
		t.Errorf("listen on %s after Close = %v", first, err)
	} else {
		l.Close()
	}
	if after := testkit.FDs(t); len(after) > len(before) {
		t.Errorf("descriptors left: %v, want %v", after, before)
	}
}
