package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// environment has a runtime directory of the test's own.
func environment(t *testing.T) func(string) string {
	dir := testkit.ShortDir(t)
	return func(name string) string {
		if name == "XDG_RUNTIME_DIR" {
			return dir
		}
		return ""
	}
}

func claim(t *testing.T, getenv func(string) string, root string) *Place {
	t.Helper()
	p, err := Claim(getenv, root)
	if err != nil {
		t.Fatalf("Claim(%s) = %v", root, err)
	}
	t.Cleanup(p.Release)
	return p
}

// serveAt answers at a place until the test ends.
func serveAt(t *testing.T, p *Place, handle func(context.Context, Request) Reply) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", p.Socket())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Serve(ctx, l, handle)
	}()
	t.Cleanup(func() {
		cancel()
		l.Close()
		testkit.Within(t, "the end of Serve", done)
	})
	return l
}

func TestClaimTwice(t *testing.T) {
	getenv := environment(t)
	p := claim(t, getenv, "/somewhere")
	_, err := Claim(getenv, "/somewhere")
	want := fmt.Sprintf("a loop runs in /somewhere already (process %d): stop that one first", os.Getpid())
	if err == nil || err.Error() != want {
		t.Errorf("second Claim = %v, want %s", err, want)
	}
	other := claim(t, getenv, "/elsewhere")
	if other.Dir == p.Dir {
		t.Errorf("two roots share %s", p.Dir)
	}
	p.Release()
	again := claim(t, getenv, "/somewhere")
	again.Release()
	other.Release()
	if left, _ := os.ReadDir(getenv("XDG_RUNTIME_DIR")); len(left) > 0 {
		t.Errorf("left after Release: %v", left)
	}
}

// TestClaimsAtOnce has many loops start and end in one directory: never may two
// of them have it.
func TestClaimsAtOnce(t *testing.T) {
	getenv := environment(t)
	var owners, claims atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				p, err := Claim(getenv, "/somewhere")
				if err != nil {
					if !strings.Contains(err.Error(), "a loop runs in /somewhere already") {
						t.Errorf("Claim = %v, want it or its owner", err)
					}
					continue
				}
				if n := owners.Add(1); n != 1 {
					t.Errorf("%d owners at once", n)
				}
				l, err := net.Listen("unix", p.Socket())
				if err != nil {
					t.Errorf("listen in a claimed place: %v", err)
				} else {
					l.Close()
				}
				claims.Add(1)
				owners.Add(-1)
				p.Release()
			}
		})
	}
	wg.Wait()
	if claims.Load() == 0 {
		t.Error("no one got the place")
	}
}

// TestClaimAfterKill finds what a loop left that had no time to clean up.
func TestClaimAfterKill(t *testing.T) {
	getenv := environment(t)
	dir := dirFor(getenv, "/somewhere")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"control", "notify-1", "notify-2"} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name)})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	if err := os.WriteFile(filepath.Join(dir, "lock"), []byte("123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Call(t.Context(), getenv, "/somewhere", Request{Op: Status}); !errors.Is(err, ErrNoLoop) {
		t.Errorf("Call to a killed loop = %v, want %v", err, ErrNoLoop)
	}
	p := claim(t, getenv, "/somewhere")
	entries, err := os.ReadDir(p.Dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left of the killed loop: %v, %v, want the lock alone", entries, err)
	}
	if got, _ := os.ReadFile(filepath.Join(p.Dir, "lock")); string(got) != strconv.Itoa(os.Getpid()) {
		t.Errorf("the lock names process %q, want this one", got)
	}
	serveAt(t, p, func(context.Context, Request) Reply { return Reply{} })
	if _, err := Call(t.Context(), getenv, "/somewhere", Request{}); err != nil {
		t.Errorf("Call to the next loop = %v", err)
	}
}

