package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"e2e/harness/command"
	"e2e/harness/janitor"
	"e2e/harness/loop"
)

const (
	forwardedName = "an unchanged server, forwarded"
	stopFirstName = "stop, then build, as wgo does"
)

// A forwardedLane is this loop for a server that knows nothing of it: it listens
// where its variable says.
type forwardedLane struct{ *airLane }

// newForwardedLane uses the tools in a directory.
func newForwardedLane(ctx context.Context, j *janitor.Janitor, tools string) (*forwardedLane, error) {
	b, err := newBare(ctx, j)
	if err != nil {
		return nil, err
	}
	env := append(b.environment(), "PATH="+tools+":"+os.Getenv("PATH"))
	p, err := command.Start(command.Options{Dir: b.checkout.Dir, Run: b.checkout.Run, Env: env},
		filepath.Join(tools, "devloop"), "up", "-C", module, "-mode", "forward", "-listen", b.address, "-setenv", "LISTEN_ADDR={addr}",
		"--", filepath.Join(tools, "air"), "-c", ".air.toml")
	if err != nil {
		return nil, err
	}
	l := &forwardedLane{&airLane{b, p}}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if _, err := loop.AwaitVersion(ctx, b.address, 0, nil); err != nil {
		return l, fmt.Errorf("start the loop: %w\n%s", err, p.Text())
	}
	return l, nil
}

// A stopFirstLane stops the server at the edit and then builds, as wgo and others do.
type stopFirstLane struct{ *floor }

func newStopFirstLane(ctx context.Context, j *janitor.Janitor) (*stopFirstLane, error) {
	f, err := newHostFloor(ctx, j)
	if err != nil {
		return nil, err
	}
	l := &stopFirstLane{f}
	_, err = l.edit(ctx)
	return l, err
}

func (s *stopFirstLane) addr() string { return s.address }

func (s *stopFirstLane) edit(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	n, err := s.save()
	if err != nil {
		return 0, err
	}
	if _, err := io.WriteString(s.in, `[ -z "$pid" ] || { kill "$pid"; wait "$pid"; }; `+s.build+" && { "+s.server+" & pid=$!; }\n"); err != nil {
		return 0, err
	}
	served, err := loop.AwaitVersion(ctx, s.address, n, nil)
	if err != nil {
		said, readErr := os.ReadFile(s.log.Name())
		return 0, errors.Join(fmt.Errorf("%w\n%s", err, said), readErr)
	}
	return served.Sub(began), nil
}

// close stops the server too, which has no other reason to end.
func (s *stopFirstLane) close(ctx context.Context) error {
	_, err := io.WriteString(s.in, `kill "$pid"; wait "$pid"`+"\n")
	return errors.Join(err, s.floor.close(ctx))
}
