package token

import (
	"strings"
	"testing"
	"time"

	"workspace-server/internal/workspace"
)

func TestNew(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_123)
	tests := []struct {
		spec Spec
		want string // part of the error; empty: none
	}{
		{Spec{Role: Admin}, ""},
		{Spec{Role: Admin, Name: " CI ", Lifetime: time.Hour}, ""},
		{Spec{Role: Workspace, Workspace: "ws_a"}, ""},
		{Spec{}, "role must be admin or workspace"},
		{Spec{Role: "root"}, "role must be admin or workspace"},
		{Spec{Role: Admin, Workspace: "ws_a"}, "belongs to no workspace"},
		{Spec{Role: Workspace}, "needs the id of its workspace"},
		{Spec{Role: Workspace, Workspace: "ws_\x00"}, "needs the id of its workspace"},
		{Spec{Role: Admin, Name: "a\nb"}, "cannot be printed"},
		{Spec{Role: Admin, Name: "\xff"}, "cannot be printed"},
		{Spec{Role: Admin, Name: strings.Repeat("é", MaxName+1)}, "more than 100 characters"},
		{Spec{Role: Admin, Lifetime: -time.Hour}, "must be valid for some time"},
		{Spec{Role: Admin, Lifetime: time.Microsecond}, "must be valid for some time"},
	}
	for _, tt := range tests {
		secret := NewSecret()
		got, err := New(tt.spec, secret, now)
		if tt.want != "" {
			if workspace.KindOf(err) != workspace.Invalid || !strings.Contains(workspace.Message(err), tt.want) {
				t.Errorf("New(%+v) = %v, want Invalid with %q", tt.spec, err, tt.want)
			}
			continue
		}
		if err != nil || !IsID(got.ID) || !strings.HasPrefix(string(secret), got.Prefix) || len(got.Prefix) != 12 || got.Check(now) != nil {
			t.Errorf("New(%+v) = %+v, %v, want a token that is good, with 12 characters of %s", tt.spec, got, err, secret)
		}
	}
}

func TestSecret(t *testing.T) {
	seen := map[Secret]bool{}
	for range 1000 {
		s := NewSecret()
		if !IsSecret(string(s)) || seen[s] || len(s.Hash()) != 64 || strings.Contains(s.Hash(), string(s)) {
			t.Fatalf("NewSecret() = %s, want another one each time", s)
		}
		seen[s] = true
	}
	good := string(NewSecret())
	for _, text := range []string{"", "wst_", good[4:], good[:len(good)-1], good + "A", "wst_" + strings.Repeat("=", 43), strings.ToUpper(good[:4]) + good[4:], good + "\n"} {
		if IsSecret(text) {
			t.Errorf("IsSecret(%q) = true, want false", text)
		}
	}
}

func TestCheck(t *testing.T) {
	now := time.UnixMilli(1000)
	tests := []struct {
		token Token
		want  string // part of the error; empty: none
	}{
		{Token{}, ""},
		{Token{Expires: 1001}, ""},
		{Token{Expires: 1000}, "has expired"},
		{Token{Revoked: 5}, "was revoked"},
		{Token{Revoked: 5, Expires: 6}, "was revoked"},
	}
	for _, tt := range tests {
		err := tt.token.Check(now)
		if tt.want == "" && err != nil || tt.want != "" && (workspace.KindOf(err) != workspace.Unauthorized || !strings.Contains(workspace.Message(err), tt.want)) {
			t.Errorf("%+v.Check(1 s) = %v, want Unauthorized with %q", tt.token, err, tt.want)
		}
	}
}

// A token without a role may do nothing.
func TestMay(t *testing.T) {
	tests := []struct {
		token      Token
		use, admin bool
	}{
		{Token{Role: Admin}, true, true},
		{Token{Role: Workspace, Workspace: "ws_a"}, true, false},
		{Token{Role: Workspace, Workspace: "ws_b"}, false, false},
		{Token{Role: Workspace}, false, false},
		{Token{}, false, false},
		{Token{Workspace: "ws_a"}, false, false},
		{Token{Role: "Admin", Workspace: "ws_a"}, false, false},
	}
	for _, tt := range tests {
		use, admin := tt.token.MayUse("ws_a"), tt.token.MayAdmin()
		if (use == nil) != tt.use || (admin == nil) != tt.admin {
			t.Errorf("%+v.MayUse(ws_a), .MayAdmin() = %v, %v, want %v, %v", tt.token, use, admin, tt.use, tt.admin)
		}
		for _, err := range []error{use, admin} {
			if err != nil && workspace.KindOf(err) != workspace.Forbidden {
				t.Errorf("%+v is refused with %v, want Forbidden", tt.token, err)
			}
		}
	}
}
