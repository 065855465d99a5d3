package supervisor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"devloop/internal/testkit"
)

// freeAddress returns one at which nothing listens, for a server with an address of
// its own.
func freeAddress(t *testing.T) string {
	t.Helper()
	addresses, err := ownAddresses(1)
	if err != nil {
		t.Fatal(err)
	}
	return addresses[0]
}

// in returns the settings of a mode.
func in(m Mode) func(*Supervisor) { return func(s *Supervisor) { s.Mode = m } }

// ways are servers of all kinds, and the modes that suit them.
func ways(t *testing.T) map[string]struct {
	set  func(*Supervisor)
	env  string
	args []string
	want Mode
} {
	fixed, guessed := freeAddress(t), freeAddress(t)
	return map[string]struct {
		set  func(*Supervisor)
		env  string
		args []string
		want Mode
	}{
		"socket":                {in(Socket), "X=1", nil, Socket},
		"socket, by itself":     {in(Auto), "X=1", nil, Socket},
		"forward":               {in(Forward), "SERVE=port", nil, Forward},
		"forward, by itself":    {in(Auto), "SERVE=port", nil, Forward},
		"forward, by argument":  {in(Auto), "SERVE=argument", []string{"{addr}"}, Forward},
		"forward, by variable":  {func(s *Supervisor) { s.Mode, s.Setenv = Auto, []string{"SERVE=:{port}"} }, "X=1", nil, Forward},
		"forward, asked a path": {func(s *Supervisor) { s.Mode, s.ReadyPath = Forward, "/" }, "SERVE=port", nil, Forward},
		"fixed":                 {func(s *Supervisor) { s.Mode, s.Backends = Fixed, []string{fixed} }, "SERVE=" + fixed, nil, Fixed},
		"fixed, by itself":      {in(Auto), "SERVE=" + guessed, nil, Fixed},
	}
}

// TestModes replaces servers of all kinds under load, which loses nothing.
func TestModes(t *testing.T) {
	testkit.NeedProc(t)
	for name, tt := range ways(t) {
		t.Run(name, func(t *testing.T) {
			h := startIn(t, tt.set)
			c := h.with(tt.env)
			c.Args = tt.args
			h.build("1")
			first := h.swap(c).PID
			if got := h.InMode(); got != tt.want {
				t.Fatalf("the mode is %s, want %s", got, tt.want)
			}
			if e := h.reports.all("chosen"); len(e) != 1 || !strings.HasPrefix(e[0].text, string(tt.want)+": ") {
				t.Errorf("Chosen%+v, want %s", e, tt.want)
			}
			load := testkit.StartLoad(t, h.address, 2)
			for i := range 5 {
				version := fmt.Sprint(2 - i%2)
				h.build(version)
				s := h.swap(c)
				h.serves(version, s.PID)
				before := load.Count()
				testkit.Eventually(t, "more requests", func() bool { return load.Count() > before+20 })
			}
			load.Stop()
			testkit.Eventually(t, "the end of the first process", func() bool { return testkit.Gone(first) })
			for _, kind := range []string{"crashed", "overran", "gave way", "stays", "restarted", "restart failed"} {
				if got := h.reports.all(kind); len(got) > 0 {
					t.Errorf("reports of %q: %+v, want none", kind, got)
				}
			}
		})
	}
}

// TestCrashInEachMode kills servers: requests wait for the next one.
func TestCrashInEachMode(t *testing.T) {
	for name, tt := range ways(t) {
		t.Run(name, func(t *testing.T) {
			h := startIn(t, tt.set)
			h.limits.probation = 0
			c := h.with(tt.env)
			c.Args = tt.args
			h.build("1")
			pid := h.swap(c).PID
			for i := range 2 {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				h.reports.wait(t, "crashed", i+1)
				h.serves("1", 0) // asked while nothing serves, most likely
				pid = h.reports.wait(t, "restarted", i+1).pid
				h.serves("1", pid)
			}
		})
	}
}

