package scripts_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a docker command says in its several states.
const (
	dockerUp = `case "$*" in
"version "*) echo 28.0.0 ;;
"compose version --short") echo 5.0.2 ;;
"buildx version") echo github.com/docker/buildx v0.38.2 1234 ;;
"info "*) echo '[name=seccomp,profile=builtin]' ;;
"pull "*) ;;
"context inspect "*) echo unix:///var/run/docker.sock ;;
"image inspect "*) ;;
"volume inspect "*) exit 1 ;;
"network inspect "*) exit 1 ;;
*" ps "*) ;;
*) echo "docker $*" ;;
esac`
	// A dev container that runs, and one that is there and that an editor made.
	dockerRunning = `case "$*" in
*" ps --quiet --status running platform") echo 1234; exit ;;
"inspect --format {{.Config.Image}} 1234") echo mine-dev; exit ;;
"inspect --format {{.Image}} 1234" | "image inspect --format {{.Id}} mine-dev") echo sha256:1; exit ;;
esac
` + dockerUp
	dockerStopped = `case "$*" in
*" ps --all --quiet platform") echo 1234; exit ;;
"inspect --format {{index .Config.Labels"*" 1234") echo "/r/docker-compose.yml,/r/docker-compose.dev.yml,$HOME/my data/docker-compose.devcontainer.containerFeatures-1.yml"; exit ;;
esac
` + dockerUp
	dockerDown      = `echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1`
	dockerForbidden = `echo 'permission denied while trying to connect to the docker API' >&2; exit 1`
	dockerBare      = `[ "$1" = version ] && exit; echo "docker: unknown command" >&2; exit 1`
)

const composeUp = "docker compose -f docker-compose.yml -f docker-compose.dev.yml -f docker-compose.override.yml --progress quiet "

