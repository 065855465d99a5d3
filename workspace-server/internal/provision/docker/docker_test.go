package docker

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

// Everything here runs on a real engine.
func TestOnAnEngine(t *testing.T) {
	h := needEngine(t)
	tests := map[string]func(*testing.T, *host){
		"inside":              inside,
		"every tier":          everyTier,
		"generations":         generations,
		"created not started": createdNotStarted,
		"stop":                stop,
		"remove":              remove,
		"ends":                ends,
		"two installations":   twoInstallations,
		"names are taken":     namesAreTaken,
		"two servers":         twoServers,
		"networks":            networks,
		"state in a volume":   stateInAVolume,
		"missing image":       missingImage,
		"missing directory":   missingDirectory,
		"another volume":      anotherVolume,
		"no entrypoint":       noEntrypoint,
		"logs":                logs,
	}
	t.Run("as itself", func(t *testing.T) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, h)
			})
		}
	})
	t.Run("as every driver", func(t *testing.T) { asEveryDriver(t, h) })
}

func inside(t *testing.T, h *host) {
	p := h.installation(t)
	s := spec(t, "w")
	plugin := t.TempDir()
	if err := os.Chmod(plugin, 0o777); err != nil {
		t.Fatal(err)
	}
	s.Plugins = map[string]string{"tools": plugin}
	s.Env = map[string]string{"WORKSPACE_ID": "w", "AGENT_LISTEN": ":1"}
	began := time.Now().Truncate(time.Millisecond)
	i := start(t, p, s)
	if i.Workspace != "w" || i.Generation != 1 || i.State != provision.Running || i.Started.Before(began) || i.Started.After(time.Now()) {
		t.Errorf("Start = %+v", i)
	}
	if got, err := p.Inspect(t.Context(), "w"); err != nil || got != i {
		t.Errorf("Inspect = %+v, %v, want %+v", got, err, i)
	}
	if got, err := p.List(t.Context()); err != nil || !slices.Equal(got, []provision.Instance{i}) {
		t.Errorf("List = %+v, %v, want only %+v", got, err, i)
	}

	_, env := ask(t, i, http.MethodGet, "/env", "")
	for _, want := range []string{"WORKSPACE_ID=w", "AGENT_LISTEN=:8000", "AGENT_CONFIGS=/configs", "AGENT_PLUGINS=/plugins"} {
		if !slices.Contains(strings.Split(env, "\n"), want) {
			t.Errorf("inside, the variables are %q, without %s", env, want)
		}
	}
	// The agent sees changes outside at once.
	for path, dir := range map[string]string{"/configs/a.txt": s.Configs, "/plugins/tools/a.txt": plugin} {
		for _, text := range []string{"first", "second"} {
			if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := read(t, i, path); got != text {
				t.Errorf("%s holds %q inside, want %q", path, got, text)
			}
		}
	}
	for path, may := range map[string]bool{
		"/workspace/new": true, "/tmp/new": true, "/configs/new": true,
		"/plugins/tools/new": false, "/plugins/new": false, "/new": false, "/agent": false, "/etc/hosts": false, "/proc/sys/kernel/hostname": false,
	} {
		if code, text := ask(t, i, http.MethodPut, "/file?path="+path, "x"); (code == http.StatusOK) != may {
			t.Errorf("write %s inside: %d %s, want it to succeed: %t", path, code, text, may)
		}
	}
	status := read(t, i, "/proc/self/status")
	for _, want := range []string{"Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, want) {
			t.Errorf("inside, the process has %s, without %q", status, want)
		}
	}
	if got := read(t, i, "/proc/1/comm"); !strings.Contains(got, "init") {
		t.Errorf("the first process inside is %q, want an init", got)
	}
}

// A tier may be given more processors than there are.
func everyTier(t *testing.T, h *host) {
	p := h.installation(t)
	for tier := 1; tier <= 4; tier++ {
		s := spec(t, "w")
		s.Tier, s.Generation = tier, int64(tier)
		if i := start(t, p, s); i.State != provision.Running {
			t.Errorf("tier %d: %+v", tier, i)
		}
	}
}

