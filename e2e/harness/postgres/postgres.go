// Package postgres starts a Postgres that lasts as long as the program.
package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	"e2e/harness/engine"
	"e2e/harness/janitor"
)

// Image is the one that docker-compose.yml names; a test compares them.
const Image = "postgres:17-trixie"

// A Server is a Postgres in a container.
type Server struct {
	URL string // of its database

	container string
}

// Start starts an empty one for tests, where nothing must survive a crash of
// the machine, and returns it once it answers.
func Start(ctx context.Context, j *janitor.Janitor) (Server, error) {
	return start(ctx, j, []string{"--tmpfs", "/var/lib/postgresql/data"},
		[]string{"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200"})
}

// StartDurable starts an empty one as production has it, for measurements: what
// it has committed is on the disk, and where containers can be reached directly,
// no proxy stands before it.
func StartDurable(ctx context.Context, j *janitor.Janitor) (Server, error) {
	s, err := start(ctx, j, nil, nil)
	if err != nil {
		return s, err
	}
	ip, err := engine.Docker(ctx, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", s.container)
	if err != nil {
		return s, err
	}
	direct := net.JoinHostPort(strings.TrimSpace(ip), "5432")
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "tcp", direct)
	if err != nil {
		return s, nil // the engine is in its own machine
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return s, err
	}
	u.Host = direct
	s.URL = u.String()
	return s, conn.Close()
}

func start(ctx context.Context, j *janitor.Janitor, options, settings []string) (Server, error) {
	name := "e2e-postgres-" + strings.ToLower(rand.Text()[:10])
	password := rand.Text()
	if err := j.Add(janitor.Container(name)); err != nil {
		return Server{}, err
	}
	_, err := engine.Docker(ctx, slices.Concat(
		[]string{"run", "-d", "--name", name, "-p", "127.0.0.1::5432", "-e", "POSTGRES_PASSWORD=" + password, "-e", "POSTGRES_DB=test"},
		options, []string{Image}, settings,
	)...)
	if err != nil {
		return Server{}, err
	}
	port, err := engine.Docker(ctx, "port", name, "5432/tcp")
	if err != nil {
		return Server{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		// Over TCP: while the image sets itself up it answers on its socket only.
		_, err := engine.Docker(ctx, "exec", name, "pg_isready", "-q", "-h", "127.0.0.1", "-U", "postgres")
		if err == nil {
			return Server{fmt.Sprintf("postgres://postgres:%s@%s/test?sslmode=disable", password, strings.TrimSpace(port)), name}, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return Server{}, fmt.Errorf("wait for Postgres: %w", err)
		}
	}
}

// Run has psql run a script in the database up to its first error. Variables
// are name=value, for :name in the script. It returns what psql printed.
func (s Server) Run(ctx context.Context, script string, variables ...string) (string, error) {
	args := []string{"exec", "-i", s.container, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "test"}
	for _, v := range variables {
		args = append(args, "-v", v)
	}
	cmd := exec.CommandContext(ctx, "docker", append(args, "-f", "-")...)
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, out)
	}
	return string(out), nil
}
