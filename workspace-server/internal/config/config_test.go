package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write CONFIG.md instead of comparing it")

func env(pairs ...string) func(string) string {
	vars := map[string]string{"HOME": "/home/dev"}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		vars[name] = value
	}
	return func(name string) string { return vars[name] }
}

func TestLoad(t *testing.T) {
	tests := []struct {
		env  []string
		want string // a line of Config.String
	}{
		{nil, "LISTEN_ADDR=127.0.0.1:8080"},
		{nil, "STATE_DIRECTORY=/home/dev/.local/state/workspace-server"},
		{nil, "ENV=production"},
		{nil, "DRAIN_TIMEOUT=8s"},
		{[]string{"LISTEN_ADDR=:0"}, "LISTEN_ADDR=:0"},
		{[]string{"LISTEN_ADDR=[::1]:80"}, "LISTEN_ADDR=[::1]:80"},
		{[]string{"XDG_STATE_HOME=/state"}, "STATE_DIRECTORY=/state/workspace-server"},
		{[]string{"XDG_STATE_HOME=relative"}, "STATE_DIRECTORY=/home/dev/.local/state/workspace-server"},
		{[]string{"XDG_STATE_HOME=/state", "STATE_DIRECTORY=/var/lib/ws"}, "STATE_DIRECTORY=/var/lib/ws"},
		{[]string{"STATE_DIRECTORY=/var/lib/a:/var/lib/b"}, "STATE_DIRECTORY=/var/lib/a"},
		{[]string{"WATCH_RELOAD=1"}, "ENV=development"},
		{[]string{"WATCH_RELOAD=0"}, "ENV=production"},
		{[]string{"WATCH_RELOAD="}, "WATCH_RELOAD=false"},
		{[]string{"ENV=development"}, "ENV=development"},
		{[]string{"LOG_LEVEL=debug"}, "LOG_LEVEL=debug"},
		{[]string{"DRAIN_TIMEOUT=1m30s"}, "DRAIN_TIMEOUT=1m30s"},
		{[]string{"WATCH_RELOAD=1"}, "DRAIN_TIMEOUT=10m0s"},
		{[]string{"WATCH_RELOAD=1", "DRAIN_TIMEOUT=1s"}, "DRAIN_TIMEOUT=1s"},
		{nil, "EVENT_RETENTION=168h0m0s"},
		{[]string{"EVENT_RETENTION=1h"}, "EVENT_RETENTION=1h0m0s"},
		{nil, "RATE_LIMIT=100"},
		{[]string{"ENV=development"}, "RATE_LIMIT=0"},
		{[]string{"WATCH_RELOAD=1"}, "RATE_LIMIT=0"},
		{[]string{"WATCH_RELOAD=1", "RATE_LIMIT=7"}, "RATE_LIMIT=7"},
		{[]string{"RATE_LIMIT=0"}, "RATE_LIMIT=0"},
		{[]string{"TEMPLATES_DIR=/srv/t"}, "TEMPLATES_DIR=/srv/t"},
		{nil, "AGENT_NETWORKS="},
		{[]string{"AGENT_NETWORKS=10.1.0.0/16, fd12::/16,192.168.1.7/32"}, "AGENT_NETWORKS=10.1.0.0/16,fd12::/16,192.168.1.7/32"},
		{nil, "PROVISIONER=none"},
		{[]string{"WATCH_RELOAD=1"}, "PROVISIONER=process"},
		{[]string{"WATCH_RELOAD=1", "PROVISIONER=none"}, "PROVISIONER=none"},
		{[]string{"PROVISIONER=docker", "WORKSPACE_IMAGE=a", "PLATFORM_URL=http://b:1/"}, "PLATFORM_URL=http://b:1"},
		{nil, "DOCKER_HOST=unix:///var/run/docker.sock"},
		{nil, "PLUGINS_DIR=plugins"},
		{[]string{"PLUGINS_DIR=/srv/p"}, "PLUGINS_DIR=/srv/p"},
		{
			[]string{"DATABASE_URL=postgres://u:hunter2@db:5432/app?sslmode=disable&password=hunter2"},
			"DATABASE_URL=postgres://u@db:5432/app?sslmode=disable",
		},
		{[]string{"DATABASE_URL=postgresql://u:hunter2@db/app"}, "STATE_DIRECTORY=/home/dev/.local/state/workspace-server"},
	}
	for _, tt := range tests {
		cfg, err := Load(env(tt.env...))
		if err != nil {
			t.Errorf("Load(%q) = error %v, want %s", tt.env, err, tt.want)
			continue
		}
		for _, text := range []string{cfg.String(), fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg)} {
			if strings.Contains(text, "hunter2") {
				t.Errorf("Load(%q) prints the password: %s", tt.env, text)
			}
		}
		if got := "\n" + cfg.String(); !strings.Contains(got, "\n"+tt.want+"\n") {
			t.Errorf("Load(%q) = %s\nwant the line %s", tt.env, got, tt.want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct {
		env  []string
		want string // part of the error
	}{
		{[]string{"AGENT_NETWORKS=10.1.0.1/16"}, `AGENT_NETWORKS="10.1.0.1/16" is not accepted: give networks`},
		{[]string{"AGENT_NETWORKS=10.1.0.1"}, "give networks"},
		{[]string{"AGENT_NETWORKS=10.0.0.0/8,"}, "give networks"},
		{[]string{"AGENT_NETWORKS=::ffff:10.0.0.0/104"}, "give networks"},
		{[]string{"LISTEN_ADDR=8080"}, `LISTEN_ADDR="8080" is not accepted: give host:port`},
		{[]string{"LISTEN_ADDR=:http"}, "the port must be a number"},
		{[]string{"LISTEN_ADDR=:70000"}, "the port must be a number"},
		{[]string{"PROVISIONER=kubernetes"}, "give none, process or docker"},
		{[]string{"PROVISIONER=docker", "PLATFORM_URL=http://a"}, "needs WORKSPACE_IMAGE"},
		{[]string{"PROVISIONER=docker", "WORKSPACE_IMAGE=a"}, "needs PLATFORM_URL"},
		{[]string{"PLATFORM_URL=ftp://a"}, "give http://host:port"},
		{[]string{"PLATFORM_URL=http://u:p@a"}, "give http://host:port"},
		{[]string{"ENV=prod"}, `ENV="prod" is not accepted: did you mean production?`},
		{[]string{"ENV=PRODUCTION"}, "did you mean production?"},
		{[]string{"ENV=dev"}, "did you mean development?"},
		{[]string{"ENV=staging"}, "give development or production"},
		{[]string{"WATCH_RELOAD=true"}, `WATCH_RELOAD="true" is not accepted: give 0 or 1`},
		{[]string{"WATCH_RELOAD=1", "ENV=production"}, "WATCH_RELOAD=1 is not accepted with ENV=production"},
		{[]string{"LOG_LEVEL=loud"}, "give debug, info, warn or error"},
		{[]string{"DRAIN_TIMEOUT=8"}, `DRAIN_TIMEOUT="8" is not accepted`},
		{[]string{"DRAIN_TIMEOUT=-1s"}, "above 0"},
		{[]string{"DRAIN_TIMEOUT=1h"}, "up to 10m"},
		{[]string{"EVENT_RETENTION=0"}, "at least 1h"},
		{[]string{"EVENT_RETENTION=59m"}, "at least 1h"},
		{[]string{"EVENT_RETENTION=7d"}, `EVENT_RETENTION="7d" is not accepted`},
		{[]string{"RATE_LIMIT=-1"}, `RATE_LIMIT="-1" is not accepted`},
		{[]string{"RATE_LIMIT=1.5"}, "requests a second from 0 to 100000"},
		{[]string{"RATE_LIMIT=100001"}, "requests a second from 0 to 100000"},
		{[]string{"STATE_DIRECTORY=state"}, "give an absolute path"},
		{[]string{"HOME="}, "no directory for the server's files: set STATE_DIRECTORY"},
		{[]string{"DATABASE_URL=mysql://u:hunter2@db/app"}, "does not start with postgres://"},
		{[]string{"DATABASE_URL=hunter2"}, "does not start with postgres://"},
		{[]string{"DATABASE_URL=postgres://u:hunter2%@db/app"}, "percent-encode special characters"},
		{[]string{"DATABASE_URL=postgres:///app?password=hunter2"}, "names no host"},
		{[]string{"DATABASE_URL=postgres://u:hunter2@db/"}, "names no database"},
	}
	for _, tt := range tests {
		_, err := Load(env(tt.env...))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Load(%q) = error %v, want one with %q", tt.env, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Load(%q) prints the password: %v", tt.env, err)
		}
	}
}