func TestDev(t *testing.T) {
	const (
		groupLine   = "dev: you may not use Docker: add yourself to its group ('sudo usermod -aG docker $USER', then log in again)\n"
		composeLine = "dev: this Docker has no compose: install its plugin, docker-compose-plugin\n"
		nothingLine = "dev: neither a Docker engine nor Go is here: install Docker (https://docs.docker.com/get-docker) or Go (https://go.dev/dl)\n"
		up          = "up --no-build --exit-code-from platform --attach platform --no-log-prefix --menu=false\n"
		upLines     = composeUp + "build platform\n" + composeUp + up
		followLines = composeUp + "build platform\nthe loop runs already; Ctrl-C only ends this view of it, 'make down' stops it\n" +
			"docker compose -f docker-compose.yml -f docker-compose.dev.yml -f docker-compose.override.yml exec -T platform devloop status -line\n" +
			"docker compose -f docker-compose.yml -f docker-compose.dev.yml -f docker-compose.override.yml logs --follow --no-log-prefix --since NOW platform\n"
	)
	for _, test := range []struct {
		name    string
		docker  string // "" for none
		prepare func(*repo)
		vars    []string
		want    string
		code    int
	}{
		{name: "engine", docker: dockerUp, want: upLines},
		{name: "engine, interrupted", docker: strings.Replace(dockerUp, "*) echo \"", `*" up "*) exit 130 ;;`+"\n*) echo \"", 1), want: composeUp + "build platform\n"},
		{name: "engine, failed", docker: strings.Replace(dockerUp, "*) echo \"", `*" up "*) exit 7 ;;`+"\n*) echo \"", 1), want: composeUp + "build platform\n", code: 7},
		{name: "no permission", docker: dockerForbidden, want: groupLine, code: 1},
		{name: "no compose", docker: dockerBare, want: composeLine, code: 1},
		{name: "nothing", want: nothingLine, code: 1},
		{name: "engine down, no Go", docker: dockerDown, want: "dev: no Docker engine answers, and Go is not here: start the engine, or install Go (https://go.dev/dl)\n", code: 1},
		{
			name: "old compose", docker: strings.Replace(dockerUp, "5.0.2", "2.25.0-desktop.1", 1), code: 1,
			want: "dev: this Docker has compose 2.25.0-desktop.1, and 2.26.0 is needed: update its plugin, docker-compose-plugin\n",
		},
		{name: "compose that will do", docker: strings.Replace(dockerUp, "5.0.2", "v2.26.0", 1), want: upLines},
		{name: "compose of one's own", docker: strings.Replace(dockerUp, "5.0.2", "dev", 1), want: upLines},
		{
			name: "old buildx", docker: strings.Replace(dockerUp, "v0.38.2", "0.13.1+ds1", 1), code: 1,
			want: "dev: this Docker has buildx 0.13.1+ds1, and 0.17.0 is needed: update its plugin, docker-buildx-plugin\n",
		},
		{name: "buildx that will do", docker: strings.Replace(dockerUp, "v0.38.2", "v0.17.0", 1), want: upLines},
		{
			name: "no buildx", docker: strings.Replace(dockerUp, `"buildx version") echo`, `"buildx version") exit 1; echo`, 1), code: 1,
			want: "dev: this Docker has no buildx: install its plugin, docker-buildx-plugin\n",
		},
		{
			name: "another project in the shell", docker: dockerUp, vars: []string{"COMPOSE_PROJECT_NAME=theirs", "DEBUG_PORT=2345", "COMPOSE_ENV_FILES=other.env"},
			prepare: func(r *repo) {
				r.write(".env", "COMPOSE_PROJECT_NAME=mine\n")
				r.command("docker", dockerUp+`
[ -z "${COMPOSE_PROJECT_NAME-}${COMPOSE_ENV_FILES-}${DEBUG_PORT-}" ] || echo "docker compose sees $COMPOSE_PROJECT_NAME"`)
			},
			want: "COMPOSE_PROJECT_NAME in your shell differs from .env: make uses .env, and a plain 'docker compose' your shell's\n" + upLines,
		},
		{
			name: "an engine without root", docker: strings.Replace(dockerUp, "builtin]", "builtin name=rootless]", 1),
			prepare: func(r *repo) { r.write(".env", "UID=1000\n") },
			want:    "this engine runs as you, not as root: with UID=0 and GID=0 in .env the dev container's user is you, and may write here\n" + upLines,
		},
		{
			name: "a newer Go wanted", docker: dockerUp, prepare: func(r *repo) { r.write("e2e/go.mod", "module e2e\n\ngo 1.27.1\n") }, code: 1,
			want: "dev: e2e/go.mod wants Go 1.27, and the images have 1.26: name golang:1.27 in workspace-server/Dockerfile and Dockerfile.dev\n",
		},
		{
			name: "a proxy in the shell only", vars: []string{"HTTPS_PROXY=http://127.0.0.1:3128"},
			docker: strings.Replace(dockerUp, "*) echo \"", `*" build platform") echo "no such host [${HTTPS_PROXY-}]"; exit 17 ;;`+"\n*) echo \"", 1),
			want: "no such host []\na proxy is set in your shell, and the build has none: set it in .env, too\n" +
				"the dev image cannot be built: this uses the previous one\n" + composeUp + up,
		},
		{
			name: "port taken", docker: dockerUp, prepare: func(r *repo) { r.write(".env", "PLATFORM_PORT=8080\n"); r.busy("8080") },
			want: "dev: port 8080 is taken: stop the program that listens there, or change PLATFORM_PORT in .env\n", code: 1,
		},
		{
			name: "port taken by production", docker: strings.Replace(dockerUp, `*" ps "*)`, `*" ps "*) echo 1234`, 1),
			prepare: func(r *repo) { r.write(".env", "PLATFORM_PORT=8080\n"); r.busy("8080") },
			want:    composeUp + "build platform\nthe dev container takes the place of the production one; 'make up' brings that back\n" + composeUp + up,
		},
		{
			name: "running already", docker: dockerRunning, want: followLines,
			prepare: func(r *repo) {
				r.write(".env", "PLATFORM_PORT=8080\nCOMPOSE_PROJECT_NAME=mine\n")
				r.busy("8080")
			},
		},
		{
			name: "running already, and the loop is not up yet", docker: strings.Replace(dockerRunning, "*) echo \"", `*" devloop status -line") exit 1 ;;`+"\n*) echo \"", 1),
			prepare: func(r *repo) { r.write(".env", "COMPOSE_PROJECT_NAME=mine\n") },
			want: composeUp + "build platform\nthe loop runs already; Ctrl-C only ends this view of it, 'make down' stops it\n" +
				"docker compose -f docker-compose.yml -f docker-compose.dev.yml -f docker-compose.override.yml logs --follow --no-log-prefix --tail 10 platform\n",
		},
		{
			name: "running already, with another image", docker: strings.Replace(dockerRunning, `| "image`, `) echo sha256:0; exit ;; "image`, 1),
			prepare: func(r *repo) { r.write(".env", "COMPOSE_PROJECT_NAME=mine\n") },
			want: strings.Replace(followLines, "platform\n",
				"platform\nthe image is newer than this container: run 'make down', then 'make dev', to use it\n", 1),
		},
		{
			name: "stopped, made by an editor", docker: dockerStopped,
			prepare: func(r *repo) {
				r.write(".env", "COMPOSE_PROJECT_NAME=mine\n")
				r.write("my data/docker-compose.devcontainer.containerFeatures-1.yml", "")
			},
			want: composeUp + "build platform\n" +
				strings.Replace(composeUp, " --progress", " -f REPO/my data/docker-compose.devcontainer.containerFeatures-1.yml --progress", 1) + up,
		},
		{
			name: "stopped, made by an editor that is gone", docker: dockerStopped,
			prepare: func(r *repo) { r.write(".env", "COMPOSE_PROJECT_NAME=mine\n") }, want: upLines,
		},
		{
			name: "image of before", docker: strings.Replace(dockerUp, "*) echo \"", `*" build platform") echo 'no such host'; exit 17 ;;`+"\n*) echo \"", 1),
			want: "no such host\nthe dev image cannot be built: this uses the previous one\n" + composeUp + up,
		},
		{
			name: "no image", code: 1,
			docker: strings.NewReplacer(`"image inspect "*)`, `"image inspect "*) exit 1`, "*) echo \"", `*" build platform") echo 'no such host'; exit 17 ;;`+"\n*) echo \"").Replace(dockerUp),
			want:   "building the dev image; this takes some minutes, once\nno such host\n",
		},
		{
			name: "database of another .env", docker: strings.Replace(dockerUp, `"volume inspect "*)`, `"volume inspect "*_dev-database) ;;`+"\n"+`"volume inspect "*)`, 1), code: 1,
			want: "dev: the database of this checkout has the password of an .env that is gone: put that file back, or run 'make rebuild' for a clean database\n",
		},
		{
			name: "production's database of another .env", docker: strings.Replace(dockerUp, "exit 1", "", 1), code: 1,
			prepare: func(r *repo) { r.command("cksum", "echo 255 1") }, // the project has its name by this
			want:    "dev: production's database has the password of an .env that is gone: put that file back, or delete the database with 'docker volume rm workspace-000000ff_database'\n",
		},
		{
			name: "junk in .env", docker: dockerUp, prepare: func(r *repo) { r.write(".env", "junk\n") },
			want: "env: REPO/.env:1: this line is not NAME=value: correct or remove it\n", code: 1,
		},
		{
			name: "dev container", vars: []string{"DEV_CONTAINER=1"}, prepare: func(r *repo) { r.command("devloop", `echo "devloop $*"`) },
			want: "the loop runs in this container already; Ctrl-C only ends this view of it\ndevloop follow\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.command("date", "echo NOW")
				if test.docker != "" {
					r.command("docker", test.docker)
				}
				if test.prepare != nil {
					test.prepare(r)
				}
				r.want("dev", test.want, test.code, test.vars...)
			})
		})
	}
}