// TestFailingStartInEachMode has builds fail that replace a good one.
func TestFailingStartInEachMode(t *testing.T) {
	for name, tt := range ways(t) {
		t.Run(name, func(t *testing.T) {
			h := startIn(t, tt.set)
			c := h.with(tt.env)
			c.Args = tt.args
			h.build("1")
			h.swap(c)
			load := testkit.StartLoad(t, h.address, 1)
			h.build("2")
			bad := h.with(tt.env, "BEHAVIOUR=panic")
			bad.Args = tt.args
			for range 3 {
				if s, err := h.Swap(t.Context(), bad, true); err == nil || !strings.Contains(err.Error(), "ended before it was ready (exit status 2)") {
					t.Errorf("Swap to a build that panics = %+v, %v, want that it ended", s, err)
				}
				h.serves("1", h.Serving())
			}
			s := h.swap(c)
			h.serves("2", s.PID)
			load.Stop()
			for _, kind := range []string{"crashed", "overran", "restarted", "restart failed"} {
				if got := h.reports.all(kind); len(got) > 0 {
					t.Errorf("reports of %q: %+v, want none", kind, got)
				}
			}
		})
	}
}

// TestRollbackInEachMode crashes a build just after it took over.
func TestRollbackInEachMode(t *testing.T) {
	for _, name := range []string{"forward", "fixed"} {
		tt := ways(t)[name]
		t.Run(name, func(t *testing.T) {
			h := startIn(t, tt.set)
			h.limits.probation = time.Hour
			c := h.with(tt.env)
			h.build("1")
			h.swap(c)
			h.build("2")
			pid := h.swap(c).PID
			h.crash()
			if e := h.reports.wait(t, "crashed", 1); e.pid != pid || !e.rolledBack {
				t.Errorf("Crashed%+v, want pid %d, rolled back", e, pid)
			}
			h.serves("1", h.reports.wait(t, "restarted", 1).pid)
		})
	}
}

// TestMisplaced starts servers that cannot be reached: the error says why.
func TestMisplaced(t *testing.T) {
	testkit.NeedProc(t)
	elsewhere, other := freeAddress(t), freeAddress(t)
	port := func(address string) string { return fmt.Sprintf(":%d", portOf(address)) }
	tests := []struct {
		name  string
		set   func(*Supervisor)
		env   []string
		want  string
		waits bool // until the ready timeout
	}{
		{
			"ready on another socket", in(Socket),
			[]string{"SERVE=" + elsewhere, "TOO_EARLY=1"},
			"sent READY=1, but it does not accept on the socket for HELD that it inherits: it listens on " + port(elsewhere) + " instead", false,
		},
		{
			"on another address than its own", in(Forward),
			[]string{"SERVE=" + elsewhere},
			"it listens on " + port(elsewhere) + " instead", true,
		},
		{
			"on another address than -backend says", func(s *Supervisor) { s.Mode, s.Backends = Fixed, []string{other} },
			[]string{"SERVE=" + elsewhere},
			"it does not listen on " + other + "; it listens on " + port(elsewhere) + " instead", true,
		},
		{
			"on two others", in(Auto),
			[]string{"SERVE=" + elsewhere, "ALSO=" + other},
			"say with -backend where each -listen leads", false,
		},
		{
			"on the loop's", in(Auto),
			[]string{"SERVE=HELD"},
			"wants to listen on HELD, which devloop holds: give devloop another address", false,
		},
		{"nowhere", in(Auto), []string{"BEHAVIOUR=never-ready"}, "it listens nowhere: it may accept on the socket that it inherits, or listen on 127.0.0.1:", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := startIn(t, func(s *Supervisor) {
				tt.set(s)
				if tt.waits {
					s.ReadyTimeout = 6 * time.Second
				}
			})
			env := strings.Split(strings.ReplaceAll(strings.Join(tt.env, "\n"), "HELD", h.address), "\n")
			h.build("1")
			s, err := h.Swap(t.Context(), h.with(env...), true)
			start, ok := errors.AsType[*StartError](err)
			if want := strings.ReplaceAll(tt.want, "HELD", h.address); !ok || !strings.Contains(start.Reason, want) {
				t.Errorf("Swap = %+v, %v, want an error with: %s", s, err, want)
			}
			if e := h.reports.all("chosen"); len(e) > 0 {
				t.Errorf("Chosen%+v by a start that failed, want nothing", e)
			}
		})
	}
}

