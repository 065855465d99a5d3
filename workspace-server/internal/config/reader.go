package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// reader reads settings and collects all mistakes rather than stop at the first.
type reader struct {
	getenv func(string) string
	errs   []error
}

func (r *reader) text(name, fallback string) string {
	if value := r.getenv(name); value != "" {
		return value
	}
	return fallback
}

func (r *reader) refuse(name, value, want string) {
	r.errs = append(r.errs, fmt.Errorf("%s=%q is not accepted: %s", name, value, want))
}

func (r *reader) listenAddr() string {
	const name = "LISTEN_ADDR"
	value := r.text(name, "127.0.0.1:8080")
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		r.refuse(name, value, "give host:port, such as 127.0.0.1:8080")
		return ""
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		r.refuse(name, value, "the port must be a number from 0 to 65535")
	}
	return value
}

// databaseURL never repeats the value in an error, since it may hold a password.
func (r *reader) databaseURL() string {
	value := r.getenv("DATABASE_URL")
	if value == "" {
		return ""
	}
	const want = "DATABASE_URL (value not shown) is not accepted: %s; give postgres://user:password@host:port/name?sslmode=..., or leave it empty for SQLite"
	u, err := url.Parse(value)
	switch {
	case err != nil:
		r.errs = append(r.errs, fmt.Errorf(want, "it is not a URL (percent-encode special characters in the password)"))
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		r.errs = append(r.errs, fmt.Errorf(want, "it does not start with postgres://"))
	case u.Host == "":
		r.errs = append(r.errs, fmt.Errorf(want, "it names no host"))
	case strings.Trim(u.Path, "/") == "":
		r.errs = append(r.errs, fmt.Errorf(want, "it names no database"))
	}
	return value
}

func (r *reader) stateDirectory() string {
	const name = "STATE_DIRECTORY"
	if value := r.getenv(name); value != "" {
		// systemd separates several directories by colons, in the unit's order.
		first, _, _ := strings.Cut(value, ":")
		if !filepath.IsAbs(first) {
			r.refuse(name, value, "give an absolute path, so that the place of the data does not depend on the working directory")
		}
		return first
	}
	if base := r.getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "workspace-server")
	}
	home := r.getenv("HOME")
	if !filepath.IsAbs(home) {
		r.errs = append(r.errs, errors.New("there is no directory for the server's files: set STATE_DIRECTORY"))
		return ""
	}
	return filepath.Join(home, ".local", "state", "workspace-server")
}

func (r *reader) watchReload() bool {
	const name = "WATCH_RELOAD"
	switch value := r.text(name, "0"); value {
	case "0":
		return false
	case "1":
		return true
	default:
		r.refuse(name, value, "give 0 or 1")
		return false
	}
}

func (r *reader) env(watchReload bool) string {
	const name = "ENV"
	fallback := Production
	if watchReload {
		fallback = Development
	}
	value := r.text(name, fallback)
	switch value {
	case Development:
	case Production:
		if watchReload {
			r.errs = append(r.errs, errors.New("WATCH_RELOAD=1 is not accepted with ENV=production: it is for development, so unset one of them"))
		}
	default:
		want := "give development or production"
		switch lower := strings.ToLower(value); {
		case strings.HasPrefix(lower, "prod"):
			want = "did you mean production?"
		case strings.HasPrefix(lower, "dev"):
			want = "did you mean development?"
		}
		r.refuse(name, value, want)
	}
	return value
}

func (r *reader) logLevel() slog.Level {
	const name = "LOG_LEVEL"
	switch value := r.text(name, "info"); value {
	case "debug":
		return slog.LevelDebug
	case "info":
		return slog.LevelInfo
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		r.refuse(name, value, "give debug, info, warn or error")
		return slog.LevelInfo
	}
}

func (r *reader) agentNetworks() []netip.Prefix {
	const name = "AGENT_NETWORKS"
	value := r.getenv(name)
	if value == "" {
		return nil
	}
	var all []netip.Prefix
	for text := range strings.SplitSeq(value, ",") {
		network, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil || network != network.Masked() || network.Addr().Is4In6() {
			r.refuse(name, value, "give networks as address/bits, separated by commas, such as 10.1.0.0/16,fd12::/16")
			return nil
		}
		all = append(all, network)
	}
	return all
}

// join returns networks in the form of the setting.
func join(networks []netip.Prefix) string {
	texts := make([]string, len(networks))
	for i, network := range networks {
		texts[i] = network.String()
	}
	return strings.Join(texts, ",")
}

// drainTimeout: a reload loop lets the old server go on beside the new one, so a long
// request costs nothing there.
func (r *reader) drainTimeout(watchReload bool) time.Duration {
	const name = "DRAIN_TIMEOUT"
	fallback := "8s"
	if watchReload {
		fallback = "10m"
	}
	value := r.text(name, fallback)
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 || d > 10*time.Minute {
		r.refuse(name, value, "give a duration above 0 and up to 10m, such as 8s")
	}
	return d
}

func (r *reader) eventRetention() time.Duration {
	const name = "EVENT_RETENTION"
	value := r.text(name, "168h")
	d, err := time.ParseDuration(value)
	if err != nil || d < time.Hour {
		r.refuse(name, value, "give a duration of at least 1h, such as 168h")
	}
	return d
}

func (r *reader) rateLimit(env string) int {
	const name = "RATE_LIMIT"
	fallback := "100"
	if env == Development {
		fallback = "0"
	}
	value := r.text(name, fallback)
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 100_000 {
		r.refuse(name, value, "give a number of requests a second from 0 to 100000, where 0 is no limit")
	}
	return n
}

func (r *reader) provisioner(env string) string {
	const name = "PROVISIONER"
	fallback := NoProvisioner
	if env == Development {
		fallback = Processes
	}
	value := r.text(name, fallback)
	switch value {
	case NoProvisioner, Processes, Containers:
	default:
		r.refuse(name, value, "give none, process or docker")
	}
	return value
}

func (r *reader) platformURL() string {
	const name = "PLATFORM_URL"
	value := r.getenv(name)
	if value == "" {
		return ""
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		r.refuse(name, value, "give http://host:port or https://host:port")
	}
	return strings.TrimSuffix(value, "/")
}

// docker reads what only containers need. It requires what they cannot do without,
// so that the server fails at its start and not at the first workspace's.
func (r *reader) docker(cfg Config) Docker {
	d := Docker{
		Host:        r.text("DOCKER_HOST", "unix:///var/run/docker.sock"),
		Image:       r.getenv("WORKSPACE_IMAGE"),
		Network:     r.getenv("WORKSPACE_NETWORK"),
		StateVolume: r.getenv("STATE_VOLUME"),
	}
	if cfg.Provisioner != Containers {
		return d
	}
	if d.Image == "" {
		r.errs = append(r.errs, errors.New("PROVISIONER=docker needs WORKSPACE_IMAGE: set it to the image that workspaces run"))
	}
	if cfg.PlatformURL == "" {
		r.errs = append(r.errs, errors.New("PROVISIONER=docker needs PLATFORM_URL: set it to the URL where containers reach this server"))
	}
	return d
}
