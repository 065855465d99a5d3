package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"workspace-server/internal/stream"
	"workspace-server/internal/workspace"
)

// streamEvents writes events as they happen until the client goes away or the server
// stops. It first writes the number that it starts after, so that a client that got
// no event yet reconnects without a gap.
func (a *api) streamEvents(w http.ResponseWriter, r *http.Request, after int64) error {
	c, of := callerOf(r), visible(r)
	sub := a.Feed.Subscribe()
	defer sub.Close()
	a.streams.Add(1)
	defer a.streams.Add(-1)

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	// The next request must not use this connection: when a stream ends, its server
	// often stops.
	h.Set("Connection", "close")
	out := stream.New(a.Stopping, w, stream.WriteTimeout)
	defer out.Close()

	retry := fmt.Sprintf("retry: %d\n", a.Retry.Milliseconds())
	if !out.Write(fmt.Appendf(nil, "%sid: %d\n\n", retry, after)) {
		return nil
	}
	told := after // the number that the client would reconnect with
	beat := time.NewTicker(a.Heartbeat)
	defer beat.Stop()
	for {
		next, err := a.Tail.After(r.Context(), of, after)
		if workspace.KindOf(err) == workspace.Gone {
			return nil // the client learns of it when it reconnects
		}
		if err != nil {
			// The answer has begun, so the edge can only cut it short. The client
			// reconnects and continues.
			return err
		}
		for _, e := range next.Events {
			data, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if !out.Add(frame(e, data)) {
				return nil
			}
			told = e.Seq
		}
		after = next.UpTo
		if len(next.Events) > 0 && !out.Flush() {
			return nil
		}
		if next.More && a.Stopping.Err() == nil {
			continue
		}
		sub.Seen(after)
		select {
		case <-sub.C:
		case <-beat.C:
			if err := a.still(r.Context(), c); err != nil {
				return err
			}
			alive := ": alive\n"
			if told != after {
				told = after
				alive += fmt.Sprintf("id: %d\n", told)
			}
			if !out.Write([]byte(alive + "\n")) {
				return nil
			}
		case <-r.Context().Done():
			return nil
		case <-a.Stopping.Done():
			out.Write([]byte(retry + "\n"))
			return nil
		}
	}
}
