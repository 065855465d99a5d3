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

// Event is one change. Its Seq is one more than that of the change before it,
// whichever server made that one.
type Event struct {
	Seq       int64           `json:"seq"`
	Type      string          `json:"type"`
	Workspace string          `json:"workspace"` // the workspace's id
	At        int64           `json:"at"`        // epoch milliseconds
	Data      json.RawMessage `json:"data"`      // the workspace as it was after the change, or last
}

// Request names a create that a client may send again, because it did not see
// the answer. One without a key is not to be recognised.
type Request struct {
	Key         string // chosen by the client
	Fingerprint string // of what was asked for
	By          string // the id of the token that asks; empty: the server
}

// Cursor is a place in the list of workspaces, which is newest first. The zero
// value is the start.
type Cursor struct {
	Created int64
	ID      string
}

// Store keeps workspaces. Every change writes its event in the same
// transaction. Each method may also fail with Unavailable, when the database
// cannot be reached, and with Internal.
type Store interface {
	// Create stores w. When req was used before, it stores nothing and
	// returns the workspace of that time. It fails with Conflict when the key
	// was used for something else, with Invalid when there is no such parent,
	// and as CheckParent does.
	Create(ctx context.Context, w Workspace, req Request) (Workspace, error)

	// Replay returns what Create answered to req, and false when req is new.
	// It fails with Conflict when the key was used for something else.
	Replay(ctx context.Context, req Request) (Workspace, bool, error)

	// Get fails with NotFound.
	Get(ctx context.Context, id string) (Workspace, error)

	// List returns at most limit workspaces that fit the filter after the
	// cursor, newest first, and the cursor of the next page, which is zero
	// after the last one.
	List(ctx context.Context, filter Filter, after Cursor, limit int) ([]Workspace, Cursor, error)

	// Lag returns for how long the workspace has been due that has waited
	// longest.
	Lag(ctx context.Context) (time.Duration, error)

	// CountStates returns how many workspaces are in each state, for those
	// that any is in.
	CountStates(ctx context.Context) (map[State]int64, error)

	// Line fails with NotFound.
	Line(ctx context.Context, id string) (Line, error)

	// Update changes a workspace and returns it. A patch that changes nothing
	// leaves the revision as it is and writes no event. It fails with
	// NotFound, with Stale as Match does, with Invalid as Patch does and when
	// there is no such parent, and as CheckParent does.
	Update(ctx context.Context, id string, patch Patch, match Match) (Workspace, error)

	// Delete fails with NotFound, with Stale as Match does, and with Conflict
	// when children are there and to be refused. It writes an event for each
	// workspace that it changes, the deepest first. What runs of them, and what
	// they wrote unless that is kept, is removed soon after.
	Delete(ctx context.Context, id string, children Children, keepData bool, match Match) error

	// Ask asks an action of a workspace, and returns it as it is then. It fails
	// with NotFound, with Stale as Match does, and with Conflict as Work.Ask
	// does. By is the id of a token, or ByServer.
	Ask(ctx context.Context, id string, action Action, by string, match Match) (Workspace, error)

	// Transitions returns at most limit of the changes before a revision, 0
	// for all of them, newest first. It fails with NotFound.
	Transitions(ctx context.Context, id string, before int64, limit int) ([]Transition, error)
}

// Oldest, as the number to read events after, stands for wherever those that
// are kept begin.
const Oldest int64 = -1

// EventLog reads what happened. Old events are removed, always all up to some
// number. Each method may also fail with Unavailable and with Internal.
type EventLog interface {
	// LastEvent returns the number of the newest event, 0 before the first. It
	// does not go back when events are removed.
	LastEvent(ctx context.Context) (int64, error)

	// Kept fails with Gone when an event with a number above after was removed.
	Kept(ctx context.Context, after int64) error

	// Events returns at most limit events with numbers above after, in order:
	// those of one workspace, or of all if that is empty. It fails as Kept
	// does, rather than pass over what was removed.
	Events(ctx context.Context, workspace string, after int64, limit int) ([]Event, error)
}
