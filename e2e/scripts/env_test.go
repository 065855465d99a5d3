package scripts_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// names returns the names that a file in the form of .env gives a value.
func names(content string) []string {
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^(\w+)=`).FindAllStringSubmatch(content, -1) {
		names = append(names, match[1])
	}
	return names
}

// optional returns the names that .env.example gives a value in a comment.
func optional(example string) []string {
	var found []string
	for _, match := range regexp.MustCompile(`(?m)^#(\w+)=`).FindAllStringSubmatch(example, -1) {
		found = append(found, match[1])
	}
	return found
}

func TestEnvMakesFile(t *testing.T) {
	eachShell(t, func(t *testing.T, r *repo) {
		r.want("env", "", 0)
		made := r.read(".env")
		for name, pattern := range map[string]string{
			"COMPOSE_PROJECT_NAME": `workspace-[0-9a-f]{8}`,
			"UID":                  `\d+`,
			"GID":                  `\d+`,
			"PLATFORM_PORT":        `8080`,
			"DEBUG_PORT":           `2345`,
			"AGENTS":               `0`,
			"DOCKER_GID":           `\d+`,
			"POSTGRES_PASSWORD":    `[0-9a-f]{32}`,
			"CHECKOUT":             regexp.QuoteMeta(r.dir),
		} {
			if value := r.setting(name); !regexp.MustCompile("^" + pattern + "$").MatchString(value) {
				t.Errorf("%s is %q, want %s", name, value, pattern)
			}
		}
		info, err := os.Stat(filepath.Join(r.dir, ".env"))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("the mode is %v, want 0600", info.Mode())
		}
		r.want("env", "", 0)
		if again := r.read(".env"); again != made {
			t.Errorf("a second run changed it:\n%s\nfrom\n%s", again, made)
		}
		if left, _ := filepath.Glob(filepath.Join(r.dir, ".env?*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestEnvIsDocumented(t *testing.T) {
	example, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	documented := names(string(example))
	eachShell(t, func(t *testing.T, r *repo) {
		r.want("env", "", 0)
		if made := names(r.read(".env")); !slices.Equal(made, documented) {
			t.Errorf("scripts/env writes %v, .env.example documents %v", made, documented)
		}
	})
	all := slices.Concat(documented, optional(string(example)))
	for _, file := range []string{"../../docker-compose.yml", "../../docker-compose.dev.yml", "../../docker-compose.agents.yml"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`\$\{(\w+)`).FindAllStringSubmatch(string(content), -1) {
			if !slices.Contains(all, match[1]) {
				t.Errorf("%s uses %s, which .env.example does not document", file, match[1])
			}
		}
	}
}

func TestEnvKeeps(t *testing.T) {
	for name, content := range map[string]string{
		"an empty file":          "",
		"values":                 "PLATFORM_PORT=9999\nCOMPOSE_PROJECT_NAME=mine\nUID=7\n",
		"comments and blanks":    "# mine\n\n  \t\n#X=1\nDEBUG_PORT=1\n",
		"compose's own":          "COMPOSE_PROFILES='a b=c'\nCOMPOSE_X= # none\n",
		"settings":               "LOG_LEVEL=debug\nRATE_LIMIT=\nGOPROXY=https://user:p%40ss@proxy/,direct\n",
		"a last line unfinished": "GID=5\nUID=1",
	} {
		t.Run(name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.write(".env", content)
				r.want("env", "", 0)
				made := r.read(".env")
				if !strings.HasPrefix(made, content) {
					t.Fatalf("%q became %q", content, made)
				}
				before, added := names(content), names(made)
				slices.Sort(added)
				if unique := slices.Compact(slices.Clone(added)); !slices.Equal(unique, added) {
					t.Errorf("a name is there twice:\n%s", made)
				}
				for _, name := range append(before, "COMPOSE_PROJECT_NAME", "UID", "GID", "PLATFORM_PORT", "DEBUG_PORT", "AGENTS", "DOCKER_GID", "POSTGRES_PASSWORD") {
					if !slices.Contains(added, name) {
						t.Errorf("%s is missing:\n%s", name, made)
					}
				}
			})
		})
	}
}