// TestDevEndsWithItsTerminal closes the terminal of a "make dev" that shows what
// compose prints. Compose lives on, as the real one does, until it is stopped.
func TestDevEndsWithItsTerminal(t *testing.T) {
	script, err := exec.LookPath("script")
	if err != nil {
		t.Skip("script is not installed, which makes a terminal")
	}
	eachShell(t, func(t *testing.T, r *repo) {
		r.command("docker", strings.Replace(dockerUp, "*) echo \"", `*" up "*) trap '' HUP; echo up >"$HOME/up"; until [ -e "$HOME/stopped" ]; do [ -d "$HOME" ] || exit; sleep 0.1; done; echo ended >"$HOME/ended"; exit ;;`+"\n"+
			`*" stop") echo stopped >"$HOME/stopped"; exit ;;`+"\n*) echo \"", 1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, script, "-q", "-c", strings.Join(append(r.shell, "scripts/dev"), " "), "/dev/null")
		cmd.Dir, cmd.Env = r.dir, []string{"PATH=" + r.bin, "HOME=" + r.dir, "SHELL=" + filepath.Join(r.bin, "sh")}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		await := func(name string) {
			t.Helper()
			for {
				if _, err := os.Stat(filepath.Join(r.dir, name)); err == nil {
					return
				}
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
					t.Fatalf("no sign of %q", name)
				}
			}
		}
		await("up")
		if err := cmd.Process.Kill(); err != nil { // its end closes the terminal
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		await("stopped")
		await("ended")
	})
}

func TestDevKeepsNoEnvThatCannotBeUsed(t *testing.T) {
	eachShell(t, func(t *testing.T, r *repo) {
		r.command("docker", strings.Replace(dockerUp, "exit 1", "", 1))
		first, _ := r.run("dev")
		if second, code := r.run("dev"); second != first || code != 1 {
			t.Errorf("at the second run: exit %d\n%s\nwant the same as at the first\n%s", code, second, first)
		}
	})
}

func TestInitialize(t *testing.T) {
	const create = composeUp + "create --no-build platform\n"
	for _, test := range []struct {
		name, docker string
		env          string
		want         string
		code         int
	}{
		{name: "nothing there", docker: dockerUp, want: composeUp + "build platform\n"},
		{name: "running", docker: dockerRunning, want: composeUp + "build platform\n"},
		{
			name: "running, with another image", docker: strings.Replace(dockerRunning, `| "image`, `) echo sha256:0; exit ;; "image`, 1),
			want: composeUp + "build platform\nthe image is newer than this container: run \"Rebuild Container\" to use it\n",
		},
		{name: "stopped", docker: dockerStopped, want: composeUp + "build platform\n" + create},
		{name: "production", docker: strings.Replace(dockerUp, `*" ps "*)`, `*" ps "*) echo 1234`, 1), want: composeUp + "build platform\n" + create},
		{name: "engine down", docker: dockerDown, want: "initialize: no Docker engine answers: start one, or use 'make dev-host'\n", code: 1},
		{name: "junk in .env", docker: dockerUp, env: "junk\n", want: "env: REPO/.env:1: this line is not NAME=value: correct or remove it\n", code: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.command("docker", test.docker)
				r.write(".env", test.env+"COMPOSE_PROJECT_NAME=mine\n")
				r.want("initialize", test.want, test.code)
			})
		})
	}
}

