package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"workspace-server/internal/testkit"
	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// someTokens is a database in which some tokens are valid. It counts the questions.
type someTokens struct {
	token.Store
	asked atomic.Int64

	mu   sync.Mutex
	good map[string]token.Token // by their hashes
	late map[string]bool        // those of removed workspaces, too
}

func (s *someTokens) Authenticate(_ context.Context, hash string) (token.Token, error) {
	s.asked.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.good[hash]; ok {
		return t, nil
	}
	if s.late[hash] {
		return token.Token{}, workspace.Errorf(workspace.Gone, "The workspace was removed.")
	}
	return token.Token{}, workspace.Errorf(workspace.Unauthorized, "This token is not known.")
}

// limitedAPI is an API with a limit, at a time that stands still.
type limitedAPI struct {
	t      *testing.T
	tokens *someTokens
	handle http.Handler
	log    *testkit.Buffer
	now    time.Time
}

func newLimitedAPI(t *testing.T, perSecond int) *limitedAPI {
	l := &limitedAPI{t: t, tokens: &someTokens{good: map[string]token.Token{}}, log: &testkit.Buffer{}, now: time.Unix(1_700_000_000, 0)}
	a := &api{
		Deps:   Deps{Tokens: l.tokens},
		limits: newLimits(perSecond, func() time.Time { return l.now }),
	}
	mux := http.NewServeMux()
	mux.Handle("GET /self", a.guard(anyone, a.getSelf))
	mux.Handle("GET /public", a.guard(public, a.getHealth))
	l.handle = &edge{mux: mux, log: slog.New(slog.NewTextHandler(l.log, nil))}
	return l
}

func (l *limitedAPI) add(id string) token.Secret {
	secret := token.NewSecret()
	l.tokens.mu.Lock()
	defer l.tokens.mu.Unlock()
	l.tokens.good[secret.Hash()] = token.Token{ID: id, Role: token.Admin}
	return secret
}