func TestEnvKeepsCompleteFile(t *testing.T) {
	eachShell(t, func(t *testing.T, r *repo) {
		r.want("env", "", 0)
		complete := strings.TrimSuffix(r.read(".env"), "\n")
		r.write(".env", complete)
		r.want("env", "", 0)
		if now := r.read(".env"); now != complete {
			t.Errorf("%q became %q", complete, now)
		}
	})
}

func TestEnvRefuses(t *testing.T) {
	const (
		port     = "must be a port from 1 to 65535: correct it, or remove the line to get a free one\n"
		list     = ".env.example lists the names; one of your own must be used in docker-compose.override.yml)\n"
		override = "compose sets it: change it in docker-compose.override.yml\n"
		plain    = " must stand there as it is: without quotes, backslashes, $ and a comment\n"
		project  = "COMPOSE_PROJECT_NAME takes a-z, 0-9, - and _ only: correct it, or remove the line to get one of this checkout's own\n"
		password = "POSTGRES_PASSWORD takes A-Z, a-z, 0-9, . _ ~ and - only, as it becomes part of a URL: correct it, or remove the line to get a random one\n"
	)
	for _, test := range []struct{ content, want string }{
		{"no assignment", "1: this line is not NAME=value: correct or remove it\n"},
		{"UID=1\n\n=1\n", "3: this line is not NAME=value: correct or remove it\n"},
		{"9A=1\n", "1: this line is not NAME=value: correct or remove it\n"},
		{"export A=1\n", "1: 'export A' is not a name: write NAME=value, or remove the line\n"},
		{"A =1\n", "1: 'A ' is not a name: write NAME=value, or remove the line\n"},
		{"UID=1\r\nGID=2\r\n", "1: this line ends as on Windows: save the file with LF\n"},
		{"UID=1\n\r\n", "2: this line ends as on Windows: save the file with LF\n"},
		{"PLATFORM_PORT=\n", "1: PLATFORM_PORT " + port},
		{"PLATFORM_PORT=0\n", "1: PLATFORM_PORT " + port},
		{"PLATFORM_PORT=08080\n", "1: PLATFORM_PORT " + port},
		{"DEBUG_PORT=65536\n", "1: DEBUG_PORT " + port},
		{"DEBUG_PORT=99999999999999999999\n", "1: DEBUG_PORT " + port},
		{"# first\nDEBUG_PORT=-1\n", "2: DEBUG_PORT " + port},
		{"DEBUG_PORT='2345'\n", "1: DEBUG_PORT " + port},
		{"UID=me\n", "1: UID must be a number: remove the line to get the checkout's owner\n"},
		{"GID=\n", "1: GID must be a number: remove the line to get the checkout's owner\n"},
		{"DOCKER_GID=docker\n", "1: DOCKER_GID must be a number: remove the line to get the group of the engine's socket\n"},
		{"AGENTS=yes\n", "1: AGENTS must be 0 or 1: 1 runs workspaces in containers\n"},
		{"COMPOSE_PROJECT_NAME=\n", "1: " + project},
		{"COMPOSE_PROJECT_NAME=Mine\n", "1: " + project},
		{"COMPOSE_PROJECT_NAME=-a\n", "1: " + project},
		{"POSTGRES_PASSWORD=\n", "1: " + password},
		{"POSTGRES_PASSWORD=a@b\n", "1: " + password},
		{"LOGLEVEL=debug\n", "1: nothing reads LOGLEVEL: did you mean LOG_LEVEL? (" + list},
		{"https_proxy=http://p:1\n", "1: nothing reads https_proxy: did you mean HTTPS_PROXY? (" + list},
		{"POSTGRES_PASS=a\n", "1: nothing reads POSTGRES_PASS: did you mean POSTGRES_PASSWORD? (" + list},
		{"MY_TOKEN=a\n", "1: nothing reads MY_TOKEN (" + list},
		{"LISTEN_ADDR=:9\n", "1: LISTEN_ADDR cannot be set here: PLATFORM_PORT sets the port\n"},
		{"ENV=production\n", "1: ENV cannot be set here: 'make dev' and 'make up' set it\n"},
		{"WATCH_RELOAD=1\n", "1: WATCH_RELOAD cannot be set here: 'make dev' and 'make up' set it\n"},
		{"DATABASE_URL=x\n", "1: DATABASE_URL cannot be set here: " + override},
		{"STATE_DIRECTORY=/x\n", "1: STATE_DIRECTORY cannot be set here: " + override},
		{"STATE_VOLUME=x\n", "1: STATE_VOLUME cannot be set here: " + override},
		{"WORKSPACE_NETWORK=x\n", "1: WORKSPACE_NETWORK cannot be set here: " + override},
		{"DOCKER_HOST=tcp://h:1\n", "1: DOCKER_HOST cannot be set here: docker itself takes it from your shell, and the platform gets DOCKER_SOCKET: change that, or docker-compose.override.yml\n"},
		{`LOG_LEVEL="debug"` + "\n", "1: LOG_LEVEL" + plain},
		{"LOG_LEVEL='debug'\n", "1: LOG_LEVEL" + plain},
		{"GOPROXY=https://$X\n", "1: GOPROXY" + plain},
		{"RATE_LIMIT=5 # each\n", "1: RATE_LIMIT" + plain},
		{"RATE_LIMIT= 5\n", "1: RATE_LIMIT" + plain},
		{`PLUGINS_DIR=a\b` + "\n", "1: PLUGINS_DIR" + plain},
		{"TEMPLATES_DIR=\n", "1: TEMPLATES_DIR must be a directory: remove the line to get the one that is here\n"},
		{"EXTRA_CA_CERTS=/etc/ca.pem\n", "1: EXTRA_CA_CERTS must be in this checkout: copy the file to .env.ca.pem, which git ignores, and name that\n"},
		{"EXTRA_CA_CERTS=../ca.pem\n", "1: EXTRA_CA_CERTS must be in this checkout: copy the file to .env.ca.pem, which git ignores, and name that\n"},
		{"EXTRA_CA_CERTS=docker-compose.yml\n", "1: EXTRA_CA_CERTS must name a file of certificates in PEM, relative to this directory: docker-compose.yml is none\n"},
		{"DOCKER_SOCKET=unix:///x\n", "1: DOCKER_SOCKET must be the path of the engine's socket: remove the line to get /var/run/docker.sock\n"},
	} {
		t.Run(test.content, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				r.write(".env", test.content)
				r.want("env", "env: REPO/.env:"+test.want, 1)
				if now := r.read(".env"); now != test.content {
					t.Errorf("the file became %q", now)
				}
			})
		})
	}
	t.Run("directory", func(t *testing.T) {
		eachShell(t, func(t *testing.T, r *repo) {
			r.mkdir(filepath.Join(r.dir, ".env"))
			r.want("env", "env: REPO/.env cannot be read: change its permissions, or remove it\n", 1)
		})
	})
}

