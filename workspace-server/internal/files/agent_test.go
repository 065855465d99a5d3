package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"sync/atomic"
	"syscall"
	"testing"

	"workspace-server/internal/tree"
	"workspace-server/internal/workspace"
)

const secret = "hunter2"

// outside is what no path may lead to: a directory beside the workspaces, and
// another workspace. It returns the first.
func outside(t *testing.T, d Dir, state string) string {
	t.Helper()
	dir := filepath.Join(state, "outside")
	for _, name := range []string{filepath.Join(dir, "f"), filepath.Join(d.path, "ws_two", configs, "f")} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(secret), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, dir := range []string{dir, filepath.Join(d.path, "ws_two", configs)} {
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 {
				t.Errorf("%s has %v, %v, want it untouched", dir, entries, err)
			}
			if text, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(text) != secret {
				t.Errorf("%s/f is %q, %v, want it untouched", dir, text, err)
			}
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("%s has the mode %v, %v, want it untouched", dir, info.Mode(), err)
			}
		}
	})
	return dir
}

// try does all that can be done with a path, and returns how each was refused.
func try(t *testing.T, d Dir, name string) []error {
	t.Helper()
	_, body, readErr := d.Read(id, name)
	if strings.Contains(string(body), secret) {
		t.Errorf("Read(%q) = %q, which is outside", name, body)
	}
	_, _, writeErr := d.Write(id, name, []byte("x"), Condition{})
	return []error{readErr, writeErr, d.Delete(id, name, Condition{})}
}

func TestPathsStayInside(t *testing.T) {
	state := t.TempDir()
	d := New(state)
	dir := outside(t, d, state)
	write(t, d, "a/b", "x")
	for _, name := range []string{
		"", ".", "..", "/", "//", "./f", "../f", "../../outside/f", "../../ws_two/configs/f", "a/../../../outside/f", "a/..", "a/../a/b",
		dir + "/f", "//" + dir + "/f", "/proc/self/root" + dir + "/f", "../seeded", "a//b", "a/b/", "a/./b",
		`..\..\outside\f`, `..\/..\/outside/f`, "..\x00/f", "a/b\x00.txt", "f\n", "\xc0\xae\xc0\xae/f", "\xff", ".\u200b./f", "a/\u202eb",
		strings.Repeat("../", 30) + "etc/passwd", strings.Repeat("x", 256), strings.Repeat("x/", 16) + "f", strings.Repeat("x", 1<<20),
		temporary + "x", temporary,
	} {
		for i, err := range try(t, d, name) {
			if workspace.KindOf(err) != workspace.Invalid {
				t.Errorf("call %d with %.60q = %v, want Invalid", i, name, err)
			}
		}
	}
	// These are names like others, and each stands for itself.
	for _, name := range []string{"..f", "...", "%2e%2e%2foutside", "..%2f..%2foutside%2ff", "％２ｅ", "．．", "‥", "∕", "~", "$HOME", "C:", "-rf", "*"} {
		for i, err := range try(t, d, name)[1:] {
			if err != nil {
				t.Errorf("call %d with %q = %v, want it to be a name", i, name, err)
			}
		}
	}
	if got := paths(t, d); !slices.Equal(got, []string{"a/b 1"}) {
		t.Errorf("List() = %q, want what there was", got)
	}
}

