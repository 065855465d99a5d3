package api

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"workspace-server/internal/metrics"
	"workspace-server/internal/token"
)

func TestMetrics(t *testing.T) {
	each(t, func(t *testing.T, a *testAPI) {
		w := a.create("one")
		a.create("two")
		a.do(http.MethodGet, "/v1/workspaces/"+w.ID, "")
		a.do(http.MethodGet, "/v1/workspaces/ws_none", "")
		a.do(http.MethodGet, "/v1/workspaces", "", "Authorization: ")
		a.do("BREW", "/pot/\"of\"/coffee", "")
		a.do(http.MethodPut, "/v1/workspaces/"+w.ID, "")
		s := a.stream("/v1/events")
		s.block()

		got := a.do(http.MethodGet, "/metrics", "")
		if got.status != 200 || got.header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
			t.Fatalf("GET /metrics = %d of type %s: %s", got.status, got.header.Get("Content-Type"), got.body)
		}
		for _, want := range []string{
			"http_requests_in_flight 2", // the stream and this one
			`http_requests_total{method="POST",route="/v1/workspaces",class="2xx"} 2`,
			`http_requests_total{method="GET",route="/v1/workspaces/{id}",class="2xx"} 1`,
			`http_requests_total{method="GET",route="/v1/workspaces/{id}",class="4xx"} 1`,
			`http_requests_total{method="GET",route="/v1/workspaces",class="4xx"} 1`,
			`http_requests_total{method="other",route="other",class="4xx"} 1`,
			`http_requests_total{method="PUT",route="other",class="4xx"} 1`,
			`http_request_duration_seconds_count{method="POST",route="/v1/workspaces"} 2`,
			"workspace_server_event_streams 1",
			"workspace_server_events_total 2",
			`workspace_server_workspaces{state="stopped"} 2`,
			`workspace_server_build_info{build="test",goversion="go`,
			"process_start_time_seconds 1.7e+09",
			"go_goroutines ",
			"go_memstats_heap_alloc_bytes ",
		} {
			if !strings.Contains(got.body, "\n"+want) {
				t.Errorf("GET /metrics has no line %q:\n%s", want, got.body)
			}
		}
		for _, sent := range []string{w.ID, "coffee", "BREW", "ws_none", string(a.secret)} {
			if strings.Contains(got.body, sent) {
				t.Errorf("GET /metrics tells %q, which a client sent", sent)
			}
		}
		own := a.token(token.Spec{Role: token.Workspace, Workspace: w.ID})
		a.do(http.MethodGet, "/metrics", "", "Authorization: Bearer "+string(own)).wantProblem(t, "a workspace's token", 403, "admin")

		a.stop()
		for more := true; more; {
			_, more = s.block()
		}
		// The stream is counted when it has ended, which its client may see first.
		for i := 0; ; i++ {
			got = a.do(http.MethodGet, "/metrics", "")
			if strings.Contains(got.body, "\nworkspace_server_event_streams 0\n") &&
				strings.Contains(got.body, `http_requests_total{method="GET",route="/v1/events",class="2xx"} 1`) {
				break
			}
			if i == 1000 {
				t.Fatalf("GET /metrics still has the stream that ended:\n%s", got.body)
			}
		}
	})
}

// The status of an answer that was cut short is not how it ended.
func TestAbortedRequestsAreCounted(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("GET /x", handler(func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = w.Write([]byte("half"))
		panic("boom")
	}))
	e := &edge{mux: mux, log: slog.New(slog.DiscardHandler)}
	func() {
		defer func() { _ = recover() }()
		e.ServeHTTP(discard{http.Header{}}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/x", nil))
	}()
	var text metrics.Text
	e.requests.Write(&text)
	if got, want := text.String(), `http_requests_total{method="GET",route="/x",class="aborted"} 1`; !strings.Contains(got, want) || !strings.Contains(got, "in_flight 0") {
		t.Errorf("after an answer that was cut short:\n%s\nwant %s, and none in flight", got, want)
	}
}
