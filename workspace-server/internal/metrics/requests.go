package metrics

import (
	"cmp"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Requests counts requests by route, and how long they took. The zero value is ready
// for use by any number of goroutines.
type Requests struct {
	mu       sync.Mutex
	inFlight int
	answered map[answered]int
	took     map[route]*histogram
}

// route has the path of a pattern, never of a request, so that the number of routes
// is limited.
type route struct{ method, path string }

type answered struct {
	route
	class string
}

// other is the path of all requests without a pattern.
const other = "other"

// buckets returns the upper bounds of the buckets of durations, in seconds.
func buckets() []float64 {
	return []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
}

type histogram struct {
	counts []int // in each bucket, and above the last one
	sum    float64
}

// Begin counts a request as under way until Done is called for it.
func (r *Requests) Begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight++
}

// Done counts a finished request: its method, the pattern that it matches or "", and
// the status, or 0 if the answer was cut short.
func (r *Requests) Done(method, pattern string, status int, took time.Duration) {
	of := routeOf(method, pattern)
	class := "aborted"
	if status != 0 {
		class = strconv.Itoa(status/100) + "xx"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered == nil {
		r.answered, r.took = map[answered]int{}, map[route]*histogram{}
	}
	r.inFlight--
	r.answered[answered{of, class}]++
	h := r.took[of]
	if h == nil {
		h = &histogram{counts: make([]int, len(buckets())+1)}
		r.took[of] = h
	}
	i, _ := slices.BinarySearch(buckets(), took.Seconds())
	h.counts[i]++
	h.sum += took.Seconds()
}

// routeOf keeps text of clients out of the labels.
func routeOf(method, pattern string) route {
	known := []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	}
	if !slices.Contains(known, method) {
		method = other
	}
	path := pattern[strings.IndexByte(pattern, ' ')+1:]
	return route{method, cmp.Or(path, other)}
}

// Write writes the numbers of requests.
func (r *Requests) Write(t *Text) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.Single("http_requests_in_flight", Gauge, "How many requests are being answered, including streams and long polls.", float64(r.inFlight))
	t.Metric("http_requests_total", Counter, "How many requests were answered, by the class of the status.")
	byRoute := func(a, b route) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.method, b.method)) }
	for _, a := range slices.SortedFunc(maps.Keys(r.answered), func(a, b answered) int {
		return cmp.Or(byRoute(a.route, b.route), cmp.Compare(a.class, b.class))
	}) {
		t.Number("http_requests_total", float64(r.answered[a]), append(a.labels(), Label{"class", a.class})...)
	}
	const name = "http_request_duration_seconds"
	t.Metric(name, Histogram, "How long requests took, to the end of the answer.")
	for _, of := range slices.SortedFunc(maps.Keys(r.took), byRoute) {
		h, below := r.took[of], 0
		for i, bound := range append(buckets(), math.Inf(1)) {
			below += h.counts[i]
			t.Number(name+"_bucket", float64(below), append(of.labels(), Label{"le", number(bound)})...)
		}
		t.Number(name+"_sum", h.sum, of.labels()...)
		t.Number(name+"_count", float64(below), of.labels()...)
	}
}

func (r route) labels() []Label { return []Label{{"method", r.method}, {"route", r.path}} }
