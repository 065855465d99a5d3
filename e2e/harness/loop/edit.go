package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/load"
	"e2e/harness/terminal"
)

// Health is the file whose edits are watched for; what it says is seen at /healthz.
const Health = "workspace-server/internal/api/health.go"

var statusOK = regexp.MustCompile(`const statusOK = "[^"]*"`)

// HealthSource returns the file's text with edit n made.
func HealthSource(c *checkout.Checkout, n int) (string, error) {
	text, err := c.Read(Health)
	if err != nil {
		return "", err
	}
	if k := len(statusOK.FindAllString(text, -1)); k != 1 {
		return "", fmt.Errorf("%s matches %q %d times, want once", Health, statusOK, k)
	}
	return statusOK.ReplaceAllString(text, fmt.Sprintf(`const statusOK = "ok-%d"`, n)), nil
}

// Version reads the edit that an answer of /healthz comes from; 0 is none.
func Version(body []byte) (int, bool) {
	var health struct{ Status string }
	if json.Unmarshal(body, &health) != nil {
		return 0, false
	}
	if health.Status == "ok" {
		return 0, true
	}
	n, err := strconv.Atoi(strings.TrimPrefix(health.Status, "ok-"))
	return n, err == nil
}

// An Edited is an edit that serves.
type Edited struct {
	N    int
	Took time.Duration // until new connections were served by it, and by nothing else any more
	Told time.Duration // according to the loop
	Line terminal.Line
}

// Edit changes the handler and waits until the change serves. It alternates between
// the ways in which editors save.
func (l *Loop) Edit(ctx context.Context) (Edited, error) {
	n := l.NextEdit()
	text, err := HealthSource(l.Checkout, n)
	if err != nil {
		return Edited{}, err
	}
	from := l.Process.Out.End()
	began := time.Now()
	if err := l.Checkout.Write(Health, text, checkout.Way(n%2)); err != nil {
		return Edited{}, err
	}
	return l.Await(ctx, n, began, from)
}

// NextEdit returns the number of an edit that Edit does not make.
func (l *Loop) NextEdit() int {
	l.edits++
	return l.edits
}

// Await waits until edit n serves, and until the loop has said so, after a place in
// its output.
func (l *Loop) Await(ctx context.Context, n int, began time.Time, from terminal.Place) (Edited, error) {
	ctx, cancel := context.WithTimeout(ctx, reload)
	defer cancel()
	ctx, stop := l.alive(ctx)
	defer stop()
	said := make(chan struct{})
	var line terminal.Line
	var lineErr error
	go func() {
		defer close(said)
		line, lineErr = l.Process.Out.Wait(ctx, from, Reloaded)
	}()
	served, err := AwaitVersion(ctx, l.Addr(), n, said)
	if err != nil {
		cancel()
		<-said
		return Edited{}, fmt.Errorf("edit %d: %w; printed were:\n%s", n, err, terminal.Format(l.Process.Out.Since(from)))
	}
	<-said
	if lineErr != nil {
		return Edited{}, lineErr
	}
	told, err := strconv.ParseFloat(Reloaded.FindStringSubmatch(line.Text)[1], 64)
	return Edited{n, served.Sub(began), time.Duration(told * float64(time.Second)), line}, err
}

// AwaitVersion asks over new connections until edit n has served and, once
// said is closed, nothing else has since. It returns when that began. Without
// said, the first answer counts. A server that does not answer is asked again.
func AwaitVersion(ctx context.Context, addr string, n int, said <-chan struct{}) (time.Time, error) {
	var since time.Time
	var last string
	for {
		over := false
		select {
		case <-said: // before the connection that is made next
			over = true
		default:
		}
		status, body, err := load.Get(ctx, addr, "/healthz")
		got, ok := Version(body)
		switch {
		case err == nil && status == 200 && ok && got == n:
			if since.IsZero() {
				since = time.Now()
			}
			if over || said == nil {
				return since, nil
			}
		case over && ctx.Err() == nil:
			return since, fmt.Errorf("after the reload was over a new connection got status %d, error %v: %s", status, err, body)
		default:
			since = time.Time{}
			last = fmt.Sprintf("status %d, error %v: %s", status, err, body)
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return since, errors.Join(fmt.Errorf("the edit does not serve; the last other answer was %s", last), context.Cause(ctx))
		}
	}
}
