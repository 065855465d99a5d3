package forward_test

import (
	"io"
	"log"
	"net/http"
	"sync"
	"testing"

	"devloop/internal/forward"
	"devloop/internal/testkit"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// echo answers as testkit's clients want it.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Write(body)
}

// TestRequestsWait holds requests while there is no backend.
func TestRequestsWait(t *testing.T) {
	p := start(t, forward.Options{})
	const clients = 20
	got := make(chan string, clients)
	for range clients {
		go func() { got <- get(p.addr, "/") }()
	}
	b, _ := backend(t, text("one"))
	p.Switch(b)
	for range clients {
		if g := testkit.Within(t, "an answer", got); g != "200 one" {
			t.Fatalf("get = %q, want %q", g, "200 one")
		}
	}
	p.Switch(nil)
	testkit.Within(t, "the backend to be idle", b.Idle())
	go func() { got <- get(p.addr, "/") }()
	p.serve(text("two"))
	if g := testkit.Within(t, "an answer", got); g != "200 two" {
		t.Errorf("get = %q, want %q", g, "200 two")
	}
}

// TestSwitch sends new requests to the new backend, on connections that the
// client had before too, while the old one finishes what it has.
func TestSwitch(t *testing.T) {
	p := start(t, forward.Options{})
	arrived, finish := make(chan bool), make(chan bool)
	old, _ := p.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- true
			<-finish
		}
		io.WriteString(w, "old")
	})
	kept := dial(t, p.addr)
	ask := func(want string) {
		t.Helper()
		kept.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		kept.head()
		kept.expect(want)
	}
	ask("old")
	slow := make(chan string, 1)
	go func() { slow <- get(p.addr, "/slow") }()
	testkit.Within(t, "the slow request", arrived)
	testkit.Eventually(t, "the slow request alone", func() bool { return old.Load() == forward.Load{Requests: 1} })
	next, _ := p.serve(text("new"))
	ask("new")
	if isIdle(old) {
		t.Error("the old backend is idle while it has a request")
	}
	finish <- true
	if got := testkit.Within(t, "the slow answer", slow); got != "200 old" {
		t.Errorf("slow = %q, want 200 old", got)
	}
	testkit.Within(t, "the old backend to be idle", old.Idle())
	if isIdle(next) {
		t.Error("the new backend is idle before it was replaced")
	}
}

// TestSwitchUnderLoad loses nothing, although the old server is cut off as soon
// as it has nothing left.
func TestSwitchUnderLoad(t *testing.T) {
	p := start(t, forward.Options{})
	old, server := p.serve(echo)
	load := testkit.StartLoad(t, p.addr, 4)
	var ends sync.WaitGroup
	for range 50 {
		before := load.Count()
		testkit.Eventually(t, "some requests", func() bool { return load.Count() > before+50 })
		b, s := backend(t, echo)
		p.Switch(b)
		o, gone := old, server
		ends.Go(func() {
			<-o.Idle()
			gone.Close()
		})
		old, server = b, s
	}
	ends.Wait()
	load.Stop()
}

// TestSwitchByHolding is for programs of which only one can run.
func TestSwitchByHolding(t *testing.T) {
	p := start(t, forward.Options{})
	old, server := p.serve(echo)
	load := testkit.StartLoad(t, p.addr, 4)
	for range 20 {
		before := load.Count()
		testkit.Eventually(t, "some requests", func() bool { return load.Count() > before+50 })
		p.Switch(nil)
		<-old.Idle()
		server.Close()
		old, server = p.serve(echo)
	}
	load.Stop()
}
