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

// MayTalk is the access rule between agents: a workspace may write to itself, to
// its siblings, and to all workspaces above and below it. Roots are siblings. The
// rule is symmetric. An empty line, which is that of no workspace, may write to none.
func MayTalk(a, b Line) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	return slices.Contains(a, b[0]) || slices.Contains(b, a[0]) || a.Parent() == b.Parent()
}

// CheckParent fails with Conflict if a workspace must not be put below parent. It
// is the top of a subtree of so many levels, which moves with it.
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

// Children says what happens to a workspace's children when it is deleted.
type Children string

// The choices.
const (
	Refuse  Children = "refuse"  // the workspace is not deleted while it has any
	Cascade Children = "cascade" // all workspaces below it are deleted too
	Orphan  Children = "orphan"  // they become roots, and keep what is below them
)

// CheckChildren fails with Invalid on any other choice.
func CheckChildren(c Children) error {
	switch c {
	case Refuse, Cascade, Orphan:
		return nil
	}
	return Errorf(Invalid, "The parameter \"children\" must be %s, %s or %s.", Refuse, Cascade, Orphan)
}