// A go that installs runtests, which prints how it is called.
const installRuntests = `case "$*" in
*"install -buildvcs=false ./runtests")
	mkdir -p "$GOBIN"
	printf '#!%s\necho "runtests $* [$CGO_ENABLED] [$TEST_DATABASE_URL]"\nexit 3\n' "$(command -v sh)" >"$GOBIN/runtests"
	chmod +x "$GOBIN/runtests" ;;
*) exit 9 ;;
esac`

// TestTest: in the dev container the tests have its database, and a C compiler.
func TestTest(t *testing.T) {
	eachShell(t, func(t *testing.T, r *repo) {
		r.mkdir(filepath.Join(r.dir, "tools"))
		r.command("go", installRuntests)
		r.want("test", "runtests  [] []\n", 3, "DATABASE_URL=postgres://elsewhere")
		r.want("test", "runtests  [1] [postgres://here]\n", 3, "DEV_CONTAINER=1", "DATABASE_URL=postgres://here")
		r.want("test", "runtests  [1] [postgres://mine]\n", 3, "DEV_CONTAINER=1", "DATABASE_URL=postgres://here", "TEST_DATABASE_URL=postgres://mine")
	})
}

// goModules are the directories of all Go modules.
var goModules = []string{"workspace-server", "devloop", "e2e", "tools", "tools/dockerlint"}

// TestQuick needs Go.
func TestQuick(t *testing.T) {
	eachShell(t, func(t *testing.T, r *repo) {
		r.want("quick", "quick: no Go is here: install it (https://go.dev/dl), or use 'make test', which can run tests in the dev image\n", 1)
		r.mkdir(filepath.Join(r.dir, "tools"))
		r.command("go", installRuntests)
		r.want("quick", "runtests -quick [] []\n", 3)
	})
}

// TestWarm: what cannot be had stops nothing.
func TestWarm(t *testing.T) {
	const each = `case "$PWD $*" in *"/e2e mod"*) echo 'no network' >&2; exit 1 ;; esac; echo "$(basename "$PWD"): go $*"`
	eachShell(t, func(t *testing.T, r *repo) {
		for _, module := range goModules {
			r.mkdir(filepath.Join(r.dir, module))
		}
		r.command("go", each)
		r.want("warm", "workspace-server: go mod download\ndevloop: go mod download\n"+
			"no network\ne2e: some of its modules cannot be downloaded\ntools: go mod download\ndockerlint: go mod download\n"+
			"workspace-server: go build ./...\ndevloop: go build ./...\n", 0)
	})
}

// A go that "builds" programs which print how they are called.
const fakeGo = `case "$*" in
"list -m") echo devloop ;;
install*)
	mkdir -p "$GOBIN"
	for package; do
		case $package in */*) ;; *) continue ;; esac
		name=$(basename "$package")
		printf '#!%s\necho "%s $*"; echo "$ENV $WATCH_RELOAD $STATE_DIRECTORY [$DATABASE_URL]"\n' "$(command -v sh)" "$name" >"$GOBIN/$name"
		chmod +x "$GOBIN/$name"
	done ;;
esac`

