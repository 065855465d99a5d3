package supervisor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"devloop/internal/forward"
	"devloop/internal/sockets"
)

// lookPace is the time between two looks at whether a process listens.
const lookPace = 3 * time.Millisecond

// A forwardWay accepts for the server and passes requests on to the process
// that serves. Each process listens at addresses of its own.
type forwardWay struct {
	readyPath   string
	stopTimeout time.Duration
	accept      func() (*doors, error)
	doors       *doors // once a process serves
}

func (w *forwardWay) mode() Mode          { return Forward }
func (w *forwardWay) pace() time.Duration { return lookPace }
func (w *forwardWay) alone() bool         { return false }

// equip tells the process where to listen.
func (w *forwardWay) equip(p *child, cmd *exec.Cmd) {
	_, port, _ := net.SplitHostPort(p.addresses[0])
	cmd.Env = append(cmd.Env, "PORT="+port)
}

func (w *forwardWay) look(ctx context.Context, p *child, _ bool) verdict {
	var at []string
	for _, address := range p.addresses {
		if !listens(portOf(address)) {
			why := fmt.Sprintf("it does not listen on %s, which is {addr} in its arguments and in -setenv, and its PORT is %d", address, portOf(p.addresses[0]))
			if ctx.Err() != nil { // the last look, whose words somebody reads
				if v, err := sockets.Look(p.PID()); err == nil {
					why += "; " + elsewhere(v)
				}
			}
			return verdict{why: why}
		}
		at = append(at, address)
	}
	if why := w.unready(ctx, p, at[0]); why != "" {
		return verdict{why: why}
	}
	return w.reach(p, at)
}

// reach notes where a process is reached, and opens the doors for the first one.
func (w *forwardWay) reach(p *child, addresses []string) verdict {
	if w.doors == nil {
		d, err := w.accept()
		if err != nil {
			return verdict{failed: true, why: "cannot be reached: " + err.Error()}
		}
		w.doors = d
	}
	for _, address := range addresses {
		p.backends = append(p.backends, forward.NewBackend(address))
	}
	return verdict{ready: true}
}

// listens reports whether something listens at a port of this machine.
func listens(port uint16) bool {
	ok, err := sockets.Listens(port)
	if err == nil {
		return ok
	}
	conn, err := net.Dial("tcp", net.JoinHostPort("localhost", strconv.Itoa(int(port))))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// askPace is the time between two requests for the path that tells readiness: a
// server may log each.
const askPace = 50 * time.Millisecond

// unready returns why the process does not answer as one does that is ready, or "".
func (w *forwardWay) unready(ctx context.Context, p *child, address string) string {
	if w.readyPath == "" {
		return ""
	}
	switch {
	case ctx.Err() == nil && time.Since(p.asked) >= askPace:
		p.unready = answers(ctx, address, w.readyPath)
		p.asked = time.Now()
	case p.asked.IsZero():
		return "it listens only now"
	}
	return p.unready
}

// answers asks the server for the path. It returns why that did not answer as a
// server does that is ready.
func answers(ctx context.Context, address, path string) (why string) {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // it is our own child, on this machine
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, scheme := range []string{"http", "https"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
		if err != nil {
			return err.Error()
		}
		resp, err := client.Do(req)
		if err != nil {
			if why == "" {
				why = err.Error()
			}
			continue
		}
		resp.Body.Close()
		if resp.StatusCode >= 200 && resp.StatusCode < 400 {
			return ""
		}
		if why == "" {
			why = fmt.Sprintf("GET %s answers %s", path, resp.Status)
		}
		if resp.StatusCode != http.StatusBadRequest { // which a TLS server says to plain HTTP
			break
		}
	}
	return why
}

func (w *forwardWay) lead(p *child) { w.doors.lead(p) }

func (w *forwardWay) describe(bool) string {
	return "devloop passes requests on to the server, which listens at an address of its own"
}

func (w *forwardWay) passed(*child) <-chan struct{} { return nil }

// leave waits until the process has answered, and then ends it, so that nothing is
// lost even by a server that ends at once.
func (w *forwardWay) leave(ctx context.Context, p *child) Load {
	var left Load
	for _, b := range p.backends {
		select {
		case <-b.Idle():
		case <-p.Done():
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil && !p.Exited() {
		left = w.load(p)
	}
	for _, b := range p.backends {
		b.Close()
	}
	_ = p.Terminate()
	select {
	case <-p.Done():
	case <-time.After(w.stopTimeout):
	}
	return left
}

func (w *forwardWay) load(p *child) Load {
	var sum Load
	for _, b := range p.backends {
		l := b.Load()
		sum.Requests += l.Requests
		sum.Streams += l.Streams
		sum.Connections += l.Connections
	}
	return sum
}

func (w *forwardWay) close() func(<-chan struct{}) { return w.doors.close() }

// doors are the sockets on which devloop itself accepts.
type doors struct {
	proxies []*forward.Proxy
	cancel  context.CancelFunc
	serving sync.WaitGroup
}

// openDoors begins to accept on sockets.
func openDoors(files []*os.File, o forward.Options) (*doors, error) {
	ctx, cancel := context.WithCancel(context.Background())
	d := &doors{cancel: cancel}
	for _, f := range files {
		l, err := net.FileListener(f)
		if err != nil {
			d.close()(nil)
			return nil, fmt.Errorf("accept on %s: %w", f.Name(), err)
		}
		p := forward.New(l, o)
		d.proxies = append(d.proxies, p)
		d.serving.Go(func() { _ = p.Serve(ctx) }) // it ends with its context
	}
	return d, nil
}

// lead has requests go to a process, or wait.
func (d *doors) lead(p *child) {
	if d == nil {
		return
	}
	for i, proxy := range d.proxies {
		if p == nil {
			proxy.Switch(nil)
		} else {
			proxy.Switch(p.backends[i])
		}
	}
}

// farewell is how long clients have to read what they were sent, once no process is
// left.
const farewell = 2 * time.Second

// close takes no more connections.
func (d *doors) close() (wait func(now <-chan struct{})) {
	if d == nil {
		return func(<-chan struct{}) {}
	}
	d.cancel()
	return func(now <-chan struct{}) {
		ended := make(chan struct{})
		go func() { d.serving.Wait(); close(ended) }()
		select {
		case <-ended:
			return
		case <-now:
		case <-time.After(farewell):
		}
		for _, p := range d.proxies {
			p.Cut()
		}
		<-ended
	}
}