func generations(t *testing.T, h *host) {
	p := h.installation(t)
	s := spec(t, "w")
	first := start(t, p, s)
	if code, text := ask(t, first, http.MethodPut, "/file?path=/workspace/kept", "kept"); code != http.StatusOK {
		t.Errorf("write inside: %d %s", code, text)
	}
	if again := start(t, p, s); again != first {
		t.Errorf("the same generation again is %+v, want %+v", again, first)
	}
	s.Generation = 5
	second := start(t, p, s)
	if second.Generation != 5 || second.State != provision.Running || !second.Started.After(first.Started) {
		t.Errorf("the next generation is %+v after %+v", second, first)
	}
	if got := read(t, second, "/workspace/kept"); got != "kept" {
		t.Errorf("the next generation has %q in its data, want \"kept\"", got)
	}
	if all, err := p.List(t.Context()); err != nil || !slices.Equal(all, []provision.Instance{second}) {
		t.Errorf("List = %+v, %v, want only %+v", all, err, second)
	}
	s.Generation = 4
	if _, err := p.Start(t.Context(), s); workspace.KindOf(err) != workspace.Conflict {
		t.Errorf("an earlier generation: Start = %v, want %s", err, workspace.Conflict)
	}
	if i, err := p.Inspect(t.Context(), "w"); err != nil || i != second {
		t.Errorf("after that, Inspect = %+v, %v, want %+v", i, err, second)
	}
	if err := p.Stop(t.Context(), "w", 0); err != nil {
		t.Errorf("Stop = %v", err)
	}
	s.Generation = 5
	if i := start(t, p, s); i.State != provision.Exited {
		t.Errorf("a generation that has exited: Start = %+v, want it as it is", i)
	}
}