// TestCheck: what is here is run here, and the rest in the dev image.
func TestCheck(t *testing.T) {
	const (
		// It builds programs that find nothing.
		quietGo = `[ "$1" = install ] || exit 0
mkdir -p "$GOBIN"
for name in gofumpt staticcheck gopls; do
	printf '#!%s\n' "$(command -v sh)" >"$GOBIN/$name"
	chmod +x "$GOBIN/$name"
done`
		inImage  = "--progress quiet run --rm --no-deps --no-TTY --env CHECKED_COMPOSE=1 platform "
		noDocker = "skipped  compose files: there is no Docker on this machine\n"
		built    = composeUp + "build platform\n"
		fumpt    = "ok  gofumpt\n"
		last     = "ok  workspace-server: go vet, without SQLite\n"
	)
	modules := ""
	for _, module := range goModules {
		for _, tool := range []string{"go vet", "staticcheck", "gopls check", "go mod tidy"} {
			modules += "ok  " + module + ": " + tool + "\n"
		}
	}
	// A shellcheck that complains shows where it ran.
	docker := strings.Replace(dockerUp, "*) echo \"", `*" platform shellcheck "*) echo "in the image: $*"; exit 1 ;;`+"\n*) echo \"", 1)
	for _, test := range []struct {
		name          string
		golang, shell bool
		docker        string
		want          string
		code          int
	}{
		{name: "all here", golang: true, shell: true, want: noDocker + fumpt + modules + last + "ok  shellcheck\nok  dockerfiles\n"},
		{
			name: "no shellcheck here", golang: true, docker: docker, code: 1,
			want: "ok  compose files\n" + built + fumpt + modules + last +
				"FAILED  shellcheck\nin the image: compose -f docker-compose.yml -f docker-compose.dev.yml -f docker-compose.override.yml " + inImage +
				"shellcheck --external-sources --source-path=SCRIPTDIR scripts/* .ci/run\nok  dockerfiles\n",
		},
		{
			name: "no Go here", shell: true, docker: dockerUp,
			want: "ok  compose files\n" + built + "docker compose -f docker-compose.yml -f docker-compose.dev.yml -f docker-compose.override.yml " + inImage + "scripts/check\n",
		},
		{
			name: "no Go here, and something is wrong", docker: strings.Replace(dockerUp, "*) echo \"", `*" scripts/check") exit 3 ;;`+"\n*) echo \"", 1), code: 1,
			want: "ok  compose files\n" + built,
		},
		{name: "nothing", want: noDocker + "check: this needs Go and shellcheck, or a Docker engine: the dev image has both\n", code: 1},
		{name: "Go only", golang: true, want: noDocker + "check: this needs Go and shellcheck, or a Docker engine: the dev image has both\n", code: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				for _, module := range goModules {
					r.mkdir(filepath.Join(r.dir, module))
				}
				if test.golang {
					r.command("go", quietGo)
				}
				if test.shell {
					r.command("shellcheck", "")
				}
				if test.docker != "" {
					r.command("docker", test.docker)
				}
				out, code := r.run("check")
				scripts, err := filepath.Glob(filepath.Join(r.dir, "scripts", "*"))
				if err != nil {
					t.Fatal(err)
				}
				var names []string
				for _, script := range scripts {
					names = append(names, "scripts/"+filepath.Base(script))
				}
				want := strings.Replace(test.want, "scripts/*", strings.Join(names, " "), 1)
				if out != want || code != test.code {
					t.Errorf("scripts/check: exit %d\n%s\nwant exit %d\n%s", code, out, test.code, want)
				}
			})
		})
	}
}

func TestDevHost(t *testing.T) {
	const served = "devloop up -C workspace-server -listen 127.0.0.1:8080 -debug 127.0.0.1:2345 -dlv REPO/.tools/bin/dlv -settings .env -announce API http://127.0.0.1:8080  debugger 127.0.0.1:2345 -- REPO/.tools/bin/air -c .air.toml\n" +
		"development 1 REPO/.state []\n"
	eachShell(t, func(t *testing.T, r *repo) {
		r.mkdir(filepath.Join(r.dir, "devloop"))
		r.command("go", fakeGo)
		r.command("docker", dockerDown)
		r.want("dev", "no Docker engine answers: running the loop on this machine, with an embedded database (make dev-host)\nbuilding air and dlv, once\n"+served, 0)
		r.want("dev-host", served, 0, "DATABASE_URL=postgres://elsewhere")
	})
	eachShell(t, func(t *testing.T, r *repo) {
		r.mkdir(filepath.Join(r.dir, "devloop"))
		r.command("go", `echo 'go: go.mod requires go >= 1.26 (running go 1.25.0; GOTOOLCHAIN=local)' >&2; exit 1`)
		r.want("dev-host", "dev-host: go: go.mod requires go >= 1.26 (running go 1.25.0; GOTOOLCHAIN=local)\n", 1)
	})
}

// TestDevHostPorts: a taken port is named by its setting, before anything is built,
// unless this checkout's own loop has it: of that, devloop tells.
func TestDevHostPorts(t *testing.T) {
	const (
		platform = "dev-host: port 8080 is taken: stop the program that listens there, or change PLATFORM_PORT in .env\n"
		debug    = "dev-host: port 2345 is taken: stop the program that listens there, or change DEBUG_PORT in .env\n"
		none     = `[ "$1" = up ] || exit 1; echo up`
		running  = `[ "$1" = status ] || echo "a loop runs already"`
		install  = `case "$*" in install*) echo building ;; esac`
	)
	for name, test := range map[string]struct {
		busy    []string
		devloop string // "" for none
		vars    []string
		want    string
		code    int
	}{
		"nothing built":    {busy: []string{"8080"}, want: platform, code: 1},
		"no loop":          {busy: []string{"8080", "2345"}, devloop: none, want: platform, code: 1},
		"debugger":         {busy: []string{"2345"}, devloop: none, want: debug, code: 1},
		"other ports":      {busy: []string{"8081"}, devloop: none, want: "building\nbuilding\nup\n"},
		"own loop":         {busy: []string{"8080", "2345"}, devloop: running, want: "building\nbuilding\na loop runs already\n"},
		"in the container": {busy: []string{"8080"}, devloop: none, vars: []string{"DEV_CONTAINER=1"}, want: "building\nbuilding\nup\n"},
	} {
		t.Run(name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.mkdir(filepath.Join(r.dir, "devloop"))
				r.command("go", install)
				r.write(".env", "PLATFORM_PORT=8080\nDEBUG_PORT=2345\n")
				r.busy(test.busy...)
				if test.devloop != "" {
					for name, lines := range map[string]string{"devloop": test.devloop, "air": "", "dlv": ""} {
						r.program(filepath.Join(r.dir, ".tools", "bin", name), lines)
					}
				}
				r.want("dev-host", test.want, test.code, test.vars...)
			})
		})
	}
}

