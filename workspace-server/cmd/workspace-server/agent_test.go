//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"workspace-server/internal/provision"
	processes "workspace-server/internal/provision/process"
)

// The program runs itself as a keeper and as an agent, which ends when the
// platform does not want it.
func TestAgentIsAProcess(t *testing.T) {
	var unwanted atomic.Bool
	registered := make(chan string, 1)
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch {
		case err != nil || r.Header.Get("Authorization") != "Bearer wst_x":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/v1/workspaces/ws_a/register":
			registered <- string(body)
			_, _ = io.WriteString(w, `{"lease_seconds":3,"heartbeat_seconds":1}`)
		case r.URL.Path == "/v1/workspaces/ws_a/heartbeat" && !unwanted.Load():
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusGone)
		}
	}))
	defer platform.Close()
	driver, err := processes.New(processes.Settings{Directory: filepath.Join(t.TempDir(), "instances")})
	if err != nil {
		t.Fatal(err)
	}
	configs := t.TempDir()
	if err := os.WriteFile(filepath.Join(configs, "system.md"), []byte("Be brief.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(generation string, number int64) provision.Instance {
		t.Helper()
		in, err := driver.Start(t.Context(), provision.Spec{
			Workspace: "ws_a", Generation: number, Tier: 1, Configs: configs,
			Env: map[string]string{
				"WORKSPACE_ID": "ws_a", "WORKSPACE_NAME": "Ada", "WORKSPACE_GENERATION": generation, "WORKSPACE_TOKEN": "wst_x",
				"PLATFORM_URL": platform.URL, "GORACE": "atexit_sleep_ms=0",
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	logs := func() string {
		t.Helper()
		r, err := driver.Logs(t.Context(), "ws_a", -1, true) // to the agent's end
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			t.Error(err)
		}
		return string(text)
	}
	defer func() {
		if err := driver.Remove(context.WithoutCancel(t.Context()), "ws_a", false); err != nil {
			t.Error(err)
		}
	}()

	in := start("1", 1)
	if got := <-registered; !strings.HasPrefix(got, `{"generation":1,"card":{"name":"Ada",`) || !strings.Contains(got, `"url":"http://`+in.Address+`/"`) {
		t.Errorf("the agent registers %s, want generation 1, and a card with its address %s", got, in.Address)
	}
	resp, err := http.Post("http://"+in.Address, "application/json",
		strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":{"parts":[{"text":"hello"}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Result struct {
			Message struct{ Parts []struct{ Text string } }
		}
	}
	err = json.NewDecoder(resp.Body).Decode(&answer)
	if err = errors.Join(err, resp.Body.Close()); err != nil || len(answer.Result.Message.Parts) != 1 {
		t.Fatalf("the agent answers %+v, %v", answer, err)
	}
	http.DefaultClient.CloseIdleConnections()
	for _, want := range []string{"workspace Ada", "I was told: hello", "My instructions in system.md: Be brief."} {
		if got := answer.Result.Message.Parts[0].Text; !strings.Contains(got, want) {
			t.Errorf("the agent answers %q, want %q in it", got, want)
		}
	}
	if err := driver.Stop(t.Context(), "ws_a", time.Minute); err != nil {
		t.Fatal(err)
	}
	if got, err := driver.Inspect(t.Context(), "ws_a"); err != nil || got.State != provision.Exited || got.ExitCode != 0 {
		t.Errorf("Inspect after Stop = %+v, %v, want exit code 0; its log:\n%s", got, err, logs())
	}

	unwanted.Store(true)
	start("2", 2)
	<-registered
	log := logs()
	if got, err := driver.Inspect(t.Context(), "ws_a"); err != nil || got.State != provision.Exited || got.ExitCode != exitUnwanted {
		t.Errorf("Inspect of an unwanted agent = %+v, %v, want exit code %d; its log:\n%s", got, err, exitUnwanted, log)
	}
	if !strings.Contains(log, "no longer wants this agent: heartbeat: 410 Gone") || strings.Contains(log, "wst_x") {
		t.Errorf("the log does not say why the agent ended, or it has the token:\n%s", log)
	}
}
