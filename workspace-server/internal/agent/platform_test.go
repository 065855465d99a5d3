package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRegistersAndSendsHeartbeats(t *testing.T) {
	p := newPlatform(t)
	naps := &naps{wake: make(chan struct{})}
	before := time.Now().UnixMilli()
	r := runAgent(t, p, naps, "", nil)
	body := p.next(t, registerPath, lease)
	card, ok := body["card"].(map[string]any)
	if body["generation"] != 4.0 || !ok || card["name"] != "Ada" || card["url"] != r.url+"/" {
		t.Errorf("register has the body %v, want generation 4 and the card", body)
	}
	for _, field := range []string{"description", "version", "skills", "capabilities", "supportedInterfaces", "defaultInputModes"} {
		if card[field] == nil {
			t.Errorf("the card has no %s: %v", field, card)
		}
	}
	served, err := http.Get(r.url + CardPath)
	if err != nil {
		t.Fatal(err)
	}
	var same map[string]any
	err = json.NewDecoder(served.Body).Decode(&same)
	if err = errors.Join(err, served.Body.Close()); err != nil || fmt.Sprint(same) != fmt.Sprint(card) {
		t.Errorf("GET %s = %v, %v, want what was registered, %v", CardPath, same, err, card)
	}

	naps.wake <- struct{}{}
	first := p.next(t, heartbeatPath, beat)
	for field, want := range map[string]any{"generation": 4.0, "active_tasks": 0.0, "current_task": "", "error_rate": 0.0} {
		if first[field] != want {
			t.Errorf("the first heartbeat has %s %v, want %v", field, first[field], want)
		}
	}
	if uptime, ok := first["uptime_seconds"].(float64); !ok || uptime < 0 || int64(uptime) > (time.Now().UnixMilli()-before)/1000 {
		t.Errorf("the first heartbeat has uptime_seconds %v, want the whole seconds since the start", first["uptime_seconds"])
	}
	started, _ := first["last_active"].(float64)
	if int64(started) < before || int64(started) > time.Now().UnixMilli() {
		t.Errorf("the first heartbeat has last_active %v, want the start", first["last_active"])
	}
	// A heartbeat is no activity.
	naps.wake <- struct{}{}
	if second := p.next(t, heartbeatPath, beat); second["last_active"] != first["last_active"] {
		t.Errorf("last_active = %v, want %v as before", second["last_active"], first["last_active"])
	}
	// A call that is no message is none, either, but counts as an error.
	r.post(t, `{"jsonrpc":"2.0","id":1,"method":"tasks/get"}`)
	naps.wake <- struct{}{}
	if third := p.next(t, heartbeatPath, beat); third["last_active"] != first["last_active"] || third["error_rate"] != 1.0 {
		t.Errorf("after an error the heartbeat is %v, want the previous last_active and error_rate 1", third)
	}
	for time.Now().UnixMilli() == int64(started) {
		continue
	}
	r.post(t, `{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"parts":[{"text":"a"}]}}}`)
	naps.wake <- struct{}{}
	if last := p.next(t, heartbeatPath, beat); last["last_active"].(float64) <= started || last["error_rate"] != 0.5 {
		t.Errorf("after a message the heartbeat is %v, want a later last_active and error_rate 0.5", last)
	}
	for _, nap := range naps.list() {
		if nap != 7*time.Second {
			t.Errorf("the agent sleeps for %v between heartbeats, want what the platform says", nap)
		}
	}
	r.stops(t)
}

// The agent repeats a call until the platform has decided.
func TestCallsAgain(t *testing.T) {
	p := newPlatform(t)
	naps := &naps{}
	r := runAgent(t, p, naps, "", nil)
	cut := func(w http.ResponseWriter, _ *http.Request) {
		if nc, _, err := w.(http.Hijacker).Hijack(); err == nil {
			_ = nc.Close()
		}
	}
	busy := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "9")
		status(429, `{"detail":"Too much."}`)(w, r)
	}
	for _, answer := range []http.HandlerFunc{cut, status(503, ""), status(500, "<html>"), status(200, "garbage"), busy, status(502, ""), status(504, "")} {
		p.next(t, registerPath, answer)
	}
	p.next(t, registerPath, lease)
	p.next(t, heartbeatPath, cut)
	p.next(t, heartbeatPath, status(500, ""))
	p.next(t, heartbeatPath, beat)
	p.next(t, heartbeatPath, status(410, `{"detail":"The workspace was stopped."}`))
	err := r.ends(t)
	if _, ok := errors.AsType[Unwanted](err); !ok || !strings.Contains(err.Error(), "The workspace was stopped.") {
		t.Errorf("the agent ends with %v, want that it is unwanted, and why", err)
	}
	// It waits longer each time, up to a limit, and as long as the platform asks.
	const second = time.Second
	limits := [][2]time.Duration{
		{second / 10, second / 5},
		{second / 5, 2 * second / 5},
		{2 * second / 5, 4 * second / 5},
		{4 * second / 5, 8 * second / 5},
		{9 * second, 9 * second},
		{16 * second / 5, 32 * second / 5},
		{5 * second, 10 * second},
		{7 * second, 7 * second},
		{second / 10, second / 5},
		{second / 5, 2 * second / 5},
		{7 * second, 7 * second},
	}
	took := naps.list()
	if len(took) != len(limits) {
		t.Fatalf("the agent sleeps for %v, want %d times", took, len(limits))
	}
	for i, nap := range took {
		if nap < limits[i][0] || nap > limits[i][1] {
			t.Errorf("sleep %d is for %v, want between %v and %v", i+1, nap, limits[i][0], limits[i][1])
		}
	}
	for text, want := range map[string]int{"does not answer": 2, "answers again": 2} {
		if got := strings.Count(r.log.String(), text); got != want {
			t.Errorf("the log has %q %d times, want %d:\n%s", text, got, want, r.log)
		}
	}
}

func TestPlatformDecides(t *testing.T) {
	elsewhere := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/login", http.StatusTemporaryRedirect)
	}
	for _, tt := range []struct {
		answer   http.HandlerFunc
		unwanted bool
	}{
		{status(401, ""), true},
		{status(403, "no json"), true},
		{status(404, `{"detail":"gone"}`), true},
		{status(409, ""), true},
		{status(410, ""), true},
		{status(400, `{"detail":"no"}`), false},
		{status(422, ""), false},
		{elsewhere, false},
	} {
		for _, at := range []string{registerPath, heartbeatPath} {
			p := newPlatform(t)
			r := runAgent(t, p, &naps{}, "", nil)
			if at == heartbeatPath {
				p.next(t, registerPath, lease)
			}
			p.next(t, at, tt.answer)
			err := r.ends(t)
			if _, ok := errors.AsType[Unwanted](err); err == nil || ok != tt.unwanted {
				t.Errorf("after an answer to %s the agent ends with %v, want unwanted: %t", at, err, tt.unwanted)
			}
			if _, err := http.Get(r.url + "/healthz"); err == nil {
				t.Error("the agent answers after its end")
			}
		}
	}
}