func TestNeedsEngine(t *testing.T) {
	for script, advice := range map[string]string{
		"up":   "start one, or use 'make dev-host'",
		"down": "start one; Ctrl-C stops the loop of 'make dev-host'",
		"logs": "start one; '.tools/bin/devloop follow' shows the loop of 'make dev-host'",
	} {
		t.Run(script, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.command("docker", dockerDown)
				r.want(script, script+": no Docker engine answers: "+advice+"\n", 1)
				r.want(script, script+": this is the dev container: run 'make "+script+"' outside of it\n", 1, "DEV_CONTAINER=1")
			})
		})
	}
}

// TestUp: workspaces run in containers if, and only if, .env says so.
func TestUp(t *testing.T) {
	for env, files := range map[string]string{
		"":           "-f docker-compose.yml -f docker-compose.override.yml",
		"AGENTS=0\n": "-f docker-compose.yml -f docker-compose.override.yml",
		"AGENTS=1\n": "-f docker-compose.yml -f docker-compose.agents.yml -f docker-compose.override.yml",
	} {
		t.Run(env, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.command("docker", dockerUp)
				r.write(".env", env)
				r.want("up", "docker compose "+files+" --progress quiet build\ndocker compose "+files+" --progress quiet up --detach --wait\n"+
					"serving  API http://127.0.0.1:8080  ('make logs' follows, 'make down' ends it)\n", 0)
			})
		})
	}
}

// TestDown: the containers of workspaces go, even if .env no longer has AGENTS=1.
func TestDown(t *testing.T) {
	const (
		filters = "--filter network=mine_agents --filter label=workspace-server.installation"
		network = `"network inspect mine_agents") exit ;;`
		listed  = `"ps --all --quiet ` + filters + `") `
		loud    = `"stop "* | "rm "* | "network rm "*) echo "docker $*" >&2; exit ;;`
	)
	for name, test := range map[string]struct{ docker, want string }{
		"no network": {"", ""},
		"no agents":  {network + listed + ";;" + loud, "docker network rm mine_agents\n"},
		"two agents": {
			network + listed + "echo 12; echo 34 ;;" + loud,
			"docker stop 12 34\ndocker rm 12 34\ndocker network rm mine_agents\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.command("docker", strings.Replace(dockerUp, "in\n", "in\n"+test.docker+"\n", 1))
				r.write(".env", "COMPOSE_PROJECT_NAME=mine\n")
				r.want("down", composeUp+"down --remove-orphans\n"+test.want, 0)
			})
		})
	}
}

// TestRebuild: nothing is removed before the loop can go on.
func TestRebuild(t *testing.T) {
	const (
		build   = composeUp + "build platform\n"
		removed = "removing the database of this checkout\n" + composeUp + "down --remove-orphans\n"
		offline = "golang:1.26-trixie cannot be pulled: this uses the one that is here\npostgres:17-trixie cannot be pulled: this uses the one that is here\n"
	)
	there := strings.Replace(dockerUp, "exit 1", "", 1) // a volume
	for _, test := range []struct {
		name, docker string
		prepare      func(*repo)
		want         string // what it begins with
		code         int
	}{
		{name: "all is well", docker: there, want: build + removed},
		{name: "no registry", docker: strings.Replace(there, `"pull "*)`, `"pull "*) echo 'no such host' >&2; exit 1`, 1), want: offline + build + removed},
		{
			name: "no registry and no image", code: 1,
			docker: strings.NewReplacer(`"pull "*)`, `"pull "*) echo 'no such host' >&2; exit 1`, `"image inspect "*)`, `"image inspect "*) exit 1`).Replace(there),
			want:   "rebuild: golang:1.26-trixie cannot be pulled: no such host\n",
		},
		{
			name: "a port is taken", docker: there, prepare: func(r *repo) { r.busy("2345") }, code: 1,
			want: "rebuild: port 2345 is taken: stop the program that listens there, or change DEBUG_PORT in .env\n",
		},
		{name: "it does not build", docker: strings.Replace(there, "*) echo \"", `*" build platform") exit 17 ;;`+"\n*) echo \"", 1), code: 17},
		{
			name: "old compose", docker: strings.Replace(there, "5.0.2", "2.20.1", 1), code: 1,
			want: "rebuild: this Docker has compose 2.20.1, and 2.26.0 is needed: update its plugin, docker-compose-plugin\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.command("docker", test.docker)
				r.write(".env", "COMPOSE_PROJECT_NAME=mine\nPLATFORM_PORT=8080\nDEBUG_PORT=2345\n")
				if test.prepare != nil {
					test.prepare(r)
				}
				out, code := r.run("rebuild")
				want := test.want
				if code == 0 {
					want += build + composeUp + "up "
				}
				if !strings.HasPrefix(out, want) || code != test.code || code != 0 && strings.Contains(out, "removing") {
					t.Errorf("exit %d\n%s\nwant exit %d\n%s", code, out, test.code, want)
				}
			})
		})
	}
}

