package api

import (
	"maps"
	"net/http"
	"runtime"
	"slices"

	"workspace-server/internal/metrics"
)

// getMetrics answers with the metrics of this process, and with those of the database
// that all servers share. No label holds what a client sent.
func (a *api) getMetrics(w http.ResponseWriter, r *http.Request) error {
	states, err := a.Workspaces.CountStates(r.Context())
	if err != nil {
		return err
	}
	last, err := a.Events.LastEvent(r.Context())
	if err != nil {
		return err
	}
	lag, err := a.Workspaces.Lag(r.Context())
	if err != nil {
		return err
	}
	var t metrics.Text
	a.requests.Write(&t)
	t.Single("workspace_server_event_streams", metrics.Gauge, "How many streams of events are open.", float64(a.streams.Load()))
	t.Single("workspace_server_events_total", metrics.Counter, "The number of the last event, across all servers.", float64(last))
	t.Metric("workspace_server_workspaces", metrics.Gauge, "Workspaces by state, across all servers.")
	for _, state := range slices.Sorted(maps.Keys(states)) {
		t.Number("workspace_server_workspaces", float64(states[state]), metrics.Label{Name: "state", Value: string(state)})
	}
	t.Single("workspace_server_reconcile_lag_seconds", metrics.Gauge,
		"How long the workspace that has waited longest has been due, across all servers.", lag.Seconds())
	t.Metric("workspace_server_build_info", metrics.Gauge, "The running program.")
	t.Number("workspace_server_build_info", 1,
		metrics.Label{Name: "build", Value: a.Build()}, metrics.Label{Name: "goversion", Value: runtime.Version()})
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Single("go_goroutines", metrics.Gauge, "How many goroutines exist.", float64(runtime.NumGoroutine()))
	t.Single("go_memstats_heap_alloc_bytes", metrics.Gauge, "How many bytes the objects on the heap take.", float64(memory.HeapAlloc))
	t.Single("go_memstats_sys_bytes", metrics.Gauge, "How many bytes the program has from the system.", float64(memory.Sys))
	t.Single("process_start_time_seconds", metrics.Gauge, "When the server started, in seconds since 1970.",
		float64(a.Started.UnixMilli())/1000)
	return writeText(w, metrics.ContentType, []byte(t.String()))
}
