// Package config turns the environment into settings. No other package of the server
// reads settings from the environment, so Vars lists them all.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// The values of ENV.
const (
	Development = "development"
	Production  = "production"
)

// The values of PROVISIONER.
const (
	NoProvisioner = "none"
	Processes     = "process"
	Containers    = "docker"
)

// Config holds the settings after validation.
type Config struct {
	ListenAddr     string
	DatabaseURL    string // empty: SQLite in StateDirectory
	StateDirectory string
	TemplatesDir   string
	PluginsDir     string
	WatchReload    bool
	Env            string
	LogLevel       slog.Level
	DrainTimeout   time.Duration
	EventRetention time.Duration
	RateLimit      int // requests a second; 0: no limit
	Provisioner    string
	AgentNetworks  []netip.Prefix
	PlatformURL    string // empty: this machine, with the port that the server listens on
	Docker         Docker // with Provisioner Containers
}

// Docker holds the settings of workspaces in containers.
type Docker struct {
	Host, Image, Network, StateVolume string
}

// Load reads and validates the settings. Its error has one line for each wrong
// setting, so that all can be corrected at once. An empty variable counts as unset.
func Load(getenv func(string) string) (Config, error) {
	r := reader{getenv: getenv}
	cfg := Config{
		ListenAddr:   r.listenAddr(),
		DatabaseURL:  r.databaseURL(),
		TemplatesDir: r.text("TEMPLATES_DIR", "templates"),
		PluginsDir:   r.text("PLUGINS_DIR", "plugins"),
		WatchReload:  r.watchReload(),
		LogLevel:     r.logLevel(),

		AgentNetworks: r.agentNetworks(),

		EventRetention: r.eventRetention(),
	}
	cfg.Env = r.env(cfg.WatchReload)
	cfg.DrainTimeout = r.drainTimeout(cfg.WatchReload)
	cfg.RateLimit = r.rateLimit(cfg.Env)
	cfg.StateDirectory = r.stateDirectory()
	cfg.Provisioner = r.provisioner(cfg.Env)
	cfg.PlatformURL = r.platformURL()
	cfg.Docker = r.docker(cfg)
	if err := errors.Join(r.errs...); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// Readable reports whether logs are for a person rather than for a machine.
func (c Config) Readable() bool { return c.Env == Development }

// LogValue implements slog.LogValuer. It hides the database's password.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("LISTEN_ADDR", c.ListenAddr),
		slog.String("DATABASE_URL", redact(c.DatabaseURL)),
		slog.String("STATE_DIRECTORY", c.StateDirectory),
		slog.String("TEMPLATES_DIR", c.TemplatesDir),
		slog.String("PLUGINS_DIR", c.PluginsDir),
		slog.Bool("WATCH_RELOAD", c.WatchReload),
		slog.String("ENV", c.Env),
		slog.String("LOG_LEVEL", strings.ToLower(c.LogLevel.String())),
		slog.Duration("DRAIN_TIMEOUT", c.DrainTimeout),
		slog.String("AGENT_NETWORKS", join(c.AgentNetworks)),
		slog.Duration("EVENT_RETENTION", c.EventRetention),
		slog.Int("RATE_LIMIT", c.RateLimit),
		slog.String("PROVISIONER", c.Provisioner),
		slog.String("PLATFORM_URL", c.PlatformURL),
		slog.String("DOCKER_HOST", c.Docker.Host),
		slog.String("WORKSPACE_IMAGE", c.Docker.Image),
		slog.String("WORKSPACE_NETWORK", c.Docker.Network),
		slog.String("STATE_VOLUME", c.Docker.StateVolume),
	)
}

// String returns the settings, one a line, without the database's password.
func (c Config) String() string {
	var b strings.Builder
	for _, attr := range c.LogValue().Group() {
		fmt.Fprintf(&b, "%s=%s\n", attr.Key, attr.Value)
	}
	return b.String()
}

// GoString keeps %#v from printing the password.
func (c Config) GoString() string { return c.String() }

// redact keeps the parts of a database URL that help to find a mistake. Query
// parameters may hold a password too, so it keeps only sslmode.
func redact(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "(not shown)"
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.User != nil {
		shown.User = url.User(u.User.Username())
	}
	if mode := u.Query().Get("sslmode"); mode != "" {
		shown.RawQuery = url.Values{"sslmode": {mode}}.Encode()
	}
	return shown.String()
}
