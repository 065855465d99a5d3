package workspace

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestNew(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_123)
	tests := []struct {
		name, template string
		want           string // part of the error; empty: none
	}{
		{"build agent", "", ""},
		{"  trimmed  ", "go-service", ""},
		{"日本語", "", ""},
		{strings.Repeat("é", MaxName), "", ""},
		{"", "", "The name is required"},
		{" \t ", "", "The name is required"},
		{strings.Repeat("é", MaxName+1), "", "name has 101 characters"},
		{"a\nb", "", "cannot be printed"},
		{"a\xffb", "", "not valid UTF-8"},
		{"a", "../etc", "template name"},
		{"a", "Upper", "template name"},
		{"a", "-a", "template name"},
		{"a", strings.Repeat("a", 64), "template name"},
	}
	for _, tt := range tests {
		w, err := New(Spec{Name: tt.name, Template: tt.template}, now)
		if tt.want == "" {
			if err != nil || w.Name != strings.TrimSpace(tt.name) || !strings.HasPrefix(w.ID, "ws_") ||
				w.Created != now.UnixMilli() || w.Revision != 1 {
				t.Errorf("New(%q, %q) = %+v, %v, want a fresh workspace", tt.name, tt.template, w, err)
			}
			continue
		}
		if KindOf(err) != Invalid || !strings.Contains(Message(err), tt.want) {
			t.Errorf("New(%q, %q) = error %v (%s), want Invalid with %q", tt.name, tt.template, err, KindOf(err), tt.want)
		}
	}
}

func TestNewIDsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		w, err := New(Spec{Name: "a"}, time.Now())
		if err != nil || seen[w.ID] {
			t.Fatalf("New(...).ID = %s, %v, want an id not seen before", w.ID, err)
		}
		seen[w.ID] = true
	}
}

func TestErrorHidesItsCause(t *testing.T) {
	cause := errors.New("pq: password authentication failed")
	tests := []struct {
		err     error
		kind    Kind
		message string
	}{
		{Errorf(NotFound, "no workspace %s", "ws_1"), NotFound, "no workspace ws_1"},
		{fmt.Errorf("get: %w", Wrap(Unavailable, "try later", cause)), Unavailable, "try later"},
		{Wrap(Internal, "secret", cause), Internal, "The server failed to answer. Its log says why: look for the request id."},
		{cause, Internal, "The server failed to answer. Its log says why: look for the request id."},
	}
	for _, tt := range tests {
		if got := KindOf(tt.err); got != tt.kind {
			t.Errorf("KindOf(%v) = %s, want %s", tt.err, got, tt.kind)
		}
		if got := Message(tt.err); got != tt.message {
			t.Errorf("Message(%v) = %q, want %q", tt.err, got, tt.message)
		}
	}
	if err := Wrap(Unavailable, "try later", cause); !errors.Is(err, cause) || !strings.Contains(err.Error(), "password") {
		t.Errorf("Wrap(...).Error() = %v, want the cause for the log", err)
	}
}
