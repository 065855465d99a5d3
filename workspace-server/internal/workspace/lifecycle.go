package workspace

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The states. A workspace that is on its way to what its owner wants is in one
// of those that end in -ing.
const (
	StateStopped     State = "stopped" // it was never started
	StateStarting    State = "starting"
	StateRunning     State = "running" // its agent has said that it is ready
	StatePausing     State = "pausing"
	StatePaused      State = "paused" // it runs again when somebody starts it
	StateHibernating State = "hibernating"
	StateHibernated  State = "hibernated" // it runs again when a message comes for it, too
	StateFailed      State = "failed"     // it ought to run, and is tried again later
)

// States returns all states.
func States() []State {
	return []State{
		StateStopped, StateStarting, StateRunning, StatePausing, StatePaused,
		StateHibernating, StateHibernated, StateFailed,
	}
}

// Action is what is asked of a workspace.
type Action string

// The actions.
const (
	Start     Action = "start"
	Pause     Action = "pause"
	Hibernate Action = "hibernate"
	Restart   Action = "restart"
	Wake      Action = "wake" // a message came for it
	Idle      Action = "idle" // nobody has used it for long
)

// Work is a workspace with what is kept to bring it where it is wanted.
type Work struct {
	Workspace
	Provisioned   int64  // the last generation that there was an instance of
	ProvisionedAt int64  // since when, epoch milliseconds
	Address       string // host:port of that instance
	Attempts      int64  // failures since it last ran well
	Due           int64  // when it is looked at next, epoch milliseconds; 0: nothing is to be done
}

const (
	// startTimeout is how long an agent may take, once its process runs, until
	// it says that it is ready.
	startTimeout = 2 * time.Minute

	// A workspace that failed is started again after a while, which doubles
	// with each failure in succession; one that ran for ranWell starts anew.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	ranWell    = time.Minute
)

// targets is the table of the lifecycle, as far as somebody asks for it: what
// state each action that is legal in a state leads to.
func targets(from State) map[Action]State {
	switch from {
	case StateStopped, StatePaused:
		return map[Action]State{Start: StateStarting}
	case StateStarting, StateRunning:
		return map[Action]State{
			Start: from, Wake: from, Restart: StateStarting,
			Pause: StatePausing, Hibernate: StateHibernating, Idle: StateHibernating,
		}
	case StatePausing:
		return map[Action]State{Start: StateStarting, Pause: from}
	case StateHibernating, StateHibernated:
		return map[Action]State{Start: StateStarting, Wake: StateStarting, Pause: StatePausing, Hibernate: from, Idle: from}
	case StateFailed:
		return map[Action]State{Start: StateStarting, Restart: StateStarting, Pause: StatePausing}
	}
	return nil
}

// Ask returns a workspace of which an action was asked, and whether that is
// anything new. It fails with Conflict when the action is not legal.
func (w Work) Ask(a Action, now time.Time) (Work, bool, error) {
	from := w.Status.State
	legal := targets(from)
	if from == StatePaused && a == Pause {
		return w, false, nil
	}
	to, ok := legal[a]
	if !ok {
		return w, false, Errorf(Conflict, "Workspace %q is %s, so %s is not possible. What is: %s.", w.ID, from, a, actions(legal))
	}
	if to == from && a != Restart {
		return w, false, nil
	}
	w.Attempts = 0
	switch to {
	case StateStarting:
		w.start(string(a), "The workspace is being started.", now)
	case StatePausing:
		w.Desired = StatePaused
		w.enter(to, string(a), "The workspace is being paused.", now)
	case StateHibernating:
		w.Desired = StateHibernated
		w.enter(to, string(a), "The workspace is being hibernated.", now)
	}
	w.Due = now.UnixMilli()
	return w, true, nil
}