func TestEnvOnWindows(t *testing.T) {
	for _, system := range []string{"MINGW64_NT-10.0-22631", "MSYS_NT-10.0", "CYGWIN_NT-10.0"} {
		t.Run(system, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				if err := os.Remove(filepath.Join(r.bin, "uname")); err != nil {
					t.Fatal(err)
				}
				r.command("uname", "echo "+system)
				r.want("env", "env: Windows needs WSL2: clone and open this repository inside of it\n", 1)
				if _, err := os.Stat(filepath.Join(r.dir, ".env")); err == nil {
					t.Error("made a file with what Windows takes for a user's id")
				}
			})
		})
	}
}

func TestEnvTakesFreePorts(t *testing.T) {
	eachShell(t, func(t *testing.T, r *repo) {
		r.busy("8080", "8081", "2345")
		r.want("env", "", 0)
		if platform, debug := r.setting("PLATFORM_PORT"), r.setting("DEBUG_PORT"); platform != "8082" || debug != "2346" {
			t.Errorf("got ports %s and %s, want 8082 and 2346", platform, debug)
		}
		// A port in the file stays, even if another program holds it now.
		r.busy("8082")
		r.want("env", "", 0)
		if platform := r.setting("PLATFORM_PORT"); platform != "8082" {
			t.Errorf("the port became %s", platform)
		}
	})
}