// TestRebuildHere: as TestRebuild, without an engine.
func TestRebuildHere(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(*repo)
		want    string // what it begins with
		code    int
	}{
		{name: "all is well", prepare: func(r *repo) { r.command("go", fakeGo) }, want: "removing the embedded database of this checkout\n"},
		{
			name: "neither engine nor Go", prepare: func(*repo) {}, code: 1,
			want: "rebuild: neither a Docker engine nor Go is here: install Docker (https://docs.docker.com/get-docker) or Go (https://go.dev/dl)\n",
		},
		{
			name: "the engine is down, and no Go", prepare: func(r *repo) { r.command("docker", dockerDown) }, code: 1,
			want: "rebuild: no Docker engine answers, and Go is not here: start the engine, or install Go (https://go.dev/dl)\n",
		},
		{
			name: "old Go", prepare: func(r *repo) { r.command("go", `echo 'go: go.mod requires go >= 1.26' >&2; exit 1`) }, code: 1,
			want: "rebuild: go: go.mod requires go >= 1.26\n",
		},
		{
			name: "the loop runs", code: 1,
			prepare: func(r *repo) {
				r.command("go", fakeGo)
				r.program(filepath.Join(r.dir, ".tools/bin/devloop"), "")
			},
			want: "rebuild: the loop of this checkout runs: stop it with Ctrl-C first\n",
		},
		{
			name: "a port is taken", code: 1,
			prepare: func(r *repo) {
				r.command("go", fakeGo)
				r.write(".env", "PLATFORM_PORT=8080\n")
				r.busy("8080")
			},
			want: "rebuild: port 8080 is taken: stop the program that listens there, or change PLATFORM_PORT in .env\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.write(".state/data.db", "")
				test.prepare(r)
				out, code := r.run("rebuild")
				_, err := os.Stat(filepath.Join(r.dir, ".state"))
				if removed := err != nil; !strings.HasPrefix(out, test.want) || code != test.code || removed != (code == 0) {
					t.Errorf("exit %d, .state removed: %t\n%s\nwant exit %d\n%s", code, removed, out, test.code, test.want)
				}
			})
		})
	}
}

// TestTestInImage: without Go the tests run in the dev image, with the same flags, and
// what was started for them is stopped, also if a signal ends them.
func TestTestInImage(t *testing.T) {
	const run = composeUp + "run --rm --no-TTY --env REQUIRE_DOCKER platform scripts/test -only devloop -run A|B\n"
	eachShell(t, func(t *testing.T, r *repo) {
		r.want("test", "test: neither a Docker engine nor Go is here: install Docker (https://docs.docker.com/get-docker) or Go (https://go.dev/dl)\n", 1)
		r.command("docker", dockerDown)
		r.want("test", "test: no Docker engine answers, and Go is not here: start the engine, or install Go (https://go.dev/dl)\n", 1)
	})
	for _, test := range []struct {
		name, docker string
		signal       syscall.Signal
		want         string
		code         int
	}{
		{name: "nothing runs", docker: dockerUp, want: run + composeUp + "down\n"},
		{
			name: "a test fails", docker: strings.Replace(dockerUp, "*) echo \"", `*" run "*) exit 3 ;;`+"\n*) echo \"", 1),
			want: composeUp + "down\n", code: 3,
		},
		{name: "the loop runs", docker: strings.Replace(dockerUp, `*" ps "*)`, `*" ps "*) echo 1234`, 1), want: run},
		{
			name: "the dev container is stopped", want: run + composeUp + "stop postgres\n",
			docker: strings.Replace(dockerUp, `*" ps "*)`, `*" ps --all --quiet") echo 1234 ;; *" ps "*)`, 1),
		},
		{
			name: "a signal", signal: syscall.SIGTERM, want: "started\nended by a signal\n" + composeUp + "down\n", code: 143,
			docker: strings.Replace(dockerUp, "*) echo \"", `*" run "*) trap 'echo ended by a signal; exit 143' TERM; echo started; while :; do sleep 0.05; done ;;`+"\n*) echo \"", 1),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.command("docker", test.docker)
				r.write(".env", "COMPOSE_PROJECT_NAME=mine\n")
				build := composeUp + "build platform\n"
				out, code := r.signalled("test", test.signal, "started\n", "-only", "devloop", "-run", "A|B")
				if out != build+test.want || code != test.code {
					t.Errorf("exit %d\n%s\nwant exit %d\n%s%s", code, out, test.code, build, test.want)
				}
			})
		})
	}
}

