// Package config turns the environment into the server's settings. It is the
// only package that reads settings from the environment, so its table is the
// whole of what can be configured.
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

// Environments that ENV may name.
const (
	Development = "development"
	Production  = "production"
)

// What PROVISIONER may name.
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
	RateLimit      int // requests a second; 0: none
	Provisioner    string
	AgentNetworks  []netip.Prefix
	PlatformURL    string // empty: this machine's, with the port that is listened on
	Docker         Docker // with Provisioner Containers
}

// Docker says how workspaces run in containers.
type Docker struct {
	Host, Image, Network, StateVolume string
}

// Var documents one environment variable.
type Var struct {
	Name    string
	Default string
	Accepts string
	Meaning string
}

// Vars lists what Load reads, in the order in which it is documented.
func Vars() []Var {
	return []Var{
		{
			"LISTEN_ADDR", "127.0.0.1:8080", "host:port",
			"Where the API listens, unless a supervisor passes a socket (LISTEN_FDS).",
		},
		{
			"DATABASE_URL", "", "postgres://user:password@host:port/name?sslmode=...",
			"The Postgres database. Empty: SQLite, in the state directory.",
		},
		{
			"STATE_DIRECTORY", "$XDG_STATE_HOME/workspace-server, else ~/.local/state/workspace-server", "absolute path",
			"Where the administrator's token, the workspaces' files and the SQLite database live. Made, with mode 0700, when it does not exist.",
		},
		{
			"TEMPLATES_DIR", "templates", "path",
			"The directory with one directory for each template. Read at each request.",
		},
		{
			"PLUGINS_DIR", "plugins", "path",
			"The directory with one directory for each plugin. Read at each request.",
		},
		{
			"WATCH_RELOAD", "0", "0 or 1",
			"1: the server is run by a reload loop. Readable logs, and streams are told to reconnect at once. Refused with ENV=production.",
		},
		{
			"ENV", "development if WATCH_RELOAD=1, else production", "development or production",
			"development: readable logs. production: JSON logs.",
		},
		{
			"LOG_LEVEL", "info", "debug, info, warn or error",
			"The least level that is logged. debug logs every request.",
		},
		{
			"AGENT_NETWORKS", "", "networks such as 10.1.0.0/16,fd12::/16",
			"Where agents that registered a URL may be, besides public addresses.",
		},
		{
			"DRAIN_TIMEOUT", "8s", "a duration above 0 and up to 10m, such as 8s",
			"How long requests in flight may take after SIGTERM before they are cut.",
		},
		{
			"EVENT_RETENTION", "168h", "a duration of at least 1h, such as 168h",
			"How long events, and the transitions of workspaces, are kept, and how long a token is known to be that of a removed workspace. A client that asks for older events, or calls with such a token, is told so (410).",
		},
		{
			"RATE_LIMIT", "0 in development, else 100", "a number from 0 to 100000; 0 for no limit",
			"How many requests a second each token may send to one server, with twice as many at once after a pause. With a limit, addresses that send wrong tokens are slowed down too.",
		},
		{
			"PROVISIONER", "process in development, else none", "none, process or docker",
			"What runs workspaces. process: processes of this machine, with the rights of the server, for development. docker: containers.",
		},
		{
			"PLATFORM_URL", "http://127.0.0.1 with the port of LISTEN_ADDR", "http://host:port or https://host:port",
			"Where agents reach this server. Needed with PROVISIONER=docker, where 127.0.0.1 is another machine.",
		},
		{
			"DOCKER_HOST", "unix:///var/run/docker.sock", "unix:///path or tcp://host:port",
			"The Docker engine.",
		},
		{
			"WORKSPACE_IMAGE", "", "the name of an image",
			"What containers are made from; its entrypoint, with the argument agent, is an agent. Needed with PROVISIONER=docker.",
		},
		{
			"WORKSPACE_NETWORK", "one of the installation's own, made when it is missing", "the name of a Docker network",
			"The network of the containers. A server that runs in a container has to be on it. Never the database's.",
		},
		{
			"STATE_VOLUME", "", "the name of a Docker volume",
			"The volume that STATE_DIRECTORY is in, when the server itself runs in a container.",
		},
	}
}

// Load reads and validates the settings. Its error has one line for each
// setting that is wrong, so that all can be put right at once. An empty
// variable counts as unset.
func Load(getenv func(string) string) (Config, error) {
	r := reader{getenv: getenv}
	cfg := Config{
		ListenAddr:   r.listenAddr(),
		DatabaseURL:  r.databaseURL(),
		TemplatesDir: r.text("TEMPLATES_DIR", "templates"),
		PluginsDir:   r.text("PLUGINS_DIR", "plugins"),
		WatchReload:  r.watchReload(),
		LogLevel:     r.logLevel(),
		DrainTimeout: r.drainTimeout(),

		AgentNetworks: r.agentNetworks(),

		EventRetention: r.eventRetention(),
	}
	cfg.Env = r.env(cfg.WatchReload)
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

// LogValue implements slog.LogValuer. It hides the database password.
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

// String prints the settings, one in a line, with the database password hidden.
func (c Config) String() string {
	var b strings.Builder
	for _, attr := range c.LogValue().Group() {
		fmt.Fprintf(&b, "%s=%s\n", attr.Key, attr.Value)
	}
	return b.String()
}

// GoString keeps %#v from printing the password.
func (c Config) GoString() string { return c.String() }

// redact keeps of a database URL what helps to find a mistake. Query
// parameters may hold a password too, so of them only sslmode is kept.
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

// reader collects what is wrong instead of stopping at the first mistake.
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
		r.refuse(name, value, "the port has to be a number from 0 to 65535")
	}
	return value
}

// databaseURL never repeats the value in an error, since it holds a password.
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
		// systemd separates several directories by colons; the first is the
		// one that the unit names first.
		first, _, _ := strings.Cut(value, ":")
		if !filepath.IsAbs(first) {
			r.refuse(name, value, "give an absolute path, so that the data does not depend on where the server was started")
		}
		return first
	}
	if base := r.getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "workspace-server")
	}
	home := r.getenv("HOME")
	if !filepath.IsAbs(home) {
		r.errs = append(r.errs, errors.New("there is no place for the server's files: set STATE_DIRECTORY"))
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
			r.errs = append(r.errs, errors.New("WATCH_RELOAD=1 is not accepted with ENV=production: it is for development; unset one of them"))
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

// join prints networks as they are given.
func join(networks []netip.Prefix) string {
	texts := make([]string, len(networks))
	for i, network := range networks {
		texts[i] = network.String()
	}
	return strings.Join(texts, ",")
}

func (r *reader) drainTimeout() time.Duration {
	const name = "DRAIN_TIMEOUT"
	value := r.text(name, "8s")
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

// docker reads what only containers need. What they cannot do without is asked
// for at the start, and not when the first workspace is started.
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
		r.errs = append(r.errs, errors.New("PROVISIONER=docker needs WORKSPACE_IMAGE: the image that workspaces are made from"))
	}
	if cfg.PlatformURL == "" {
		r.errs = append(r.errs, errors.New("PROVISIONER=docker needs PLATFORM_URL: where containers reach this server"))
	}
	return d
}