func TestLoadReportsEveryMistake(t *testing.T) {
	_, err := Load(env("ENV=prod", "LOG_LEVEL=loud", "DRAIN_TIMEOUT=soon"))
	if got, want := strings.Count(fmt.Sprint(err), "\n")+1, 3; got != want {
		t.Errorf("Load with 3 mistakes reports %d, want %d: %v", got, want, err)
	}
}

// Load must read exactly the documented variables.
func TestVarsAreTheOnesRead(t *testing.T) {
	read := map[string]bool{}
	if _, err := Load(func(name string) string { read[name] = true; return "" }); err == nil {
		t.Error("Load without HOME succeeds, want an error")
	}
	for _, other := range []string{"XDG_STATE_HOME", "HOME"} {
		delete(read, other)
	}
	for _, v := range Vars() {
		if !read[v.Name] {
			t.Errorf("%s is documented but never read", v.Name)
		}
		delete(read, v.Name)
	}
	for name := range read {
		t.Errorf("%s is read but not documented", name)
	}
}

func TestMarkdownIsWritten(t *testing.T) {
	path := filepath.Join("..", "..", "CONFIG.md")
	want := Markdown()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("CONFIG.md differs from the config package; run: go test ./internal/config -update")
	}
	for _, v := range Vars() {
		if !strings.Contains(Table(), v.Name) {
			t.Errorf("Table() lacks %s", v.Name)
		}
	}
}
