package api

import "net/http"

// statusOK is what a live server says.
const statusOK = "ok"

// getHealth answers as long as the process serves; it asks nothing else.
func (a *api) getHealth(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": statusOK})
}