// TestUpSocket: with AGENTS=1 the platform gets the socket of the engine that docker
// uses.
func TestUpSocket(t *testing.T) {
	const files = "docker compose -f docker-compose.yml -f docker-compose.agents.yml -f docker-compose.override.yml --progress quiet "
	up := files + "build\n" + files + "up --detach --wait\nserving  API http://127.0.0.1:8080  ('make logs' follows, 'make down' ends it)\n"
	for _, test := range []struct {
		name, host, machine, env string
		want                     string
		code                     int
	}{
		{name: "the usual one", host: "unix:///var/run/docker.sock", machine: "here", want: up},
		{
			name: "an engine without root", host: "unix:///run/user/7/docker.sock", machine: "here", code: 1,
			want: "up: docker uses the socket /run/user/7/docker.sock, and the platform would get /var/run/docker.sock: set DOCKER_SOCKET=/run/user/7/docker.sock in .env, and remove the line DOCKER_GID\n",
		},
		{name: "that one, set", host: "unix:///run/user/7/docker.sock", machine: "here", env: "DOCKER_SOCKET=/run/user/7/docker.sock\n", want: up},
		{name: "the same by another path", host: "unix://REPO/link", machine: "here", env: "DOCKER_SOCKET=REPO/socket\n", want: up},
		{name: "a virtual machine", host: "unix:///home/me/.colima/docker.sock", machine: "colima", want: up},
		{
			name: "another machine", host: "ssh://builder", machine: "builder",
			want: "docker uses the engine at ssh://builder: the platform gets /var/run/docker.sock of that machine\n" + up,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				place := strings.NewReplacer("REPO", r.dir).Replace
				r.write("socket", "")
				if err := os.Symlink("socket", filepath.Join(r.dir, "link")); err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(filepath.Join(r.bin, "uname")); err != nil {
					t.Fatal(err)
				}
				r.command("uname", `[ "${1:-}" = -n ] && echo here || echo Linux`)
				r.command("docker", `case "$*" in
"context inspect "*) echo '`+place(test.host)+`'; exit ;;
"info --format {{.Name}}") echo `+test.machine+`; exit ;;
esac
`+dockerUp)
				r.write(".env", "AGENTS=1\n"+place(test.env))
				r.want("up", test.want, test.code)
			})
		})
	}
}

// TestUpReplaces: one of the two containers takes the other's place, and says so; if
// the platform does not start, its last lines say why.
func TestUpReplaces(t *testing.T) {
	const files = "docker compose -f docker-compose.yml -f docker-compose.override.yml --progress quiet "
	const replaces = "the production container takes the place of the dev container, whose loop ends; 'make dev' brings it back\n"
	eachShell(t, func(t *testing.T, r *repo) {
		r.command("docker", dockerRunning)
		r.write(".env", "COMPOSE_PROJECT_NAME=mine\n")
		r.want("up", files+"build\n"+replaces+files+"up --detach --wait\nserving  API http://127.0.0.1:8080  ('make logs' follows, 'make down' ends it)\n", 0)
		r.command("docker", strings.Replace(dockerUp, "*) echo \"", `*" up --detach --wait") exit 1 ;; *" logs "*) echo 'LOG_LEVEL="loud" is not accepted' ;;`+"\n*) echo \"", 1))
		r.want("up", files+"build\nLOG_LEVEL=\"loud\" is not accepted\n", 1)
	})
}

// TestDevHostEnvironment: the loop gets the settings of .env, but the shell's come
// first, and a go.work only if the server is in it.
func TestDevHostEnvironment(t *testing.T) {
	const (
		work    = `case "$PWD [${GOWORK-}] $*" in *"/workspace-server [] list "*) [ ! -e "$PWD/../go.work.bad" ] || { echo 'not one of the workspace modules' >&2; exit 1; } ;; *" env GOWORK") echo /above/go.work ;; esac`
		install = `case "$*" in install*) [ "$GOWORK" = off ] || echo "built with GOWORK=$GOWORK" ;; esac`
		up      = `[ "$1" = up ] || exit 1; echo "$LOG_LEVEL, $RATE_LIMIT, ${GOPROXY-none}, ${DRAIN_TIMEOUT-none}, [${GOWORK-}]"`
	)
	eachShell(t, func(t *testing.T, r *repo) {
		r.command("go", work+"\n"+install)
		for name, lines := range map[string]string{"devloop": up, "air": "", "dlv": ""} {
			r.program(filepath.Join(r.dir, ".tools", "bin", name), lines)
		}
		r.write(".env", "LOG_LEVEL=debug\nRATE_LIMIT=7\nGOPROXY=off\n")
		r.want("dev-host", "warn, 7, off, none, []\n", 0, "LOG_LEVEL=warn")
		r.want("dev-host", "debug, 7, off, none, [off]\n", 0, "GOWORK=off")
		r.write("go.work.bad", "")
		r.want("dev-host", "the loop builds without /above/go.work, since with it: not one of the workspace modules\ndebug, 7, off, none, [off]\n", 0)
	})
}
