package supervisor

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"devloop/internal/testkit"
)

// TestLongRequest replaces a process that has a request for longer than it may
// take to stop: it stays until that is answered.
func TestLongRequest(t *testing.T) {
	testkit.NeedProc(t)
	tests := []struct {
		mode Mode
		env  string
		has  Load
	}{
		{Socket, "X=1", Load{Connections: 1}},
		{Forward, "SERVE=port", Load{Requests: 1}},
	}
	for _, tt := range tests {
		t.Run(string(tt.mode), func(t *testing.T) {
			h := startIn(t, func(s *Supervisor) {
				s.Mode, s.DrainTimeout, s.StopTimeout = tt.mode, time.Hour, time.Second
			})
			testkit.Server(t, "2") // which takes its time
			h.build("1")
			pid := h.swap(h.with(tt.env)).PID
			finish := h.upload()
			h.build("2")
			s := h.swap(h.with(tt.env))
			h.serves("2", s.PID)
			if e := h.reports.wait(t, "stays", 1); e.pid != pid || e.load != tt.has.String() {
				t.Errorf("Stays%+v, want pid %d for %v", e, pid, tt.has)
			}
			old := h.Old()
			if len(old) != 1 || old[0].PID != pid || old[0].Load != tt.has || time.Until(old[0].Until) < 50*time.Minute {
				t.Errorf("Old() = %+v, want pid %d with %v for about an hour", old, pid, tt.has)
			}
			if err := finish(); err != nil {
				t.Errorf("the long request: %v", err)
			}
			testkit.Eventually(t, "the end of the old process", func() bool { return testkit.Gone(pid) && len(h.Old()) == 0 })
			for _, e := range h.reports.all("overran") {
				if e.load != "" {
					t.Errorf("Overran%+v, want nothing cut", e)
				}
			}
		})
	}
}

// upload begins a request that the serving process has once upload returns. Finish
// ends it and returns what became of it.
func (h *harness) upload() (finish func() error) {
	h.t.Helper()
	body, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Post("http://"+h.address+"/", "text/plain", body)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		body.Close()
		done <- err
	}()
	if _, err := io.WriteString(w, "first"); err != nil {
		h.t.Fatal(err)
	}
	testkit.Eventually(h.t, "a request at the serving process", func() bool {
		h.mu.Lock()
		p, way := h.serving, h.way
		h.mu.Unlock()
		return way.load(p) != (Load{})
	})
	return func() error {
		w.Close()
		return testkit.Within(h.t, "the answer to an upload", done)
	}
}

// TestEndlessRequest cuts what a replaced process has after the drain timeout.
func TestEndlessRequest(t *testing.T) {
	h := startIn(t, func(s *Supervisor) {
		s.Mode, s.DrainTimeout, s.StopTimeout = Forward, 300*time.Millisecond, time.Minute
	})
	h.build("1")
	pid := h.swap(h.with("SERVE=port")).PID
	held := testkit.Hold(t, h.address, time.Hour)
	h.build("2")
	s := h.swap(h.with("SERVE=port"))
	if e := h.reports.wait(t, "overran", 1); e.pid != pid || e.load != "1 request" || e.wait != h.DrainTimeout {
		t.Errorf("Overran%+v, want pid %d with 1 request after %v", e, pid, h.DrainTimeout)
	}
	if err := testkit.Within(t, "the endless request", held); err == nil {
		t.Error("the endless request was answered, want it cut")
	}
	testkit.Eventually(t, "the end of the old process", func() bool { return testkit.Gone(pid) })
	h.serves("2", s.PID)
}

// TestTooManyOld keeps so many processes busy that the oldest must go.
func TestTooManyOld(t *testing.T) {
	h := startIn(t, func(s *Supervisor) {
		s.Mode, s.DrainTimeout, s.StopTimeout = Forward, time.Hour, 50*time.Millisecond
	})
	h.build("1")
	var pids []int
	var held []<-chan error
	for i := range maxOld + 2 {
		pids = append(pids, h.swap(h.with("SERVE=port", fmt.Sprint("X=", i))).PID)
		held = append(held, testkit.Hold(t, h.address, time.Hour))
		if i > 0 && i <= maxOld {
			h.reports.wait(t, "stays", i)
		}
	}
	if e := h.reports.wait(t, "gave way", 1); e.pid != pids[0] || e.load != "1 request" {
		t.Errorf("GaveWay%+v, want pid %d with 1 request", e, pids[0])
	}
	if err := testkit.Within(t, "the request of the oldest", held[0]); err == nil {
		t.Error("the request of the oldest was answered, want it cut")
	}
	testkit.Eventually(t, "four old processes", func() bool { return len(h.Old()) == maxOld })
	for _, pid := range pids[1:] {
		if testkit.Gone(pid) {
			t.Errorf("process %d has ended, want only the oldest ended", pid)
		}
	}
}

// TestHeldWhileFixed has a request finish before its process is replaced, and
// others wait.
func TestHeldWhileFixed(t *testing.T) {
	address := freeAddress(t)
	h := startIn(t, func(s *Supervisor) { s.Mode, s.Backends = Fixed, []string{address} })
	testkit.Server(t, "2")
	h.build("1")
	h.swap(h.with("SERVE=" + address))
	finish := h.upload()
	h.build("2")
	swapped := make(chan Swap)
	go func() { swapped <- h.swap(h.with("SERVE=" + address)) }()
	testkit.Eventually(t, "a process that leaves", func() bool { return len(h.Old()) == 1 })
	answered := make(chan error, 1)
	go func() {
		_, err := testkit.Ask(h.address) // which waits for the next process
		answered <- err
	}()
	if err := finish(); err != nil {
		t.Errorf("the request that the old process had: %v", err)
	}
	s := testkit.Within(t, "the swap", swapped)
	if err := testkit.Within(t, "the answer to a request that came meanwhile", answered); err != nil || s.Revived {
		t.Errorf("a request made meanwhile: %v; Swap() = %+v", err, s)
	}
	h.serves("2", s.PID)
}

// TestCloseInEachMode answers a request that is there when the loop ends.
func TestCloseInEachMode(t *testing.T) {
	for name, tt := range ways(t) {
		t.Run(name, func(t *testing.T) {
			h := startIn(t, tt.set)
			c := h.with(tt.env)
			c.Args = tt.args
			h.build("1")
			h.swap(c)
			held := testkit.Hold(t, h.address, 300*time.Millisecond)
			h.close(t.Context())
			if err := testkit.Within(t, "the held request", held); err != nil {
				t.Errorf("the held request: %v", err)
			}
		})
	}
}

func TestLoadString(t *testing.T) {
	for l, want := range map[Load]string{
		{}:                           "",
		{Requests: 1}:                "1 request",
		{Requests: 2, Streams: 1}:    "2 requests and 1 upgraded connection",
		{Streams: 3, Connections: 1}: "3 upgraded connections and 1 connection",
	} {
		if got := l.String(); got != want {
			t.Errorf("%#v.String() = %q, want %q", l, got, want)
		}
	}
}
