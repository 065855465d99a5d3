package hotbuild

import (
	"context"
	"sync"
)

// inOrder does each piece of work once those that it depends on are done, at most
// so many at a time. Of those that may begin, it takes first what has the longest
// way to the end behind it. The first error ends all, and is returned.
//
// What a piece depends on comes before it.
func inOrder(ctx context.Context, deps [][]int, workers int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q := newQueue(deps)
	stop := context.AfterFunc(ctx, q.end)
	defer stop()
	var wg sync.WaitGroup
	for range min(workers, len(deps)) {
		wg.Go(func() {
			for {
				i, ok := q.next()
				if !ok || ctx.Err() != nil {
					return
				}
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
				q.done(i)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// A queue hands out work that may begin.
type queue struct {
	mu      sync.Mutex
	changed *sync.Cond
	waits   []int   // how much is to be done before each piece
	users   [][]int // what waits for each piece
	behind  []int   // the longest way to the end
	ready   []int
	left    int // pieces that are not done
	ended   bool
}

func newQueue(deps [][]int) *queue {
	n := len(deps)
	q := &queue{waits: make([]int, n), users: make([][]int, n), behind: make([]int, n), left: n}
	q.changed = sync.NewCond(&q.mu)
	for i, before := range deps {
		q.waits[i] = len(before)
		for _, d := range before {
			q.users[d] = append(q.users[d], i)
		}
		if len(before) == 0 {
			q.ready = append(q.ready, i)
		}
	}
	for i := n - 1; i >= 0; i-- {
		for _, d := range deps[i] {
			q.behind[d] = max(q.behind[d], q.behind[i]+1)
		}
	}
	return q
}

// next waits for work, and returns false once there will be none.
func (q *queue) next() (int, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ready) == 0 && q.left > 0 && !q.ended {
		q.changed.Wait()
	}
	if len(q.ready) == 0 || q.ended {
		return 0, false
	}
	best := 0
	for k, i := range q.ready {
		if q.behind[i] > q.behind[q.ready[best]] {
			best = k
		}
	}
	i := q.ready[best]
	q.ready = append(q.ready[:best], q.ready[best+1:]...)
	return i, true
}

func (q *queue) done(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.left--
	for _, u := range q.users[i] {
		if q.waits[u]--; q.waits[u] == 0 {
			q.ready = append(q.ready, u)
		}
	}
	q.changed.Broadcast()
}

// end lets no more work begin.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.changed.Broadcast()
}
