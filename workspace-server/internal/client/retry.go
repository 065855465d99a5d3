package client

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"
)

// The pause before the next try doubles from the first to the longest.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// retrier repeats calls that may be sent twice.
type retrier struct {
	pause func(ctx context.Context, d time.Duration) error
	told  func(why error)
}

// do calls until it gets an answer that another try would not change, or until ctx is
// done. Then it returns the error of the last call that ctx did not cut short, since
// that one says more.
func (r retrier) do(ctx context.Context, call func() error) error {
	var last error
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		err := call()
		if err == nil || !passing(err) {
			return err
		}
		if ctx.Err() != nil {
			return cmp.Or(last, err)
		}
		last = err
		r.told(err)
		if stopped := r.pause(ctx, max(wait, retryAfter(err))); errors.Is(stopped, context.Canceled) {
			return stopped
		} else if stopped != nil {
			return last
		}
	}
}

// passing reports whether an error may be temporary.
func passing(err error) bool {
	if _, ok := errors.AsType[*Unreachable](err); ok {
		return true
	}
	switch StatusOf(err) {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

// pause fails when ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
