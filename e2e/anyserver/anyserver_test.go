// Package anyserver puts the loop in front of small servers of every kind, in each
// mode, and counts what is lost while it replaces them.
package anyserver

import (
	"flag"
	"os/exec"
	"path/filepath"
	"testing"

	"e2e/harness/janitor"
)

var reloads = flag.Int("reloads", 20, "how often each server is replaced; 50 for the full proof")

// cleaner removes what the tests made, however they end.
var cleaner *janitor.Janitor

func TestMain(m *testing.M) { janitor.Tests(m, &cleaner) }

// A cell is one server in one mode.
type cell struct {
	server  string   // a program of testdata/servers
	mode    string   // as -mode says it; "auto" must find out want
	want    string   // the mode that "devloop status" names
	up      []string // flags of "devloop up"
	args    []string // of the server
	traffic string   // the client's -kind
	ports   int      // public ones
	again   bool     // clients can send bodies again
	fixed   bool     // the server has an address that cannot be changed
}

const address = "-addr={addr}"

// cells is the matrix. Where a server says GOAWAY, net/http's client loses requests
// by itself whose bodies it cannot send again. A server that serves on an inherited socket drains with
// devloop/serve; the others end at SIGTERM at once, unless the name says more.
var cells = map[string]cell{
	"flag/forward":         {server: "plain", mode: "forward", args: []string{address}},
	"flag/fixed":           {server: "plain", mode: "fixed", args: []string{"-addr={backend}"}, fixed: true},
	"port/forward":         {server: "plain", mode: "forward"},
	"port/auto":            {server: "plain", mode: "auto", want: "forward"},
	"hard-coded/fixed":     {server: "plain", mode: "fixed", fixed: true},
	"hard-coded/auto":      {server: "plain", mode: "auto", want: "fixed", fixed: true},
	"shutdown/forward":     {server: "plain", mode: "forward", args: []string{"-shutdown"}},
	"shutdown/fixed":       {server: "plain", mode: "fixed", args: []string{"-shutdown"}, fixed: true},
	"activation/socket":    {server: "activation", mode: "socket", up: []string{"-listen=web={public}"}},
	"activation/auto":      {server: "activation", mode: "auto", want: "socket", up: []string{"-listen=web={public}"}},
	"two ports/forward":    {server: "plain", mode: "forward", up: []string{"-setenv=SECOND={addr2}"}, ports: 2},
	"tls/socket":           {server: "tls", mode: "socket", traffic: "https"},
	"tls/forward":          {server: "tls", mode: "forward", traffic: "https"},
	"tls/fixed":            {server: "tls", mode: "fixed", args: []string{"-addr={backend}"}, traffic: "https", fixed: true},
	"h2c/socket":           {server: "h2c", mode: "socket", traffic: "h2c", again: true},
	"h2c/forward":          {server: "h2c", mode: "forward", args: []string{address}, traffic: "h2c"},
	"h2c/fixed":            {server: "h2c", mode: "fixed", args: []string{"-addr={backend}"}, traffic: "h2c", fixed: true},
	"h2c with 1.1/forward": {server: "h2c", mode: "forward"},
	"grpc/forward":         {server: "grpc", mode: "forward", traffic: "grpc"},
	"grpc/fixed":           {server: "grpc", mode: "fixed", args: []string{"-addr={backend}"}, traffic: "grpc", fixed: true},
	"websocket/socket":     {server: "websocket", mode: "socket", traffic: "websocket"},
	"websocket/forward":    {server: "websocket", mode: "forward", traffic: "websocket"},
	"websocket/fixed":      {server: "websocket", mode: "fixed", args: []string{"-addr={backend}"}, traffic: "websocket", fixed: true},
	"server-sent/socket":   {server: "sse", mode: "socket", traffic: "sse"},
	"server-sent/forward":  {server: "sse", mode: "forward", traffic: "sse"},
	"server-sent/fixed":    {server: "sse", mode: "fixed", args: []string{"-addr={backend}"}, traffic: "sse", fixed: true},
	"cgo/socket":           {server: "cgo", mode: "socket"},
	"cgo/forward":          {server: "cgo", mode: "forward"},
	"cgo/fixed":            {server: "cgo", mode: "fixed", args: []string{"-addr={backend}"}, fixed: true},
}

// TestNothingIsLost replaces each server again and again under the load of 16
// clients.
func TestNothingIsLost(t *testing.T) {
	bin := t.TempDir()
	build(t, "../../devloop", filepath.Join(bin, "devloop"), "./cmd/devloop")
	build(t, servers, filepath.Join(bin, "client"), "./client")
	for name, c := range cells {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("cc"); err != nil && c.server == "cgo" {
				t.Skip("cc is not installed, which compiles the part in C")
			}
			if c.want == "" {
				c.want = c.mode
			}
			if c.traffic == "" {
				c.traffic = "http"
			}
			l := start(t, bin, c)
			before := l.status()
			if before.Mode != c.want {
				t.Fatalf("devloop up -mode %s serves in mode %q, want %s", c.mode, before.Mode, c.want)
			}
			load := l.load(filepath.Join(bin, "client"))
			for range *reloads {
				l.reload()
				load.await()
			}
			got := load.stop()
			t.Logf("report: %d requests over %d reloads, %d processes answered, %d failed, %d after a rest",
				got.Requests, *reloads, len(got.Versions), got.Failed, got.Rested)
			if got.Failed > 0 {
				t.Errorf("%d of %d requests were lost, want 0: %q", got.Failed, got.Requests, got.Failures)
			}
			const clients = 16 // all of them rest at once if the machine stalls
			if most := clients + got.Requests/10_000; got.Rested > most {
				t.Errorf("%d of %d requests failed after a long rest, want at most %d", got.Rested, got.Requests, most)
			}
			if after := l.status().Reloads - before.Reloads; after != *reloads {
				t.Errorf("the loop counts %d reloads, want %d", after, *reloads)
			}
		})
	}
}