// actions lists what people may ask for.
func actions(legal map[Action]State) string {
	var names []string
	for a := range legal {
		if a != Wake && a != Idle {
			names = append(names, string(a))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// enter moves to a state.
func (w *Work) enter(to State, reason, message string, now time.Time) {
	ms := now.UnixMilli()
	w.Status = Status{State: to, Reason: reason, Message: message, Since: ms}
	w.Revision++
	w.Updated = ms
}

// start begins a new generation.
func (w *Work) start(reason, message string, now time.Time) {
	w.Desired = StateRunning
	w.Generation++
	w.enter(StateStarting, reason, message, now)
	w.Due = now.UnixMilli()
}

// Fact is something that was found out about a workspace.
type Fact string

// The facts.
const (
	Provisioned Fact = "provisioned" // there is an instance
	Ready       Fact = "ready"       // the agent has said that it is ready
	Broken      Fact = "broken"      // an instance could not be made
	Exited      Fact = "exited"      // the instance ended by itself, or is gone
	Late        Fact = "late"        // the agent was not ready in time
	Lost        Fact = "lost"        // the agent is not heard of any more
	Ended       Fact = "ended"       // the instance was ended, as it was wanted
	Retry       Fact = "retry"       // the time to try again has come
)

// Observation is a fact, and the generation that it is about.
type Observation struct {
	Fact       Fact
	Generation int64
	Address    string // of what was provisioned
	Message    string // what was found, for people
}

// Observe returns a workspace of which something was found out, and whether it
// counts: a fact about another generation, or one that came too late for the
// state that the workspace is in, changes nothing.
func (w Work) Observe(o Observation, now time.Time) (Work, bool) {
	from := w.Status.State
	if o.Generation != w.Generation {
		return w, false
	}
	up := from == StateStarting || from == StateRunning
	switch {
	case o.Fact == Provisioned && up:
		w.Provisioned, w.ProvisionedAt, w.Address = o.Generation, now.UnixMilli(), o.Address
		w.Due = 0
		if from == StateStarting {
			w.Due = w.Deadline().UnixMilli()
		}
		return w, true
	case o.Fact == Ready && from == StateStarting:
		w.enter(StateRunning, "ready", "The agent is ready.", now)
		// An agent may be faster than the server that started it, which has
		// then still to record where.
		if w.Provisioned == w.Generation {
			w.Due = 0
		}
	case o.Fact == Broken && from == StateStarting,
		o.Fact == Late && from == StateStarting,
		o.Fact == Lost && from == StateRunning,
		o.Fact == Exited && up:
		if from == StateRunning && now.Sub(time.UnixMilli(w.Status.Since)) >= ranWell {
			w.Attempts = 0
		}
		w.Attempts++
		delay := w.retryDelay()
		w.enter(StateFailed, string(o.Fact), fmt.Sprintf("%s It is tried again in %v.", o.Message, delay), now)
		w.Due = now.Add(delay).UnixMilli()
	case o.Fact == Ended && from == StatePausing:
		w.enter(StatePaused, "paused", "The workspace is paused.", now)
		w.Due, w.Address = 0, ""
	case o.Fact == Ended && from == StateHibernating:
		w.enter(StateHibernated, "hibernated", "The workspace is hibernated: a message for it wakes it.", now)
		w.Due, w.Address = 0, ""
	case o.Fact == Retry && from == StateFailed:
		w.start("retry", fmt.Sprintf("The workspace is being started again, after %d failures in succession.", w.Attempts), now)
	default:
		return w, false
	}
	return w, true
}

// Ready returns a workspace whose agent has said that it is ready, and whether
// that is anything new. It fails with Conflict when the agent is not wanted any
// more: nothing that it says may bring the workspace back.
func (w Work) Ready(generation int64, now time.Time) (Work, bool, error) {
	if generation != w.Generation || w.Desired != StateRunning || w.Status.State == StateFailed {
		return w, false, Errorf(Conflict, "Workspace %q is %s in generation %d; an agent of generation %d is not wanted any more.",
			w.ID, w.Status.State, w.Generation, generation)
	}
	next, changed := w.Observe(Observation{Fact: Ready, Generation: generation}, now)
	return next, changed, nil
}

func (w Work) retryDelay() time.Duration {
	delay := firstRetry
	for i := int64(1); i < w.Attempts && delay < lastRetry; i++ {
		delay *= 2
	}
	return min(delay, lastRetry)
}

// Deadline is when the agent of a workspace that is starting has to be ready.
func (w Work) Deadline() time.Time { return time.UnixMilli(w.ProvisionedAt).Add(startTimeout) }

// Transition is one change of a workspace's state, or of what is wanted of it.
type Transition struct {
	Revision   int64  `json:"revision"` // of the workspace after it
	Generation int64  `json:"generation"`
	At         int64  `json:"at"`   // epoch milliseconds
	From       State  `json:"from"` // empty: it was made
	To         State  `json:"to"`
	Reason     string `json:"reason"`
	Message    string `json:"message"`
	By         string `json:"by"` // the id of a token, or ByServer
}

// ByServer is who does what nobody has asked for.
const ByServer = "server"
