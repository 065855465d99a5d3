package bootstrap_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"workspace-server/internal/bootstrap"
	"workspace-server/internal/store"
	"workspace-server/internal/store/storetest"
	"workspace-server/internal/testkit"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func open(t *testing.T, database storetest.Database) *store.Store {
	return store.New(database.Migrated(t), func(int64) {})
}

func secretIn(t *testing.T, path string) token.Secret {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("stat %s = %v, %v, want mode 0600", path, info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !token.IsSecret(strings.TrimSuffix(string(text), "\n")) {
		t.Fatalf("%s holds %q, %v, want a secret", path, text, err)
	}
	return token.Secret(strings.TrimSpace(string(text)))
}

func TestAdmin(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := open(t, database)
		dir := filepath.Join(t.TempDir(), "state")
		first, err := bootstrap.Admin(t.Context(), dir, false, s)
		if err != nil || !first.Made || !first.Good || first.Path != filepath.Join(dir, bootstrap.File) {
			t.Fatalf("Admin() = %+v, %v, want a file and a good token", first, err)
		}
		secret := secretIn(t, first.Path)
		admin, err := s.Authenticate(t.Context(), secret.Hash())
		if err != nil || admin.MayAdmin() != nil {
			t.Fatalf("Authenticate(the first) = %+v, %v, want an administrator", admin, err)
		}
		if again, err := bootstrap.Admin(t.Context(), dir, false, s); err != nil || again.Made || !again.Good || secretIn(t, first.Path) != secret {
			t.Errorf("Admin() again = %+v, %v, want the same token", again, err)
		}
		elsewhere := t.TempDir()
		if r, err := bootstrap.Admin(t.Context(), elsewhere, false, s); err != nil || r != (bootstrap.Result{}) {
			t.Errorf("Admin() without a file, with an administrator = %+v, %v, want nothing", r, err)
		}
		if r, err := bootstrap.Admin(t.Context(), elsewhere, true, s); err != nil || !r.Made || !r.Good {
			t.Errorf("Admin(always) = %+v, %v, want a file", r, err)
		}
		if err := s.RevokeToken(t.Context(), admin.ID); err != nil {
			t.Fatal(err)
		}
		if r, err := bootstrap.Admin(t.Context(), dir, true, s); err != nil || r.Made || r.Good {
			t.Errorf("Admin() with a token that was revoked = %+v, %v, want it to stay revoked", r, err)
		}
		if _, err := s.Authenticate(t.Context(), secret.Hash()); err == nil {
			t.Error("a revoked token is good again after a start")
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 1 {
			t.Errorf("%s holds %v, %v, want the token alone", dir, left, err)
		}
	})
}

// The server accepts a file from before a crash or a new database.
func TestAdminTakesWhatIsThere(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s, dir, secret := open(t, database), t.TempDir(), token.NewSecret()
		if err := os.WriteFile(filepath.Join(dir, bootstrap.File), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := bootstrap.Admin(t.Context(), dir, false, s)
		if _, known := s.Authenticate(t.Context(), secret.Hash()); err != nil || r.Made || !r.Good || known != nil {
			t.Errorf("Admin() = %+v, %v, then Authenticate = %v, want the token of the file", r, err, known)
		}
	})
}

// Several servers that start at once end up with one file, whose token is good.
func TestAdminAtOnce(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s, dir := open(t, database), t.TempDir()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if r, err := bootstrap.Admin(t.Context(), dir, true, s); err != nil || !r.Good {
					t.Errorf("Admin() = %+v, %v, want a good token", r, err)
				}
			})
		}
		wg.Wait()
		items, _, err := s.Tokens(t.Context(), workspace.Cursor{}, 10)
		if err != nil || len(items) != 1 {
			t.Errorf("there are %+v, %v, want one token", items, err)
		}
	})
}

func TestAdminFails(t *testing.T) {
	storetest.Parallel(t, func(t *testing.T, database storetest.Database) {
		s := open(t, database)
		tests := []struct {
			name string
			text string
			mode os.FileMode
			want string
		}{
			{"junk", "hunter2\n", 0o600, "there is no token in"},
			{"empty", "", 0o600, "there is no token in"},
			{"readable by others", string(token.NewSecret()), 0o640, "run 'chmod 600"},
		}
		for _, tt := range tests {
			path := filepath.Join(t.TempDir(), bootstrap.File)
			if err := os.WriteFile(path, []byte(tt.text), tt.mode); err != nil {
				t.Fatal(err)
			}
			r, err := bootstrap.Admin(t.Context(), filepath.Dir(path), false, s)
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.text != "" && strings.Contains(err.Error(), strings.TrimSpace(tt.text)) {
				t.Errorf("%s: Admin() = %+v, %v, want an error with %q", tt.name, r, err, tt.want)
			}
		}
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := bootstrap.Admin(t.Context(), filepath.Join(file, "state"), false, s); err == nil {
			t.Error("Admin() below a file succeeds, want an error")
		}
	})
}
