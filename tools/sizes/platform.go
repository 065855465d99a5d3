package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/janitor"
	"e2e/harness/load"
	"e2e/harness/postgres"
)

// A platform is two servers on one database.
type platform struct {
	database postgres.Server
	addrs    [2]string
	token    string // an administrator's
}

// newPlatform builds the server as the production image has it, and starts it
// twice.
func newPlatform(ctx context.Context, j *janitor.Janitor) (*platform, error) {
	root, err := checkout.Root()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "e2e-sizes-")
	if err != nil {
		return nil, err
	}
	name := "sizes-" + strings.ToLower(rand.Text()[:10])
	if err := errors.Join(j.Add(janitor.Directory(dir)), j.Add(janitor.Processes(name))); err != nil {
		return nil, err
	}
	binary := filepath.Join(dir, "workspace-server")
	code, said, err := command.Run(ctx, command.Options{Dir: filepath.Join(root, "workspace-server"), Run: name, Env: []string{"CGO_ENABLED=0"}},
		"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, "./cmd/workspace-server")
	if err == nil && code != 0 {
		err = fmt.Errorf("build the server: exit code %d: %s", code, said)
	}
	if err != nil {
		return nil, err
	}
	p := &platform{}
	if p.database, err = postgres.StartDurable(ctx, j); err != nil {
		return nil, err
	}
	state := filepath.Join(dir, "state")
	options := command.Options{Dir: filepath.Join(root, "workspace-server"), Run: name, Env: []string{
		"ENV=production", "LISTEN_ADDR=127.0.0.1:0", "DATABASE_URL=" + p.database.URL, "STATE_DIRECTORY=" + state,
		"RATE_LIMIT=0", "PROVISIONER=none", "EVENT_RETENTION=168h", "LOG_LEVEL=info",
	}}
	for i := range p.addrs {
		if p.addrs[i], err = start(ctx, options, binary); err != nil {
			return nil, err
		}
	}
	token, err := os.ReadFile(filepath.Join(state, "admin-token"))
	p.token = strings.TrimSpace(string(token))
	return p, err
}

// start starts a server and returns where it serves.
func start(ctx context.Context, options command.Options, binary string) (string, error) {
	server, err := command.Start(options, binary, "serve")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	serving := regexp.MustCompile(`"msg":"serving","url":"http://([^"]+)"`)
	line, err := server.Out.Wait(ctx, 0, serving)
	if err != nil {
		return "", fmt.Errorf("start a server: %w", err)
	}
	return serving.FindStringSubmatch(line.Text)[1], nil
}

//go:embed fill.sql
var fillScript string

func (p *platform) fill(ctx context.Context, s sizes) error {
	_, err := p.database.Run(ctx, fillScript, fmt.Sprintf("workspaces=%d", s.workspaces),
		fmt.Sprintf("revisions=%d", s.revisions), fmt.Sprintf("every=%d", s.workspaces/s.agents))
	return err
}

// ask sends a request, and reads a JSON answer into v unless that is nil.
func ask(ctx context.Context, c *load.Caller, status int, v any, method, path, body string) error {
	got, answer, err := c.Do(ctx, method, path, body)
	if err == nil && got != status {
		err = fmt.Errorf("status %d, want %d: %.300s", got, status, answer)
	}
	if err == nil && v != nil {
		err = json.Unmarshal(answer, v)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// together calls fn with each number below n at once, and returns the first
// error, at which the others' context ends.
func together(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := fn(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// check finds out whether the database was filled in as the server fills it:
// it reads all workspaces, and compares the last events with them.
func (p *platform) check(ctx context.Context, s sizes) ([]item, error) {
	c := load.NewCaller(p.token, p.addrs[0])
	defer c.Close()
	all, _, err := walk(ctx, c, "")
	if err != nil {
		return nil, err
	}
	if len(all) != s.workspaces {
		return nil, fmt.Errorf("%d workspaces are listed, want %d", len(all), s.workspaces)
	}
	const last = 200
	n := s.workspaces * s.revisions
	var events struct {
		Items []struct {
			Seq       int
			Workspace string
			Data      json.RawMessage
		}
	}
	if err := ask(ctx, c, http.StatusOK, &events, "GET", fmt.Sprintf("/v1/events?after=%d", n-last), ""); err != nil {
		return nil, err
	}
	if len(events.Items) != last {
		return nil, fmt.Errorf("after event %d there are %d, want %d", n-last, len(events.Items), last)
	}
	for i, e := range events.Items {
		if e.Seq != n-last+1+i {
			return nil, fmt.Errorf("event %d is number %d", n-last+1+i, e.Seq)
		}
		var w json.RawMessage
		if err := ask(ctx, c, http.StatusOK, &w, "GET", "/v1/workspaces/"+e.Workspace, ""); err != nil {
			return nil, err
		}
		if err := agree(e.Data, w); err != nil {
			return nil, fmt.Errorf("event %d: %w", e.Seq, err)
		}
	}
	return all, nil
}

// agree fails unless a workspace is as an event tells. The workspace may have
// fields that the event lacks, as an event older than the field does.
func agree(event, workspace []byte) error {
	var told, is map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(event, &told), json.Unmarshal(workspace, &is)); err != nil {
		return err
	}
	for name, value := range told {
		if !bytes.Equal(value, is[name]) {
			return fmt.Errorf("the event's %s is %s, and the workspace's is %s", name, value, is[name])
		}
	}
	if len(told) == 0 {
		return errors.New("the event has no fields")
	}
	return nil
}
