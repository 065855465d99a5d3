package store_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
)

// A database that is not up yet is waited for, with one line in the log,
// until the caller's patience ends.
func TestOpenWaits(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var log bytes.Buffer
	_, err = store.Open(ctx, "postgres://u:hunter2@"+addr+"/db?sslmode=disable", "",
		slog.New(slog.NewTextHandler(&log, nil)))
	if err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("Open = %v, want an error that says that the database does not answer", err)
	}
	if got := strings.Count(log.String(), "waiting for the database"); got != 1 {
		t.Errorf("Open logs %d lines, want 1:\n%s", got, log.String())
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("Open logs the password:\n%s", log.String())
	}
}

// What waiting cannot cure is reported at once.
func TestOpenDoesNotWaitInVain(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		url, dir, want := database.URL, database.Dir, "not a directory"
		if url != "" {
			url, want = strings.Replace(url, "?", "_missing?", 1), "does not exist"
		} else {
			dir += "/file"
			if err := os.WriteFile(dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		_, err := store.Open(t.Context(), url, dir, slog.New(slog.NewTextHandler(&log, nil)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q, %q) = %v, want an error with %q", url, dir, err, want)
		}
		if log.Len() > 0 {
			t.Errorf("Open waits: %s", log.String())
		}
	})
}

func TestOpenAtOnceOnNothing(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		opened := make(chan error, 8)
		for range cap(opened) {
			go func() {
				db, err := store.Open(t.Context(), database.URL, database.Dir, slog.New(slog.DiscardHandler))
				if err == nil {
					err = db.Close()
				}
				opened <- err
			}()
		}
		for range cap(opened) {
			if err := <-opened; err != nil {
				t.Errorf("Open = %v", err)
			}
		}
	})
}
