package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"workspace-server/internal/bootstrap"
	"workspace-server/internal/config"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/testkit"
	"workspace-server/internal/token"
)

// TestMain is also the program, when a test or the program itself starts it.
func TestMain(m *testing.M) {
	if os.Getenv("WORKSPACE_SERVER_TEST_RUN") == "1" || len(os.Args) > 1 && (os.Args[1] == "keeper" || os.Args[1] == "agent") {
		main()
		return
	}
	testkit.Main(m)
}

// command runs the program with these settings alone.
func command(t testing.TB, args []string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	// The race detector would let each process linger for a second at its end.
	cmd.Env = append(env, "WORKSPACE_SERVER_TEST_RUN=1", "GOCOVERDIR="+t.TempDir(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

func settings(database storetest.Database) []string {
	return []string{
		"DATABASE_URL=" + database.URL, "STATE_DIRECTORY=" + database.Dir, "WATCH_RELOAD=1",
		"LISTEN_ADDR=127.0.0.1:0", "TEMPLATES_DIR=" + filepath.Join("..", "..", "templates"),
		"PLUGINS_DIR=" + filepath.Join("..", "..", "plugins"),
	}
}

// process is a server that was started as a service manager starts one.
type process struct {
	t       testing.TB
	cmd     *exec.Cmd
	notices *net.UnixConn
	log     *testkit.Buffer
	done    chan struct{}
	err     error // of the process, once done is closed
}

// start starts a server on a copy of ln and waits until it is ready.
func start(t testing.TB, ln *net.TCPListener, database storetest.Database, env ...string) *process {
	t.Helper()
	p := startOnly(t, ln, database, env...)
	p.wantNotice("READY=1")
	return p
}

func startOnly(t testing.TB, ln *net.TCPListener, database storetest.Database, env ...string) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "ws") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "notify")
	notices, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	p := &process{t: t, notices: notices, log: &testkit.Buffer{}, done: make(chan struct{})}
	p.cmd = command(t, nil, append(settings(database), append(env, "LISTEN_FDS=1", "NOTIFY_SOCKET="+name)...)...)
	p.cmd.ExtraFiles = []*os.File{socket}
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
		// A test that waits for another notice must not wait for ever.
		if end, err := net.Dial("unixgram", name); err == nil {
			_, _ = io.WriteString(end, "the process ended")
			_ = end.Close()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		_ = notices.Close()
		_ = os.RemoveAll(dir)
	})
	return p
}

func (p *process) wantNotice(want string) {
	p.t.Helper()
	buf := make([]byte, 100)
	n, err := p.notices.Read(buf)
	if err != nil || string(buf[:n]) != want {
		p.t.Fatalf("notice %q, %v, want %s; the server's log:\n%s", buf[:n], err, want, p.log)
	}
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal: %v; the server's log:\n%s", err, p.log)
	}
}

// stop stops the server as a service manager does.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.wantNotice("STOPPING=1")
	<-p.done
	if p.err != nil {
		p.t.Errorf("the server ends with %v; its log:\n%s", p.err, p.log)
	}
}

func listenLoopback(t testing.TB) (*net.TCPListener, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.(*net.TCPListener), "http://" + ln.Addr().String()
}

// authorization returns the header of a server's first administrator.
func authorization(t *testing.T, database storetest.Database) string {
	t.Helper()
	secret, err := os.ReadFile(filepath.Join(database.Dir, bootstrap.File))
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + strings.TrimSpace(string(secret))
}

