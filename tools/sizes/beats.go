package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"e2e/harness/load"
)

// An agent sends heartbeats for a workspace over its own connection.
type agent struct {
	*load.Caller
	workspace string
	took      []time.Duration
}

// newAgent registers an agent for a workspace that runs, in its first
// generation.
func (p *platform) newAgent(ctx context.Context, admin *load.Caller, addr, workspace string) (*agent, error) {
	var made struct{ Secret string }
	body := fmt.Sprintf(`{"role": "workspace", "name": "agent", "workspace": %q}`, workspace)
	if err := ask(ctx, admin, http.StatusCreated, &made, "POST", "/v1/tokens", body); err != nil {
		return nil, err
	}
	a := &agent{Caller: load.NewCaller(made.Secret, addr), workspace: workspace}
	return a, ask(ctx, a.Caller, http.StatusOK, nil, "POST", "/v1/workspaces/"+workspace+"/register", `{"generation": 1, "card": {"name": "an agent"}}`)
}

// beat sends heartbeats, each as soon as the one before is answered, until ctx
// is done.
func (a *agent) beat(ctx context.Context) error {
	whole := context.WithoutCancel(ctx) // what has begun is finished
	for n := 0; ctx.Err() == nil; n++ {
		began := time.Now()
		body := fmt.Sprintf(`{"generation": 1, "active_tasks": %d, "uptime_seconds": %d}`, n%2, n)
		if err := ask(whole, a.Caller, http.StatusNoContent, nil, "POST", "/v1/workspaces/"+a.workspace+"/heartbeat", body); err != nil {
			return err
		}
		a.took = append(a.took, time.Since(began))
	}
	return nil
}

// measureBeats has agents send heartbeats for some time, half of them to each
// server. The first heartbeat that is not accepted ends it.
func (p *platform) measureBeats(ctx context.Context, all []item, s sizes) (row, error) {
	admin := load.NewCaller(p.token, p.addrs[0])
	defer admin.Close()
	var agents []*agent
	for _, i := range all {
		if i.Status.State != "running" || len(agents) == s.agents {
			continue
		}
		a, err := p.newAgent(ctx, admin, p.addrs[len(agents)%len(p.addrs)], i.ID)
		if a != nil {
			defer a.Close()
			agents = append(agents, a)
		}
		if err != nil {
			return row{}, err
		}
	}
	if len(agents) != s.agents {
		return row{}, fmt.Errorf("%d workspaces run, want %d", len(agents), s.agents)
	}
	began := time.Now()
	err := together(ctx, len(agents), func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, s.beats)
		defer cancel()
		return agents[i].beat(ctx)
	})
	if err != nil {
		return row{}, err
	}
	elapsed := time.Since(began)
	var took []time.Duration
	for _, a := range agents {
		var now struct {
			Uptime     int   `json:"uptime_seconds"`
			LeaseUntil int64 `json:"lease_until"`
		}
		if err := ask(ctx, admin, http.StatusOK, &now, "GET", "/v1/workspaces/"+a.workspace+"/agent", ""); err != nil {
			return row{}, err
		}
		if now.Uptime != len(a.took)-1 || now.LeaseUntil <= began.UnixMilli() {
			return row{}, fmt.Errorf("after %d heartbeats the agent of %s is known to have uptime %d and a lease until %d", len(a.took), a.workspace, now.Uptime, now.LeaseUntil)
		}
		took = slices.Concat(took, a.took)
	}
	return row{
		name: fmt.Sprintf("as fast as they are answered, for %s", s.beats), took: took,
		rate: float64(len(took)) / elapsed.Seconds(), least: 1000,
	}, nil
}
