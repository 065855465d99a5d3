package store_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// newToken makes a token that CreateToken has not seen yet, and its hash.
func newToken(t *testing.T, id string, lifetime time.Duration) (token.Token, string) {
	t.Helper()
	secret := token.NewSecret()
	made, err := token.New(token.Spec{Role: token.Workspace, Workspace: id, Lifetime: lifetime}, secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return made, secret.Hash()
}

// wantAuthenticate has a token be good, or else refused with a kind and a part
// of the message.
func wantAuthenticate(t *testing.T, s *store.Store, name, hash string, want workspace.Kind, detail string) {
	t.Helper()
	_, err := s.Authenticate(t.Context(), hash)
	if good := want == ""; good != (err == nil) || !good && (workspace.KindOf(err) != want || !strings.Contains(workspace.Message(err), detail)) {
		t.Errorf("Authenticate of the %s = %v (%s), want %q with %q", name, err, workspace.KindOf(err), want, detail)
	}
}

// A token that was good until its workspace was removed is told from one that
// was never there, for as long as that is kept.
func TestTokensOfRemovedWorkspaces(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		s := newStore(t, database.Migrated(t))
		now := time.Now()
		s.SetClock(func() time.Time { return now })
		ids := forest(t, s, "a", "a/b", "a/b/c", "a/d", "a/d/e", "f")
		hashes := map[string]string{} // of the tokens, by their names
		create := func(name, of string, lifetime time.Duration) string {
			t.Helper()
			made, hash := newToken(t, ids[of], lifetime)
			if err := s.CreateToken(ctx, made, hash); err != nil {
				t.Fatal(err)
			}
			hashes[name] = hash
			return made.ID
		}
		for name := range ids {
			create(name, name, 0)
		}
		create("lasting", "a", 3*time.Hour)
		create("expired", "a", time.Minute)
		if err := s.RevokeToken(ctx, create("revoked", "a", 0)); err != nil {
			t.Fatal(err)
		}
		agents, hash := newToken(t, ids["b"], 0)
		if err := s.CreateAgentToken(ctx, agents, hash, 1); err != nil {
			t.Fatal(err)
		}
		hashes["agent's"] = hash

		const unknown = "unknown"
		gone := map[string]string{"nobody's": unknown} // whose tokens are gone, and with which workspaces
		hashes["nobody's"] = token.NewSecret().Hash()
		check := func(when string) {
			t.Helper()
			for name, hash := range hashes {
				call := name + " token " + when
				switch of, ok := gone[name]; {
				case of == unknown:
					wantAuthenticate(t, s, call, hash, workspace.Unauthorized, "not known")
				case ok:
					wantAuthenticate(t, s, call, hash, workspace.Gone, `Workspace "`+ids[of]+`" was removed`)
				case name == "expired" || name == "revoked":
					wantAuthenticate(t, s, call, hash, workspace.Unauthorized, name)
				default:
					wantAuthenticate(t, s, call, hash, "", "")
				}
			}
		}
		remove := func(name string, children workspace.Children) {
			t.Helper()
			now = now.Add(time.Hour)
			if err := s.Delete(ctx, ids[name], children, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		forget := func(before time.Time, limit, want int) {
			t.Helper()
			if n, err := s.ForgetTokens(ctx, before, limit); err != nil || n != want {
				t.Errorf("ForgetTokens(%v before now, %d) = %d, %v, want %d", now.Sub(before), limit, n, err, want)
			}
		}
		remove("d", workspace.Orphan)
		gone["d"] = "d"
		check("without d")
		remove("a", workspace.Cascade)
		maps.Copy(gone, map[string]string{
			"a": "a", "b": "b", "c": "c", "lasting": "a", "agent's": "b", "expired": unknown, "revoked": unknown,
		})
		check("without a and all below it")
		if left, _, err := s.Tokens(ctx, workspace.Cursor{}, 10); err != nil || len(left) != 2 {
			t.Errorf("Tokens() = %+v, %v, want those of e and f", left, err)
		}

		forget(now.Add(-2*time.Hour), 100, 0)
		check("when none is old enough")
		forget(now.Add(time.Minute), 1, 1)
		gone["d"] = unknown
		check("when the oldest is forgotten")
		forget(now.Add(time.Minute), 100, 5)
		maps.Copy(gone, map[string]string{"a": unknown, "b": unknown, "c": unknown, "lasting": unknown, "agent's": unknown})
		check("when all are forgotten")
	})
}

// A token that is made while its workspace goes is not made, or goes with it.
func TestTokenWhileItsWorkspaceGoes(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		ctx := t.Context()
		stores := []*store.Store{newStore(t, database.Migrated(t)), newStore(t, database.Open(t))}
		for round := range 20 {
			ids := forest(t, stores[0], "parent", "parent/child")
			made, hash := newToken(t, ids["child"], 0)
			createErr, deleteErr := atOnce(
				func() error { return stores[0].CreateToken(ctx, made, hash) },
				func() error { return stores[1].Delete(ctx, ids["parent"], workspace.Cascade, false, nil) },
			)
			_, err := stores[0].Authenticate(ctx, hash)
			switch kind := workspace.KindOf(err); {
			case deleteErr != nil:
				t.Fatalf("round %d: Delete = %v", round, deleteErr)
			case createErr == nil && kind == workspace.Gone:
			case workspace.KindOf(createErr) == workspace.NotFound && kind == workspace.Unauthorized:
			default:
				t.Fatalf("round %d: CreateToken = %v, then Authenticate = %v, want neither, or that it is gone", round, createErr, err)
			}
		}
	})
}
