package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

// against returns a driver whose engine is a handler that misbehaves. Other tests
// use a real engine.
func against(t *testing.T, handler http.HandlerFunc) *Driver {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return on(t, "tcp://"+server.Listener.Addr().String())
}

func on(t *testing.T, host string) *Driver {
	t.Helper()
	p, err := New(Settings{Host: host, Installation: "test", Image: "agent"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// calls are all calls of a driver.
func calls(p *Driver) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Start": func(ctx context.Context) error {
			_, err := p.Start(ctx, provision.Spec{Workspace: "w", Generation: 2, Tier: 1, Configs: "/configs"})
			return err
		},
		"Stop":   func(ctx context.Context) error { return p.Stop(ctx, "w", 0) },
		"Remove": func(ctx context.Context) error { return p.Remove(ctx, "w", false) },
		"Inspect": func(ctx context.Context) error {
			_, err := p.Inspect(ctx, "w")
			return err
		},
		"List": func(ctx context.Context) error {
			_, err := p.List(ctx)
			return err
		},
		"Logs": func(ctx context.Context) error {
			logs, err := p.Logs(ctx, "w", -1, false)
			if err == nil {
				err = logs.Close()
			}
			return err
		},
	}
}

// wantUnknown checks that an error leaves open what there is, and that clients do
// not see what the engine said.
func wantUnknown(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s succeeded", what)
	case provision.IsAbsent(err):
		t.Errorf("%s = %v, which says that there is no instance", what, err)
	case workspace.KindOf(err) != workspace.Unavailable:
		t.Errorf("%s = %v, of kind %q, want %q", what, err, workspace.KindOf(err), workspace.Unavailable)
	case strings.Contains(workspace.Message(err), "hunter2") || !isSentence(workspace.Message(err)):
		t.Errorf("%s shows %q", what, workspace.Message(err))
	}
}

// isSentence reports whether a message can stand alone in a workspace's status.
func isSentence(message string) bool {
	first, _ := utf8.DecodeRuneInString(message)
	return unicode.IsUpper(first) && strings.HasSuffix(message, ".")
}

func answer(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, text)
	}
}

func TestAnEngineThatMisbehavesIsNotAnAbsentInstance(t *testing.T) {
	tests := map[string]http.HandlerFunc{
		"500":                 answer(500, `{"message":"hunter2 of the engine"}`),
		"503 of a proxy":      answer(503, "<h1>hunter2 of the proxy</h1>"),
		"404 of a proxy":      answer(404, "<h1>Not Found</h1>"),
		"404 without a word":  answer(404, ""),
		"404 of another":      answer(404, `{"message":"not found"}`),
		"unknown page":        answer(404, `{"message":"page not found"}`),
		"too old":             answer(400, `{"message":"client version 1.44 is too new. Maximum supported API version is 1.24"}`),
		"redirect":            func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"no JSON":             answer(200, "<h1>hunter2</h1>"),
		"nothing":             answer(200, ""),
		"an empty object":     answer(200, "{}"),
		"null":                answer(200, "null"),
		"another's container": answer(200, `{"Id":"1","Name":"/workspace-server.other.w"}`),
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `[{"Id":`)
		},
		"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, handler := range tests {
		for what, call := range calls(against(t, handler)) {
			wantUnknown(t, name+": "+what, call(t.Context()))
		}
	}
	for what, call := range calls(on(t, "unix://"+filepath.Join(t.TempDir(), "no.sock"))) {
		wantUnknown(t, "no socket: "+what, call(t.Context()))
	}
}

func TestAnEngineThatHangs(t *testing.T) {
	p := against(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for what, call := range calls(p) {
		err := call(canceled)
		wantUnknown(t, what, err)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s, canceled, = %v, want %v", what, err, context.Canceled)
		}
	}
	p.engine.patience = 20 * time.Millisecond
	for what, call := range calls(p) {
		err := call(t.Context())
		wantUnknown(t, what, err)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s = %v, want %v", what, err, context.DeadlineExceeded)
		}
	}
}

// shown answers like an engine with one container, and leaves all other calls to
// next.
func shown(generation int, status string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1.44/containers/workspace-server.test.w/json" {
			next(w, r)
			return
		}
		fmt.Fprintf(w, `{"Id":"1","Name":"/workspace-server.test.w","State":{"Status":%q},"Config":{"Labels":{
			"workspace-server.installation":"test","workspace-server.workspace":"w","workspace-server.generation":"%d"}}}`, status, generation)
	}
}

