//go:build unix

package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/provision/provisiontest"
	"workspace-server/internal/testkit"
)

// quiet is a variable for programs with the race detector, which otherwise linger
// for a second at their end.
const quiet = "GORACE"

// envChild has an agent start a process of its own.
const envChild = "TEST_CHILD"

// TestMain also runs as the programs that the driver starts, and as a server.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(2)
	}
	switch os.Args[1] {
	case keeperVerb:
		if err := RunKeeper(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "agent":
		if os.Getenv(envChild) != "" {
			child := exec.Command("sleep", "600")
			child.Stdout = os.Stdout
			if err := child.Start(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		provisiontest.Agent()
	case "remove":
		os.Exit(removeReadOnly(os.Args[2]))
	case "serve":
		os.Exit(serve(os.Args[2]))
	}
	testkit.Main(m)
}

// serve runs a server of an installation that starts the spec that it reads.
func serve(dir string) int {
	d, err := New(Settings{Directory: dir})
	if err != nil {
		return 1
	}
	d.env = []string{quiet + "=atexit_sleep_ms=0"}
	in := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	var spec provision.Spec
	line, err := in.ReadBytes('\n')
	if err = errors.Join(err, json.Unmarshal(line, &spec)); err != nil {
		fmt.Println(err)
		return 1
	}
	if _, err := d.Start(context.Background(), spec); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	_, _ = in.ReadByte()
	return 0
}

func newDriver(t *testing.T, dir string) *Driver {
	t.Helper()
	d, err := New(Settings{Directory: dir})
	if err != nil {
		t.Fatal(err)
	}
	d.grace = 500 * time.Millisecond
	d.env = []string{quiet + "=atexit_sleep_ms=0"}
	return d
}

// install returns the directory of an installation, and checks after the test that
// neither a file nor a process of it is left.
func install(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	t.Cleanup(func() {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			t.Errorf("left in the driver's directory: %v", entries)
		}
		if runtime.GOOS != "linux" {
			return
		}
		deadline := time.Now().Add(time.Minute)
		for left := processes(t, dir); len(left) > 0; left = processes(t, dir) {
			if time.Now().After(deadline) {
				t.Fatalf("processes are left that use %s: %q", dir, left)
			}
			time.Sleep(time.Millisecond)
		}
	})
	return dir
}

// processes returns those that have a file in a directory open.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	open, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	self := fmt.Sprintf("/proc/%d/", os.Getpid())
	var found []string
	for _, link := range open {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, dir) && !strings.HasPrefix(link, self) {
			found = append(found, link+" -> "+target)
		}
	}
	return found
}

func TestConformance(t *testing.T) {
	// leave makes what a server leaves that is killed in the middle of a start.
	leave := func(names ...string) func(*testing.T, provision.Provisioner, provision.Spec) {
		return func(t *testing.T, p provision.Provisioner, spec provision.Spec) {
			place := filepath.Join(p.(*Driver).dir, spec.Workspace)
			for _, name := range names {
				path := filepath.Join(place, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	provisiontest.Run(t, provisiontest.Harness{
		Install: func(t *testing.T) func() provision.Provisioner {
			dir := install(t)
			return func() provision.Provisioner { return newDriver(t, dir) }
		},
		Env: map[string]string{quiet: "atexit_sleep_ms=0"},
		Partial: map[string]func(*testing.T, provision.Provisioner, provision.Spec){
			"made a directory":   leave("home/.profile"),
			"began to start":     leave("2/alive", "2/log"),
			"began to record":    leave("2/alive", "2/log", "2/.instance.json-1234"),
			"began to forget":    leave("2/alive", "1/alive", "1/log"),
			"a later one failed": leave("7/alive", "7/log"),
		},
	})
}
