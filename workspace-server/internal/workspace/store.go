package workspace

import (
	"context"
	"encoding/json"
	"time"
)

// Types of events.
const (
	EventCreated = "workspace.created"
	EventUpdated = "workspace.updated"
	EventDeleted = "workspace.deleted"
)

// Event is one change. Its Seq is one above that of the previous change, whichever
// server made it.
type Event struct {
	Seq       int64           `json:"seq"`
	Type      string          `json:"type"`
	Workspace string          `json:"workspace"` // the workspace's id
	At        int64           `json:"at"`        // epoch milliseconds
	Data      json.RawMessage `json:"data"`      // the workspace after the change, or before its deletion
}

// Request names a create, which a client may repeat if it did not see the answer.
// A request without a key is never a repetition.
type Request struct {
	Key         string // chosen by the client
	Fingerprint string // of the request's body
	By          string // the id of the caller's token; empty: the server
}

// Cursor is a place in the list of workspaces, which is newest first. The zero
// value is the start.
type Cursor struct {
	Created int64
	ID      string
}

// Store stores workspaces. Every change writes its event in the same transaction.
// Each method may fail with Unavailable when the database cannot be reached, and
// with Internal.
type Store interface {
	// Create stores w. If req is a repetition, it stores nothing and returns the
	// workspace that the first request made. It fails with Conflict when the key was
	// used for something else, with Invalid when the parent does not exist, and as
	// CheckParent does.
	Create(ctx context.Context, w Workspace, req Request) (Workspace, error)

	// Replay returns what Create returned for req, and false if req is new. It fails
	// with Conflict when the key was used for something else.
	Replay(ctx context.Context, req Request) (Workspace, bool, error)

	// Get fails with NotFound.
	Get(ctx context.Context, id string) (Workspace, error)

	// List returns at most limit workspaces that pass the filter, newest first,
	// beginning after the cursor. The cursor that it returns is that of the next
	// page, or zero on the last.
	List(ctx context.Context, filter Filter, after Cursor, limit int) ([]Workspace, Cursor, error)

	// Lag returns how long the workspace that has waited longest has been due.
	Lag(ctx context.Context) (time.Duration, error)

	// CountStates returns how many workspaces are in each state that any is in.
	CountStates(ctx context.Context) (map[State]int64, error)

	// Line fails with NotFound.
	Line(ctx context.Context, id string) (Line, error)

	// Update changes a workspace and returns it. A patch that changes nothing keeps
	// the revision and writes no event. It fails with NotFound, with Stale as Match
	// does, with Invalid as Patch does and when the parent does not exist, and as
	// CheckParent does.
	Update(ctx context.Context, id string, patch Patch, match Match) (Workspace, error)

	// Delete fails with NotFound, with Stale as Match does, and with Conflict if
	// children is Refuse and there are any. It writes an event for each workspace
	// that it changes, the deepest first. The reconciler removes their instances, and
	// their data unless that is kept, soon after.
	Delete(ctx context.Context, id string, children Children, keepData bool, match Match) error

	// Ask requests an action and returns the workspace after that. It fails with
	// NotFound, with Stale as Match does, and with Conflict as Work.Ask does. By is
	// the id of a token, or ByServer.
	Ask(ctx context.Context, id string, action Action, by string, match Match) (Workspace, error)

	// Transitions returns at most limit of the transitions before a revision, newest
	// first; revision 0 means the newest. It fails with NotFound.
	Transitions(ctx context.Context, id string, before int64, limit int) ([]Transition, error)
}

// Oldest, as the number to read events after, stands for the one before the oldest
// event that is kept.
const Oldest int64 = -1

// EventLog reads events. The server removes old ones, always all up to a number.
// Each method may fail with Unavailable and with Internal.
type EventLog interface {
	// LastEvent returns the number of the newest event, or 0 before the first. The
	// removal of events does not lower it.
	LastEvent(ctx context.Context) (int64, error)

	// Kept fails with Gone when an event with a number above after was removed.
	Kept(ctx context.Context, after int64) error

	// Events returns at most limit events with numbers above after, in order, of one
	// workspace or, if that is empty, of all. It fails as Kept does rather than skip
	// events that were removed.
	Events(ctx context.Context, workspace string, after int64, limit int) ([]Event, error)
}
