package workspace

import (
	"context"
	"time"
)

// Claim is work that one server has to itself for a time. What it does with a
// claim that another server took over has no effect.
type Claim struct {
	Work
	Epoch int64
}

// Removal is a workspace that is gone, and whose resources are to go too.
type Removal struct {
	ID       string
	KeepData bool // what the workspace wrote stays
	Attempts int64
	Epoch    int64
}

// Desk hands out work to servers that share a database. Each method may also
// fail with Unavailable and with Internal, and those that take a claim with
// Conflict when it is another server's by now.
type Desk interface {
	// Claim hands out at most limit workspaces that are due.
	Claim(ctx context.Context, owner string, lease time.Duration, limit int) ([]Claim, error)

	// Renew makes a claim last longer, and returns false when something was
	// asked of the workspace since it was claimed.
	Renew(ctx context.Context, c Claim, lease time.Duration) (bool, error)

	// Observe records what was found out, and gives the claim back. A fact that
	// does not count any more is no error.
	Observe(ctx context.Context, c Claim, o Observation) error

	// Release gives the claim back. The workspace is due again after a while
	// (never by itself, if that is negative), unless something was asked of it
	// meanwhile: then it is due at once.
	Release(ctx context.Context, c Claim, after time.Duration) error

	// ClaimRemovals is Claim for what is gone.
	ClaimRemovals(ctx context.Context, owner string, lease time.Duration, limit int) ([]Removal, error)

	// Removed records that nothing is left. It fails with Conflict.
	Removed(ctx context.Context, r Removal) error

	// RetryRemoval gives a removal back, to be tried again after a while.
	RetryRemoval(ctx context.Context, r Removal, after time.Duration) error

	// Nudge makes workspaces due at once, of which something may have become of
	// their instances.
	Nudge(ctx context.Context, ids []string) error

	// Idle hibernates workspaces that have had nothing to do for as long as
	// their owners let them.
	Idle(ctx context.Context) error

	// Silent returns the workspaces that run though their agents have not been
	// heard of for a lease.
	Silent(ctx context.Context) ([]string, error)

	// Live returns the workspaces that ought to have an instance.
	Live(ctx context.Context) ([]Work, error)

	// Known reports whether an id is of a workspace, or of a removal.
	Known(ctx context.Context, id string) (bool, error)
}
