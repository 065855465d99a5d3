package relay_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"devloop/internal/filenames"
	"devloop/internal/supervisor"
	"devloop/internal/testkit"
)

// A naming is how the program was built, and how the editor names its file.
type naming struct {
	trimmed bool
	link    bool
}

func namings() map[string]naming {
	return map[string]naming{
		"symlink": {false, true}, "trimpath": {true, false}, "symlink and trimpath": {true, true},
	}
}

// startNamed is start for a naming; path is the editor's name of the file.
func (n naming) start(t *testing.T) (h *harness, path string) {
	t.Helper()
	h = start(t)
	h.relay.Names = func(pid int) filenames.Names {
		return filenames.Of(fmt.Sprintf("/proc/%d/exe", pid), h.dir, os.Getenv)
	}
	path = h.path()
	if n.link {
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(h.dir, link); err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(link, "target.go")
	}
	n.reload(h, 0)
	return h, path
}

func (n naming) reload(h *harness, shift int) {
	h.t.Helper()
	h.builds++
	h.build(shift)
	if n.trimmed {
		program := filepath.Join(h.dir, "tmp", "server")
		if err := os.Remove(program); err != nil { // it is linked to the build of all tests
			h.t.Fatal(err)
		}
		cmd := exec.Command("go", "build", "-trimpath", "-gcflags=server/...=-N -l", "-o", program, ".")
		cmd.Dir, cmd.Env = h.dir, testkit.GoEnv()
		if out, err := cmd.CombinedOutput(); err != nil {
			h.t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	if s, err := h.supervisor.Swap(h.t.Context(), h.command(), true); err != nil || s.Outcome != supervisor.Swapped {
		h.t.Fatalf("Swap() = %+v, %v, want a new process", s, err)
	}
}

// TestNames: whichever way the editor names a file, and the program too, breakpoints
// are set, over a reload as well, and the editor hears of files by its own names.
func TestNames(t *testing.T) {
	for name, n := range namings() {
		t.Run(name, func(t *testing.T) {
			h, path := n.start(t)
			_, line := h.source(0)
			e := h.connect(false)
			e.path = path
			e.attach(0)
			set := e.response(e.breakAt(line))
			if text, _ := json.Marshal(set); !strings.Contains(string(text), fmt.Sprintf("%q", path)) || !strings.Contains(string(text), `"verified":true`) {
				t.Errorf("setBreakpoints(%s:%d) = %s, want it verified, under this name", path, line, text)
			}
			for shift := range 2 {
				if shift > 0 {
					n.reload(h, shift)
					h.moved(shift)
					_, line = h.source(shift)
				}
				greeting := h.get("/debugged")
				thread := e.stoppedAt(line)
				stack, _ := json.Marshal(e.call("stackTrace", map[string]int{"threadId": thread}))
				for _, want := range []string{path, filepath.Join(filepath.Dir(path), "main.go")} {
					if !strings.Contains(string(stack), fmt.Sprintf("%q", want)) {
						t.Errorf("the stack is\n%s\nwant %s in it", stack, want)
					}
				}
				e.continues(thread)
				h.served(greeting)
			}
			e.call("disconnect", nil)
			h.undisturbed()
		})
	}
}

// TestRPCNames is the same for Delve's own protocol.
func TestRPCNames(t *testing.T) {
	n := naming{true, true}
	h, path := n.start(t)
	_, line := h.source(0)
	c := h.delve()
	c.attach()
	var found struct{ Locations []struct{ File string } }
	c.call("FindLocation", arguments{"Scope": arguments{"GoroutineID": -1}, "Loc": fmt.Sprintf("%s:%d", path, line)}, &found)
	if len(found.Locations) != 1 || found.Locations[0].File != path {
		t.Errorf("FindLocation(%s:%d) = %+v, want it under this name", path, line, found)
	}
	if b := c.breakAt(path, line); b.File != path || b.Line != line {
		t.Errorf("CreateBreakpoint(%s:%d) = %+v, want it under this name", path, line, b)
	}
	waiting := c.command("continue")
	for shift := range 2 {
		if shift > 0 {
			n.reload(h, shift)
			h.moved(shift)
			_, line = h.source(shift)
		}
		greeting := h.get("/debugged")
		c.stoppedAt(waiting, path, line)
		waiting = c.command("continue")
		h.served(greeting)
	}
	c.conn.Close()
	h.undisturbed()
}
