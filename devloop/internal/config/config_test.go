package config

import (
	"bytes"
	"errors"
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	usual := Config{
		Root: "/checkout", Dir: "/checkout", Listen: []string{"127.0.0.1:8080"},
		ReadyTimeout: 10 * time.Second, DrainTimeout: 10 * time.Second, Air: []string{"air"}, Debugger: "dlv",
	}
	with := func(change func(*Config)) Config {
		c := usual
		change(&c)
		return c
	}
	tests := []struct {
		args string
		want Config
		err  string
	}{
		{"", usual, ""},
		{"-C sub/dir", with(func(c *Config) { c.Dir = "/checkout/sub/dir" }), ""},
		{"-C ./sub/../x/", with(func(c *Config) { c.Dir = "/checkout/x" }), ""},
		{"-C /else/where", with(func(c *Config) { c.Dir = "/else/where" }), ""},
		{"-listen :80", with(func(c *Config) { c.Listen = []string{":80"} }), ""},
		{"-listen [::1]:1 -listen=localhost:http", with(func(c *Config) { c.Listen = []string{"[::1]:1", "localhost:http"} }), ""},
		{"-debug 127.0.0.1:2345", with(func(c *Config) { c.Debug = "127.0.0.1:2345" }), ""},
		{"-debug :2345 -dlv /opt/dlv", with(func(c *Config) { c.Debug, c.Debugger = ":2345", "/opt/dlv" }), ""},
		{"-announce x", with(func(c *Config) { c.Announce = "x" }), ""},
		{"-ready-timeout 2s -drain-timeout=1m", with(func(c *Config) { c.ReadyTimeout, c.DrainTimeout = 2*time.Second, time.Minute }), ""},
		{"-- air -c x.toml", with(func(c *Config) { c.Air = []string{"air", "-c", "x.toml"} }), ""},
		{"-listen :1 /bin/air -d", with(func(c *Config) { c.Listen, c.Air = []string{":1"}, []string{"/bin/air", "-d"} }), ""},

		{"-listen", Config{}, "flag needs an argument: -listen"},
		{"-listen 8080", Config{}, `invalid value "8080" for flag -listen: want HOST:PORT or :PORT`},
		{"-listen localhost", Config{}, `invalid value "localhost" for flag -listen: want HOST:PORT or :PORT`},
		{"-listen localhost:", Config{}, `invalid value "localhost:" for flag -listen: want HOST:PORT or :PORT`},
		{"-debug 2345", Config{}, `invalid value "2345" for flag -debug: want HOST:PORT or :PORT`},
		{"-debug", Config{}, "flag needs an argument: -debug"},
		{"-dlv", Config{}, "flag needs an argument: -dlv"},
		{"-ready-timeout 5", Config{}, `invalid value "5" for flag -ready-timeout: parse error`},
		{"-ready-timeout 0s", Config{}, "-ready-timeout and -drain-timeout must be more than 0"},
		{"-drain-timeout -1s", Config{}, "-ready-timeout and -drain-timeout must be more than 0"},
		{"-nonsense", Config{}, "flag provided but not defined: -nonsense"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var stderr bytes.Buffer
			got, err := Parse(strings.Fields(tt.args), "/checkout", &stderr)
			if tt.err == "" {
				if err != nil || !reflect.DeepEqual(got, tt.want) {
					t.Errorf("Parse(%q) = %+v, %v, want %+v", tt.args, got, err, tt.want)
				}
			} else if _, ok := errors.AsType[*UsageError](err); !ok || err.Error() != tt.err {
				t.Errorf("Parse(%q) = %T %v, want a usage error: %s", tt.args, err, err, tt.err)
			}
			if stderr.Len() > 0 {
				t.Errorf("Parse(%q) printed %q, want nothing but what the caller prints", tt.args, stderr.String())
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, arg := range []string{"-h", "-help", "--help"} {
		var stderr bytes.Buffer
		if _, err := Parse([]string{arg}, "/checkout", &stderr); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("Parse(%s) = %v, want %v", arg, err, flag.ErrHelp)
		}
		for _, want := range []string{"usage: devloop up", "-C directory", "-listen address", "127.0.0.1:8080", "-ready-timeout", "-drain-timeout", "-announce", "-debug address", "-dlv program"} {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("Parse(%s) printed %q, want %q in it", arg, stderr.String(), want)
			}
		}
	}
}
