package docker

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"workspace-server/internal/workspace"
)

// refusing returns an engine without containers that refuses one call with these
// words, which hold a path of its host.
func refusing(path string, status int, said string) http.HandlerFunc {
	text, _ := json.Marshal(map[string]string{"message": said + ": /host/path"})
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, path):
			answer(status, string(text))(w, r)
		case r.URL.Path == "/v1.44/networks/workspace-server.test" && path != "/networks/create":
			io.WriteString(w, `{"Name":"workspace-server.test"}`)
		case r.URL.Path == "/v1.44/containers/create":
			io.WriteString(w, `{"Id":"1"}`)
		default:
			answer(404, `{"message":"No such container, network or volume"}`)(w, r)
		}
	}
}

// TestAdvice says, for each failure of an engine that someone can mend, what the
// owner of a workspace reads about it.
func TestAdvice(t *testing.T) {
	tests := []struct {
		name, path string
		status     int
		said       string
		want       string
	}{
		{
			"too old", "/json", 400, "client version 1.44 is too new. Maximum supported API version is 1.24",
			"The Docker engine is too old. Update it: the server needs Docker 25, or Docker 26 with STATE_VOLUME.",
		},
		{
			"full disk", "/containers/create", 500, "mkdir /var/lib/docker/overlay2/x: no space left on device",
			"The disk of the Docker engine is full. Free space on it: 'docker system df' shows what uses it.",
		},
		{
			"full disk, pull", "/images/create", 500, "failed to register layer: no space left on device",
			"The disk of the Docker engine is full. Free space on it: 'docker system df' shows what uses it.",
		},
		{
			"no network left", "/networks/create", 400, "all predefined address pools have been fully subscribed",
			"The Docker engine has no addresses left for another network. Remove unused networks with 'docker network prune', or set WORKSPACE_NETWORK to the name of a network that exists.",
		},
		{
			"no address left", "/start", 500, "no available IPv4 addresses on this network's address pools: agents (abc)",
			"The network of the workspaces has no addresses left. Remove workspaces, or set WORKSPACE_NETWORK to the name of a larger network.",
		},
		{
			"no directory", "/containers/create", 400, `invalid mount config for type "bind": bind source path does not exist`,
			"The Docker engine does not see the workspace's files. Run the server on the engine's host, or keep STATE_DIRECTORY in a volume that STATE_VOLUME names.",
		},
		{
			"another volume", "/start", 404, "cannot access path /var/lib/docker/volumes/state/_data/files/w",
			"The volume that STATE_VOLUME names does not hold the workspace's files. Set STATE_VOLUME to the volume that STATE_DIRECTORY is in.",
		},
		{
			"anything else, make", "/containers/create", 500, "something",
			"The Docker engine could not make the workspace's container. The server's log says why.",
		},
		{
			"anything else, start", "/start", 500, "something",
			"The Docker engine could not start the workspace's container. The server's log says why.",
		},
		{
			"anything else, network", "/networks/create", 500, "something",
			"The Docker engine could not make the workspaces' network. The server's log says why.",
		},
	}
	for _, tt := range tests {
		handler := refusing(tt.path, tt.status, tt.said)
		if tt.path == "/images/create" {
			pull := handler
			handler = func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1.44/containers/create" {
					answer(404, `{"message":"No such image: agent:latest"}`)(w, r)
					return
				}
				pull(w, r)
			}
		}
		err := calls(against(t, handler))["Start"](t.Context())
		wantUnknown(t, tt.name, err)
		if got := workspace.Message(err); got != tt.want {
			t.Errorf("%s: the owner reads %q, want %q", tt.name, got, tt.want)
		}
		if !strings.Contains(err.Error(), "/host/path") {
			t.Errorf("%s: the log reads %q, without the engine's words", tt.name, err)
		}
	}
}

// An engine that cannot be reached says nothing itself.
func TestAdviceWithoutAnAnswer(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	const stopped = "The Docker engine does not run, or listens elsewhere. Start it, or set DOCKER_HOST to where it listens."
	for _, host := range []string{"unix://" + filepath.Join(t.TempDir(), "no.sock"), "tcp://" + closed.Addr().String()} {
		err := calls(on(t, host))["Start"](t.Context())
		wantUnknown(t, host, err)
		if got := workspace.Message(err); got != stopped {
			t.Errorf("%s: the owner reads %q, want %q; the log reads %v", host, got, stopped, err)
		}
	}
	unknown := unanswered(&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "engine"}})
	if want := "The Docker engine cannot be reached. Set DOCKER_HOST to where it listens."; unknown != want {
		t.Errorf("of a host that is unknown the owner reads %q, want %q", unknown, want)
	}
	denied := unanswered(&net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", os.ErrPermission)})
	if want := "The server may not use the Docker engine's socket. "; !strings.HasPrefix(denied, want) {
		t.Errorf("without permission the owner reads %q, want %q at its beginning", denied, want)
	}
}

// The settings that advice names are settings.
func TestAdviceNamesSettings(t *testing.T) {
	var known strings.Builder
	for _, path := range []string{"../../../CONFIG.md", "../../../../.env.example"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		known.Write(text)
	}
	source, err := os.ReadFile("advice.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\b[A-Z]+_[A-Z]+\b`).FindAllString(string(source), -1)
	if len(names) < 5 {
		t.Fatalf("advice.go names the settings %q, want at least five", names)
	}
	for _, name := range names {
		if !strings.Contains(known.String(), name) {
			t.Errorf("advice names the setting %s, which neither CONFIG.md nor .env.example has", name)
		}
	}
}
