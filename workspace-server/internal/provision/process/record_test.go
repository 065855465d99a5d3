//go:build unix

package process

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"workspace-server/internal/provision"
)

// Keepers outlive the server: a new version reads the records that keepers of
// earlier versions write.
func TestRecordsOfEarlierVersions(t *testing.T) {
	started := time.Date(2026, 1, 2, 3, 4, 5, 678000000, time.UTC)
	const start = `{"generation":3,"address":"127.0.0.1:45678","started":"2026-01-02T03:04:05.678Z","keeper":4711}` + "\n"
	tests := []struct {
		name string
		exit string // what exit.json has; empty: there is none
		want provision.Instance
	}{
		{"recorded end", `{"code":143,"message":"The agent was ended by a signal: terminated."}` + "\n", provision.Instance{
			ExitCode: 143, Message: "The agent was ended by a signal: terminated.",
		}},
		{"unrecorded end", "", provision.Instance{
			ExitCode: -1, Message: "How the agent ended is not known: its keeper was killed, or the machine was restarted.",
		}},
	}
	for _, tt := range tests {
		place := filepath.Join(t.TempDir(), "ws_a")
		dir := filepath.Join(place, "3")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"alive": "", "instance.json": start, "exit.json": tt.exit} {
			if name == "exit.json" && text == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r, err := newest(place)
		if err != nil || r.Keeper != 4711 {
			t.Fatalf("%s: newest = %+v, %v, want the keeper 4711", tt.name, r, err)
		}
		tt.want.Workspace, tt.want.Generation, tt.want.State = "ws_a", 3, provision.Exited
		tt.want.Address, tt.want.Started = "127.0.0.1:45678", started
		if got := r.instance(); got != tt.want {
			t.Errorf("%s: the instance is %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
