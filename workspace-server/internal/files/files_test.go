package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"syscall"
	"testing"
	"testing/fstest"

	"workspace-server/internal/testkit"
	"workspace-server/internal/tree"
	"workspace-server/internal/workspace"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const id = "ws_one"

func write(t *testing.T, d Dir, name, text string) File {
	t.Helper()
	file, _, err := d.Write(id, name, []byte(text), Condition{})
	if err != nil {
		t.Fatalf("Write(%s) = %v", name, err)
	}
	return file
}

// paths returns what is listed, each with its size.
func paths(t *testing.T, d Dir) []string {
	t.Helper()
	list, err := d.List(id)
	if err != nil {
		t.Fatalf("List() = %v", err)
	}
	all := []string{}
	for _, f := range list.Items {
		all = append(all, fmt.Sprintf("%s %d", f.Path, f.Size))
	}
	return all
}

// configsOf makes the directory that the agent sees, and returns its path.
func configsOf(t *testing.T, d Dir) string {
	t.Helper()
	dir, err := d.Make(id)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFiles(t *testing.T) {
	d := New(t.TempDir())
	if got := paths(t, d); len(got) != 0 {
		t.Errorf("List() before anything = %q, want nothing", got)
	}
	if _, _, err := d.Read(id, "a"); workspace.KindOf(err) != workspace.NotFound {
		t.Errorf("Read before anything = %v, want NotFound", err)
	}
	if err := d.Delete(id, "a", Condition{}); workspace.KindOf(err) != workspace.NotFound {
		t.Errorf("Delete before anything = %v, want NotFound", err)
	}
	if err := d.Remove(id); err != nil {
		t.Errorf("Remove before anything = %v", err)
	}
	for i, text := range []string{"one", "two\r\n\x00\xff", ""} {
		file, fresh, err := d.Write(id, "p/q/a.txt", []byte(text), Condition{})
		if err != nil || fresh != (i == 0) || file.Size != int64(len(text)) || file.Path != "p/q/a.txt" || file.Modified == 0 {
			t.Errorf("Write, time %d = %+v, %v, %v", i+1, file, fresh, err)
		}
		read, body, err := d.Read(id, "p/q/a.txt")
		if err != nil || string(body) != text || read != file {
			t.Errorf("Read = %+v, %q, %v, want %+v, %q", read, body, err, file, text)
		}
		list, err := d.List(id)
		if err != nil || len(list.Items) != 1 || list.Items[0] != file || !list.Complete {
			t.Errorf("List() = %+v, %v, want %+v", list, err, file)
		}
	}
	write(t, d, "p/b", "")
	write(t, d, "p-b", "xy")
	if got, want := paths(t, d), []string{"p-b 2", "p/b 0", "p/q/a.txt 0"}; !slices.Equal(got, want) {
		t.Errorf("List() = %q, want %q", got, want)
	}
	for name, kind := range map[string]workspace.Kind{"p": workspace.Conflict, "p-b/c": workspace.Conflict, "p/b/c/d": workspace.Conflict} {
		if _, _, err := d.Write(id, name, nil, Condition{}); workspace.KindOf(err) != kind {
			t.Errorf("Write(%s) = %v, want %s", name, err, kind)
		}
		if _, _, err := d.Read(id, name); workspace.KindOf(err) != workspace.NotFound {
			t.Errorf("Read(%s) = %v, want NotFound", name, err)
		}
		if err := d.Delete(id, name, Condition{}); workspace.KindOf(err) != workspace.NotFound {
			t.Errorf("Delete(%s) = %v, want NotFound", name, err)
		}
	}
	// A directory goes with its last file, so that its name is free again.
	for _, name := range []string{"p/q/a.txt", "p/b"} {
		if err := d.Delete(id, name, Condition{}); err != nil {
			t.Errorf("Delete(%s) = %v", name, err)
		}
	}
	write(t, d, "p", "a file")
	if got, want := paths(t, d), []string{"p 6", "p-b 2"}; !slices.Equal(got, want) {
		t.Errorf("List() = %q, want %q", got, want)
	}
	if err := d.Remove(id); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(d.path, id)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Remove the directory is still there: %v", err)
	}
	for _, other := range []string{"", "..", "../x", "ws_", "ws_a/b", "WS_A"} {
		_, listErr := d.List(other)
		_, _, readErr := d.Read(other, "a")
		_, _, writeErr := d.Write(other, "a", nil, Condition{})
		for _, err := range []error{listErr, readErr, writeErr, d.Delete(other, "a", Condition{}), d.Remove(other), d.Seed(other, fstest.MapFS{})} {
			if workspace.KindOf(err) != workspace.NotFound {
				t.Errorf("workspace %q = %v, want NotFound", other, err)
			}
		}
	}
}