// TestWhatAnAgentMakes has an agent make whatever is not a plain file.
func TestWhatAnAgentMakes(t *testing.T) {
	state := t.TempDir()
	d := New(state)
	out := outside(t, d, state)
	dir := configsOf(t, d)
	write(t, d, "real/f", "x")
	at := func(name string) string { return filepath.Join(dir, name) }
	socket, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(socket)
	made := map[string]error{
		"out":      os.Symlink(out+"/f", at("out")),
		"rel":      os.Symlink("../../../outside/f", at("rel")),
		"passwd":   os.Symlink("/etc/passwd", at("passwd")),
		"dangling": os.Symlink("nothing", at("dangling")),
		"loop":     os.Symlink("loop", at("loop")),
		"inside":   os.Symlink("real/f", at("inside")),
		"proc":     os.Symlink("/proc/self/environ", at("proc")),
		"outdir":   os.Symlink(out, at("outdir")),
		"reldir":   os.Symlink("../../../outside", at("reldir")),
		"insidedr": os.Symlink("real", at("insidedr")),
		"pipe":     syscall.Mkfifo(at("pipe"), 0o666),
		"socket":   syscall.Bind(socket, &syscall.SockaddrUnix{Name: relative(t, at("socket"))}),
	}
	for name, err := range made {
		if err != nil {
			t.Fatalf("make %s: %v", name, err)
		}
	}
	// Only root may make devices, and not in every container.
	if err := syscall.Mknod(at("device"), syscall.S_IFCHR|0o666, 1<<8|5); err == nil { // /dev/zero
		made["device"] = nil
	} else {
		t.Logf("no device is tried: %v", err)
	}
	if got := paths(t, d); !slices.Equal(got, []string{"real/f 1"}) {
		t.Errorf("List() = %q, want the file alone", got)
	}
	for name := range made {
		if _, body, err := d.Read(id, name); workspace.KindOf(err) != workspace.NotFound {
			t.Errorf("Read(%s) = %q, %v, want NotFound", name, body, err)
		}
		if _, _, err := d.Write(id, name, []byte("x"), Condition{}); workspace.KindOf(err) != workspace.Conflict {
			t.Errorf("Write(%s) = %v, want Conflict", name, err)
		}
		for i, err := range try(t, d, name+"/f") {
			want := workspace.NotFound
			if i == 1 {
				want = workspace.Conflict
			}
			if workspace.KindOf(err) != want {
				t.Errorf("call %d with %s/f = %v, want %s", i, name, err, want)
			}
		}
		if err := d.Delete(id, name, Condition{}); err != nil {
			t.Errorf("Delete(%s) = %v, want the thing itself gone", name, err)
		}
		if _, err := os.Lstat(at(name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after Delete(%s) there is still something: %v", name, err)
		}
	}

	// What is too much for the server is the agent's own affair, and hides nothing else.
	if err := errors.Join(os.WriteFile(at("large"), nil, 0o644), os.Truncate(at("large"), 1<<40)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Read(id, "large"); workspace.KindOf(err) != workspace.Conflict {
		t.Errorf("Read of 1 TiB = %v, want Conflict", err)
	}
	list, err := d.List(id)
	if err != nil || len(list.Items) != 2 || list.Items[0].Size != 1<<40 || list.Items[0].ETag != "" || list.Items[1].ETag == "" {
		t.Errorf("List() with 1 TiB = %+v, %v", list, err)
	}
	if err := d.Delete(id, "large", Condition{}); err != nil {
		t.Errorf("Delete of 1 TiB = %v", err)
	}
	for _, name := range []string{"odd\nname", strings.Repeat("d/", 40) + "f"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(at(name)), 0o755), os.WriteFile(at(name), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 * tree.MaxEntries {
		if err := os.Mkdir(at(fmt.Sprintf("real/%d", i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := d.List(id); err != nil || list.Complete {
		t.Errorf("List() of too much = %+v, %v, want it to say that it is not complete", list, err)
	}
	if _, _, err := d.Write(id, "g", nil, Condition{}); workspace.KindOf(err) != workspace.Conflict {
		t.Errorf("Write beside too much = %v, want Conflict", err)
	}
	if err := d.Remove(id); err != nil {
		t.Errorf("Remove() = %v", err)
	}
}

// relative shortens a path for a socket's address, which is short.
func relative(t *testing.T, name string) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	short, err := filepath.Rel(here, name)
	if err != nil {
		t.Fatal(err)
	}
	if len(short) < len(name) {
		return short
	}
	return name
}

// TestSwappedLinks has an agent put links in the place of what is being used,
// as fast as it can.
func TestSwappedLinks(t *testing.T) {
	state := t.TempDir()
	d := New(state)
	out := outside(t, d, state)
	dir := configsOf(t, d)
	write(t, d, "d/f", "inside")
	spare := filepath.Join(state, "spare")
	var stop atomic.Bool
	var swaps int
	var agent, server gosync.WaitGroup
	agent.Go(func() {
		// A directory, and a file in it, become links that lead out, and back.
		for ; !stop.Load(); swaps++ {
			_ = os.Rename(filepath.Join(dir, "d"), spare)
			_ = os.Symlink([]string{out, "../../../outside", "/"}[swaps%3], filepath.Join(dir, "d"))
			_ = os.Remove(filepath.Join(dir, "d"))
			_ = os.Rename(spare, filepath.Join(dir, "d"))
			_ = os.Remove(filepath.Join(dir, "d", "f"))
			_ = os.Symlink(out+"/f", filepath.Join(dir, "d", "f"))
			_ = os.Remove(filepath.Join(dir, "d", "f"))
			_ = syscall.Mkfifo(filepath.Join(dir, "d", "f"), 0o666)
			_ = os.Remove(filepath.Join(dir, "d", "f"))
			// Never through a link: what is outside is for the server to spoil.
			if f, err := os.OpenFile(filepath.Join(dir, "d", "f"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644); err == nil {
				_, _ = f.WriteString("inside")
				_ = f.Close()
			}
			// What is written is swapped too, before it has its name.
			if names, err := filepath.Glob(filepath.Join(dir, temporary+"*")); err == nil && len(names) > 0 {
				_ = os.Remove(names[0])
				_ = os.Symlink(out+"/f", names[0])
			}
		}
	})
	check := func(call string, err error) {
		switch workspace.KindOf(err) {
		case workspace.Internal, workspace.Unavailable, workspace.Invalid:
			if err != nil {
				t.Errorf("%s = %v, want nil, NotFound or Conflict", call, err)
			}
		}
	}
	const rounds = 60
	server.Go(func() {
		for range rounds {
			_, _, err := d.Write(id, "d/f", []byte("written"), Condition{})
			check("Write", err)
			check("Delete", d.Delete(id, "d/f", Condition{}))
			_, _, err = d.Write(id, "d/g/h", []byte("written"), Condition{})
			check("Write", err)
		}
	})
	for range 2 {
		server.Go(func() {
			for range 5 * rounds {
				file, body, err := d.Read(id, "d/f")
				check("Read", err)
				if strings.Contains(string(body), secret) {
					t.Errorf("Read = %q, which is outside", body)
				}
				list, err := d.List(id)
				check("List", err)
				for _, item := range append(list.Items, file) {
					if item.ETag == etagOf([]byte(secret)) {
						t.Errorf("List has %+v, which is outside", item)
					}
				}
			}
		})
	}
	server.Wait()
	stop.Store(true)
	agent.Wait()
	if swaps == 0 {
		t.Error("nothing was swapped")
	}
	if err := d.Remove(id); err != nil {
		t.Errorf("Remove() = %v", err)
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"a", "a/b", "real/f", "../outside/f", "link/f", "link", "real/../link", "/etc/passwd", `..\x`, "a\x00", "%2e%2e/f", "．．/f", "pipe", "real"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		state := t.TempDir()
		d := New(state)
		out := outside(t, d, state)
		dir := configsOf(t, d)
		write(t, d, "real/f", "x")
		if err := errors.Join(os.Symlink(out, filepath.Join(dir, "link")), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666)); err != nil {
			t.Fatal(err)
		}
		for i, err := range try(t, d, name) {
			if err != nil && workspace.KindOf(err) == workspace.Internal {
				t.Errorf("call %d with %q = %v, want another kind", i, name, err)
			}
		}
	})
}
