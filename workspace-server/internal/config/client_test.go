package config

import (
	"strings"
	"testing"
)

func TestLoadClient(t *testing.T) {
	tests := []struct {
		env                 []string
		server, token, file string
	}{
		{nil, "", "", "/home/dev/.config/workspace-server/client.json"},
		{[]string{"XDG_CONFIG_HOME=/etc/xdg"}, "", "", "/etc/xdg/workspace-server/client.json"},
		{[]string{"XDG_CONFIG_HOME=relative"}, "", "", "/home/dev/.config/workspace-server/client.json"},
		{[]string{"HOME="}, "", "", ""},
		{[]string{"HOME=", "WORKSPACE_SERVER=http://host:1", "WORKSPACE_SERVER_TOKEN=wst_x"}, "http://host:1", "wst_x", ""},
		{[]string{"HOME=", "WORKSPACE_SERVER=https://host/base"}, "https://host/base", "", ""},
		// What only a server minds is of no matter to its client.
		{[]string{"HOME=", "ENV=prod", "LISTEN_ADDR=8080"}, "", "", ""},
	}
	for _, tt := range tests {
		got, err := LoadClient(env(tt.env...))
		if err != nil || got.Server != tt.server || got.Token != tt.token || got.File != tt.file {
			t.Errorf("LoadClient(%q) = %q, %q, %q, %v, want %q, %q, %q",
				tt.env, got.Server, got.Token, got.File, err, tt.server, tt.token, tt.file)
		}
	}
}

func TestLoadClientRefuses(t *testing.T) {
	for _, server := range []string{"localhost:8080", "8080", "ftp://host", "http://", "http://user:word@host", "http://host?x=1", "http://host#x", "://"} {
		_, err := LoadClient(env("WORKSPACE_SERVER=" + server))
		if err == nil || !strings.Contains(err.Error(), "is not accepted: give http://host:port or https://host:port") {
			t.Errorf("LoadClient with WORKSPACE_SERVER=%s: error %v, want one that says what is accepted", server, err)
		}
	}
}

// The client finds the server of its machine by the server's own settings.
func TestClientLocal(t *testing.T) {
	for _, vars := range [][]string{
		nil,
		{"LISTEN_ADDR=:9", "STATE_DIRECTORY=/var/lib/ws"},
		{"XDG_STATE_HOME=/state"},
	} {
		client, err := LoadClient(env(vars...))
		if err != nil {
			t.Fatal(err)
		}
		address, state, err := client.Local()
		server, serverErr := Load(env(vars...))
		if want := "http://" + DialAddr(server.ListenAddr); err != nil || serverErr != nil || address != want || state != server.StateDirectory {
			t.Errorf("Local with %q = %q, %q, %v, want the server's %q, %q, %v", vars, address, state, err, want, server.StateDirectory, serverErr)
		}
	}
	for _, vars := range [][]string{{"LISTEN_ADDR=8080"}, {"HOME="}, {"STATE_DIRECTORY=state"}} {
		client, err := LoadClient(env(vars...))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.Local(); err == nil {
			t.Errorf("Local with %q succeeds, want the error that a server would end with", vars)
		}
	}
}

func TestDialAddr(t *testing.T) {
	for listen, want := range map[string]string{
		":8080": "127.0.0.1:8080", "0.0.0.0:1": "127.0.0.1:1", "[::]:1": "127.0.0.1:1", "[::1]:1": "[::1]:1", "host:1": "host:1", "none": "none",
	} {
		if got := DialAddr(listen); got != want {
			t.Errorf("DialAddr(%q) = %q, want %q", listen, got, want)
		}
	}
}

func TestClientVarsAreTheOnesRead(t *testing.T) {
	read := map[string]bool{}
	if _, err := LoadClient(func(name string) string { read[name] = true; return "" }); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"XDG_CONFIG_HOME", "XDG_STATE_HOME", "HOME", "LISTEN_ADDR", "STATE_DIRECTORY"} {
		delete(read, other)
	}
	for _, v := range ClientVars() {
		if !read[v.Name] {
			t.Errorf("%s is documented but never read", v.Name)
		}
		delete(read, v.Name)
	}
	for name := range read {
		t.Errorf("%s is read but not documented", name)
	}
}
