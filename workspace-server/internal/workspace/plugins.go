package workspace

import "context"

// MaxPlugins is how many plugins a workspace may have.
const MaxPlugins = 32

// Attachment is a plugin of a workspace, and what was in it when it was
// attached: a start with anything else is refused.
type Attachment struct {
	Name    string `json:"name"`
	Digest  string `json:"digest"`
	Created int64  `json:"created"` // epoch milliseconds
}

// CheckPluginName refuses every name that could mean something else than one
// directory below the plugins'. It fails with Invalid.
func CheckPluginName(name string) error { return checkDirectory("plugin", name) }

// Plugins keeps which plugins workspaces have. To attach or detach one is a
// change of the workspace, with a new revision and an event. Each method fails
// with NotFound when there is no such workspace, with Unavailable, and with
// Internal.
type Plugins interface {
	// Plugins returns a workspace's plugins, by name.
	Plugins(ctx context.Context, id string) ([]Attachment, error)

	// AttachPlugin attaches a plugin and returns it, and whether it is new. One
	// that is attached already gets the digest; if it has that, nothing
	// changes. It fails with Stale as Match does, and with Conflict when there
	// are too many.
	AttachPlugin(ctx context.Context, id, name, digest string, match Match) (Attachment, bool, error)

	// DetachPlugin fails with Stale as Match does, and with NotFound when the
	// plugin is not attached.
	DetachPlugin(ctx context.Context, id, name string, match Match) error
}
