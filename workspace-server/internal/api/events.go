package api

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"workspace-server/internal/workspace"
)

const maxWait = 30 // seconds

// eventPage is the answer to a long poll. Last is the place to continue from.
type eventPage struct {
	Items []workspace.Event `json:"items"`
	Last  int64             `json:"last"`
}

// getEvents answers with the events after a number: the parameter "after" or, for a
// stream, the header Last-Event-ID. The header wins, since a browser that reconnects
// sends it along with the address that it connected to first.
//
// With "Accept: text/event-stream" the answer is a stream, which without a number
// starts at the present end. Otherwise it is a page of JSON, which without a number
// starts at the oldest event that is kept, and waits up to "wait" seconds for an
// event when there is none. If events after the number were removed, the answer is
// 410.
//
// The token of a workspace sees only that workspace's events. Numbers are the same
// for all callers, so that it sees gaps.
func (a *api) getEvents(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r, nil, "after", "wait")
	if err != nil {
		return err
	}
	wait, err := number(values, "wait", 0, 0, maxWait)
	if err != nil {
		return err
	}
	after, given, err := startOf(values.Get("after"), "")
	if err != nil {
		return err
	}
	streams := wantsStream(r)
	if streams {
		after, given, err = startOf(values.Get("after"), r.Header.Get("Last-Event-ID"))
		if err != nil {
			return err
		}
	}
	last, err := a.Events.LastEvent(r.Context())
	if err != nil {
		return err
	}
	if after > last {
		return workspace.Errorf(workspace.Invalid,
			"There is no event %d yet; the last one is %d. If the database was replaced, start without a number.", after, last)
	}
	if given {
		// Events that are still in memory count as removed too: every server must
		// answer alike.
		if err := a.Events.Kept(r.Context(), after); err != nil {
			return err
		}
	}
	switch {
	case streams && given:
		return a.streamEvents(w, r, after)
	case streams:
		return a.streamEvents(w, r, last)
	case given:
		return a.pollEvents(w, r, after, time.Duration(wait)*time.Second)
	}
	return a.pollEvents(w, r, workspace.Oldest, time.Duration(wait)*time.Second)
}

// startOf reads the number to start after, and whether there is one.
func startOf(after, lastEventID string) (int64, bool, error) {
	for _, from := range []struct{ name, text string }{
		{"header Last-Event-ID", lastEventID},
		{`parameter "after"`, after},
	} {
		if from.text == "" {
			continue
		}
		n, err := strconv.ParseInt(from.text, 10, 64)
		if err != nil || n < 0 {
			return 0, false, workspace.Errorf(workspace.Invalid, "The %s must be the number of an event.", from.name)
		}
		return n, true, nil
	}
	return 0, false, nil
}

// visible returns the workspace whose events a caller may see, empty for all.
func visible(r *http.Request) string {
	if c := callerOf(r); c.MayAdmin() != nil {
		return c.Workspace
	}
	return ""
}

func wantsStream(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			if kind, _, err := mime.ParseMediaType(part); err == nil && kind == "text/event-stream" {
				return true
			}
		}
	}
	return false
}

// pollEvents answers when there are events, when the time is over, or when the server
// stops.
func (a *api) pollEvents(w http.ResponseWriter, r *http.Request, after int64, wait time.Duration) error {
	of := visible(r)
	sub := a.Feed.Subscribe()
	defer sub.Close()
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	for {
		next, err := a.Tail.After(r.Context(), of, after)
		if err != nil {
			return err
		}
		after = next.UpTo
		if len(next.Events) > 0 {
			return writeJSON(w, http.StatusOK, eventPage{Items: next.Events, Last: after})
		}
		if next.More {
			continue
		}
		sub.Seen(after)
		select {
		case <-sub.C:
			continue
		case <-ctx.Done():
		case <-a.Stopping.Done():
		}
		return writeJSON(w, http.StatusOK, eventPage{Items: next.Events, Last: after})
	}
}

// frame returns an event in the form of text/event-stream. Its JSON has no line
// breaks.
func frame(e workspace.Event, json []byte) []byte {
	return fmt.Appendf(nil, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Type, json)
}
