package main

import (
	"bytes"
	"errors"
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestUpFlags(t *testing.T) {
	usual := options{
		root: "/checkout", dir: "/checkout", mode: "auto", listen: []string{"127.0.0.1:8080"},
		readyTimeout: 10 * time.Second, drainTimeout: 10 * time.Minute, stopTimeout: 10 * time.Second, air: []string{"air"}, debugger: "dlv",
	}
	with := func(change func(*options)) options {
		c := usual
		change(&c)
		return c
	}
	tests := []struct {
		args string
		want options
		err  string
	}{
		{"", usual, ""},
		{"-C sub/dir", with(func(c *options) { c.dir = "/checkout/sub/dir" }), ""},
		{"-C ./sub/../x/", with(func(c *options) { c.dir = "/checkout/x" }), ""},
		{"-C /else/where", with(func(c *options) { c.dir = "/else/where" }), ""},
		{"-listen :80", with(func(c *options) { c.listen = []string{":80"} }), ""},
		{"-listen [::1]:1 -listen=localhost:http", with(func(c *options) { c.listen = []string{"[::1]:1", "localhost:http"} }), ""},
		{"-listen web=:1 -listen :2", with(func(c *options) { c.listen, c.names = []string{":1", ":2"}, []string{"web", "unknown"} }), ""},
		{"-mode socket", with(func(c *options) { c.mode = "socket" }), ""},
		{"-mode forward -ready /healthz", with(func(c *options) { c.mode, c.ready = "forward", "/healthz" }), ""},
		{"-backend :3000", with(func(c *options) { c.mode, c.backend = "fixed", []string{"127.0.0.1:3000"} }), ""},
		{"-mode fixed -backend localhost:3000 -backend 0.0.0.0:1 -listen :1 -listen :2", with(func(c *options) {
			c.mode, c.backend, c.listen = "fixed", []string{"localhost:3000", "127.0.0.1:1"}, []string{":1", ":2"}
		}), ""},
		{"-setenv ADDR={addr} -setenv X=", with(func(c *options) { c.setenv = []string{"ADDR={addr}", "X="} }), ""},
		{"-stop-timeout 3s", with(func(c *options) { c.stopTimeout = 3 * time.Second }), ""},
		{"-debug 127.0.0.1:2345", with(func(c *options) { c.debug = "127.0.0.1:2345" }), ""},
		{"-debug :2345 -dlv /opt/dlv", with(func(c *options) { c.debug, c.debugger = ":2345", "/opt/dlv" }), ""},
		{"-settings .env", with(func(c *options) { c.settings = "/checkout/.env" }), ""},
		{"-settings /etc/env", with(func(c *options) { c.settings = "/etc/env" }), ""},
		{"-announce x", with(func(c *options) { c.announce = "x" }), ""},
		{"-ready-timeout 2s -drain-timeout=1m", with(func(c *options) { c.readyTimeout, c.drainTimeout = 2*time.Second, time.Minute }), ""},
		{"-- air -c x.toml", with(func(c *options) { c.air = []string{"air", "-c", "x.toml"} }), ""},
		{"-listen :1 /bin/air -d", with(func(c *options) { c.listen, c.air = []string{":1"}, []string{"/bin/air", "-d"} }), ""},

		{"-listen", options{}, "flag needs an argument: -listen"},
		{"-listen 8080", options{}, `invalid value "8080" for flag -listen: want HOST:PORT or :PORT`},
		{"-listen localhost", options{}, `invalid value "localhost" for flag -listen: want HOST:PORT or :PORT`},
		{"-listen localhost:", options{}, `invalid value "localhost:" for flag -listen: want HOST:PORT or :PORT`},
		{"-debug 2345", options{}, `invalid value "2345" for flag -debug: want HOST:PORT or :PORT`},
		{"-debug", options{}, "flag needs an argument: -debug"},
		{"-dlv", options{}, "flag needs an argument: -dlv"},
		{"-ready-timeout 5", options{}, `invalid value "5" for flag -ready-timeout: parse error`},
		{"-ready-timeout 0s", options{}, "-ready-timeout, -drain-timeout and -stop-timeout must be more than 0"},
		{"-drain-timeout -1s", options{}, "-ready-timeout, -drain-timeout and -stop-timeout must be more than 0"},
		{"-stop-timeout 0s", options{}, "-ready-timeout, -drain-timeout and -stop-timeout must be more than 0"},
		{"-listen =:1", options{}, `invalid value "=:1" for flag -listen: want [NAME=]HOST:PORT, with a name without spaces and colons`},
		{"-listen a:b=:1", options{}, `invalid value "a:b=:1" for flag -listen: want [NAME=]HOST:PORT, with a name without spaces and colons`},
		{"-mode proxy", options{}, "-mode proxy is none of auto, socket, forward and fixed"},
		{"-mode fixed", options{}, "-mode fixed needs as many -backend as -listen"},
		{"-backend :1 -listen :2 -listen :3", options{}, "-mode fixed needs as many -backend as -listen"},
		{"-mode socket -backend :1", options{}, "-backend is for -mode fixed, not for -mode socket"},
		{"-mode socket -ready /", options{}, "-ready is not for -mode socket, in which the server sends READY=1"},
		{"-ready healthz", options{}, "-ready healthz must begin with a slash"},
		{"-setenv ADDR", options{}, `invalid value "ADDR" for flag -setenv: want NAME=VALUE`},
		{"-nonsense", options{}, "flag provided but not defined: -nonsense"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var stderr bytes.Buffer
			got, err := parseUp(strings.Fields(tt.args), "/checkout", &stderr)
			if tt.err == "" {
				if err != nil || !reflect.DeepEqual(got, tt.want) {
					t.Errorf("parseUp(%q) = %+v, %v, want %+v", tt.args, got, err, tt.want)
				}
			} else if _, ok := errors.AsType[*usageError](err); !ok || err.Error() != tt.err {
				t.Errorf("parseUp(%q) = %T %v, want a usage error: %s", tt.args, err, err, tt.err)
			}
			if stderr.Len() > 0 {
				t.Errorf("parseUp(%q) printed %q, want nothing but what the caller prints", tt.args, stderr.String())
			}
		})
	}
}

func TestUpHelp(t *testing.T) {
	for _, arg := range []string{"-h", "-help", "--help"} {
		var stderr bytes.Buffer
		if _, err := parseUp([]string{arg}, "/checkout", &stderr); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("parseUp(%s) = %v, want %v", arg, err, flag.ErrHelp)
		}
		for _, want := range []string{"usage: devloop up", "-C directory", "-listen address", "127.0.0.1:8080", "-mode auto", "-backend address", "-setenv variable", "-ready path", "-ready-timeout", "-drain-timeout", "-stop-timeout", "-announce", "-debug address", "-dlv program"} {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("parseUp(%s) printed %q, want %q in it", arg, stderr.String(), want)
			}
		}
	}
}
