package metrics

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestText(t *testing.T) {
	var text Text
	text.Metric("a_total", Counter, "With \\ and\na line break and \"quotes\".")
	text.Number("a_total", 1)
	text.Number("a_total", 1e21, Label{"b", "back\\slash, \"quote\" and\nline break"}, Label{"c", "größe\xff"})
	text.Single("d", Gauge, "", math.Inf(-1))
	text.Number("d", math.Inf(1))
	text.Number("d", math.NaN())
	text.Number("d", 0.25)
	want := `# HELP a_total With \\ and\na line break and "quotes".
# TYPE a_total counter
a_total 1
a_total{b="back\\slash, \"quote\" and\nline break",c="größe` + "\uFFFD" + `"} 1e+21
# HELP d 
# TYPE d gauge
d -Inf
d +Inf
d NaN
d 0.25
`
	if got := text.String(); got != want {
		t.Errorf("text =\n%s\nwant\n%s", got, want)
	}
}

func TestRouteOf(t *testing.T) {
	for _, tt := range []struct{ method, pattern, want string }{
		{"GET", "GET /v1/workspaces/{id}", "GET /v1/workspaces/{id}"},
		{"HEAD", "GET /v1/workspaces/{id}", "HEAD /v1/workspaces/{id}"},
		{"GET", "/all", "GET /all"},
		{"GET", "", "GET other"},
		{"BREW", "", "other other"},
		{"get", "", "other other"},
		{"\x00\"", "", "other other"},
	} {
		if got := routeOf(tt.method, tt.pattern); got.method+" "+got.path != tt.want {
			t.Errorf("routeOf(%q, %q) = %+v, want %s", tt.method, tt.pattern, got, tt.want)
		}
	}
}

// parse reads a page strictly, and returns its numbers by their names and labels.
func parse(t *testing.T, page string) map[string]float64 {
	t.Helper()
	const label = `[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"`
	line := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{` + label + `(?:,` + label + `)*\})? (\S+)$`)
	numbers := map[string]float64{}
	begun, metric, kind := map[string]bool{}, "", ""
	for text := range strings.Lines(page) {
		text, ended := strings.CutSuffix(text, "\n")
		if !ended {
			t.Fatalf("the page ends within %q", text)
		}
		if rest, ok := strings.CutPrefix(text, "# HELP "); ok {
			metric, _, _ = strings.Cut(rest, " ")
			if begun[metric] {
				t.Errorf("%s begins twice", metric)
			}
			begun[metric], kind = true, ""
			continue
		}
		if rest, ok := strings.CutPrefix(text, "# TYPE "); ok {
			name, of, _ := strings.Cut(rest, " ")
			if name != metric || kind != "" {
				t.Errorf("%q follows the help of %s", text, metric)
			}
			kind = of
			continue
		}
		parts := line.FindStringSubmatch(text)
		if parts == nil {
			t.Fatalf("%q is no line of a page", text)
		}
		name := parts[1]
		if kind == string(Histogram) {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				name = strings.TrimSuffix(name, suffix)
			}
		}
		if name != metric || kind == "" {
			t.Errorf("%q is not of the metric %s", text, metric)
		}
		value, err := strconv.ParseFloat(parts[3], 64)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if _, ok := numbers[parts[1]+parts[2]]; ok {
			t.Errorf("%q is there twice", text)
		}
		numbers[parts[1]+parts[2]] = value
	}
	return numbers
}

func TestRequests(t *testing.T) {
	var r Requests
	var empty, text Text
	r.Write(&empty)
	if got := parse(t, empty.String()); len(got) != 1 || got["http_requests_in_flight"] != 0 {
		t.Errorf("before a request there are %v, want none in flight", got)
	}
	for _, d := range []struct {
		method, pattern string
		status          int
		took            time.Duration
	}{
		{"GET", "GET /a/{id}", 200, 250 * time.Microsecond},
		{"GET", "GET /a/{id}", 204, time.Millisecond},
		{"GET", "GET /a/{id}", 404, 20 * time.Millisecond},
		{"GET", "GET /a/{id}", 0, time.Hour},
		{"BREW", "", 405, 0},
	} {
		r.Begin()
		r.Done(d.method, d.pattern, d.status, d.took)
	}
	r.Begin()
	r.Write(&text)
	got := parse(t, text.String())
	of := `{method="GET",route="/a/{id}"`
	for name, want := range map[string]float64{
		"http_requests_in_flight":                                                       1,
		"http_requests_total" + of + `,class="2xx"}`:                                    2,
		"http_requests_total" + of + `,class="4xx"}`:                                    1,
		"http_requests_total" + of + `,class="aborted"}`:                                1,
		`http_requests_total{method="other",route="other",class="4xx"}`:                 1,
		"http_request_duration_seconds_bucket" + of + `,le="0.001"}`:                    2,
		"http_request_duration_seconds_bucket" + of + `,le="0.01"}`:                     2,
		"http_request_duration_seconds_bucket" + of + `,le="0.025"}`:                    3,
		"http_request_duration_seconds_bucket" + of + `,le="30"}`:                       3,
		"http_request_duration_seconds_bucket" + of + `,le="+Inf"}`:                     4,
		"http_request_duration_seconds_count" + of + "}":                                4,
		"http_request_duration_seconds_sum" + of + "}":                                  3600.02125,
		`http_request_duration_seconds_count{method="other",route="other"}`:             1,
		`http_request_duration_seconds_bucket{method="other",route="other",le="0.001"}`: 1,
	} {
		if value, ok := got[name]; !ok || math.Abs(value-want) > 1e-9 {
			t.Errorf("%s = %v, %t, want %v", name, value, ok, want)
		}
	}
	if want := 1 + 4 + 2*(len(buckets())+3); len(got) != want {
		t.Errorf("there are %d numbers, want %d:\n%s", len(got), want, &text)
	}
}

// A page that is read while requests are counted agrees with itself.
func TestRequestsAtOnce(t *testing.T) {
	const clients, each = 8, 200
	var r Requests
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for j := range each {
				r.Begin()
				r.Done("GET", fmt.Sprintf("GET /%d", i%2), 200, time.Duration(j)*time.Millisecond)
			}
		})
	}
	for done := false; !done; {
		var text Text
		r.Write(&text)
		got := parse(t, text.String())
		total := 0.0
		for _, path := range []string{"/0", "/1"} {
			of := `{method="GET",route="` + path + `"`
			answered, timed := got["http_requests_total"+of+`,class="2xx"}`], got["http_request_duration_seconds_count"+of+"}"]
			if answered != timed {
				t.Errorf("of %s %v were answered, and %v timed", path, answered, timed)
			}
			total += answered
		}
		done = total == clients*each
	}
	wg.Wait()
}
