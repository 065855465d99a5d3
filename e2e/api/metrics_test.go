package api

import (
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// families returns what there is in /metrics, and of which type.
func families() map[string]dto.MetricType {
	const counter, gauge, histogram = dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_HISTOGRAM
	return map[string]dto.MetricType{
		"http_requests_in_flight":                gauge,
		"http_requests_total":                    counter,
		"http_request_duration_seconds":          histogram,
		"workspace_server_event_streams":         gauge,
		"workspace_server_events_total":          counter,
		"workspace_server_workspaces":            gauge,
		"workspace_server_reconcile_lag_seconds": gauge,
		"workspace_server_build_info":            gauge,
		"go_goroutines":                          gauge,
		"go_memstats_heap_alloc_bytes":           gauge,
		"go_memstats_sys_bytes":                  gauge,
		"process_start_time_seconds":             gauge,
	}
}

// TestMetrics has Prometheus's own parser read /metrics, before and after
// requests of several kinds.
func TestMetrics(t *testing.T) {
	began := time.Now()
	url, token := start(t)
	client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	t.Cleanup(client.CloseIdleConnections)
	send := func(request, body, accept string, want int) *http.Response {
		t.Helper()
		method, path, _ := strings.Cut(request, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", accept)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("%s %s = %s, want %d", request, body, resp.Status, want)
		}
		return resp
	}
	scrape := func() samples {
		t.Helper()
		resp := send("GET /metrics", "", "text/plain", 200)
		defer resp.Body.Close()
		if format := expfmt.ResponseFormat(resp.Header); format.FormatType() != expfmt.TypeTextPlain {
			t.Errorf("/metrics is of the format %q, want Prometheus's text", format)
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		all, err := parser.TextToMetricFamilies(resp.Body)
		if err != nil {
			t.Fatalf("/metrics cannot be read: %v", err)
		}
		return samplesOf(t, all)
	}
	// A family without any number is none to the parser.
	_ = send("POST /v1/workspaces", `{"name":"first"}`, "*/*", 201).Body.Close()
	before := scrape()

	for range 2 {
		_ = send("POST /v1/workspaces", `{"name":"counted"}`, "*/*", 201).Body.Close()
	}
	_ = send("GET /v1/workspaces/ws_none", "", "*/*", 404).Body.Close()
	_ = send("GET /not/a/route", "", "*/*", 404).Body.Close()
	stream := send("GET /v1/events", "", "text/event-stream", 200)
	defer stream.Body.Close()
	if _, err := io.ReadFull(stream.Body, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}

	moves := samples{
		`http_requests_in_flight`: 1, // the stream
		`http_requests_total{method="POST",route="/v1/workspaces",class="2xx"}`:     2,
		`http_requests_total{method="GET",route="/v1/workspaces/{id}",class="4xx"}`: 1,
		`http_requests_total{method="GET",route="other",class="4xx"}`:               1,
		`http_request_duration_seconds{method="POST",route="/v1/workspaces"}`:       2,
		`http_request_duration_seconds{method="GET",route="/v1/workspaces/{id}"}`:   1,
		`workspace_server_event_streams`:                                            1,
		`workspace_server_events_total`:                                             2,
		`workspace_server_workspaces{state="stopped"}`:                              2,
	}
	// A request may be counted after its answer is here.
	after, moved := before, samples{}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		after = scrape()
		for name := range moves {
			moved[name] = after[name] - before[name]
		}
		if maps.Equal(moved, moves) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the numbers moved by\n%v, want\n%v", moved, moves)
		}
	}
	const started = "process_start_time_seconds"
	if at := after[started]; at != before[started] || at < float64(began.Unix()) || at > float64(time.Now().Unix()+1) {
		t.Errorf("%s is %f and was %f, want when the server started, after %d", started, at, before[started], began.Unix())
	}
	for _, name := range []string{"go_goroutines", "go_memstats_heap_alloc_bytes", "go_memstats_sys_bytes"} {
		if after[name] <= 0 {
			t.Errorf("%s is %v, want some", name, after[name])
		}
	}
}

// samples are numbers by their names and labels; that of a histogram is how
// many it counted.
type samples map[string]float64

// samplesOf returns the numbers of all families, and checks the form of each.
func samplesOf(t *testing.T, all map[string]*dto.MetricFamily) samples {
	t.Helper()
	types := families()
	if got, want := slices.Sorted(maps.Keys(all)), slices.Sorted(maps.Keys(types)); !slices.Equal(got, want) {
		t.Errorf("the families of /metrics are\n%q, want\n%q", got, want)
	}
	found := samples{}
	for name, family := range all {
		// Without a line TYPE a family is untyped.
		if family.GetType() != types[name] || family.GetHelp() == "" || len(family.GetMetric()) == 0 {
			t.Errorf("%s is a %s with the help %q and %d numbers, want a %s with help and some",
				name, family.GetType(), family.GetHelp(), len(family.GetMetric()), types[name])
		}
		for _, m := range family.GetMetric() {
			full := name + labels(m)
			if _, again := found[full]; again {
				t.Errorf("%s is there more than once", full)
			}
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				found[full] = m.GetCounter().GetValue()
			case dto.MetricType_GAUGE:
				found[full] = m.GetGauge().GetValue()
			case dto.MetricType_HISTOGRAM:
				checkHistogram(t, full, m.GetHistogram())
				found[full] = float64(m.GetHistogram().GetSampleCount())
			}
			if v := found[full]; math.IsNaN(v) || v < 0 {
				t.Errorf("%s is %v, want a number that is not below 0", full, v)
			}
		}
	}
	return found
}

func labels(m *dto.Metric) string {
	var pairs []string
	for _, l := range m.GetLabel() {
		pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	if len(pairs) == 0 {
		return ""
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

// checkHistogram wants buckets that count what is in those before them too, the
// last of them all.
func checkHistogram(t *testing.T, name string, h *dto.Histogram) {
	t.Helper()
	buckets := h.GetBucket()
	bound, below := math.Inf(-1), uint64(0)
	for _, b := range buckets {
		if b.GetUpperBound() <= bound || b.GetCumulativeCount() < below {
			t.Errorf("%s has %d up to %v after %d up to %v, want more of both", name, b.GetCumulativeCount(), b.GetUpperBound(), below, bound)
		}
		bound, below = b.GetUpperBound(), b.GetCumulativeCount()
	}
	if len(buckets) < 2 || !math.IsInf(bound, 1) || below != h.GetSampleCount() {
		t.Errorf("%s counts %d in all and, in %d buckets, %d up to %v, want the same up to +Inf", name, h.GetSampleCount(), len(buckets), below, bound)
	}
	if sum := h.GetSampleSum(); sum < 0 || h.GetSampleCount() > 0 && sum == 0 {
		t.Errorf("%s has the sum %v of %d, want how long they took", name, sum, h.GetSampleCount())
	}
}
