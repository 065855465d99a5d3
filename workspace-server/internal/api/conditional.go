package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"workspace-server/internal/workspace"
)

// etag is the entity tag of a workspace: its revision.
func etag(w workspace.Workspace) string {
	return strconv.Quote(strconv.FormatInt(w.Revision, 10))
}

// targetOf returns the id of the workspace that a request changes, and the revisions
// that the workspace may have.
func targetOf(r *http.Request) (id string, match workspace.Match, err error) {
	if id, err = pathID(r); err == nil {
		match, err = matchOf(r)
	}
	return id, match, err
}

// matchOf reads the header If-Match. The comparison is strong: a weak tag, or one
// that this API did not make, matches nothing.
func matchOf(r *http.Request) (workspace.Match, error) {
	tags, err := tagsOf(r, "If-Match")
	if err != nil || tags == nil || slices.Contains(tags, "*") {
		return nil, err
	}
	match := workspace.Match{}
	for _, tag := range tags {
		revision, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
		if err == nil && tag == etag(workspace.Workspace{Revision: revision}) {
			match = append(match, revision)
		}
	}
	return match, nil
}

// notModified answers a client whose If-None-Match has the tag with 304, and reports
// whether it did. The comparison is weak.
func notModified(w http.ResponseWriter, r *http.Request, tag string) (bool, error) {
	tags, err := tagsOf(r, "If-None-Match")
	for i, tag := range tags {
		tags[i] = strings.TrimPrefix(tag, "W/")
	}
	if !slices.Contains(tags, "*") && !slices.Contains(tags, tag) {
		return false, err
	}
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNotModified)
	return true, nil
}

// tagsOf reads a header that is "*" or a list of entity tags. It returns nil if the
// request has no such header.
func tagsOf(r *http.Request, header string) ([]string, error) {
	given := r.Header.Values(header)
	if len(given) == 0 {
		return nil, nil
	}
	rest := strings.Trim(strings.Join(given, ","), ", \t")
	if rest == "*" {
		return []string{"*"}, nil
	}
	tags := []string{}
	for rest != "" {
		weak := ""
		if after, ok := strings.CutPrefix(rest, "W/"); ok {
			weak, rest = "W/", after
		}
		opaque, after, found := strings.Cut(strings.TrimPrefix(rest, `"`), `"`)
		after = strings.TrimLeft(after, " \t")
		if !strings.HasPrefix(rest, `"`) || !found || after != "" && after[0] != ',' {
			return nil, workspace.Errorf(workspace.Invalid,
				`The header %s must be * or a list of entity tags as ETag has them, such as "1", quotes included.`, header)
		}
		tags = append(tags, weak+`"`+opaque+`"`)
		rest = strings.TrimLeft(after, ", \t")
	}
	return tags, nil
}
