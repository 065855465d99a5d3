package forward

import (
	"sync"
	"time"
)

// A watch notices that the client leaves while nobody else reads from it: a
// request that waits for a backend is dropped then, and a backend that works on
// one sees what it would see without a proxy. Most responses are there before it
// begins.
type watch struct {
	client *client
	timer  *time.Timer

	mu    sync.Mutex
	armed bool
	runs  chan struct{} // closed when it stops; nil if it does not run
}

func (w *watch) arm() {
	w.mu.Lock()
	w.armed = true
	w.mu.Unlock()
	if w.timer == nil {
		w.timer = time.AfterFunc(watchAfter, w.run)
	} else {
		w.timer.Reset(watchAfter)
	}
}

// stop returns once nobody reads from the client any more.
func (w *watch) stop() {
	w.mu.Lock()
	w.armed = false
	runs := w.runs
	w.mu.Unlock()
	w.timer.Stop()
	if runs != nil {
		w.client.conn.SetReadDeadline(time.Unix(1, 0))
		<-runs
		w.client.conn.SetReadDeadline(time.Time{})
	}
}

func (w *watch) run() {
	w.mu.Lock()
	if !w.armed || w.runs != nil {
		w.mu.Unlock()
		return
	}
	runs := make(chan struct{})
	w.runs = runs
	w.mu.Unlock()
	w.read()
	w.mu.Lock()
	w.runs = nil
	w.mu.Unlock()
	close(runs)
}

// read reads ahead what the client sends meanwhile, as far as there is room.
func (w *watch) read() {
	for c := w.client; ; {
		if c.in.full() {
			return
		}
		if _, err := c.in.fill(c.conn); err != nil {
			if !isTimeout(err) {
				c.leave(err)
			}
			return
		}
	}
}
