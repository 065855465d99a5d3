package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"workspace-server/internal/bootstrap"
	"workspace-server/internal/client"
	"workspace-server/internal/config"
	"workspace-server/internal/private"
	"workspace-server/internal/token"
)

// note is what login stores.
type note struct {
	Server string `json:"server"`
	Token  string `json:"token"`
}

func readNote(path string) (note, error) {
	if path == "" {
		return note{}, nil
	}
	text, err := private.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return note{}, nil
	}
	if err != nil {
		return note{}, fmt.Errorf("read the file of 'ws login': %w", err)
	}
	var n note
	if json.Unmarshal(text, &n) != nil || config.CheckServer(n.Server) != nil || !token.IsSecret(n.Token) {
		return note{}, fmt.Errorf("%s is not a file of 'ws login': remove it, or log in again", path)
	}
	return n, nil
}

// find returns the server's address and the token. It sends a token of login, or of
// this machine's server, to no other server.
func (c *command) find() (address, secret string, err error) {
	cfg, err := config.LoadClient(c.Getenv)
	if err != nil {
		return "", "", &Error{codeUsage, err}
	}
	if c.tokenFile != "" {
		if secret, err = readToken(c.tokenFile); err != nil {
			return "", "", err
		}
	}
	secret = cmp.Or(secret, cfg.Token)
	var noted note
	if c.server == "" && cfg.Server == "" || secret == "" {
		if noted, err = readNote(cfg.File); err != nil {
			return "", "", err
		}
	}
	if address, err = c.address(cfg, noted); err != nil {
		return "", "", err
	}
	if secret == "" && same(address, noted.Server) {
		secret = noted.Token
	}
	if secret == "" {
		if secret, err = localToken(cfg, address); err != nil {
			return "", "", err
		}
	}
	if !token.IsSecret(secret) {
		return "", "", errorf(codeRefused, "WORKSPACE_SERVER_TOKEN holds no token: set it to one, which begins with wst_")
	}
	return address, secret, nil
}

func (c *command) address(cfg config.Client, noted note) (string, error) {
	if c.server != "" {
		if err := config.CheckServer(c.server); err != nil {
			return "", c.misuse(fmt.Errorf("--server: %w", err))
		}
	}
	if given := cmp.Or(c.server, cfg.Server, noted.Server); given != "" {
		return given, nil
	}
	local, _, err := cfg.Local()
	return local, err
}

func readToken(path string) (string, error) {
	text, err := private.Read(path)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if !token.IsSecret(secret) {
		return "", errorf(codeRefused, "%s holds no token: put one there, which begins with wst_", path)
	}
	return secret, nil
}

// localToken returns the first administrator's token if the server is this machine's.
func localToken(cfg config.Client, address string) (string, error) {
	none := fmt.Sprintf("there is no token for %s: set WORKSPACE_SERVER_TOKEN, give --token-file, or log in with '%s login'; "+
		"on the server's machine, 'make token' prints the first administrator's token", address, program)
	local, dir, err := cfg.Local()
	if err != nil || !same(address, local) {
		return "", &Error{codeRefused, errors.New(none)}
	}
	secret, err := readToken(filepath.Join(dir, bootstrap.File))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", errorf(codeRefused, "%s (%w)", none, err)
	}
	return secret, err
}

// same reports whether two addresses name one server.
func same(a, b string) bool { return a != "" && b != "" && canonical(a) == canonical(b) }

func canonical(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + " " + host + " " + port + " " + strings.TrimRight(u.Path, "/")
}

// maxInput bounds what a command reads from standard input, in bytes. The server's
// own limits are lower.
const maxInput = 1 << 20

// input reads standard input. It tells a person at a terminal what to type.
func (c *command) input(what string) (string, error) {
	if f, ok := c.In.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			c.say("type %s, then Enter and Ctrl-D:", what)
		}
	}
	text, err := io.ReadAll(io.LimitReader(c.In, maxInput))
	if err != nil {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return string(text), nil
}

// login finds the address as any command does, and stores it with the token once the
// server has accepted the token.
func login(c *command) action {
	c.anonymous = true
	return func(ctx context.Context, _ *client.Client, _ []string) error {
		cfg, err := config.LoadClient(c.Getenv)
		if err != nil {
			return &Error{codeUsage, err}
		}
		if cfg.File == "" {
			return errorf(codeFailed, "there is no directory for the client's file: set XDG_CONFIG_HOME or HOME")
		}
		noted, _ := readNote(cfg.File) // an unreadable file is replaced
		address, err := c.address(cfg, noted)
		if err != nil {
			return err
		}
		secret, err := c.newToken()
		if err != nil {
			return err
		}
		api, err := client.New(address, secret, func(error) {})
		if err != nil {
			return err
		}
		self, err := api.Self(ctx)
		if err != nil {
			return err
		}
		text, err := json.Marshal(note{address, secret})
		if err != nil {
			return err
		}
		if err := private.Replace(cfg.File, append(text, '\n')); err != nil {
			return fmt.Errorf("store the token: %w", err)
		}
		c.say("%s accepts this token, which is %s with the role %s; stored in %s", address, self.Value.ID, self.Value.Role, cfg.File)
		return nil
	}
}

// newToken reads the token to store.
func (c *command) newToken() (string, error) {
	if c.tokenFile != "" {
		return readToken(c.tokenFile)
	}
	text, err := c.input("the token")
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(text)
	if !token.IsSecret(secret) {
		return "", c.misuse(errors.New("standard input must hold one token, which begins with wst_"))
	}
	return secret, nil
}
