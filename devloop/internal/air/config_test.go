package air

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"devloop/internal/process"
	"devloop/internal/testkit"
)

func TestReadTOML(t *testing.T) {
	const text = "# one\r\nroot = \".\" # two\n\"a b\".'c d' = 'x\\n'\n[build]\ncmd = \"a \\\"b\\\" \\u00e9\\\\ # no comment\"\nlist = [ 'a', # one\n  \"b\",\n]\n" +
		"nested = [[1, 2.5], []]\nlong = \"\"\"\nfirst \\\n   second\n\"quoted\"\"\"\"\nraw = '''\na\\b\n'''\ninline = { x = 'y', z.w = true }\ndelay=1\n\n[[build.rules]]\nname = \"m\"\n[[build.rules]]\nname = 'n'\n[ misc . sub ]\nwhen = 1979-05-27 07:32:00\n"
	want := table{
		"root": ".", "a b": table{"c d": `x\n`},
		"build": table{
			"cmd": `a "b" é\ # no comment`, "list": list{"a", "b"}, "nested": list{list{"1", "2.5"}, list{}},
			"long": "first second\n\"quoted\"", "raw": "a\\b\n", "inline": table{"x": "y", "z": table{"w": "true"}}, "delay": "1",
			"rules": list{table{"name": "m"}, table{"name": "n"}},
		},
		"misc": table{"sub": table{"when": "1979-05-27 07:32:00"}},
	}
	if got, err := readTOML(text); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("readTOML() = %#v, %v, want %#v", got, err, want)
	}
	for _, text := range []string{
		"a", "a =", "= 1", "a = 'x", "a = \"x\ny\"", "a = '''x", "a = [1", "a = {b = 1", "[a", "[[a]", "a = 'x' 'y'",
		`a = "\q"`, `a = "\u12"`, `a = "\`, "a = 1\n[a.b]", "a = 1\na.b = 2", "a = []\n[[b]]\nx=1\n[b.x.y]", "[]", "a. = 1",
	} {
		if got, err := readTOML(text); err == nil {
			t.Errorf("readTOML(%q) = %v, want an error", text, got)
		}
	}
}

func FuzzReadTOML(f *testing.F) {
	f.Add("a = [1, {b = \"\\\"\"}]\n[[c.d]]\n")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := readTOML(text); (got == nil) == (err == nil) {
			t.Errorf("readTOML(%q) = %v, %v, want one of them", text, got, err)
		}
	})
}

func TestConfigOfThisRepository(t *testing.T) {
	k := &Keeper{Command: []string{"air", "-c", ".air.toml"}, Dir: filepath.Join("..", "..", "..", "workspace-server")}
	c, err := k.Config()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(c.Command, "devloop build") || c.TmpDir != "tmp" || len(c.Before) > 0 || len(c.IncludeExt) == 0 || len(c.ExcludeDir) == 0 {
		t.Errorf("Config() = %+v, want the command, tmp, the extensions and the directories", c)
	}
	for name, want := range map[string]bool{
		"migrations/0001_a.sql": true, "migrations/migrations.go": false, "internal/migrations/a.sql": false, "internal/openapi/openapi.json": false, "a.sql": false,
	} {
		if got := c.Ruled(name); got != want {
			t.Errorf("Ruled(%q) = %t, want %t", name, got, want)
		}
	}
}

func TestConfigPath(t *testing.T) {
	dir := t.TempDir()
	tests := []struct{ command, want string }{
		{"air", dir + "/.air.toml"},
		{"air -c x.toml", dir + "/x.toml"},
		{"air -d -c=x.toml y", dir + "/x.toml"},
		{"air --c /x.toml", "/x.toml"},
		{"air -c", dir + "/.air.toml"},
	}
	for _, tt := range tests {
		k := &Keeper{Command: strings.Fields(tt.command), Dir: dir}
		if got := k.configPath(); got != tt.want {
			t.Errorf("configPath() of %q = %q, want %q", tt.command, got, tt.want)
		}
		if _, err := k.Config(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Config() of %q = %v, want %v", tt.command, err, fs.ErrNotExist)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, ".config"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".config", "air.toml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := (&Keeper{Command: []string{"air"}, Dir: dir}).configPath(), dir+"/.config/air.toml"; got != want {
		t.Errorf("configPath() = %q, want %q", got, want)
	}
}

// TestEditedConfig edits the configuration while air runs.
func TestEditedConfig(t *testing.T) {
	t.Parallel()
	s := process.NewStarter()
	defer s.Close()
	r := &reports{}
	k := keeper(s, "run", r)
	k.Dir = t.TempDir()
	write := func(text string) {
		t.Helper()
		fresh := filepath.Join(k.Dir, "fresh") // no look sees half of it
		if err := os.WriteFile(fresh, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, filepath.Join(k.Dir, ".air.toml")); err != nil {
			t.Fatal(err)
		}
	}
	said := func(n int, want string) {
		t.Helper()
		testkit.Eventually(t, want, func() bool {
			_, said := r.all()
			return len(said) == n && strings.Contains(said[n-1], want)
		})
	}
	write("root = '.'\n")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Run(ctx)
	}()
	testkit.Eventually(t, "the start", func() bool { return k.config.Load() != nil })
	write("[build]\nrules = [{include_ext = ['sql'], cmd = 'x'}]\n")
	said(1, ".air.toml changed; starting again with it")
	testkit.Eventually(t, "the new configuration", func() bool { return k.Ruled("a/b.sql") })
	write("[build\n")
	said(2, ".air.toml cannot be read")
	if !k.Ruled("a/b.sql") {
		t.Error("Ruled() = false with a broken configuration, want what was before")
	}
	if err := os.Remove(filepath.Join(k.Dir, ".air.toml")); err != nil {
		t.Fatal(err)
	}
	write("[build]\n")
	said(3, ".air.toml changed")
	cancel()
	testkit.Within(t, "the end of Run", done)
	if deaths, _ := r.all(); len(deaths) > 0 {
		t.Errorf("reported as ended: %v, want nothing", deaths)
	}
}

func TestArguments(t *testing.T) {
	tests := []struct{ command, config, want string }{
		{"air", "cmd = 'devloop build -o tmp/x .'", ""},
		{"air -c .air.toml", "cmd = 'A=1 devloop build $TAGS -ldflags=\"-X a=b;c\" -o tmp/x .'", "-c|.air.toml"},
		{"air -c .air.toml", "cmd = 'go generate ./... && devloop build -o tmp/x .'", "--build.cmd|devloop command 'go generate ./... && devloop build -o tmp/x .'|-c|.air.toml"},
		{"/bin/air", "cmd = \"sqlc generate; devloop build -gcflags='-N -l' -o tmp/x .\"", `--build.cmd|devloop command 'sqlc generate; devloop build -gcflags='\''-N -l'\'' -o tmp/x .'`},
		{"air", "cmd = 'make build'", "--build.cmd|devloop command 'make build'"},
		{"air", "pre_cmd = ['templ generate', 'b']\ncmd = 'devloop build -o tmp/x .'", "--build.cmd|devloop command 'templ generate\nb\ndevloop build -o tmp/x .'|--build.pre_cmd|:"},
		{"air --build.cmd x", "cmd = 'make build'", "--build.cmd|x"},
		{"watchexec x", "cmd = 'make build'", "x"},
		{"air", "cmd = 'make build'\n[build.linux]\ncmd = 'make linux'", ""},
		{"air", "cmd = 'make build", ""},
	}
	for _, tt := range tests {
		k := &Keeper{Command: strings.Fields(tt.command), Dir: t.TempDir()}
		if err := os.WriteFile(filepath.Join(k.Dir, ".air.toml"), []byte("[build]\n"+tt.config+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, _ = k.read()
		if got := strings.Join(k.arguments(), "|"); got != tt.want {
			t.Errorf("arguments() of %q with %s = %q, want %q", tt.command, tt.config, got, tt.want)
		}
	}
}
