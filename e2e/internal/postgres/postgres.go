// Package postgres starts a Postgres that lasts as long as the program.
package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"e2e/internal/engine"
	"e2e/internal/janitor"
)

// Image is the one that docker-compose.yml names; a test compares them.
const Image = "postgres:17-trixie"

// Start returns the URL of an empty database once it answers.
func Start(ctx context.Context, j *janitor.Janitor) (string, error) {
	name := "e2e-postgres-" + strings.ToLower(rand.Text()[:10])
	password := rand.Text()
	if err := j.Add(janitor.Container(name)); err != nil {
		return "", err
	}
	// Nothing here has to survive a crash of the machine.
	_, err := engine.Docker(ctx, "run", "-d", "--name", name, "-p", "127.0.0.1::5432",
		"-e", "POSTGRES_PASSWORD="+password, "-e", "POSTGRES_DB=test", "--tmpfs", "/var/lib/postgresql/data",
		Image, "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200")
	if err != nil {
		return "", err
	}
	port, err := engine.Docker(ctx, "port", name, "5432/tcp")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		// Over TCP: while the image sets itself up it answers on its socket only.
		_, err := engine.Docker(ctx, "exec", name, "pg_isready", "-q", "-h", "127.0.0.1", "-U", "postgres")
		if err == nil {
			return fmt.Sprintf("postgres://postgres:%s@%s/test?sslmode=disable", password, strings.TrimSpace(port)), nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("wait for Postgres: %w", err)
		}
	}
}
