package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// fake answers each request by the next of its handlers, and all further ones by the
// last. It records the requests.
type fake struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
	read []string // bodies
}

func newFake(t *testing.T, handlers ...http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		f.mu.Lock()
		n := min(len(f.seen), len(handlers)-1)
		f.seen, f.read = append(f.seen, r), append(f.read, string(text))
		f.mu.Unlock()
		handlers[n](w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) requests() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// answer is a handler.
func answer(status int, contentType, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func ok(body string) http.HandlerFunc { return answer(200, "application/json", body) }

func problem(status int, detail string, header ...string) http.HandlerFunc {
	body := fmt.Sprintf(`{"type":"about:blank","title":"x","status":%d,"detail":%q,"kind":"k","request_id":"req1"}`, status, detail)
	return answer(status, "application/problem+json", body, header...)
}

// cut ends the connection instead of answering.
func cut(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.Close()
}

// pauses are what a client would have waited.
type pauses []time.Duration

func newClient(t *testing.T, address string) (*Client, *pauses) {
	t.Helper()
	c, err := New(address, "wst_test", func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	p := &pauses{}
	c.retry.pause = func(ctx context.Context, d time.Duration) error {
		*p = append(*p, d)
		return ctx.Err()
	}
	return c, p
}
