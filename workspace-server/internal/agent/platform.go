package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	callTimeout = 10 * time.Second

	// How long to wait before another call to a platform that cannot be reached or
	// is busy.
	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second

	// heartbeatEvery is the interval for a platform that names none.
	heartbeatEvery = 10 * time.Second

	maxAnswer = 64 << 10
)

// registration is the body of a register.
type registration struct {
	Generation int64 `json:"generation"`
	Card       card  `json:"card"`
}

// registered is the answer to it.
type registered struct {
	LeaseSeconds     int `json:"lease_seconds"`
	HeartbeatSeconds int `json:"heartbeat_seconds"`
}

// heartbeat is the body of a heartbeat.
type heartbeat struct {
	Generation    int64   `json:"generation"`
	ActiveTasks   int     `json:"active_tasks"`
	CurrentTask   string  `json:"current_task"`
	ErrorRate     float64 `json:"error_rate"`
	UptimeSeconds int64   `json:"uptime_seconds"`
	LastActive    int64   `json:"last_active"` // epoch milliseconds
}

// attend registers and then sends heartbeats until ctx is done, which is no error.
func (a *agent) attend(ctx context.Context, c card) error {
	var answer registered
	err := a.insist(ctx, "register", func() any { return registration{a.generation, c} }, &answer)
	every := time.Duration(answer.HeartbeatSeconds) * time.Second
	if every <= 0 {
		every = heartbeatEvery
	}
	if err == nil {
		a.log.Info("registered", "heartbeat", every, "lease_seconds", answer.LeaseSeconds)
	}
	for err == nil {
		if err = a.sleep(ctx, every); err == nil {
			err = a.insist(ctx, "heartbeat", func() any {
				beat := a.activity.heartbeat(time.Now())
				beat.Generation = a.generation
				return beat
			}, nil)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// insist repeats a call until the platform decides. It logs once that the platform
// does not answer, and once that it answers again.
func (a *agent) insist(ctx context.Context, call string, body func() any, answer any) error {
	failing := false
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		err := a.call(ctx, call, body(), answer)
		again, ok := errors.AsType[later](err)
		if !ok {
			if failing && err == nil {
				a.log.Info("the platform answers again", "call", call)
			}
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !failing {
			failing = true
			a.log.Warn("the platform does not answer; the agent repeats the call until it does", "call", call, "error", err)
		}
		// Agents that lost the platform together come back one by one.
		wait := retry/2 + rand.N(retry/2)
		if err := a.sleep(ctx, max(wait, again.after)); err != nil {
			return err
		}
	}
}

// later is the error of a call that may succeed later.
type later struct {
	err   error
	after time.Duration // how long to wait at least
}

func (l later) Error() string { return l.err.Error() }
func (l later) Unwrap() error { return l.err }

// call fails with later, with Unwanted, or with an error that will not change.
func (a *agent) call(ctx context.Context, call string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	address := a.platform + "/v1/workspaces/" + url.PathEscape(a.id) + "/" + call
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return later{err: err}
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return later{err: fmt.Errorf("read the answer to %s: %w", call, err)}
	}
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		if answer == nil {
			return nil
		}
		if err := json.Unmarshal(text, answer); err != nil {
			return later{err: fmt.Errorf("read the answer to %s: %w", call, err)}
		}
		return nil
	case code == http.StatusTooManyRequests || code >= 500:
		return later{fmt.Errorf("%s: %s%s", call, resp.Status, detail(text)), retryAfter(resp)}
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusNotFound,
		code == http.StatusConflict, code == http.StatusGone:
		return Unwanted{fmt.Sprintf("%s: %s%s", call, resp.Status, detail(text))}
	default:
		return fmt.Errorf("%s: the platform answered %s%s", call, resp.Status, detail(text))
	}
}

// detail returns the text of a problem document.
func detail(text []byte) string {
	var problem struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(text, &problem) != nil || problem.Detail == "" {
		return ""
	}
	return ": " + shorten(problem.Detail, 200)
}

func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, lastRetry)
}
