package docker

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

func twoInstallations(t *testing.T, h *host) {
	ours, theirs := h.installation(t), h.installation(t)
	s := spec(t, "w")
	here, there := start(t, ours, s), start(t, theirs, s)
	if code, text := ask(t, here, http.MethodPut, "/file?path=/workspace/kept", "kept"); code != http.StatusOK {
		t.Errorf("write inside: %d %s", code, text)
	}
	if all, err := theirs.List(t.Context()); err != nil || !slices.Equal(all, []provision.Instance{there}) {
		t.Errorf("List = %+v, %v, want only %+v", all, err, there)
	}
	if err := theirs.Stop(t.Context(), "w", 0); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if err := theirs.Remove(t.Context(), "w", false); err != nil {
		t.Errorf("Remove = %v", err)
	}
	if i, err := ours.Inspect(t.Context(), "w"); err != nil || i != here {
		t.Errorf("then the other's is %+v, %v, want %+v", i, err, here)
	}
	if got := read(t, here, "/workspace/kept"); got != "kept" {
		t.Errorf("then the other's data is %q, want \"kept\"", got)
	}
}

// The driver leaves alone another's container or volume with a name or with labels
// of its own.
func namesAreTaken(t *testing.T, h *host) {
	p := h.installation(t)
	name := nameOf(p.settings.Installation, "w")
	labels := map[string]string{labelInstallation: "another", labelWorkspace: "w", labelGeneration: "1"}

	wantConflict := func(what string) {
		t.Helper()
		_, err := p.Start(t.Context(), spec(t, "w"))
		if workspace.KindOf(err) != workspace.Conflict || !strings.Contains(workspace.Message(err), name) {
			t.Errorf("%s: Start = %v, want a conflict about %s", what, err, name)
		}
		if _, err := p.Inspect(t.Context(), "w"); !provision.IsAbsent(err) {
			t.Errorf("%s: Inspect = %v, want that it is absent", what, err)
		}
		if all, err := p.List(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("%s: List = %v, %v, want none", what, all, err)
		}
		if _, err := p.Logs(t.Context(), "w", -1, false); !provision.IsAbsent(err) {
			t.Errorf("%s: Logs = %v, want that it is absent", what, err)
		}
		if err := p.Stop(t.Context(), "w", 0); err != nil {
			t.Errorf("%s: Stop = %v", what, err)
		}
		if err := p.Remove(t.Context(), "w", false); err != nil {
			t.Errorf("%s: Remove = %v", what, err)
		}
	}
	for what, labels := range map[string]map[string]string{"no labels": {}, "another's labels": labels} {
		id := h.post(t, "/containers/create", url.Values{"name": {name}}, map[string]any{"Image": h.image, "Labels": labels})
		h.post(t, "/containers/"+id+"/start", nil, nil)
		wantConflict("a container with " + what)
		if text := h.do(t, http.MethodGet, "/containers/"+id+"/json", nil, nil); !strings.Contains(string(text), `"Running":true`) {
			t.Errorf("a container with %s does not run any more: %s", what, text)
		}
		h.do(t, http.MethodDelete, "/containers/"+id, url.Values{"force": {"1"}}, nil)

		h.post(t, "/volumes/create", nil, map[string]any{"Name": name, "Labels": labels})
		wantConflict("a volume with " + what)
		h.do(t, http.MethodDelete, "/volumes/"+name, nil, nil)
	}

	// Our labels, which an image can have from one of our containers.
	labels[labelInstallation] = p.settings.Installation
	id := h.post(t, "/containers/create", url.Values{"name": {"other-" + name}}, map[string]any{"Image": h.image, "Labels": labels})
	if all, err := p.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("our labels under another name: List = %v, %v, want none", all, err)
	}
	if err := p.Remove(t.Context(), "w", false); err != nil {
		t.Errorf("our labels under another name: Remove = %v", err)
	}
	h.do(t, http.MethodDelete, "/containers/"+id, nil, nil)
}

func twoServers(t *testing.T, h *host) {
	one := h.installation(t)
	other := h.installation(t, func(s *Settings) { *s = one.settings })
	servers := []*Driver{one, other}

	// The same generation is made once.
	s := spec(t, "same")
	found := make([]provision.Instance, 4)
	var wg sync.WaitGroup
	for n := range found {
		wg.Go(func() {
			var err error
			if found[n], err = servers[n%2].Start(t.Context(), s); err != nil {
				t.Errorf("Start = %v", err)
			}
		})
	}
	wg.Wait()
	for _, i := range found {
		if i != found[0] || i.State != provision.Running {
			t.Errorf("the same start gave %+v and %+v", found[0], i)
		}
	}

	// The latest generation stays, in any order of the starts.
	s = spec(t, "later")
	for n := range 4 {
		s := s
		s.Generation = int64(n + 1)
		wg.Go(func() {
			if i, err := servers[n%2].Start(t.Context(), s); err != nil && workspace.KindOf(err) != workspace.Conflict {
				t.Errorf("Start(%d) = %v", s.Generation, err)
			} else if err == nil && i.Generation != s.Generation {
				t.Errorf("Start(%d) = %+v", s.Generation, i)
			}
		})
	}
	wg.Wait()
	if i, err := one.Inspect(t.Context(), "later"); err != nil || i.Generation != 4 || i.State != provision.Running {
		t.Errorf("Inspect = %+v, %v, want generation 4", i, err)
	}

	// Stopping and removing twice at once does no harm either.
	for _, server := range servers {
		wg.Go(func() {
			if err := server.Stop(t.Context(), "same", time.Second); err != nil {
				t.Errorf("Stop = %v", err)
			}
			for _, name := range []string{"same", "later"} {
				if err := server.Remove(t.Context(), name, false); err != nil {
					t.Errorf("Remove = %v", err)
				}
			}
		})
	}
	wg.Wait()
	if all, err := one.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("List = %v, %v, want none", all, err)
	}
}

func networks(t *testing.T, h *host) {
	p := h.installation(t)
	a, b := start(t, p, spec(t, "a")), start(t, p, spec(t, "b"))
	if code, text := ask(t, a, http.MethodGet, "/dial?address="+a.Address, ""); code != http.StatusOK {
		t.Errorf("an agent cannot reach itself: %d %s", code, text)
	}
	ask(t, b, http.MethodGet, "/env", "") // it listens
	if code, _ := ask(t, a, http.MethodGet, "/dial?address="+b.Address, ""); code == http.StatusOK {
		t.Error("an agent reaches another one past the server")
	}

	// A network that someone else made is used as it is.
	name := "network-of-" + p.settings.Installation
	id := h.post(t, "/networks/create", nil, map[string]any{"Name": name})
	given := h.installation(t, func(s *Settings) { s.Network = name })
	i := start(t, given, spec(t, "w"))
	ask(t, i, http.MethodGet, "/env", "")
	h.clean(t, given.settings.Installation)
	h.do(t, http.MethodDelete, "/networks/"+id, nil, nil)

	// A network of another installation is not used.
	other := h.installation(t, func(s *Settings) { s.Network = p.settings.Network })
	_, err := other.Start(t.Context(), spec(t, "w"))
	if workspace.KindOf(err) != workspace.Conflict || !strings.Contains(workspace.Message(err), p.settings.Installation) {
		t.Errorf("on another's network, Start = %v, want a conflict", err)
	}
}
