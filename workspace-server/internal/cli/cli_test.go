package cli

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/workspace"
)

func TestParse(t *testing.T) {
	tests := []struct {
		words, args string
		want        []string
		label       string
		wrong       string // part of the error
	}{
		{"A", "x", []string{"x"}, "", ""},
		{"A", "--label l x", []string{"x"}, "l", ""},
		{"A", "x --label=l", []string{"x"}, "l", ""},
		{"A B", "x -label l y", []string{"x", "y"}, "l", ""},
		{"A", "-- --label", []string{"--label"}, "", ""},
		{"A B", "x --label l -- -y", []string{"x", "-y"}, "l", ""},
		{"", "", nil, "", ""},
		{"", "x", nil, "", "it takes 0 arguments, not 1"},
		{"A", "", nil, "", "it takes 1 argument, not 0"},
		{"A", "x --lable l", nil, "", "flag provided but not defined: -lable"},
		{"A", "x --label", nil, "", "flag needs an argument: -label"},
		{"A", "x --timeout soon", nil, "", `invalid value "soon" for flag -timeout`},
	}
	for _, tt := range tests {
		c := newCommand(Terminal{}, verb{name: "v", words: tt.words}, strings.Fields(tt.args))
		label := c.flags.String("label", "", "")
		got, err := c.parse()
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("parse(%q) for %q = error %v, want one with %q", tt.args, tt.words, err, tt.wrong)
			}
			continue
		}
		if err != nil || !slices.Equal(got, tt.want) || *label != tt.label {
			t.Errorf("parse(%q) for %q = %q, %q, %v, want %q, %q", tt.args, tt.words, got, *label, err, tt.want, tt.label)
		}
	}
}

// Each verb has a help page that explains each flag.
func TestHelp(t *testing.T) {
	all := run(t.Context(), "", "help")
	for _, v := range verbs() {
		if !strings.Contains(all.out, "  "+strings.TrimSpace(v.name+" "+v.words)+" ") {
			t.Errorf("help does not tell of %s:\n%s", v.name, all.out)
		}
		got := run(t.Context(), "", append(strings.Fields(v.name), "-h")...)
		if got.code != 0 || got.err != "" || !strings.HasPrefix(got.out, "Usage: workspace-server ws "+v.name+" ") {
			t.Errorf("%s -h = %+v, want its usage", v.name, got)
		}
		c := newCommand(Terminal{}, v, nil)
		v.prepare(c)
		c.flags.VisitAll(func(f *flag.Flag) {
			if !strings.Contains(got.out, "-"+f.Name+" ") || len(f.Usage) < 5 {
				t.Errorf("%s -h does not explain -%s:\n%s", v.name, f.Name, got.out)
			}
		})
	}
}

func TestAge(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	for ago, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 59 * time.Minute: "59m", time.Hour: "1h", 47 * time.Hour: "47h",
		48 * time.Hour: "2d", 400 * 24 * time.Hour: "400d", -90 * time.Second: "in 1m",
	} {
		if got := age(now.Add(-ago).UnixMilli(), now); got != want {
			t.Errorf("age of %v = %q, want %q", ago, got, want)
		}
	}
	if got := age(0, now); got != "" {
		t.Errorf("age of never = %q, want none", got)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	rows := [][]string{{"NAME", "WHY"}, {"größer", ""}, {"a\x1b[2Jb\tc\n", labelsText(workspace.Labels{"b": "2", "a": "1"})}}
	if err := table(&b, rows); err != nil {
		t.Fatal(err)
	}
	want := "NAME       WHY\ngrößer     -\na�[2Jb�c�  a=1,b=2\n"
	if b.String() != want {
		t.Errorf("table = %q, want %q", b.String(), want)
	}
}

func TestSame(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"http://127.0.0.1:8080", "http://localhost:8080/", true},
		{"http://Host", "http://host:80", true},
		{"https://host/a", "https://host/a/", true},
		{"http://host", "https://host", false},
		{"http://host:1", "http://host:2", false},
		{"http://host/a", "http://host/b", false},
		{"http://host", "", false},
		{"", "", false},
	}
	for _, tt := range tests {
		if got := same(tt.a, tt.b); got != tt.want {
			t.Errorf("same(%q, %q) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

// A token goes only to the server that it was stored for.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	token := func(c string) string { return "wst_" + strings.Repeat(c, 42) + "A" }
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("file", token("f")+"\n")
	write("admin-token", token("l")+"\n")
	write("workspace-server/client.json", `{"server":"https://noted","token":"`+token("n")+`"}`)
	local := []string{"STATE_DIRECTORY=" + dir, "LISTEN_ADDR=:9"}
	noted := "XDG_CONFIG_HOME=" + dir
	tests := []struct {
		env           []string
		server, file  string
		address, from string // f: the file, l: local, n: noted, e: environment; empty: none
	}{
		{local, "", "", "http://127.0.0.1:9", "l"},
		{local, "http://localhost:9", "", "http://localhost:9", "l"},
		{local, "http://elsewhere", "", "", ""},
		{local, "http://elsewhere", file, "http://elsewhere", "f"},
		{append(local, noted), "", "", "https://noted", "n"},
		{append(local, noted), "https://noted/", "", "https://noted/", "n"},
		{append(local, noted), "http://127.0.0.1:9", "", "http://127.0.0.1:9", "l"},
		{append(local, noted), "http://noted", "", "", ""},
		{append(local, noted, "WORKSPACE_SERVER=http://127.0.0.1:9"), "", "", "http://127.0.0.1:9", "l"},
		{append(local, noted, "WORKSPACE_SERVER_TOKEN="+token("e")), "", "", "https://noted", "e"},
		{append(local, noted, "WORKSPACE_SERVER_TOKEN="+token("e")), "http://elsewhere", file, "http://elsewhere", "f"},
		{[]string{"WORKSPACE_SERVER=http://elsewhere", "WORKSPACE_SERVER_TOKEN=" + token("e")}, "", "", "http://elsewhere", "e"},
		{nil, "", "", "", ""},
	}
	for _, tt := range tests {
		env := map[string]string{}
		for _, pair := range tt.env {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		c := newCommand(Terminal{Getenv: func(name string) string { return env[name] }}, verb{name: "v"}, nil)
		c.server, c.tokenFile = tt.server, tt.file
		address, secret, err := c.find()
		want := ""
		if tt.from != "" {
			want = token(tt.from)
		}
		if address != tt.address || secret != want || (err == nil) != (tt.from != "") {
			t.Errorf("find with %q, --server %q, --token-file %q = %q, %q, %v, want %q, %q", tt.env, tt.server, tt.file, address, secret, err, tt.address, want)
		}
	}
}
