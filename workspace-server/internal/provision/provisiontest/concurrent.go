//go:build unix

package provisiontest

import (
	"sync"
	"time"

	"workspace-server/internal/provision"
)

// testStartAtOnce: servers that start the same generation at once make one instance.
func testStartAtOnce(w *world) {
	for generation := int64(1); generation <= 5; generation++ {
		const servers = 4
		var got [servers]provision.Instance
		var errs [servers]error
		var wg sync.WaitGroup
		for i := range servers {
			p := w.connect()
			wg.Go(func() { got[i], errs[i] = p.Start(w.ctx, w.spec(generation, nil)) })
		}
		wg.Wait()
		for i := range servers {
			if errs[i] != nil {
				w.t.Fatalf("Start by server %d = %v", i, errs[i])
			}
			w.wantSame("Start by several servers", got[i], got[0])
		}
		w.ready(got[0])
		w.wantAgents(1)
	}
}

// testGenerationsAtOnce: the last generation wins, in any order of the starts.
func testGenerationsAtOnce(w *world) {
	const last = 4
	var got provision.Instance
	var err error
	var wg sync.WaitGroup
	for generation := int64(1); generation <= last; generation++ {
		p := w.connect()
		wg.Go(func() {
			in, e := p.Start(w.ctx, w.spec(generation, nil)) // an earlier one may be refused
			if generation == last {
				got, err = in, e
			}
		})
	}
	wg.Wait()
	if err != nil || got.Generation != last {
		w.t.Fatalf("Start of the last generation = %+v, %v", got, err)
	}
	w.wantSame("Inspect", w.inspect(), got)
	w.ready(got)
	w.wantAgents(1)
}

// testEverythingAtOnce: after any calls at once, no process is left that the driver
// does not know.
func testEverythingAtOnce(w *world) {
	var wg sync.WaitGroup
	for i := range int64(8) {
		p := w.connect()
		wg.Go(func() {
			// Which of these fail depends on their order.
			_, _ = p.Start(w.ctx, w.spec(i, nil))
			_, _ = p.Inspect(w.ctx, w.id)
			switch i % 3 {
			case 0:
				_ = p.Stop(w.ctx, w.id, time.Minute)
			case 1:
				_ = p.Remove(w.ctx, w.id, false)
			}
		})
	}
	wg.Wait()
	in := w.started(100, nil)
	w.wantSame("Inspect", w.inspect(), in)
	w.wantAgents(1)
}
