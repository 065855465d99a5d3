package workspace

import "slices"

// MaxDepth is the greatest number of levels of a tree of workspaces. A root is
// on the first.
const MaxDepth = 8

// Line is the id of a workspace, followed by those of its ancestors, nearest first.
type Line []string

// Parent returns "" for a root.
func (l Line) Parent() string {
	if len(l) < 2 {
		return ""
	}
	return l[1]
}

// MayTalk is the access rule between agents: a workspace may talk to itself, to
// its siblings, which roots are to each other, and to all above and below it.
// The rule is symmetric. A line that is not known may talk to none.
func MayTalk(a, b Line) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	return slices.Contains(a, b[0]) || slices.Contains(b, a[0]) || a.Parent() == b.Parent()
}

// CheckParent fails with Conflict if a workspace must not be put below parent.
// The workspace is the first of levels levels that move with it.
func CheckParent(id string, levels int, parent Line) error {
	switch {
	case parent[0] == id:
		return Errorf(Conflict, "A workspace cannot be its own parent.")
	case slices.Contains(parent, id):
		return Errorf(Conflict, "Workspace %q is below %q, so it cannot become its parent. Move it elsewhere first.", parent[0], id)
	case len(parent)+levels > MaxDepth:
		return Errorf(Conflict, "A tree of workspaces has at most %d levels; below %q there would be %d. Choose a parent higher up.",
			MaxDepth, parent[0], len(parent)+levels)
	}
	return nil
}

// Children says what becomes of a workspace's children when it is deleted.
type Children string

// The choices.
const (
	Refuse  Children = "refuse"  // the workspace stays if it has any
	Cascade Children = "cascade" // all below it are deleted too
	Orphan  Children = "orphan"  // they become roots, and keep what is below them
)

// CheckChildren fails with Invalid on what is no choice.
func CheckChildren(c Children) error {
	switch c {
	case Refuse, Cascade, Orphan:
		return nil
	}
	return Errorf(Invalid, "children has to be %s, %s or %s", Refuse, Cascade, Orphan)
}
