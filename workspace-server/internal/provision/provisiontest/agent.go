//go:build unix

package provisiontest

import (
	"context"
	"devloop/serve"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"workspace-server/internal/provision"
)

// Variables that tell the agent what to do.
const (
	envAgent      = "PROVISION_TEST_AGENT"       // it is one
	envLines      = "PROVISION_TEST_LINES"       // how many lines it writes at first
	envError      = "PROVISION_TEST_ERROR"       // a line that it writes to its standard error
	envExit       = "PROVISION_TEST_EXIT"        // the code that it exits with at once
	envIgnoreTerm = "PROVISION_TEST_IGNORE_TERM" // SIGTERM changes nothing
)

// lockFile is a file of the workspace's in which every agent's process holds a
// lock, so that the tests can count the processes wherever they run.
const lockFile = "agents"

// IsAgent reports whether a driver under test started this process as an agent.
func IsAgent() bool { return os.Getenv(envAgent) != "" }

// Agent is the program that drivers run in the tests. It writes only what its
// environment says, does what it is asked by HTTP, and does not return. If no one
// ends it, it ends after a few minutes.
func Agent() {
	if err := agent(); err != nil {
		fmt.Fprintln(os.Stderr, "the agent of the tests:", err)
	}
	os.Exit(99)
}

func agent() error {
	time.AfterFunc(2*limit, func() { os.Exit(98) })
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	go func() {
		for range terminate {
			if os.Getenv(envIgnoreTerm) == "" {
				os.Exit(0)
			}
		}
	}()
	locked, err := os.Open(filepath.Join(os.Getenv(provision.EnvConfigs), lockFile))
	if err != nil {
		return err
	}
	defer locked.Close()
	lock := syscall.Flock_t{Type: syscall.F_RDLCK, Start: rand.Int64N(math.MaxInt32), Len: 1}
	if err := syscall.FcntlFlock(locked.Fd(), syscall.F_SETLK, &lock); err != nil {
		return err
	}
	lines, _ := strconv.Atoi(os.Getenv(envLines))
	for i := range lines {
		fmt.Println("line", i+1)
	}
	if line := os.Getenv(envError); line != "" {
		fmt.Fprintln(os.Stderr, line)
	}
	if code, err := strconv.Atoi(os.Getenv(envExit)); err == nil {
		os.Exit(code)
	}
	manager, err := serve.Take(os.Getenv, func(string) error { return nil })
	if err != nil {
		return err
	}
	ln, err := manager.Listen(context.Background(), os.Getenv(provision.EnvListen))
	if err != nil {
		return err
	}
	return http.Serve(ln, requests())
}

// requests handles what a test asks the agent.
func requests() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, _ *http.Request) {
		env := map[string]string{}
		for _, pair := range os.Environ() {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		_ = json.NewEncoder(w).Encode(env)
	})
	// A variable of the agent's names the directory.
	path := func(r *http.Request) string {
		return filepath.Join(os.Getenv(r.FormValue("in")), r.FormValue("name"))
	}
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) {
		text, err := os.ReadFile(path(r))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, _ = w.Write(text)
	})
	mux.HandleFunc("PUT /file", func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(path(r), nil, 0o644); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	})
	mux.HandleFunc("GET /names", func(w http.ResponseWriter, r *http.Request) {
		entries, err := os.ReadDir(path(r))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		for _, entry := range entries {
			_, _ = fmt.Fprintln(w, entry.Name())
		}
	})
	mux.HandleFunc("POST /print", func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.FormValue("line"))
	})
	mux.HandleFunc("POST /exit", func(_ http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.FormValue("code"))
		os.Exit(code)
	})
	return mux
}

// call asks an agent once. The parts of query are names and values in turn.
func (w *world) call(method, address, path string, query ...string) (string, error) {
	values := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		values.Set(query[i], query[i+1])
	}
	req, err := http.NewRequestWithContext(w.ctx, method, "http://"+address+path+"?"+values.Encode(), nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, body)
	}
	return string(body), nil
}

// file returns what the agent reads in a file, or that it cannot.
func (w *world) file(in provision.Instance, directory, name string) string {
	text, err := w.call("GET", in.Address, "/file", "in", directory, "name", name)
	if err != nil {
		return "no file"
	}
	return text
}

// agents counts the processes that hold a lock in a workspace's directory.
func agents(configs string) (int, error) {
	f, err := os.OpenFile(filepath.Join(configs, lockFile), os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// The kernel names one of the locks in the way, not the first.
	var count func(from, to int64) (int, error)
	count = func(from, to int64) (int, error) {
		if from >= to {
			return 0, nil
		}
		lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: from, Len: to - from}
		if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil || lock.Type == syscall.F_UNLCK {
			return 0, err
		}
		before, err := count(from, lock.Start)
		if err != nil {
			return 0, err
		}
		after, err := count(lock.Start+lock.Len, to)
		return 1 + before + after, err
	}
	return count(0, math.MaxInt32+1)
}
