package config

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
)

// Client holds the command-line client's settings: its server, and the token to send.
type Client struct {
	Server string // an address, or empty
	Token  string // or empty
	File   string // the file of 'ws login', or empty where there is no directory for it

	listenAddr     string
	stateDirectory string
	localErr       error
}

// ClientVars lists the variables that LoadClient reads, except those of this
// machine's server.
func ClientVars() []Var {
	return []Var{
		{
			"WORKSPACE_SERVER", "the server of 'ws login', else the one on this machine (LISTEN_ADDR)", "http://host:port or https://host:port",
			"The server that 'workspace-server ws' calls.",
		},
		{
			"WORKSPACE_SERVER_TOKEN", "the token of 'ws login' for that server, else admin-token in this machine's STATE_DIRECTORY", "wst_...",
			"The token that 'workspace-server ws' sends.",
		},
	}
}

// LoadClient reads the client's settings. They are separate from the server's, since
// a client may run where no server could.
func LoadClient(getenv func(string) string) (Client, error) {
	r := reader{getenv: getenv}
	c := Client{Server: r.server(), Token: getenv("WORKSPACE_SERVER_TOKEN"), File: clientFile(getenv)}
	local := reader{getenv: getenv}
	c.listenAddr, c.stateDirectory = local.listenAddr(), local.stateDirectory()
	c.localErr = errors.Join(local.errs...)
	return c, errors.Join(r.errs...)
}

// Local returns the address and the state directory of this machine's server, by the
// rules of Load.
func (c Client) Local() (server, stateDirectory string, err error) {
	return "http://" + DialAddr(c.listenAddr), c.stateDirectory, c.localErr
}

// DialAddr turns an address to listen on, which may mean all interfaces, into one to
// connect to.
func DialAddr(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// CheckServer fails on a text that is not the address of a server.
func CheckServer(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("give http://host:port or https://host:port")
	}
	return nil
}

func (r *reader) server() string {
	const name = "WORKSPACE_SERVER"
	value := r.getenv(name)
	if value == "" {
		return ""
	}
	if err := CheckServer(value); err != nil {
		r.refuse(name, value, err.Error())
	}
	return value
}

// clientFile follows the XDG Base Directory Specification.
func clientFile(getenv func(string) string) string {
	base := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(base) {
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return ""
		}
		base = filepath.Join(home, ".config")
	}
	return filepath.Join(base, "workspace-server", "client.json")
}