func TestEnvOfMovedCheckout(t *testing.T) {
	eachShell(t, func(t *testing.T, r *repo) {
		r.want("env", "", 0)
		r.write(".env", r.read(".env")+"LOG_LEVEL=warn\n")
		project, password := r.setting("COMPOSE_PROJECT_NAME"), r.setting("POSTGRES_PASSWORD")

		moved := *r
		moved.dir = filepath.Join(filepath.Dir(r.dir), `it's a "copy" & more|\1`)
		if err := os.Rename(r.dir, moved.dir); err != nil {
			t.Fatal(err)
		}
		moved.want("env", "env: this checkout was at "+r.dir+": it gets a new project name and new ports; its containers and data stay with "+project+"\n", 0)
		if now := moved.setting("COMPOSE_PROJECT_NAME"); now == project {
			t.Errorf("the project name is still %s", now)
		}
		if moved.setting("POSTGRES_PASSWORD") != password || moved.setting("LOG_LEVEL") != "warn" {
			t.Errorf("values were lost:\n%s", moved.read(".env"))
		}
		made := moved.read(".env")
		moved.want("env", "", 0)
		if again := moved.read(".env"); again != made {
			t.Errorf("a second run changed it:\n%s\nfrom\n%s", again, made)
		}
	})
}

func TestEnvBelongsToOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a checkout to another user")
	}
	eachShell(t, func(t *testing.T, r *repo) {
		if err := os.Chown(r.dir, 501, 20); err != nil {
			t.Fatal(err)
		}
		r.want("env", "", 0)
		if uid, gid := r.setting("UID"), r.setting("GID"); uid != "501" || gid != "20" {
			t.Errorf("got UID %s, GID %s; want 501, 20", uid, gid)
		}
		info, err := os.Stat(filepath.Join(r.dir, ".env"))
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 501 || owner.Gid != 20 {
			t.Errorf("the file belongs to %d:%d, want 501:20", owner.Uid, owner.Gid)
		}
	})
}

func TestEnvInDevContainer(t *testing.T) {
	eachShell(t, func(t *testing.T, r *repo) {
		r.want("env", "", 0, "DEV_CONTAINER=1")
		if _, err := os.Stat(filepath.Join(r.dir, ".env")); err == nil {
			t.Error("made a file for another path and other ports")
		}
	})
}

// TestEnvOfSettings: each setting of the server reaches it by .env, or is refused
// with what to do instead, and compose passes on just those.
func TestEnvOfSettings(t *testing.T) {
	config, err := os.ReadFile("../../workspace-server/CONFIG.md")
	if err != nil {
		t.Fatal(err)
	}
	server, _, _ := strings.Cut(string(config), "\n## ")
	compose, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	var passed []string
	for _, match := range regexp.MustCompile(`(?m)^      ([A-Z_]+):(?: \$\{([A-Z_]+):-.*\})?$`).FindAllStringSubmatch(string(compose), -1) {
		if match[2] == "" || match[2] == match[1] { // a setting, with a default or without
			passed = append(passed, match[1])
		}
	}
	r := newRepo(t, []string{"/bin/sh"})
	var all []string
	for _, match := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllStringSubmatch(server, -1) {
		name := match[1]
		all = append(all, name)
		r.write(".env", name+"=1\n")
		out, code := r.run("env")
		switch {
		case code == 0 && slices.Contains(passed, name) && slices.Contains(optional(string(example)), name):
		case code != 0 && strings.Contains(out, name+" cannot be set here: ") && !slices.Contains(passed, name):
		default:
			t.Errorf("%s in .env: exit %d\n%s\ncompose passes on %v, .env.example explains %v", name, code, out, passed, optional(string(example)))
		}
	}
	for _, name := range passed {
		if !slices.Contains(all, name) {
			t.Errorf("compose passes on %s, which CONFIG.md does not have", name)
		}
	}
	if len(all) < 10 {
		t.Errorf("CONFIG.md has the settings %v, want all", all)
	}
}

