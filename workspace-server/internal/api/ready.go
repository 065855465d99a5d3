package api

import (
	"context"
	"net/http"
	"os"
	"time"
)

// readyTimeout is less than health checks commonly wait.
const readyTimeout = 2 * time.Second

type ready struct {
	Status   string        `json:"status"`
	PID      int           `json:"pid"`
	Build    string        `json:"build"`
	Database databaseReady `json:"database"`
	Started  string        `json:"started"`
}

type databaseReady struct {
	Driver string `json:"driver"`
	Status string `json:"status"`
}

// getReady answers once the database has answered.
func (a *api) getReady(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if err := a.Database.Ping(ctx); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, ready{
		Status:   "ok",
		PID:      os.Getpid(),
		Build:    a.Build(),
		Database: databaseReady{Driver: a.Database.Driver(), Status: "ok"},
		Started:  a.Started.UTC().Format(time.RFC3339Nano),
	})
}