func TestConditions(t *testing.T) {
	d := New(t.TempDir())
	old := write(t, d, "f", "one").ETag
	tests := []struct {
		call string
		cond Condition
		name string
		want workspace.Kind
	}{
		{"match any, of nothing", Condition{Match: []string{"*"}}, "none", workspace.Stale},
		{"match a tag, of nothing", Condition{Match: []string{old}}, "none", workspace.Stale},
		{"match another tag", Condition{Match: []string{`"x"`}}, "f", workspace.Stale},
		{"match a weak tag", Condition{Match: []string{"W/" + old}}, "f", workspace.Stale},
		{"match no tag", Condition{Match: []string{}}, "f", workspace.Stale},
		{"none match any", Condition{NoneMatch: []string{"*"}}, "f", workspace.Stale},
		{"none match the tag", Condition{NoneMatch: []string{`"x"`, old}}, "f", workspace.Stale},
		{"none match the tag, weakly", Condition{NoneMatch: []string{"W/" + old}}, "f", workspace.Stale},
		{"match the tag", Condition{Match: []string{`"x"`, old}}, "f", ""},
		{"match any", Condition{Match: []string{"*"}}, "f", ""},
		{"none match another tag", Condition{NoneMatch: []string{`"x"`}}, "f", ""},
		{"none match any, of nothing", Condition{NoneMatch: []string{"*"}}, "new", ""},
	}
	for _, tt := range tests {
		_, _, err := d.Write(id, tt.name, []byte("one"), tt.cond)
		if tt.want == "" && err != nil || tt.want != "" && workspace.KindOf(err) != tt.want {
			t.Errorf("Write: %s = %v, want %q", tt.call, err, tt.want)
		}
		if tt.want != "" {
			if err := d.Delete(id, tt.name, tt.cond); workspace.KindOf(err) != tt.want {
				t.Errorf("Delete: %s = %v, want %q", tt.call, err, tt.want)
			}
		}
	}
	if err := d.Delete(id, "f", Condition{Match: []string{old}}); err != nil {
		t.Errorf("Delete with the tag = %v", err)
	}
}

