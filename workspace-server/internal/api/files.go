package api

import (
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"workspace-server/internal/files"
	"workspace-server/internal/tree"
	"workspace-server/internal/workspace"
)

// Files stores the workspaces' files. Each method may fail with Unavailable when
// there is no room, with Conflict when the agent is in the way, and with Internal.
type Files interface {
	List(id string) (files.Listing, error)
	// Read fails with Invalid on a wrong path, and with NotFound.
	Read(id, path string) (files.File, []byte, error)
	// Write reports whether the file is new. It fails with Invalid on a wrong path,
	// and with Stale.
	Write(id, path string, body []byte, cond files.Condition) (files.File, bool, error)
	// Delete fails with Invalid on a wrong path, with NotFound, and with Stale.
	Delete(id, path string, cond files.Condition) error
	// Remove removes all files of a workspace.
	Remove(id string) error
}

// existing returns the id in the path, if the workspace exists.
func (a *api) existing(r *http.Request) (string, error) {
	id, err := pathID(r)
	if err != nil {
		return "", err
	}
	_, err = a.Workspaces.Get(r.Context(), id)
	return id, err
}

func (a *api) listFiles(w http.ResponseWriter, r *http.Request) error {
	id, err := a.existing(r)
	if err != nil {
		return err
	}
	list, err := a.Files.List(id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list)
}

// getFile answers with the bytes of a file. A file may hold anything, so no browser
// may take it for a page of this server.
func (a *api) getFile(w http.ResponseWriter, r *http.Request) error {
	id, err := a.existing(r)
	if err != nil {
		return err
	}
	file, body, err := a.Files.Read(id, r.PathValue("path"))
	if err != nil {
		return err
	}
	if done, err := notModified(w, r, file.ETag); done || err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", contentType(file.Path, body))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(file.Path)}))
	h.Set("ETag", file.ETag)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // net/http notices a client that went away
	return nil
}

// contentType tells text from other files.
func contentType(name string, body []byte) string {
	text := []string{
		".cfg", ".conf", ".css", ".csv", ".env", ".go", ".html", ".ini", ".js", ".json", ".log", ".md", ".py", ".sh", ".toml", ".ts", ".txt",
		".xml", ".yaml", ".yml",
	}
	if slices.Contains(text, strings.ToLower(path.Ext(name))) && utf8.Valid(body) {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

func (a *api) putFile(w http.ResponseWriter, r *http.Request) error {
	id, err := a.existing(r)
	if err != nil {
		return err
	}
	var cond files.Condition
	if cond.Match, err = tagsOf(r, "If-Match"); err != nil {
		return err
	}
	if cond.NoneMatch, err = tagsOf(r, "If-None-Match"); err != nil {
		return err
	}
	if r.Header.Get("Content-Range") != "" || r.Header.Get("Content-Encoding") != "" {
		return workspace.Errorf(workspace.Invalid, "Send the whole file as it is, without Content-Range and Content-Encoding.")
	}
	body, err := readBytes(w, r, tree.MaxFile)
	if err != nil {
		return err
	}
	file, fresh, err := a.Files.Write(id, r.PathValue("path"), body, cond)
	if err != nil {
		return err
	}
	// If the workspace was deleted meanwhile, so were its files, but perhaps before
	// this one was written.
	if _, err := a.existing(r); workspace.KindOf(err) == workspace.NotFound {
		if removeErr := a.Files.Remove(id); removeErr != nil {
			return removeErr
		}
		return err
	}
	status := http.StatusOK
	if fresh {
		status = http.StatusCreated
	}
	w.Header().Set("ETag", file.ETag)
	return writeJSON(w, status, file)
}

func (a *api) deleteFile(w http.ResponseWriter, r *http.Request) error {
	id, err := a.existing(r)
	if err != nil {
		return err
	}
	match, err := tagsOf(r, "If-Match")
	if err != nil {
		return err
	}
	if err := a.Files.Delete(id, r.PathValue("path"), files.Condition{Match: match}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
