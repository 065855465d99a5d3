package config

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
)

// Client is what the command-line client knows of where its server is, and of
// the token that it is to send there.
type Client struct {
	Server string // an address; empty: not given
	Token  string // empty: not given
	File   string // the client's own file; empty: there is no place for it

	listenAddr     string
	stateDirectory string
	localErr       error
}

// ClientVars lists what LoadClient reads, but for what says where the server of
// this machine is.
func ClientVars() []Var {
	return []Var{
		{
			"WORKSPACE_SERVER", "what 'ws login' has noted, else the server of this machine (LISTEN_ADDR)", "http://host:port or https://host:port",
			"The server that 'workspace-server ws' talks to.",
		},
		{
			"WORKSPACE_SERVER_TOKEN", "what 'ws login' has noted for that server, else this machine's admin-token (STATE_DIRECTORY)", "wst_...",
			"The token that it sends.",
		},
	}
}

// LoadClient reads the settings of the command-line client. They are apart from
// the server's, since a client may run where no server could.
func LoadClient(getenv func(string) string) (Client, error) {
	r := reader{getenv: getenv}
	c := Client{Server: r.server(), Token: getenv("WORKSPACE_SERVER_TOKEN"), File: clientFile(getenv)}
	local := reader{getenv: getenv}
	c.listenAddr, c.stateDirectory = local.listenAddr(), local.stateDirectory()
	c.localErr = errors.Join(local.errs...)
	return c, errors.Join(r.errs...)
}

// Local returns the address of the server of this machine, and where it keeps
// its state, by the rules of Load.
func (c Client) Local() (server, stateDirectory string, err error) {
	return "http://" + DialAddr(c.listenAddr), c.stateDirectory, c.localErr
}

// DialAddr turns an address to listen on, which may be that of all interfaces,
// into one that can be connected to.
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

// CheckServer fails on what is no address of a server.
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
