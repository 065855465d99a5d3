package workspace

import (
	"context"
	"time"
)

// Claim is a server's right to work on one workspace for a limited time. A server
// whose claim another took over changes nothing with it.
type Claim struct {
	Work
	Epoch int64
}

// Removal is a deleted workspace whose resources are still to be removed.
type Removal struct {
	ID       string
	KeepData bool // keep the data that the agent wrote
	Attempts int64
	Epoch    int64
}

// Desk hands out work to servers that share a database. Each method may fail with
// Unavailable and with Internal, and each that takes a claim with Conflict when
// another server has taken it over.
type Desk interface {
	// Claim hands out at most limit workspaces that are due.
	Claim(ctx context.Context, owner string, lease time.Duration, limit int) ([]Claim, error)

	// Renew extends a claim, and returns false when someone asked something of the
	// workspace since it was claimed.
	Renew(ctx context.Context, c Claim, lease time.Duration) (bool, error)

	// Observe records a fact and releases the claim. A fact that no longer counts is
	// no error.
	Observe(ctx context.Context, c Claim, o Observation) error

	// Release ends the claim. The workspace is due again after a time, or if that is
	// negative not before a change. If someone asked something of it meanwhile, it
	// is due at once.
	Release(ctx context.Context, c Claim, after time.Duration) error

	// ClaimRemovals is Claim for deleted workspaces.
	ClaimRemovals(ctx context.Context, owner string, lease time.Duration, limit int) ([]Removal, error)

	// Removed records that nothing of a workspace is left. It fails with Conflict.
	Removed(ctx context.Context, r Removal) error

	// RetryRemoval releases a removal, which is due again after a time.
	RetryRemoval(ctx context.Context, r Removal, after time.Duration) error

	// Nudge makes workspaces due at once, because their instances may have changed.
	Nudge(ctx context.Context, ids []string) error

	// Idle hibernates the workspaces that have been inactive for as long as their
	// owners allow.
	Idle(ctx context.Context) error

	// Silent returns the running workspaces whose agents' leases have ended.
	Silent(ctx context.Context) ([]string, error)

	// Live returns the workspaces that should have an instance.
	Live(ctx context.Context) ([]Work, error)

	// Known reports whether an id belongs to a workspace or to a removal.
	Known(ctx context.Context, id string) (bool, error)
}