func TestClaimRefusesForeignDirectories(t *testing.T) {
	base := func(dir string) string { return filepath.Join(dir, "devloop-"+strconv.Itoa(os.Getuid())) }
	mkdir := func(mode os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Mkdir(base(dir), mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(base(dir), mode); err != nil { // whatever the umask is
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string)
	}{
		{"readable by all", mkdir(0o755)},
		{"writable by all", mkdir(0o777)},
		{"open to the group", mkdir(0o710)},
		{"another user's", func(t *testing.T, dir string) {
			mkdir(0o700)(t, dir)
			if err := os.Chown(base(dir), 12345, -1); err != nil {
				t.Skip("needs root to give a directory away")
			}
		}},
		{"a link", func(t *testing.T, dir string) {
			if err := os.Symlink(t.TempDir(), base(dir)); err != nil {
				t.Fatal(err)
			}
		}},
		{"a link to nowhere", func(t *testing.T, dir string) {
			if err := os.Symlink(filepath.Join(dir, "nowhere"), base(dir)); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file", func(t *testing.T, dir string) {
			if err := os.WriteFile(base(dir), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			getenv := environment(t)
			dir := getenv("XDG_RUNTIME_DIR")
			tt.prepare(t, dir)
			p, err := Claim(getenv, "/somewhere")
			if want := base(dir) + " is not a private directory of this user"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Claim = %v, %v, want %s", p, err, want)
			}
		})
	}
}

func TestLongRoot(t *testing.T) {
	getenv := environment(t)
	root := "/" + strings.Repeat("long/", 500)
	p := claim(t, getenv, root)
	serveAt(t, p, func(context.Context, Request) Reply { return Reply{Code: 7} })
	reply, err := Call(t.Context(), getenv, root, Request{})
	if err != nil || reply.Code != 7 {
		t.Errorf("Call = %+v, %v, want code 7", reply, err)
	}
}

func TestCall(t *testing.T) {
	getenv := environment(t)
	request := Request{Op: Build, Dir: "/a/b", Args: []string{"-o", "x y", "ü\n"}, Env: []string{"A=1"}}
	answer := Reply{Code: 3, Error: "no", State: &State{PID: 1, Listen: []string{"x"}}}
	var got Request
	serveAt(t, claim(t, getenv, "/a"), func(_ context.Context, r Request) Reply {
		got = r
		return answer
	})
	for _, dir := range []string{"/a", "/a/b", "/a/b/c/d"} {
		reply, err := Call(t.Context(), getenv, dir, request)
		if err != nil || !reflect.DeepEqual(reply, answer) || !reflect.DeepEqual(got, request) {
			t.Errorf("Call from %s = %+v, %v after %+v, want %+v after %+v", dir, reply, err, got, answer, request)
		}
	}
	for _, dir := range []string{"/", "/ab", "/b/a"} {
		if reply, err := Call(t.Context(), getenv, dir, request); !errors.Is(err, ErrNoLoop) {
			t.Errorf("Call from %s = %+v, %v, want %v", dir, reply, err, ErrNoLoop)
		}
	}
	// A loop that was killed in a directory below does not hide this one.
	stale := claim(t, getenv, "/a/b")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale.Socket()})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := Call(t.Context(), getenv, "/a/b", request); err != nil {
		t.Errorf("Call past a stale socket = %v", err)
	}
}

// TestSenderGoesAway has the request's context end with the sender's.
func TestSenderGoesAway(t *testing.T) {
	getenv := environment(t)
	asked, ended := make(chan struct{}), make(chan struct{})
	serveAt(t, claim(t, getenv, "/a"), func(ctx context.Context, _ Request) Reply {
		close(asked)
		<-ctx.Done()
		close(ended)
		return Reply{}
	})
	errStop := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	called := make(chan error)
	go func() {
		_, err := Call(ctx, getenv, "/a", Request{Op: Run})
		called <- err
	}()
	testkit.Within(t, "the request", asked)
	cancel(errStop)
	if err := testkit.Within(t, "the end of Call", called); !errors.Is(err, errStop) {
		t.Errorf("Call = %v, want %v", err, errStop)
	}
	testkit.Within(t, "the end of the request", ended)
}

// TestLoopGoesAway must not look as if there were no loop: devloop run would
// start the server itself.
func TestLoopGoesAway(t *testing.T) {
	getenv := environment(t)
	p := claim(t, getenv, "/a")
	l, err := net.Listen("unix", p.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	asked, answered := make(chan struct{}), make(chan struct{})
	go Serve(ctx, l, func(ctx context.Context, _ Request) Reply {
		defer close(answered)
		close(asked)
		<-ctx.Done()
		return Reply{}
	})
	called := make(chan error)
	go func() {
		_, err := Call(context.Background(), getenv, "/a", Request{Op: Run})
		called <- err
	}()
	testkit.Within(t, "the request", asked)
	cancel()
	if err := testkit.Within(t, "the end of Call", called); err != nil && !errors.Is(err, ErrEnded) {
		t.Errorf("Call = %v, want %v or the answer", err, ErrEnded)
	}
	testkit.Within(t, "the answer", answered)
}

// TestJunk sends what no command sends.
func TestJunk(t *testing.T) {
	getenv := environment(t)
	p := claim(t, getenv, "/a")
	handled := make(chan Request, 10)
	serveAt(t, p, func(_ context.Context, r Request) Reply {
		handled <- r
		return Reply{}
	})
	for _, junk := range []string{"", "\n", "GET / HTTP/1.1\r\n\r\n", "{", "[]\n", `{"Op": 7}` + "\n", strings.Repeat("x", 1<<20), "\x00\xff"} {
		conn, err := net.Dial("unix", p.Socket())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(junk)) // it may be refused half-way
		if err := conn.(*net.UnixConn).CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
			t.Errorf("the answer to %.20q is %q, want none", junk, line)
		}
		conn.Close()
	}
	select {
	case r := <-handled:
		t.Errorf("junk was taken for %+v", r)
	default:
	}
	if _, err := Call(t.Context(), getenv, "/a", Request{Op: Status}); err != nil {
		t.Errorf("Call after junk = %v", err)
	}
}
