package workspace

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The states. A workspace on its way to its desired state is in one that ends in
// -ing.
const (
	StateStopped     State = "stopped" // it has never been started
	StateStarting    State = "starting"
	StateRunning     State = "running" // its agent is ready
	StatePausing     State = "pausing"
	StatePaused      State = "paused" // it runs again when someone starts it
	StateHibernating State = "hibernating"
	StateHibernated  State = "hibernated" // it also runs again when a message arrives for it
	StateFailed      State = "failed"     // it should run; the server tries again later
)

// States returns all states.
func States() []State {
	return []State{
		StateStopped, StateStarting, StateRunning, StatePausing, StatePaused,
		StateHibernating, StateHibernated, StateFailed,
	}
}

// Action is a request to change what a workspace does.
type Action string

// The actions.
const (
	Start     Action = "start"
	Pause     Action = "pause"
	Hibernate Action = "hibernate"
	Restart   Action = "restart"
	Wake      Action = "wake" // a message arrived for it
	Idle      Action = "idle" // it has been inactive for long
)

// Work is a workspace with what the reconciler needs to bring it to its desired state.
type Work struct {
	Workspace
	Provisioned   int64  // the last generation that had an instance
	ProvisionedAt int64  // since when it had one, in epoch milliseconds
	Address       string // host:port of that instance
	Attempts      int64  // failures since it last ran well
	Due           int64  // when the reconciler looks at it next, in epoch milliseconds; 0: not before a change
}

const (
	// startTimeout is how long an agent may take to register once its process runs.
	startTimeout = 2 * time.Minute

	// A failed workspace is started again after a delay, which doubles with each
	// failure in succession. A run of ranWell resets it.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	ranWell    = time.Minute
)

// targets is the lifecycle's table of requests: the state that each legal action
// leads to from a state.
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

// Ask returns the workspace after a request for an action, and whether that changed
// it. It fails with Conflict when the action is not legal.
func (w Work) Ask(a Action, now time.Time) (Work, bool, error) {
	from := w.Status.State
	legal := targets(from)
	if from == StatePaused && a == Pause {
		return w, false, nil
	}
	to, ok := legal[a]
	if !ok {
		return w, false, Errorf(Conflict, "Workspace %q is %s, so the action %s is not possible. Possible actions: %s.", w.ID, from, a, actions(legal))
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

// actions lists the legal actions that people ask for.
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

// Fact is what the reconciler found out about a workspace.
type Fact string

// The facts.
const (
	Provisioned Fact = "provisioned" // the workspace has an instance
	Ready       Fact = "ready"       // the agent registered
	Broken      Fact = "broken"      // the driver could not make an instance
	Exited      Fact = "exited"      // the instance ended unasked, or is gone
	Late        Fact = "late"        // the agent was not ready in time
	Lost        Fact = "lost"        // the agent's lease ended
	Ended       Fact = "ended"       // the instance was ended on request
	Retry       Fact = "retry"       // the time to try again has come
)

// Observation is a fact, and the generation that it is about.
type Observation struct {
	Fact       Fact
	Generation int64
	Address    string // of what was provisioned
	Message    string // what was found, for people
}

// Observe returns the workspace after a fact, and whether the fact counts: one about
// another generation, or too late for the workspace's state, changes nothing.
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
		// An agent may register before the server that started it has recorded
		// its address, which then remains to be done.
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
		w.enter(StateFailed, string(o.Fact), fmt.Sprintf("%s The server tries again in %v.", o.Message, delay), now)
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

// Ready returns the workspace after its agent registered, and whether that changed
// it. It fails with Conflict when the workspace no longer wants the agent, which
// cannot bring the workspace back.
func (w Work) Ready(generation int64, now time.Time) (Work, bool, error) {
	if generation != w.Generation || w.Desired != StateRunning || w.Status.State == StateFailed {
		return w, false, Errorf(Conflict, "Workspace %q is %s in generation %d and no longer wants an agent of generation %d. The agent must exit.",
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

// Deadline is when the agent of a starting workspace must have registered.
func (w Work) Deadline() time.Time { return time.UnixMilli(w.ProvisionedAt).Add(startTimeout) }

// Transition is one change of a workspace's state or desired state.
type Transition struct {
	Revision   int64  `json:"revision"` // of the workspace after it
	Generation int64  `json:"generation"`
	At         int64  `json:"at"`   // epoch milliseconds
	From       State  `json:"from"` // empty: the workspace was created
	To         State  `json:"to"`
	Reason     string `json:"reason"`
	Message    string `json:"message"`
	By         string `json:"by"` // the id of a token, or ByServer
}

// ByServer stands for the server where no token asked for a transition.
const ByServer = "server"
