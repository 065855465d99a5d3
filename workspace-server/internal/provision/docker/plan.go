package docker

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

// Labels of what the driver makes. Networks and volumes carry those that apply.
const (
	labelInstallation = "workspace-server.installation"
	labelWorkspace    = "workspace-server.workspace"
	labelGeneration   = "workspace-server.generation"
	labelStarted      = "workspace-server.started" // epoch milliseconds
)

// prefix begins all names. Dots join the parts of a name, and no part can hold a
// dot, so that different parts make different names.
const prefix = "workspace-server."

// Where an agent listens, and what it finds inside.
const (
	port    = "8000"
	configs = "/configs"
	plugins = "/plugins"
	data    = "/workspace"
)

// nameOf returns the name of a workspace's container, and of its volume.
func nameOf(installation, workspace string) string {
	return prefix + installation + "." + workspace
}

// isID reports whether a text can be part of a name: letters, digits, _ and -.
func isID(text string) bool {
	for i, c := range []byte(text) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '_' || c == '-'):
		default:
			return false
		}
	}
	return text != "" && len(text) <= 100
}

// resources are what a tier may use.
type resources struct {
	memory, cpus, pids int64 // bytes, hundredths, a number
}

func resourcesOf(tier int) (resources, error) {
	switch tier {
	case 1:
		return resources{memory: 512 << 20, cpus: 50, pids: 256}, nil
	case 2:
		return resources{memory: 1 << 30, cpus: 100, pids: 512}, nil
	case 3:
		return resources{memory: 2 << 30, cpus: 200, pids: 1024}, nil
	case 4:
		return resources{memory: 4 << 30, cpus: 400, pids: 2048}, nil
	}
	return resources{}, workspace.Errorf(workspace.Invalid, "The tier %d does not exist. Let the template use one from 1 to 4.", tier)
}

// plan is what the driver asks the engine for.
type plan struct {
	Name    string
	Request createRequest
}

// The parts of the engine's API that a plan is made of, under its names.
type (
	createRequest struct {
		Image       string
		Cmd         []string
		WorkingDir  string
		Env         []string
		Labels      map[string]string
		Healthcheck healthcheck
		HostConfig  hostConfig
	}
	healthcheck struct{ Test []string }
	hostConfig  struct {
		NetworkMode    string
		ExtraHosts     []string
		Mounts         []mount
		Tmpfs          map[string]string
		ReadonlyRootfs bool
		CapDrop        []string
		SecurityOpt    []string
		Init           bool
		Memory         int64
		MemorySwap     int64
		CPUPeriod      int64 `json:"CpuPeriod"`
		CPUQuota       int64 `json:"CpuQuota"`
		PidsLimit      int64
		RestartPolicy  restartPolicy
		LogConfig      logConfig
	}
	restartPolicy struct{ Name string }
	logConfig     struct {
		Type   string
		Config map[string]string
	}
	mount struct {
		Type, Source, Target string
		ReadOnly             bool           `json:",omitempty"`
		VolumeOptions        *volumeOptions `json:",omitempty"`
	}
	volumeOptions struct {
		NoCopy  bool              `json:",omitempty"`
		Labels  map[string]string `json:",omitempty"`
		Subpath string            `json:",omitempty"`
	}
	createNetwork struct {
		Name, Driver string
		Labels       map[string]string
		Options      map[string]string
	}
)