// Of many that count one up at once, each on what it read, none is lost, by
// whichever server.
func TestConditionsAtOnce(t *testing.T) {
	state := t.TempDir()
	const each, writers = 5, 4
	write(t, New(state), "n", "")
	var wg gosync.WaitGroup
	var created [writers]bool
	for i := range writers {
		wg.Go(func() {
			d := New(state)
			_, fresh, err := d.Write(id, "first", nil, Condition{NoneMatch: []string{"*"}})
			if err != nil && workspace.KindOf(err) != workspace.Stale {
				t.Errorf("Write(first) = %v, want nil or Stale", err)
			}
			created[i] = err == nil && fresh
			for done := 0; done < each; {
				file, body, err := d.Read(id, "n")
				if err != nil {
					t.Errorf("Read(n) = %v", err)
					return
				}
				_, _, err = d.Write(id, "n", append(body, 'x'), Condition{Match: []string{file.ETag}})
				switch {
				case err == nil:
					done++
				case workspace.KindOf(err) != workspace.Stale:
					t.Errorf("Write(n) = %v, want nil or Stale", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if _, body, err := New(state).Read(id, "n"); err != nil || len(body) != each*writers {
		t.Errorf("after %d writes there are %d, %v", each*writers, len(body), err)
	}
	if n := len(slices.DeleteFunc(created[:], func(c bool) bool { return !c })); n != 1 {
		t.Errorf("%d of %d made the same file, want 1", n, writers)
	}
}

func TestLimits(t *testing.T) {
	d := New(t.TempDir())
	if _, _, err := d.Write(id, "large", make([]byte, tree.MaxFile+1), Condition{}); workspace.KindOf(err) != workspace.Invalid {
		t.Errorf("Write of a large file = %v, want Invalid", err)
	}
	for i := range tree.MaxTotal / tree.MaxFile {
		write(t, d, fmt.Sprintf("full/%d", i), strings.Repeat("x", tree.MaxFile))
	}
	if _, _, err := d.Write(id, "one-more", []byte("x"), Condition{}); workspace.KindOf(err) != workspace.Conflict || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("Write of too much in all = %v, want Conflict", err)
	}
	write(t, d, "full/0", strings.Repeat("y", tree.MaxFile)) // in the place of another
	write(t, d, "empty", "")

	// The rest is made as an agent makes it, which costs no fsync.
	e := New(t.TempDir())
	dir := configsOf(t, e)
	for i := range tree.MaxFiles - 1 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(t, e, "last", "")
	write(t, e, "last", "again")
	if _, _, err := e.Write(id, "one-more", nil, Condition{}); workspace.KindOf(err) != workspace.Conflict || !strings.Contains(err.Error(), "1000 files") {
		t.Errorf("Write of one file too many = %v, want Conflict", err)
	}
	if err := e.Delete(id, "f0", Condition{}); err != nil {
		t.Error(err)
	}
	write(t, e, strings.Repeat("d/", tree.MaxDepth-1)+"deep", "")
	if list, err := e.List(id); err != nil || len(list.Items) != tree.MaxFiles || !list.Complete {
		t.Errorf("List() = %d files, complete %v, %v, want %d, complete", len(list.Items), list.Complete, err, tree.MaxFiles)
	}
}

// The agent may run as another user, whatever the server's umask is; but only
// where the directory is mounted.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	d := New(t.TempDir())
	write(t, d, "a/b/c", "x")
	for name, want := range map[string]os.FileMode{
		"": 0o700, id: 0o700, id + "/configs": 0o755, id + "/configs/a": 0o755, id + "/configs/a/b": 0o755, id + "/configs/a/b/c": 0o644,
	} {
		info, err := os.Stat(filepath.Join(d.path, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("the mode of %q is %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestSeed(t *testing.T) {
	template := fstest.MapFS{
		"config.yaml":       {Data: []byte("name: demo\r\nversion: \"1\"\r\n"), Mode: 0o644},
		"prompts/system.md": {Data: []byte("Be brief.\r\n"), Mode: 0o600},
		"prompts/more.md":   {Data: []byte("\ufeffMore."), Mode: 0o644},
	}
	want := func(t *testing.T, d Dir, changed map[string]string) {
		t.Helper()
		list, err := d.List(id)
		if err != nil || len(list.Items) != len(template) {
			t.Errorf("List() = %+v, %v, want the template's files", list, err)
		}
		for name, file := range template {
			text := string(file.Data)
			if other, ok := changed[name]; ok {
				text = other
			}
			if _, body, err := d.Read(id, name); err != nil || string(body) != text {
				t.Errorf("Read(%s) = %q, %v, want %q", name, body, err, text)
			}
		}
		if left, err := os.ReadDir(filepath.Join(d.path, id, configs)); err != nil || len(left) != 2 {
			t.Errorf("the directory has %v, %v, want what is listed and nothing else", left, err)
		}
	}
	t.Run("once", func(t *testing.T) {
		d := New(t.TempDir())
		for range 2 {
			if err := d.Seed(id, template); err != nil {
				t.Fatalf("Seed() = %v", err)
			}
			want(t, d, nil)
		}
		write(t, d, "config.yaml", "mine")
		if err := d.Delete(id, "prompts/more.md", Condition{}); err != nil {
			t.Fatal(err)
		}
		if err := d.Seed(id, template); err != nil {
			t.Fatal(err)
		}
		if got := paths(t, d); !slices.Equal(got, []string{"config.yaml 4", "prompts/system.md 11"}) {
			t.Errorf("List() after another Seed = %q, want what the user made of it", got)
		}
	})
	t.Run("what is there stays", func(t *testing.T) {
		d := New(t.TempDir())
		write(t, d, "prompts/system.md", "mine")
		if err := d.Seed(id, template); err != nil {
			t.Fatal(err)
		}
		want(t, d, map[string]string{"prompts/system.md": "mine"})
	})
	// A server that ends while it copies leaves some of the files, and one that
	// is not whole under another name.
	t.Run("after a crash", func(t *testing.T) {
		names := []string{"config.yaml", "prompts/more.md", "prompts/system.md"}
		for n := range len(names) + 1 {
			d := New(t.TempDir())
			dir := configsOf(t, d)
			for _, name := range names[:n] {
				write(t, d, name, string(template[name].Data))
			}
			for _, left := range []string{"a", "b"} {
				if err := os.WriteFile(filepath.Join(dir, temporary+left), []byte("ha"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := paths(t, d); len(got) != n {
				t.Errorf("List() after a crash = %q, want %d whole files", got, n)
			}
			if n == len(names) {
				write(t, d, names[0], string(template[names[0]].Data)) // nothing is missing, so nothing is written
			}
			if err := d.Seed(id, template); err != nil {
				t.Errorf("Seed() after %d files = %v", n, err)
			}
			want(t, d, nil)
		}
	})
	t.Run("at once", func(t *testing.T) {
		state := t.TempDir()
		var wg gosync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := New(state).Seed(id, template); err != nil {
					t.Errorf("Seed() = %v", err)
				}
			})
		}
		wg.Wait()
		want(t, New(state), nil)
	})
	t.Run("refused", func(t *testing.T) {
		for call, bad := range map[string]fstest.MapFS{
			"a link":     {"a": {Data: []byte("x")}, "z": {Data: []byte("/etc/passwd"), Mode: os.ModeSymlink}},
			"a device":   {"a": {Data: []byte("x")}, "z": {Mode: os.ModeDevice}},
			"large":      {"a": {Data: []byte("x")}, "z": {Data: make([]byte, tree.MaxFile+1)}},
			"our prefix": {"a": {Data: []byte("x")}, temporary + "x": {}},
		} {
			d := New(t.TempDir())
			if err := d.Seed(id, bad); workspace.KindOf(err) != workspace.Invalid {
				t.Errorf("Seed() of %s = %v, want Invalid", call, err)
			}
			if got := paths(t, d); len(got) != 0 {
				t.Errorf("Seed() of %s leaves %q, want nothing", call, got)
			}
		}
		d := New(t.TempDir())
		write(t, d, "prompts", "in the way")
		if err := d.Seed(id, template); workspace.KindOf(err) != workspace.Conflict || !strings.Contains(err.Error(), `"prompts" is not a directory`) {
			t.Errorf("Seed() with a file in the way = %v, want Conflict that names it", err)
		}
	})
}

// A write that comes while a workspace's files are removed ends before that, or
// begins anew after it; it is never half there.
func TestRemoveAtTheSameTime(t *testing.T) {
	d := New(t.TempDir())
	var wg gosync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for range 10 {
				name := fmt.Sprintf("d%d/f", i)
				if _, _, err := d.Write(id, name, []byte("whole"), Condition{}); err != nil {
					t.Errorf("Write(%s) = %v", name, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			if err := d.Remove(id); err != nil {
				t.Errorf("Remove() = %v", err)
			}
		}
	})
	wg.Wait()
	for _, got := range paths(t, d) {
		if !strings.HasSuffix(got, " 5") {
			t.Errorf("%q is there, want whole files only", got)
		}
	}
	if err := d.Remove(id); err != nil {
		t.Error(err)
	}
}
