package workspace

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func inState(s State) Work {
	w := Work{Workspace: Workspace{ID: "ws_a", Desired: s, Generation: 3, Revision: 7, Status: Status{State: s, Since: 1000}}}
	switch s {
	case StateStarting, StateFailed:
		w.Desired = StateRunning
	case StatePausing:
		w.Desired = StatePaused
	case StateHibernating:
		w.Desired = StateHibernated
	}
	return w
}

// TestAsk is the whole table of actions and their results.
func TestAsk(t *testing.T) {
	const refused, unchanged State = "refused", "unchanged"
	actions := []Action{Start, Pause, Hibernate, Restart, Wake, Idle}
	table := map[State][]State{
		//                start          pause        hibernate         restart        wake           idle
		StateStopped:     {StateStarting, refused, refused, refused, refused, refused},
		StateStarting:    {unchanged, StatePausing, StateHibernating, StateStarting, unchanged, StateHibernating},
		StateRunning:     {unchanged, StatePausing, StateHibernating, StateStarting, unchanged, StateHibernating},
		StatePausing:     {StateStarting, unchanged, refused, refused, refused, refused},
		StatePaused:      {StateStarting, unchanged, refused, refused, refused, refused},
		StateHibernating: {StateStarting, StatePausing, unchanged, refused, StateStarting, unchanged},
		StateHibernated:  {StateStarting, StatePausing, unchanged, refused, StateStarting, unchanged},
		StateFailed:      {StateStarting, StatePausing, refused, StateStarting, refused, refused},
	}
	now := time.UnixMilli(5000)
	for _, s := range States() {
		row, ok := table[s]
		if !ok {
			t.Errorf("state %s has no row here", s)
			continue
		}
		for i, a := range actions {
			call := fmt.Sprintf("%s.Ask(%s)", s, a)
			old := inState(s)
			old.Attempts = 4
			got, changed, err := old.Ask(a, now)
			switch want := row[i]; want {
			case refused:
				if KindOf(err) != Conflict || changed || got.Revision != old.Revision || !strings.Contains(Message(err), "Possible actions: ") {
					t.Errorf("%s = %+v, %v, %v, want Conflict that says what is possible", call, got, changed, err)
				}
			case unchanged:
				if err != nil || changed || got.Revision != old.Revision {
					t.Errorf("%s = %+v, %v, %v, want nothing new", call, got, changed, err)
				}
			default:
				if err != nil || !changed || got.Status.State != want || got.Revision != 8 || got.Status.Since != 5000 ||
					got.Due != 5000 || got.Attempts != 0 || got.Status.Reason != string(a) {
					t.Errorf("%s = %+v, %v, %v, want %s, due at once", call, got, changed, err, want)
				}
				if fresh := got.Generation == 4; fresh != (want == StateStarting) {
					t.Errorf("%s has generation %d", call, got.Generation)
				}
				if desired := inState(want).Desired; got.Desired != desired {
					t.Errorf("%s wants %s, want %s", call, got.Desired, desired)
				}
			}
		}
	}
	if _, _, err := inState(StateRunning).Ask("explode", now); KindOf(err) != Conflict {
		t.Errorf("Ask(explode) = %v, want Conflict", err)
	}
}

// TestObserve is the whole table of facts and their results.
func TestObserve(t *testing.T) {
	table := map[State]map[Fact]State{
		StateStarting:    {Provisioned: StateStarting, Ready: StateRunning, Broken: StateFailed, Exited: StateFailed, Late: StateFailed},
		StateRunning:     {Provisioned: StateRunning, Exited: StateFailed, Lost: StateFailed},
		StatePausing:     {Ended: StatePaused},
		StateHibernating: {Ended: StateHibernated},
		StateFailed:      {Retry: StateStarting},
	}
	now := time.UnixMilli(5000)
	for _, s := range States() {
		for _, f := range []Fact{Provisioned, Ready, Broken, Exited, Late, Lost, Ended, Retry} {
			call := fmt.Sprintf("%s.Observe(%s)", s, f)
			old := inState(s)
			got, changed := old.Observe(Observation{Fact: f, Generation: 3, Address: "127.0.0.1:1", Message: "It is so."}, now)
			want, counts := table[s][f]
			switch {
			case changed != counts:
				t.Errorf("%s = %+v, %v, want %v", call, got, changed, counts)
			case counts && got.Status.State != want:
				t.Errorf("%s is %s, want %s", call, got.Status.State, want)
			case counts && f == Provisioned:
				if got.Revision != 7 || got.Provisioned != 3 || got.Address == "" || s == StateStarting && got.Due != got.Deadline().UnixMilli() {
					t.Errorf("%s = %+v, want an address, a deadline and no new revision", call, got)
				}
			case counts && (got.Revision != 8 || got.Status.Since != 5000):
				t.Errorf("%s = %+v, want a new revision", call, got)
			}
			if fresh := got.Generation == 4; fresh != (counts && f == Retry) {
				t.Errorf("%s has generation %d", call, got.Generation)
			}
			for _, generation := range []int64{2, 4} {
				if _, changed := old.Observe(Observation{Fact: f, Generation: generation}, now); changed {
					t.Errorf("%s of generation %d counts", call, generation)
				}
			}
		}
	}
}

func TestRetries(t *testing.T) {
	now := time.UnixMilli(0)
	w := inState(StateStarting)
	var delays []time.Duration
	for range 11 {
		w, _ = w.Observe(Observation{Fact: Exited, Generation: w.Generation, Message: "It crashed."}, now)
		delays = append(delays, time.UnixMilli(w.Due).Sub(now))
		w, _ = w.Observe(Observation{Fact: Retry, Generation: w.Generation}, now)
	}
	s := time.Second
	if want := []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 300 * s, 300 * s}; !slices.Equal(delays, want) {
		t.Errorf("the delays are %v, want %v", delays, want)
	}
	w, _ = w.Observe(Observation{Fact: Ready, Generation: w.Generation}, now)
	short, _ := w.Observe(Observation{Fact: Exited, Generation: w.Generation}, now.Add(ranWell-1))
	long, _ := w.Observe(Observation{Fact: Exited, Generation: w.Generation}, now.Add(ranWell))
	if short.Attempts != 12 || long.Attempts != 1 {
		t.Errorf("after a short run there are %d attempts, after a long one %d; want 12 and 1", short.Attempts, long.Attempts)
	}
	if _, asked, err := short.Ask(Start, now); err != nil || !asked {
		t.Errorf("Ask(start) = %v, %v, want a failed one to be tried at once", asked, err)
	}
}
