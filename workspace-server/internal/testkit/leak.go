// Package testkit holds what the tests of several packages share.
package testkit

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// Main runs a package's tests, and fails them if they leave goroutines behind.
// A TestMain calls it last.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := left(); left != "" {
			fmt.Fprintf(os.Stderr, "the tests left goroutines behind:\n\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// left returns the stacks of the goroutines that do not end within half a
// minute.
func left() string {
	deadline := time.Now().Add(30 * time.Second)
	for {
		stacks := others()
		if stacks == "" || time.Now().After(deadline) {
			return stacks
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
}

// others returns the stacks of all goroutines but the caller's and the runtime's
// own.
func others() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var found [][]byte
	for i, stack := range bytes.Split(buf, []byte("\n\n")) {
		// The first stack is the caller's.
		if i == 0 || bytes.Contains(stack, []byte("os/signal.signal_recv")) ||
			bytes.Contains(stack, []byte("os/signal.loop")) {
			continue
		}
		found = append(found, stack)
	}
	return string(bytes.Join(found, []byte("\n\n")))
}
