package loop

import (
	"context"
	"sync"
	"time"

	"devloop/internal/gobuild"
)

// compile builds, and shows that it does if that takes long.
func (l *Loop) compile(ctx context.Context, r gobuild.Request) error {
	p := &progress{seen: make(map[string]bool), began: time.Now()}
	ctx, cancel := context.WithCancelCause(ctx)
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		p.show(ctx, l, r)
	}()
	err := gobuild.Run(ctx, l.Starter, r, p.compiles)
	cancel(nil)
	<-shown
	return err
}

// A progress counts the packages of one build.
type progress struct {
	began time.Time

	mu      sync.Mutex
	seen    map[string]bool // import paths whose turn has come
	pending []string        // those that were to be compiled when that was asked
}

func (p *progress) compiles(pkg string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[pkg] = true
}

// counts returns how many packages the build has begun with, and how many it
// compiles, which is 0 if that is not known.
func (p *progress) counts() (begun, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	begun = len(p.seen)
	if p.pending == nil {
		return begun, 0
	}
	all = begun
	for _, pkg := range p.pending {
		if !p.seen[pkg] {
			all++
		}
	}
	return begun, all
}

// show prints how far the build is, until ctx is done.
func (p *progress) show(ctx context.Context, l *Loop, r gobuild.Request) {
	const (
		most = 2 * time.Second // that nearly all builds take: for the others it pays to count
		long = 4 * time.Second // what a person waits without asking
		tick = time.Second
	)
	select {
	case <-time.After(most):
	case <-ctx.Done():
		return
	}
	if pending, err := gobuild.Pending(ctx, l.Starter, r); err == nil {
		p.mu.Lock()
		p.pending = append([]string{}, pending...)
		p.mu.Unlock()
	}
	select {
	case <-time.After(long - time.Since(p.began)):
	case <-ctx.Done():
		return
	}
	defer l.Printer.BuildEnded()
	for ctx.Err() == nil {
		begun, all := p.counts()
		l.Printer.Building(time.Since(p.began), begun, all)
		select {
		case <-time.After(tick):
		case <-ctx.Done():
		}
	}
}