// Each later step can fail like the first.
func TestAnEngineThatFailsHalfway(t *testing.T) {
	broken := answer(500, `{"message":"hunter2"}`)
	tests := []struct {
		name       string
		generation int
		status     string
		calls      []string
	}{
		{"running", 2, "running", []string{"Stop", "Remove", "Logs"}},
		{"earlier", 1, "running", []string{"Start"}},
		{"not started", 2, "created", []string{"Start"}},
	}
	for _, tt := range tests {
		all := calls(against(t, shown(tt.generation, tt.status, broken)))
		for _, what := range tt.calls {
			wantUnknown(t, tt.name+": "+what, all[what](t.Context()))
		}
	}
}

// A call that meets another server's work repeats, but not for ever.
func TestRacesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := workspace.Errorf(workspace.Unavailable, "lost")
		asked := 0
		err := retry(t.Context(), func() error { asked++; return raced{lost} })
		if !errors.Is(err, lost) || asked != 300 {
			t.Errorf("retry = %v after %d calls, want %v after 300", err, asked, lost)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = retry(ctx, func() error { cancel(); return raced{lost} })
		wantUnknown(t, "retry, canceled,", err)
		asked = 0
		err = retry(t.Context(), func() error {
			if asked++; asked < 3 {
				return raced{lost}
			}
			return nil
		})
		if err != nil || asked != 3 {
			t.Errorf("retry = %v after %d calls, want none after 3", err, asked)
		}
	})
}

func TestLogsOfAnEngineThatBreaksOff(t *testing.T) {
	p := against(t, shown(1, "running", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, frame(1, "one\n")+frame(2, "two\n")[:10])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	logs, err := p.Logs(t.Context(), "w", -1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	if got, err := io.ReadAll(logs); string(got) != "one\ntw" || err == nil || provision.IsAbsent(err) {
		t.Errorf("read %q and %v, want what was sent and an error", got, err)
	}
}

func TestLogsEnd(t *testing.T) {
	for _, how := range []string{"context", "close"} {
		p := against(t, shown(1, "running", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, frame(1, "one\n"))
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
		ctx, cancel := context.WithCancel(t.Context())
		logs, err := p.Logs(ctx, "w", 1, true)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, err := logs.Read(buf); string(buf[:n]) != "one\n" || err != nil {
			t.Errorf("%s: read %q, %v, want the first line", how, buf[:n], err)
		}
		end := cancel
		if how == "close" {
			end = func() {
				if err := logs.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			}
		}
		ended := make(chan error)
		go func() {
			_, err := logs.Read(buf)
			ended <- err
		}()
		end()
		if err := <-ended; err == nil {
			t.Errorf("%s: read more", how)
		}
		logs.Close()
		cancel()
	}
}

// A line of a pull's progress can say that it failed.
func TestPullFails(t *testing.T) {
	tests := map[string]http.HandlerFunc{
		"refused":   answer(500, `{"message":"hunter2"}`),
		"denied":    answer(404, `{"message":"hunter2"}`),
		"broke off": answer(200, "{\"status\":\"Pulling\"}\n{\"error\":\"hunter2\"}\n"),
		"half":      answer(200, "{\"status\":\"Pul"),
	}
	for name, pull := range tests {
		p := against(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/images/create"):
				if got, want := r.URL.RawQuery, "fromImage=agent&tag=latest"; got != want {
					t.Errorf("pull asked for %s, want %s", got, want)
				}
				pull(w, r)
			case strings.HasPrefix(r.URL.Path, "/v1.44/networks/"):
				io.WriteString(w, `{"Name":"workspace-server.test"}`)
			default:
				answer(404, `{"message":"No such container, volume or image"}`)(w, r)
			}
		})
		err := calls(p)["Start"](t.Context())
		const want = "The image agent is missing and cannot be pulled. Build it, or run 'docker pull agent' on the engine's host."
		if workspace.Message(err) != want || provision.IsAbsent(err) {
			t.Errorf("%s: Start = %v, want %q", name, err, want)
		}
	}
}
