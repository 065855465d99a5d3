package workspace

import "context"

// MaxPlugins is how many plugins a workspace may have.
const MaxPlugins = 32

// Attachment is a plugin of a workspace, pinned to the digest that it had when it
// was attached. The workspace does not start with any other.
type Attachment struct {
	Name    string `json:"name"`
	Digest  string `json:"digest"`
	Created int64  `json:"created"` // epoch milliseconds
}

// CheckPluginName fails with Invalid on every name that could mean anything but one
// directory below that of the plugins.
func CheckPluginName(name string) error { return checkDirectory("plugin", name) }

// Plugins stores which plugins workspaces have. Attaching or detaching one changes
// the workspace, with a new revision and an event. Each method fails with NotFound
// when the workspace does not exist, with Unavailable, and with Internal.
type Plugins interface {
	// Plugins returns a workspace's plugins, by name.
	Plugins(ctx context.Context, id string) ([]Attachment, error)

	// AttachPlugin attaches a plugin and returns it, and whether it is new. A plugin
	// that is attached already gets the digest, and does not change if it has it. It
	// fails with Stale as Match does, and with Conflict above MaxPlugins.
	AttachPlugin(ctx context.Context, id, name, digest string, match Match) (Attachment, bool, error)

	// DetachPlugin fails with Stale as Match does, and with NotFound when the
	// plugin is not attached.
	DetachPlugin(ctx context.Context, id, name string, match Match) error
}