// A server can end between creating a container and starting it.
func createdNotStarted(t *testing.T, h *host) {
	p := h.installation(t)
	for _, next := range []int64{1, 2} {
		s := spec(t, "w")
		plan, err := makePlan(p.settings, s, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.needNetwork(t.Context()); err != nil {
			t.Fatal(err)
		}
		id, err := p.create(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		i, err := p.Inspect(t.Context(), "w")
		if err != nil || i.State != provision.Exited || i.Message != "The container was made, but has not been started." {
			t.Errorf("Inspect = %+v, %v, want one that does not run", i, err)
		}
		if all, err := p.List(t.Context()); err != nil || !slices.Equal(all, []provision.Instance{i}) {
			t.Errorf("List = %+v, %v, want %+v", all, err, i)
		}
		if err := p.Stop(t.Context(), "w", time.Second); err != nil {
			t.Errorf("Stop = %v", err)
		}
		s.Generation = next
		i = start(t, p, s)
		found, err := p.find(t.Context(), "w")
		if err != nil || i.State != provision.Running || i.Generation != next || (found.ID == id) != (next == 1) {
			t.Errorf("generation %d after 1 was made: %+v in %s, %v; 1 is in %s", next, i, found.ID, err, id)
		}
		if err := p.Remove(t.Context(), "w", false); err != nil {
			t.Errorf("Remove = %v", err)
		}
	}
}

func stop(t *testing.T, h *host) {
	p := h.installation(t)
	if err := p.Stop(t.Context(), "nobody", time.Second); err != nil {
		t.Errorf("Stop of nothing = %v", err)
	}
	tests := []struct {
		name, ignore string
		grace        time.Duration
		code         int
		message      string
		last         string // of the logs
	}{
		{"heeds", "", time.Minute, 0, "The process ended with exit code 0.", "terminated\n"},
		{"ignores", "1", 300 * time.Millisecond, 137, "The process was ended by a signal: killed.", "started with agent\n"},
		{"at once", "1", 0, 137, "The process was ended by a signal: killed.", "started with agent\n"},
	}
	for _, tt := range tests {
		s := spec(t, "w-"+strings.ReplaceAll(tt.name, " ", "-"))
		s.Env = map[string]string{"IGNORE_TERM": tt.ignore}
		i := start(t, p, s)
		ask(t, i, http.MethodGet, "/env", "") // it listens now, and has its signals set
		began := time.Now()
		if err := p.Stop(t.Context(), s.Workspace, tt.grace); err != nil {
			t.Errorf("%s: Stop = %v", tt.name, err)
		}
		if took := time.Since(began); tt.ignore != "" && took < tt.grace || took > 30*time.Second {
			t.Errorf("%s: Stop took %v of %v", tt.name, took, tt.grace)
		}
		got, err := p.Inspect(t.Context(), s.Workspace)
		want := provision.Instance{Workspace: s.Workspace, Generation: 1, State: provision.Exited, ExitCode: tt.code, Message: tt.message, Started: i.Started}
		if err != nil || got != want {
			t.Errorf("%s: Inspect = %+v, %v, want %+v", tt.name, got, err, want)
		}
		if all, err := p.List(t.Context()); err != nil || !slices.Contains(all, want) {
			t.Errorf("%s: List = %+v, %v, want %+v in it", tt.name, all, err, want)
		}
		if got := logsOf(t, p, s.Workspace, 1); got != tt.last {
			t.Errorf("%s: the last of its logs is %q, want %q", tt.name, got, tt.last)
		}
		if err := p.Stop(t.Context(), s.Workspace, time.Second); err != nil {
			t.Errorf("%s: Stop again = %v", tt.name, err)
		}
	}
}

func remove(t *testing.T, h *host) {
	p := h.installation(t)
	s := spec(t, "w")
	for range 2 {
		i := start(t, p, s)
		if code, _ := ask(t, i, http.MethodGet, "/file?path=/workspace/kept", ""); code == http.StatusOK {
			t.Error("data of a removed workspace is there again")
		}
		if code, text := ask(t, i, http.MethodPut, "/file?path=/workspace/kept", "x"); code != http.StatusOK {
			t.Errorf("write inside: %d %s", code, text)
		}
		for range 2 {
			if err := p.Remove(t.Context(), "w", false); err != nil {
				t.Errorf("Remove = %v", err)
			}
		}
		if _, err := p.Inspect(t.Context(), "w"); !provision.IsAbsent(err) {
			t.Errorf("Inspect = %v, want that it is absent", err)
		}
		if _, err := p.Logs(t.Context(), "w", -1, false); !provision.IsAbsent(err) {
			t.Errorf("Logs = %v, want that it is absent", err)
		}
		if _, there, err := p.findVolume(t.Context(), nameOf(p.settings.Installation, "w")); there || err != nil {
			t.Errorf("findVolume = %t, %v, want none", there, err)
		}
	}
	kept := start(t, p, s)
	if code, text := ask(t, kept, http.MethodPut, "/file?path=/workspace/kept", "x"); code != http.StatusOK {
		t.Errorf("write inside: %d %s", code, text)
	}
	for range 2 {
		if err := p.Remove(t.Context(), "w", true); err != nil {
			t.Errorf("Remove, keeping the data = %v", err)
		}
	}
	if code, text := ask(t, start(t, p, s), http.MethodGet, "/file?path=/workspace/kept", ""); code != http.StatusOK || text != "x" {
		t.Errorf("the data that was to be kept: %d %q, want x", code, text)
	}
	if err := p.Remove(t.Context(), "w", false); err != nil {
		t.Errorf("Remove = %v", err)
	}
	for _, name := range []string{"", "..", "a/b", "json"} {
		if _, err := p.Inspect(t.Context(), name); !provision.IsAbsent(err) {
			t.Errorf("Inspect(%q) = %v, want that it is absent", name, err)
		}
		if err := p.Remove(t.Context(), name, false); err != nil {
			t.Errorf("Remove(%q) = %v", name, err)
		}
	}
}

func ends(t *testing.T, h *host) {
	p := h.installation(t)
	tests := []struct {
		variable, value string
		code            int
		message         string
	}{
		{"EXIT_CODE", "0", 0, "The process ended with exit code 0."},
		{"EXIT_CODE", "3", 3, "The process ended with exit code 3."},
		{"EAT", "1", 137, "The process used more memory than its tier allows."},
	}
	for n, tt := range tests {
		s := spec(t, "w")
		s.Generation = int64(n + 1)
		s.Env = map[string]string{tt.variable: tt.value}
		start(t, p, s)
		i := wait(t, p, "w")
		// The engine may report that it was the memory only after the end.
		for deadline := time.Now().Add(time.Minute); i.Message != tt.message && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			i = wait(t, p, "w")
		}
		if i.ExitCode != tt.code || i.Message != tt.message || i.Address != "" {
			t.Errorf("%s=%s ends as %+v, want %d, %q", tt.variable, tt.value, i, tt.code, tt.message)
		}
	}
}

// A server in a container has its state in a volume.
func stateInAVolume(t *testing.T, h *host) {
	owner := h.installation(t)
	volume := "state-of-" + owner.settings.Installation
	labels := map[string]string{labelInstallation: owner.settings.Installation}
	h.post(t, "/volumes/create", nil, map[string]any{"Name": volume, "Labels": labels})
	server := h.post(t, "/containers/create", nil, map[string]any{
		"Image": h.image, "Labels": labels,
		"HostConfig": map[string]any{"Mounts": []mount{{Type: "volume", Source: volume, Target: "/state"}}},
	})
	write := func(files map[string]string) {
		h.do(t, http.MethodPut, "/containers/"+server+"/archive", url.Values{"path": {"/state"}}, archive(t, files))
	}
	write(map[string]string{"configs/w/": "", "configs/w/a.txt": "first", "plugins/tools/b.txt": "plugin", "secrets/key": "secret"})

	p := h.installation(t, func(s *Settings) { s.StateVolume, s.StateRoot = volume, "/var/lib/state" })
	i := start(t, p, provision.Spec{
		Workspace: "w", Generation: 1, Tier: 1,
		Configs: "/var/lib/state/configs/w", Plugins: map[string]string{"tools": "/var/lib/state/plugins/tools"},
	})
	if got := read(t, i, "/configs/a.txt"); got != "first" {
		t.Errorf("inside, the file holds %q, want \"first\"", got)
	}
	write(map[string]string{"configs/w/a.txt": "second"})
	if got := read(t, i, "/configs/a.txt"); got != "second" {
		t.Errorf("inside, the file then holds %q, want \"second\"", got)
	}
	if got := read(t, i, "/plugins/tools/b.txt"); got != "plugin" {
		t.Errorf("inside, the plugin's file holds %q, want \"plugin\"", got)
	}
	for path, may := range map[string]bool{"/configs/new": true, "/plugins/tools/new": false} {
		if code, text := ask(t, i, http.MethodPut, "/file?path="+path, "x"); (code == http.StatusOK) != may {
			t.Errorf("write %s inside: %d %s, want it to succeed: %t", path, code, text, may)
		}
	}
	if err := p.Remove(t.Context(), "w", false); err != nil {
		t.Errorf("Remove = %v", err)
	}
	h.do(t, http.MethodGet, "/volumes/"+volume, nil, nil) // it is there still
}

func missingImage(t *testing.T, h *host) {
	// No registry listens there.
	p := h.installation(t, func(s *Settings) { s.Image = "127.0.0.1:1/missing" })
	_, err := p.Start(t.Context(), spec(t, "w"))
	if got, want := workspace.Message(err), "The image 127.0.0.1:1/missing is missing and cannot be pulled. Build it, or run 'docker pull 127.0.0.1:1/missing' on the engine's host."; got != want {
		t.Errorf("Start = %v, want %q", err, want)
	}
	if _, err := p.Inspect(t.Context(), "w"); !provision.IsAbsent(err) {
		t.Errorf("Inspect = %v, want that it is absent", err)
	}
}

// The engine makes no directories on its host, and a later start succeeds.
func missingDirectory(t *testing.T, h *host) {
	p := h.installation(t)
	s := spec(t, "w")
	s.Configs = filepath.Join(s.Configs, "missing")
	_, err := p.Start(t.Context(), s)
	wantUnknown(t, "Start", err)
	wantAdvice(t, "Start", err, "The Docker engine does not see the workspace's files. ")
	if _, err := os.Stat(s.Configs); !os.IsNotExist(err) {
		t.Errorf("Stat = %v, want that it is missing still", err)
	}
	if err := os.Mkdir(s.Configs, 0o755); err != nil {
		t.Fatal(err)
	}
	if i := start(t, p, s); i.State != provision.Running {
		t.Errorf("Start = %+v, want that it runs", i)
	}
}

// wantAdvice checks the beginning of what the owner of a workspace reads.
func wantAdvice(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := workspace.Message(err); err == nil || !strings.HasPrefix(got, want) {
		t.Errorf("%s: the owner reads %q, want %q at its beginning; the log reads %v", what, got, want, err)
	}
}

// The volume that the settings name can be another than the server's.
func anotherVolume(t *testing.T, h *host) {
	owner := h.installation(t)
	volume := "state-of-" + owner.settings.Installation
	h.post(t, "/volumes/create", nil, map[string]any{"Name": volume, "Labels": map[string]string{labelInstallation: owner.settings.Installation}})
	p := h.installation(t, func(s *Settings) { s.StateVolume, s.StateRoot = volume, "/state" })
	_, err := p.Start(t.Context(), provision.Spec{Workspace: "w", Generation: 1, Tier: 1, Configs: "/state/files/w"})
	wantAdvice(t, "Start", err, "The volume that STATE_VOLUME names does not hold the workspace's files. ")
}

// An image can lack the program that it names.
func noEntrypoint(t *testing.T, h *host) {
	image := h.importImage(t, "/missing", map[string]string{"workspace/": ""})
	p := h.installation(t, func(s *Settings) { s.Image = image })
	start(t, p, spec(t, "w"))
	i := wait(t, p, "w")
	if i.ExitCode != 127 || !strings.Contains(i.Message, "WORKSPACE_IMAGE") {
		t.Errorf("without the image's program the instance is %+v, want exit code 127, and that WORKSPACE_IMAGE is named", i)
	}
	if logs := logsOf(t, p, "w", -1); !strings.Contains(logs, "exec") {
		t.Errorf("the log has %q, want that exec failed, as the message says", logs)
	}
}