// TestSilentServer accepts on the inherited socket and never says READY=1.
func TestSilentServer(t *testing.T) {
	testkit.NeedProc(t)
	for _, m := range []Mode{Socket, Auto} {
		h := startIn(t, in(m))
		h.build("1")
		s := h.swap(h.with("BEHAVIOUR=silent"))
		h.serves("1", s.PID)
		if e := h.reports.wait(t, "chosen", 1); !strings.HasPrefix(e.text, "socket: ") || !strings.Contains(e.text, "sends no READY=1") {
			t.Errorf("Chosen(%s), want the mode socket and that READY=1 is missing", e.text)
		}
	}
}

// TestInheritedNames passes on the names of two sockets, and the process id.
func TestInheritedNames(t *testing.T) {
	testkit.NeedProc(t)
	h := startIn(t, func(s *Supervisor) { s.Names = []string{"web"} })
	h.build("1")
	pid := h.swap(h.command).PID
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=web", fmt.Sprintf("LISTEN_PID=%d", pid)} {
		if n := strings.Count("\x00"+string(environ), "\x00"+want+"\x00"); n != 1 {
			t.Errorf("the server's environment has %s %d times, want once", want, n)
		}
	}
	file, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || filepath.Dir(filepath.Dir(file)) != filepath.Dir(h.path) {
		t.Errorf("the process runs %s, %v, want the server's binary", file, err)
	}
}

func TestChoose(t *testing.T) {
	other := []uint16{3000}
	tests := []struct {
		s    sighting
		want Mode
	}{
		{sighting{wanted: 1}, ""},
		{sighting{wanted: 1, said: true}, ""},
		{sighting{wanted: 1, awaits: 1}, ""}, // it may be about to say so
		{sighting{wanted: 1, awaits: 1, said: true}, Socket},
		{sighting{wanted: 1, awaits: 1, since: unsaid}, Socket},
		{sighting{wanted: 1, awaits: 1, given: 1, said: true}, Socket},
		{sighting{wanted: 2, awaits: 1, said: true}, ""},
		{sighting{wanted: 2, awaits: 2, said: true}, Socket},
		{sighting{wanted: 1, given: 1}, Forward},
		{sighting{wanted: 1, given: 1, others: other}, Forward}, // and one for metrics, perhaps
		{sighting{wanted: 2, given: 1, since: time.Hour}, ""},
		{sighting{wanted: 2, given: 2}, Forward},
		{sighting{wanted: 1, others: other}, ""}, // it may listen on more soon
		{sighting{wanted: 1, others: other, since: settle}, Fixed},
		{sighting{wanted: 1, others: other, said: true}, Fixed},
		{sighting{wanted: 1, awaits: 1, others: other, said: true}, Socket},
	}
	for _, tt := range tests {
		if got := choose(tt.s); got != tt.want {
			t.Errorf("choose(%+v) = %q, want %q", tt.s, got, tt.want)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	r := placeholders([]string{"127.0.0.1:20001", "127.0.0.1:20002"})
	for text, want := range map[string]string{
		"-addr={addr}": "-addr=127.0.0.1:20001", ":{port}": ":20001", "{host}": "127.0.0.1",
		"{addr2} {port2} {host2}": "127.0.0.1:20002 20002 127.0.0.1",
		"{addr3} {} {Addr}":       "{addr3} {} {Addr}",
	} {
		if got := r.Replace(text); got != want {
			t.Errorf("%s is filled in as %s, want %s", text, got, want)
		}
	}
}

func TestTakenByLoop(t *testing.T) {
	held := []string{"127.0.0.1:8080", "[::]:80"}
	for line, want := range map[string]string{
		"listen tcp :8080: bind: address already in use":          "127.0.0.1:8080",
		"listen tcp 127.0.0.1:8080: bind: address already in use": "127.0.0.1:8080",
		"listen tcp :80: bind: address already in use":            "[::]:80",
		"listen tcp :9090: bind: address already in use":          "",
		"listen tcp :8080: bind: permission denied":               "",
	} {
		if got := takenByLoop([]string{"hello", line}, held); got != want {
			t.Errorf("takenByLoop(%s) = %q, want %q", line, got, want)
		}
	}
}

func TestOwnAddresses(t *testing.T) {
	got, err := ownAddresses(3)
	if err != nil || len(got) != 3 || got[0] == got[1] || got[1] == got[2] {
		t.Fatalf("ownAddresses(3) = %v, %v, want three", got, err)
	}
	for _, address := range got {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Errorf("listen on an own address: %v", err)
			continue
		}
		l.Close()
	}
}
