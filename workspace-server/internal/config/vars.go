package config

// Var documents one environment variable.
type Var struct {
	Name    string
	Default string
	Accepts string
	Meaning string
}

// Vars lists the variables that Load reads, in the order of the documentation.
func Vars() []Var {
	return []Var{
		{
			"LISTEN_ADDR", "127.0.0.1:8080", "host:port",
			"The address that the API listens on, unless a supervisor passes a socket (LISTEN_FDS).",
		},
		{
			"DATABASE_URL", "", "postgres://user:password@host:port/name?sslmode=...",
			"The Postgres database. Empty: SQLite in the state directory.",
		},
		{
			"STATE_DIRECTORY", "$XDG_STATE_HOME/workspace-server, else ~/.local/state/workspace-server", "absolute path",
			"The directory of the administrator's token, the keys that seal the secrets, the workspaces' files and the SQLite database. The server creates it, with mode 0700, if it is missing.",
		},
		{
			"TEMPLATES_DIR", "templates", "path",
			"The directory of the templates, one subdirectory each. The server reads a template each time it needs it.",
		},
		{
			"PLUGINS_DIR", "plugins", "path",
			"The directory of the plugins, one subdirectory each. The server reads a plugin each time it needs it.",
		},
		{
			"WATCH_RELOAD", "0", "0 or 1",
			"1: a reload loop runs the server. Logs are readable, and streams tell their clients to reconnect at once. Not accepted with ENV=production.",
		},
		{
			"ENV", "development if WATCH_RELOAD=1, else production", "development or production",
			"development: logs for people. production: logs in JSON.",
		},
		{
			"LOG_LEVEL", "info", "debug, info, warn or error",
			"The lowest level that the server logs. debug logs every request.",
		},
		{
			"AGENT_NETWORKS", "", "networks such as 10.1.0.0/16,fd12::/16",
			"The networks, besides public addresses, that agents may register URLs in.",
		},
		{
			"DRAIN_TIMEOUT", "10m if WATCH_RELOAD=1, else 8s", "a duration above 0 and up to 10m, such as 8s",
			"How long requests may take after SIGTERM before the server cuts them.",
		},
		{
			"EVENT_RETENTION", "168h", "a duration of at least 1h, such as 168h",
			"How long the server keeps events and transitions, and remembers the tokens of removed workspaces. A client that asks for older events, or calls with such a token, gets 410.",
		},
		{
			"RATE_LIMIT", "0 in development, else 100", "a number from 0 to 100000; 0 for no limit",
			"How many requests a second each token may send to one server; after a pause, twice as many at once. With a limit, the server also slows down addresses that send wrong tokens.",
		},
		{
			"PROVISIONER", "process in development, else none", "none, process or docker",
			"What runs workspaces. process: processes on this machine with the server's rights, for development. docker: containers. none: nothing.",
		},
		{
			"PLATFORM_URL", "http://127.0.0.1 with the port of LISTEN_ADDR", "http://host:port or https://host:port",
			"The URL where agents reach this server. Required with PROVISIONER=docker, since 127.0.0.1 is the container itself there.",
		},
		{
			"DOCKER_HOST", "unix:///var/run/docker.sock", "unix:///path or tcp://host:port",
			"The address of the Docker engine.",
		},
		{
			"WORKSPACE_IMAGE", "", "the name of an image",
			"The image of the containers. Its entrypoint with the argument agent must run an agent. Required with PROVISIONER=docker.",
		},
		{
			"WORKSPACE_NETWORK", "a network of the installation's own, created if it is missing", "the name of a Docker network",
			"The network of the containers. A server that runs in a container must be on it; the database must not.",
		},
		{
			"STATE_VOLUME", "", "the name of a Docker volume",
			"The volume that contains STATE_DIRECTORY, if the server itself runs in a container.",
		},
	}
}
