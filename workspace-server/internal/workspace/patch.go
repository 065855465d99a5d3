package workspace

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Patch is a change of a workspace. What is nil stays as it is.
type Patch struct {
	Name        *string
	Parent      *string            // empty: it becomes a root
	Labels      map[string]*string // a nil value removes the label
	NoLabels    bool               // remove all labels
	IdleMinutes *int64
}

// Apply returns w after the patch, and whether the patch changed it. It fails with
// Invalid.
func (p Patch) Apply(w Workspace, now time.Time) (Workspace, bool, error) {
	next := w
	if p.Name != nil {
		next.Name = strings.TrimSpace(*p.Name)
	}
	if p.Parent != nil {
		next.Parent = *p.Parent
	}
	if p.IdleMinutes != nil {
		next.IdleMinutes = *p.IdleMinutes
	}
	next.Labels = Labels{}
	if !p.NoLabels {
		maps.Copy(next.Labels, w.Labels)
	}
	for name, value := range p.Labels {
		if value == nil {
			delete(next.Labels, name)
		} else {
			next.Labels[name] = *value
		}
	}
	if err := next.check(); err != nil {
		return w, false, err
	}
	if next.Name == w.Name && next.Parent == w.Parent && next.IdleMinutes == w.IdleMinutes && maps.Equal(next.Labels, w.Labels) {
		return w, false, nil
	}
	next.Revision++
	next.Updated = now.UnixMilli()
	return next, true, nil
}

// Match lists the revisions that a workspace may have for a change. Nil allows
// any, and empty none.
type Match []int64

// Check fails with Stale if w has another revision.
func (m Match) Check(w Workspace) error {
	if m == nil || slices.Contains(m, w.Revision) {
		return nil
	}
	return Errorf(Stale, "The workspace is at revision %d, which is not the one that this request expects. Read it again, then retry.", w.Revision)
}