// TestEnvOfOneOwn: what the developer's own compose file uses may be in .env.
func TestEnvOfOneOwn(t *testing.T) {
	eachShell(t, func(t *testing.T, r *repo) {
		r.write(".env", "MY_TOKEN='a'\n")
		r.write("docker-compose.override.yml", "services: {platform: {environment: {T: \"${MY_TOKEN:-}\"}}}\n")
		r.want("env", "", 0)
		r.write("docker-compose.override.yml", "services: {platform: {environment: {T: \"${MY_TOKENS}\"}}} # MY_TOKEN\n")
		if out, code := r.run("env"); code == 0 {
			t.Errorf("exit %d\n%s\nwant MY_TOKEN refused, which is not used", code, out)
		}
		r.write(".env", "")
		r.write("compose.override.yml", "services: {}\n")
		r.want("env", "env: compose.override.yml is not read: name it docker-compose.override.yml\n", 1)
	})
}

func TestEnvOfCertificates(t *testing.T) {
	eachShell(t, func(t *testing.T, r *repo) {
		r.write(".env", "EXTRA_CA_CERTS=.env.ca.pem\n")
		r.write(".env.ca.pem", "-----BEGIN CERTIFICATE-----\n")
		r.want("env", "env: REPO/.env:1: the platform's user cannot read .env.ca.pem: chmod a+r it\n", 1)
		if err := os.Chmod(filepath.Join(r.dir, ".env.ca.pem"), 0o644); err != nil {
			t.Fatal(err)
		}
		r.want("env", "", 0)
	})
}

// TestEnvOfRootlessEngine: its root is the user, and only root may write here.
func TestEnvOfRootlessEngine(t *testing.T) {
	const docker = `echo '[name=seccomp,profile=builtin name=rootless name=cgroupns]'`
	eachShell(t, func(t *testing.T, r *repo) {
		r.command("docker", docker)
		r.want("env", "", 0)
		if uid, gid, group := r.setting("UID"), r.setting("GID"), r.setting("DOCKER_GID"); uid != "0" || gid != "0" || group != "0" {
			t.Errorf("got UID %s, GID %s, DOCKER_GID %s; want 0 for all", uid, gid, group)
		}
	})
}

// TestEnvOfWorktree: the repository that a worktree belongs to is mounted where its
// .git file looks for it.
func TestEnvOfWorktree(t *testing.T) {
	for _, test := range []struct{ name, linked, want string }{
		{"absolute", "MAIN/.git/worktrees/w", "MAIN/.git:MAIN/.git"},
		{"relative", "../main/.git/worktrees/w", "MAIN/.git:/main/.git"},
		{"gone", "/gone/.git/worktrees/w", ""},
		{"a submodule", "../main/.git/modules/w", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, r *repo) {
				main := filepath.Join(filepath.Dir(r.dir), "main")
				place := strings.NewReplacer("MAIN", main).Replace
				r.mkdir(filepath.Join(main, ".git", "modules", "w"))
				r.write("../main/.git/worktrees/w/commondir", "../..\n")
				r.write(".git", "gitdir: "+place(test.linked)+"\n")
				r.want("env", "", 0)
				made := r.read(".env")
				if test.want == "" {
					if strings.Contains(made, "WORKTREE_GIT") {
						t.Errorf("want no WORKTREE_GIT:\n%s", made)
					}
					return
				}
				if got := r.setting("WORKTREE_GIT"); got != place(test.want) {
					t.Errorf("WORKTREE_GIT is %s, want %s", got, place(test.want))
				}
				// It follows what git says: "git worktree repair" after a move.
				r.write(".env", strings.Replace(made, main, "/before", 1))
				r.want("env", "", 0)
				if got := r.setting("WORKTREE_GIT"); got != place(test.want) {
					t.Errorf("after a move WORKTREE_GIT is %s, want %s", got, place(test.want))
				}
			})
		})
	}
}