func (l *limitedAPI) get(path, from string, secret token.Secret) answer {
	r := httptest.NewRequestWithContext(l.t.Context(), http.MethodGet, path, nil)
	r.RemoteAddr = from
	r.Header.Set("Authorization", "Bearer "+string(secret))
	w := httptest.NewRecorder()
	l.handle.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

const here = "192.0.2.1:1000"

func TestLimitOfTokens(t *testing.T) {
	l := newLimitedAPI(t, 10)
	one, two := l.add("tok_one"), l.add("tok_two")
	for i := range 20 {
		if got := l.get("/self", here, one); got.status != 200 {
			t.Fatalf("request %d = %d %s, want 20 at once", i, got.status, got.body)
		}
	}
	got := l.get("/self", here, one)
	got.wantProblem(t, "request 21", http.StatusTooManyRequests, "This token has sent too many requests. Try again in 1 s.")
	if after := got.header.Get("Retry-After"); after != "1" || !strings.Contains(got.body, `"kind":"limited"`) {
		t.Errorf("request 21 has Retry-After %q and %s, want whole seconds and the kind limited", after, got.body)
	}
	if !strings.Contains(l.log.String(), "token=tok_one") {
		t.Errorf("the log does not say which token is limited:\n%s", l.log)
	}
	for path, secret := range map[string]token.Secret{"/self": two, "/public": one} {
		if got := l.get(path, here, secret); got.status != 200 {
			t.Errorf("GET %s beside it = %d %s, want 200", path, got.status, got.body)
		}
	}
	l.now = l.now.Add(time.Second)
	for i := range 11 {
		if got := l.get("/self", here, one); (got.status == 200) != (i < 10) {
			t.Errorf("request %d after a second = %d, want ten let through", i, got.status)
		}
	}
}

// An address that sends wrong tokens is refused without a question to the database.
// Callers that the server accepted before are not shut out.
func TestLimitOfWrongTokens(t *testing.T) {
	l := newLimitedAPI(t, 100)
	known := l.add("tok_known")
	l.get("/self", here, known)
	for range wrongAtOnce {
		l.get("/self", here, token.NewSecret()).wantProblem(t, "a wrong token", 401, "not known")
	}
	asked := l.tokens.asked.Load()
	for range 10 {
		got := l.get("/self", "192.0.2.1:2000", token.NewSecret())
		got.wantProblem(t, "one wrong token too many", 429, "Too many wrong tokens came from your address. Try again in 1 s.")
	}
	fresh := l.add("tok_fresh")
	l.get("/self", here, fresh).wantProblem(t, "a token that was never seen here", 429, "")
	if now := l.tokens.asked.Load(); now != asked {
		t.Errorf("the database is asked %d times for an address that is refused", now-asked)
	}
	if got := l.get("/self", here, known); got.status != 200 {
		t.Errorf("a token that is known, from the same address = %d, want 200", got.status)
	}
	if got := l.get("/self", "192.0.2.2:1000", fresh); got.status != 200 {
		t.Errorf("from another address = %d, want 200", got.status)
	}
	if got := l.get("/self", here, "junk"); got.status != 401 || l.tokens.asked.Load() != asked+2 {
		t.Errorf("junk = %d, want 401 without a question to the database", got.status)
	}

	// A token that is no longer valid counts as wrong.
	l.tokens.mu.Lock()
	clear(l.tokens.good)
	l.tokens.mu.Unlock()
	l.get("/self", here, known).wantProblem(t, "a token that was revoked", 401, "")
	l.get("/self", here, known).wantProblem(t, "a token that was revoked, again", 429, "")
	l.now = l.now.Add(time.Second)
	for i := range wrongPerSecond + 1 {
		want := 401
		if i == wrongPerSecond {
			want = 429
		}
		l.get("/self", here, token.NewSecret()).wantProblem(t, fmt.Sprintf("wrong token %d a second later", i), want, "")
	}
}

// The token of a removed workspace does not count as wrong, and has a limit of its
// own.
func TestLimitOfLateTokens(t *testing.T) {
	l := newLimitedAPI(t, wrongAtOnce)
	late, fresh := token.NewSecret(), l.add("tok_fresh")
	l.tokens.late = map[string]bool{late.Hash(): true}
	for i := range 2 * wrongAtOnce {
		l.get("/self", here, late).wantProblem(t, fmt.Sprint("late call ", i), http.StatusGone, "was removed")
	}
	l.get("/self", here, late).wantProblem(t, "one late call too many", http.StatusTooManyRequests, "This token has sent too many requests.")
	if got := l.get("/self", here, fresh); got.status != 200 {
		t.Errorf("a token that was never seen here, from the same address = %d %s, want 200", got.status, got.body)
	}
	l.tokens.mu.Lock()
	clear(l.tokens.late)
	l.tokens.mu.Unlock()
	for range wrongAtOnce {
		l.get("/self", here, late).wantProblem(t, "a late token that the server has forgotten", http.StatusUnauthorized, "not known")
	}
	l.get("/self", here, late).wantProblem(t, "one wrong token too many", http.StatusTooManyRequests, "Too many wrong tokens")
}

func TestNoLimits(t *testing.T) {
	l := newLimitedAPI(t, 0)
	good := l.add("tok_good")
	for range 3 * wrongAtOnce {
		if got := l.get("/self", here, good); got.status != 200 {
			t.Fatalf("without a limit = %d %s", got.status, got.body)
		}
		if got := l.get("/self", here, token.NewSecret()); got.status != 401 {
			t.Fatalf("a wrong token without a limit = %d %s", got.status, got.body)
		}
	}
}

func TestAddressOf(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1:80":            "192.0.2.1",
		"[::ffff:192.0.2.1]:80":   "192.0.2.1",
		"[2001:db8:1:2:3::4]:80":  "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":       "fe80::/64",
		"[2001:db8:1:2:ff::]:443": "2001:db8:1:2::/64",
		"@":                       "@", // a Unix socket
	} {
		if got := addressOf(&http.Request{RemoteAddr: from}); got != want {
			t.Errorf("addressOf(%q) = %q, want %q", from, got, want)
		}
	}
}
