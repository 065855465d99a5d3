package janitor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"e2e/harness/command"
)

// asClient makes the test binary a program that is killed in the middle.
const asClient = "E2E_JANITOR_CLIENT"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" && os.Getenv(asClient) == "" {
		os.Exit(m.Run())
	}
	j, err := Main()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	dir := os.Getenv(asClient)
	err = errors.Join(j.Add(Directory(dir)), j.Add(Directory(dir+"-removed")), j.Add(Processes(filepath.Base(dir))))
	if err == nil {
		err = j.Remove(context.Background(), Directory(dir+"-removed"))
	}
	if err == nil {
		// A grandchild in its own session, which outlives its parent.
		_, err = command.Start(command.Options{Dir: dir, Run: filepath.Base(dir)}, "sh", "-c", "setsid sleep 300 & setsid sleep 300")
	}
	fmt.Println("ready", err)
	select {}
}

// TestKilled: the janitor removes what a killed program leaves.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "e2e-killed-"+fmt.Sprint(os.Getpid()))
	if err := os.MkdirAll(filepath.Join(dir, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asClient+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 200)
	n, err := out.Read(buf)
	if said := string(buf[:n]); err != nil || !strings.HasPrefix(said, "ready <nil>") {
		t.Fatalf("the program said %q, %v", said, err)
	}
	run := filepath.Base(dir)
	poll(t, "its processes run", func() bool { return len(command.Running(run)) >= 2 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	poll(t, "its processes are gone", func() bool { return len(command.Running(run)) == 0 })
	poll(t, "its directory is gone", func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, fs.ErrNotExist)
	})
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}