func TestVerbs(t *testing.T) {
	state := "STATE_DIRECTORY=" + t.TempDir()
	tests := []struct {
		args []string
		env  []string
		code int
		out  string // part of it
		err  string // part of it
	}{
		{[]string{"-h"}, nil, 0, "Usage: workspace-server [verb]", ""},
		{[]string{"help"}, []string{"ENV=prod"}, 0, config.Table(), ""},
		{[]string{"version"}, nil, 0, build()[:4], ""},
		{[]string{"srve"}, nil, 1, "", `unknown verb "srve": workspace-server -h lists the verbs`},
		{[]string{"token"}, nil, 1, "", `unknown verb "token"`},
		{[]string{"token", "make"}, nil, 1, "", `unknown verb "token make"`},
		{[]string{"token", "create", "-h"}, []string{state}, 0, "", "-workspace"},
		{[]string{"token", "create", "-rle=x"}, []string{state}, 1, "", "workspace-server token create -h lists the flags"},
		{[]string{"token", "create", "admin"}, []string{state}, 1, "", `unexpected argument "admin"`},
		{[]string{"token", "create", "-role=root"}, []string{state}, 1, "", "role must be admin or workspace"},
		{[]string{"token", "create", "-role=workspace"}, []string{state}, 1, "", "needs the id of its workspace"},
		{[]string{"token", "create", "-role=workspace", "-workspace=ws_none"}, []string{state}, 1, "", `There is no workspace "ws_none"`},
		{[]string{"agent", "x"}, nil, 1, "", `unexpected argument "x" after agent`},
		{[]string{"agent"}, []string{"WORKSPACE_TOKEN=a b"}, 1, "", "WORKSPACE_ID is missing: set it to the workspace's id"},
		{[]string{"keeper"}, nil, 1, "", "only the server runs this verb: start a workspace, and it starts the keeper"},
		{[]string{"keep"}, nil, 1, "", `unknown verb "keep"`},
		{[]string{"ws"}, nil, 2, "", "Usage: workspace-server ws VERB"},
		{[]string{"ws", "--help"}, []string{"ENV=prod"}, 0, config.ClientTable(), ""},
		{[]string{"version", "1"}, nil, 1, "", `unexpected argument "1" after version`},
		{[]string{"serve", "--port=1"}, nil, 1, "", `unexpected argument "--port=1" after serve`},
		{nil, []string{state, "ENV=prod", "LOG_LEVEL=loud"}, 1, "", "ENV=\"prod\" is not accepted: did you mean production?"},
		{[]string{"migrate"}, []string{"ENV=prod", state}, 1, "", "did you mean production?"},
		{[]string{"healthcheck"}, []string{"LISTEN_ADDR=127.0.0.1:1", state}, 1, "", "not ready: "},
		{[]string{"serve"}, []string{state, "LISTEN_FDS=1"}, 1, "", "descriptor 3 is not a listening socket"},
	}
	for _, tt := range tests {
		cmd := command(t, tt.args, tt.env...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(stdout.String(), tt.out) || !strings.Contains(stderr.String(), tt.err) {
			t.Errorf("workspace-server %q with %q: %v\nstdout: %s\nstderr: %s\nwant exit code %d, %q, %q",
				tt.args, tt.env, err, &stdout, &stderr, tt.code, tt.out, tt.err)
		}
	}
}

// A running server accepts a token of the command at once.
func TestTokenVerb(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ln, url := listenLoopback(t)
		p := start(t, ln, database)
		cmd := command(t, []string{"token", "create", "-name", "CI", "-expires", "1h"}, settings(database)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("token create: %v\n%s", err, &stderr)
		}
		c := &clients{url: url, authorization: "Bearer " + strings.TrimSpace(string(out))}
		var self token.Token
		if err := c.call(http.DefaultClient, "GET", "/v1/tokens/self", "", 200, &self); err != nil || self.Name != "CI" || self.Role != token.Admin || self.Expires == 0 {
			t.Errorf("GET /v1/tokens/self = %+v, %v, want the administrator's token that was made", self, err)
		}
		http.DefaultClient.CloseIdleConnections()
		p.stop()
		if log := p.log.String(); !strings.Contains(log, filepath.Join(database.Dir, bootstrap.File)) {
			t.Errorf("the server does not say where the first token is; its log:\n%s", log)
		}
	})
}

// RATE_LIMIT reaches the API.
func TestRateLimit(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ln, url := listenLoopback(t)
		p := start(t, ln, database, "RATE_LIMIT=1")
		got := map[int]int{} // answers by their status
		for got[http.StatusTooManyRequests] == 0 && got[http.StatusOK] < 100 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/tokens/self", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", authorization(t, database))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			got[resp.StatusCode]++
		}
		if got[http.StatusOK] < 2 || got[http.StatusTooManyRequests] != 1 || len(got) != 2 {
			t.Errorf("with RATE_LIMIT=1 the answers are %v, want 429 after two or a few more", got)
		}
		http.DefaultClient.CloseIdleConnections()
		p.stop()
	})
}