// makePlan says what to ask the engine for. It asks for nothing itself.
func makePlan(settings Settings, spec provision.Spec, now time.Time) (plan, error) {
	if !isID(spec.Workspace) {
		return plan{}, workspace.Errorf(workspace.Invalid, "A workspace cannot have the id %q.", spec.Workspace)
	}
	use, err := resourcesOf(spec.Tier)
	if err != nil {
		return plan{}, err
	}
	env, err := provision.Environment(spec.Env, map[string]string{
		provision.EnvListen:  ":" + port,
		provision.EnvConfigs: configs,
		provision.EnvPlugins: plugins,
	})
	if err != nil {
		return plan{}, err
	}
	name := nameOf(settings.Installation, spec.Workspace)
	mounts := []mount{{
		Type: "volume", Source: name, Target: data,
		// The engine fills a new one with what the image has there.
		VolumeOptions: &volumeOptions{Labels: map[string]string{
			labelInstallation: settings.Installation,
			labelWorkspace:    spec.Workspace,
		}},
	}}
	shared, err := share(settings, spec.Configs, configs, false)
	if err != nil {
		return plan{}, err
	}
	mounts = append(mounts, shared)
	for _, plugin := range slices.Sorted(maps.Keys(spec.Plugins)) {
		if !isID(strings.ReplaceAll(plugin, ".", "-")) { // which begins with neither
			return plan{}, workspace.Errorf(workspace.Invalid, "A plugin cannot have the name %q.", plugin)
		}
		shared, err := share(settings, spec.Plugins[plugin], plugins+"/"+plugin, true)
		if err != nil {
			return plan{}, err
		}
		mounts = append(mounts, shared)
	}
	const period = 100_000 // microseconds, the kernel's own
	return plan{
		Name: name,
		Request: createRequest{
			Image:      settings.Image,
			Cmd:        []string{"agent"},
			WorkingDir: data,
			Env:        env,
			Labels: map[string]string{
				labelInstallation: settings.Installation,
				labelWorkspace:    spec.Workspace,
				labelGeneration:   strconv.FormatInt(spec.Generation, 10),
				labelStarted:      strconv.FormatInt(now.UnixMilli(), 10),
			},
			// The image may be the server's own, whose check is for a server.
			Healthcheck: healthcheck{Test: []string{"NONE"}},
			HostConfig: hostConfig{
				NetworkMode: settings.Network,
				// Where a server on the engine's host can be reached.
				ExtraHosts: []string{"host.docker.internal:host-gateway"},
				Mounts:     mounts,
				Tmpfs: map[string]string{
					"/tmp":  "rw,exec,nosuid,nodev,mode=1777,size=" + strconv.FormatInt(use.memory/4, 10),
					plugins: "rw,noexec,nosuid,nodev,mode=0755,size=65536", // plugins are mounted in it
				},
				ReadonlyRootfs: true,
				CapDrop:        []string{"ALL"},
				SecurityOpt:    []string{"no-new-privileges:true"},
				Init:           true,
				Memory:         use.memory,
				MemorySwap:     use.memory, // with memory: none
				CPUPeriod:      period,
				// A count of processors would be refused where there are fewer.
				CPUQuota:      use.cpus * period / 100,
				PidsLimit:     use.pids,
				RestartPolicy: restartPolicy{Name: "no"}, // the reconciler restarts agents
				LogConfig: logConfig{
					Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"},
				},
			},
		},
	}, nil
}

// share mounts a directory of the server's. It fails if the engine cannot see it.
func share(settings Settings, path, target string, readOnly bool) (mount, error) {
	if !filepath.IsAbs(path) {
		return mount{}, unseen(fmt.Errorf("docker: %q for %s is not an absolute path", path, target))
	}
	path = filepath.Clean(path)
	if settings.StateVolume == "" {
		return mount{Type: "bind", Source: path, Target: target, ReadOnly: readOnly}, nil
	}
	within, err := filepath.Rel(settings.StateRoot, path)
	if err != nil || !filepath.IsLocal(within) || within == "." {
		return mount{}, unseen(fmt.Errorf("docker: %s for %s is not below %s", path, target, settings.StateRoot))
	}
	return mount{
		Type: "volume", Source: settings.StateVolume, Target: target, ReadOnly: readOnly,
		VolumeOptions: &volumeOptions{NoCopy: true, Subpath: filepath.ToSlash(within)},
	}, nil
}

// networkRequest asks for a network on which containers reach the engine's
// host and what is beyond it, but not each other.
func networkRequest(settings Settings) createNetwork {
	return createNetwork{
		Name: settings.Network, Driver: "bridge",
		Labels:  map[string]string{labelInstallation: settings.Installation},
		Options: map[string]string{"com.docker.network.bridge.enable_icc": "false"},
	}
}
