package stream

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"workspace-server/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// deadlines is an answer that records the last write deadline.
type deadlines struct {
	http.ResponseWriter
	last time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.last = t
	return nil
}

func (d *deadlines) FlushError() error { return nil }

// The end of an answer gets a whole timeout, whatever the last write used of its own.
func TestClose(t *testing.T) {
	for _, tt := range []struct {
		timeout time.Duration
		stops   bool
		want    time.Duration
	}{
		{WriteTimeout, false, WriteTimeout},
		{WriteTimeout, true, StopTimeout},
		{time.Millisecond, true, time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			stopping, stop := context.WithCancel(t.Context())
			defer stop()
			if tt.stops {
				stop()
			}
			d := &deadlines{ResponseWriter: httptest.NewRecorder()}
			s := New(stopping, d, tt.timeout)
			if !s.Write([]byte("x")) {
				t.Error("Write = false, want true")
			}
			time.Sleep(time.Hour)
			s.Close()
			if left := time.Until(d.last); left != tt.want {
				t.Errorf("Close with timeout %v, stopping = %v, leaves %v for the end, want %v", tt.timeout, tt.stops, left, tt.want)
			}
			stop()
			synctest.Wait()
			if left := time.Until(d.last); left != tt.want {
				t.Errorf("a stop after Close leaves %v, want %v as before", left, tt.want)
			}
		})
	}
}

// A server that stops shortens the write that is under way.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopping, stop := context.WithCancel(t.Context())
		d := &deadlines{ResponseWriter: httptest.NewRecorder()}
		s := New(stopping, d, WriteTimeout)
		defer s.Close()
		s.Add([]byte("x"))
		if left := time.Until(d.last); left != WriteTimeout {
			t.Errorf("Add leaves %v for the write, want %v", left, WriteTimeout)
		}
		stop()
		synctest.Wait()
		if left := time.Until(d.last); left != StopTimeout {
			t.Errorf("a stop leaves %v for a write that is under way, want %v", left, StopTimeout)
		}
	})
}

// gone is an answer to a client that went away.
type gone struct{ deadlines }

func (*gone) Write([]byte) (int, error) { return 0, http.ErrHandlerTimeout }

func TestWriteFails(t *testing.T) {
	s := New(t.Context(), &gone{deadlines{ResponseWriter: httptest.NewRecorder()}}, WriteTimeout)
	defer s.Close()
	if s.Write([]byte("x")) {
		t.Error("Write to a client that went away = true, want false")
	}
	// A writer without deadlines cannot keep its promise.
	bare := New(t.Context(), httptest.NewRecorder(), WriteTimeout)
	defer bare.Close()
	if bare.Add([]byte("x")) || bare.Flush() {
		t.Error("Add or Flush without a deadline = true, want false")
	}
}
