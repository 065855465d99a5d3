package api

import "net/http"

// statusOK is what a server that serves answers.
const statusOK = "ok"

// getHealth answers as long as the process serves. It checks nothing else.
func (a *api) getHealth(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": statusOK})
}
