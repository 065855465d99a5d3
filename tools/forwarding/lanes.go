package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/janitor"
)

// A lane is one way to the server.
type lane struct {
	name    string
	addr    string
	process *os.Process // what stands between, if anything does
}

// patience bounds every wait for a program.
const patience = 20 * time.Second

// start starts the server, and what stands before it in each lane.
func start(ctx context.Context, out io.Writer, j *janitor.Janitor) ([]lane, error) {
	dir, err := os.MkdirTemp("", "forwarding-")
	if err != nil {
		return nil, err
	}
	if err := j.Add(janitor.Directory(dir)); err != nil {
		return nil, err
	}
	proxy := filepath.Join(dir, "proxy")
	build := exec.CommandContext(ctx, "go", "build", "-C", "../devloop", "-o", proxy, "./internal/forward/testdata/proxy")
	if said, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the proxy: %w\n%s", err, said)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	_, backend, err := launch(ctx, j, dir, self, serverRole)
	if err != nil {
		return nil, err
	}
	lanes := []lane{{name: "direct", addr: backend}}
	for _, l := range []struct {
		name string
		args []string
	}{
		{"this loop", []string{proxy, "-backend", backend}},
		{"httputil.ReverseProxy", []string{proxy, "-backend", backend, "-plain"}},
	} {
		p, addr, err := launch(ctx, j, dir, l.args...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		lanes = append(lanes, lane{l.name, addr, p})
	}
	for _, other := range []struct {
		name   string
		config func(listen, backend, dir string) string
		args   []string
	}{
		{"nginx", nginxConfig, []string{"nginx", "-e", "stderr", "-p", dir, "-c"}},
		{"haproxy", haproxyConfig, []string{"haproxy", "-f"}},
	} {
		if _, err := exec.LookPath(other.args[0]); err != nil {
			fmt.Fprintf(out, "skipped the lane %s: it is not installed (apt-get install %s)\n", other.name, other.name)
			continue
		}
		ports, err := checkout.Ports(1)
		if err != nil {
			return nil, err
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
		path := filepath.Join(dir, other.name+".conf")
		if err := os.WriteFile(path, []byte(other.config(addr, backend, dir)), 0o600); err != nil {
			return nil, err
		}
		p, err := launchAt(ctx, j, dir, addr, append(other.args, path)...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", other.name, err)
		}
		lanes = append(lanes, lane{other.name, addr, p})
	}
	return lanes, nil
}

// nginxConfig is nginx's reverse proxy with kept connections, one process, and
// nothing written to files.
func nginxConfig(listen, backend, dir string) string {
	return fmt.Sprintf(`daemon off;
master_process off;
worker_processes 1;
pid %[3]s/nginx.pid;
events { worker_connections 8192; }
http {
	access_log off;
	client_max_body_size 0;
	client_body_temp_path %[3]s;
	proxy_temp_path %[3]s;
	fastcgi_temp_path %[3]s;
	uwsgi_temp_path %[3]s;
	scgi_temp_path %[3]s;
	keepalive_requests 1000000000;
	upstream backend { server %[2]s; keepalive 2000; keepalive_requests 1000000000; }
	server {
		listen %[1]s;
		location / {
			proxy_pass http://backend;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $http_host;
			proxy_buffering off;
			proxy_request_buffering off;
		}
	}
}
`, listen, backend, dir)
}

func haproxyConfig(listen, backend, _ string) string {
	return fmt.Sprintf(`global
	maxconn 8192
defaults
	mode http
	option abortonclose
	timeout connect 10s
	timeout client 10m
	timeout server 10m
frontend f
	bind %s
	default_backend b
backend b
	server s %s
`, listen, backend)
}

// launch starts a program that prints where it listens.
func launch(ctx context.Context, j *janitor.Janitor, dir string, args ...string) (*os.Process, string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	p, err := spawn(ctx, j, dir, w, args)
	w.Close()
	if err != nil {
		return nil, "", err
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		return nil, "", fmt.Errorf("%s ended before it listened", filepath.Base(args[0]))
	}
	return p, strings.TrimSpace(line), nil
}

// launchAt starts a program that listens at a given address.
func launchAt(ctx context.Context, j *janitor.Janitor, dir, addr string, args ...string) (*os.Process, error) {
	p, err := spawn(ctx, j, dir, os.Stderr, args)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return p, conn.Close()
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, fmt.Errorf("nothing listens: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// spawn starts a program that ends with this one.
func spawn(_ context.Context, j *janitor.Janitor, dir string, stdout *os.File, args []string) (*os.Process, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = stdout, os.Stderr
	cmd.Env = append(os.Environ(), "E2E_RUN="+filepath.Base(dir))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = cmd.Wait() }() // it is killed
	return cmd.Process, j.Add(janitor.Processes(filepath.Base(dir)))
}

// resident returns how much memory the lane's program has, in kilobytes.
func (l *lane) resident() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(value)[0])
			return n
		}
	}
	return 0
}