// What a browser can read without a token holds none.
func TestPublicPagesHoldNoToken(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ln, url := listenLoopback(t)
		p := start(t, ln, database)
		secret := strings.TrimPrefix(authorization(t, database), "Bearer ")
		for _, path := range []string{"/", "/healthz", "/readyz", "/openapi.json", "/docs", "/metrics", "/v1/tokens", "/v1/tokens/self"} {
			resp, err := http.Get(url + path)
			if err != nil {
				t.Fatal(err)
			}
			var answer bytes.Buffer
			if err := errors.Join(resp.Write(&answer), resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(answer.String(), secret) || answer.Len() == 0 {
				t.Errorf("GET %s without a token answers with %d bytes, which hold the administrator's: %v", path, answer.Len(), strings.Contains(answer.String(), secret))
			}
		}
		http.DefaultClient.CloseIdleConnections()
		p.stop()
	})
}

func TestMigrateVerb(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		for i, want := range []string{"applied a migration", "the schema is up to date"} {
			out, err := command(t, []string{"migrate"}, settings(database)...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("migrate, run %d: %v\n%swant %q", i+1, err, out, want)
			}
		}
	})
}

func TestServeOnItsOwnAddress(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		taken, _ := listenLoopback(t)
		env := append(settings(database), "WATCH_RELOAD=0", "ENV=development")
		out, err := command(t, nil, append(env, "LISTEN_ADDR="+taken.Addr().String())...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "address already in use") {
			t.Errorf("serve on a taken address: %v\n%s", err, out)
		}

		cmd := command(t, []string{"serve"}, env...)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		lines := bufio.NewScanner(io.TeeReader(stderr, &log))
		port := ""
		for port == "" && lines.Scan() {
			if _, rest, ok := strings.Cut(lines.Text(), "url=http://127.0.0.1:"); ok {
				port, _, _ = strings.Cut(rest, " ")
			}
		}
		for _, host := range []string{"127.0.0.1", "0.0.0.0", ""} {
			check := command(t, []string{"healthcheck"}, append(env, "LISTEN_ADDR="+host+":"+port)...)
			if out, err := check.CombinedOutput(); err != nil || !strings.Contains(string(out), `"status":"ok"`) {
				t.Errorf("healthcheck of %s:%s: %v\n%s", host, port, err, out)
			}
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			continue // to the end of the log
		}
		if err := lines.Err(); err != nil {
			t.Errorf("read the log: %v", err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ends with %v; its log:\n%s", err, &log)
		}
	})
}

// A second signal ends the process, however long the first would take.
func TestSecondSignalIsHard(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ln, _ := listenLoopback(t)
		p := start(t, ln, database, "DRAIN_TIMEOUT=10m")
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		// A body that never ends holds the server until the body's own limit.
		if _, err := io.WriteString(nc, "POST /v1/workspaces HTTP/1.1\r\nHost: x\r\nAuthorization: "+authorization(t, database)+"\r\nContent-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Read(make([]byte, 1)); err != nil { // 100 Continue: it is being read
			t.Fatal(err)
		}
		p.signal(syscall.SIGTERM)
		p.wantNotice("STOPPING=1")
		p.signal(syscall.SIGTERM)
		<-p.done
		if p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(p.log.String(), "a second signal ended it at once") {
			t.Errorf("after a second SIGTERM the server ends with %v, want exit code 1; its log:\n%s", p.err, p.log)
		}
	})
}

func TestDrainTimeoutCuts(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ln, _ := listenLoopback(t)
		p := start(t, ln, database, "DRAIN_TIMEOUT=50ms")
		send := func(text string) net.Conn {
			t.Helper()
			nc, err := net.Dial("tcp", ln.Addr().String())
			if err == nil {
				t.Cleanup(func() { _ = nc.Close() })
				_, err = io.WriteString(nc, text)
			}
			if err != nil {
				t.Fatal(err)
			}
			return nc
		}
		send("GET /healthz HTTP/1.1\r\n")
		// Connections are accepted in order, so that one is once another has been
		// answered, which the server closes.
		other := send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if _, err := io.Copy(io.Discard, other); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGTERM)
		<-p.done
		if p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(p.log.String(), "1 connections were cut") {
			t.Errorf("the server ends with %v, want exit code 1 and what was cut; its log:\n%s", p.err, p.log)
		}
	})
}
