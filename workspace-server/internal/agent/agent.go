// Package agent is the reference agent of a workspace, for development and tests. It
// registers with the platform, sends heartbeats, and answers A2A messages by
// repeating them and naming its instructions. Any program that does the same can take
// its place.
package agent

import (
	"context"
	"devloop/serve"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	// drainTimeout is how long requests may take after the agent was asked to end.
	drainTimeout = 5 * time.Second

	headerTimeout = 10 * time.Second
)

// Unwanted is the error for an agent that the platform no longer wants: its workspace
// was stopped or removed, or another agent took its place.
type Unwanted struct{ reason string }

func (u Unwanted) Error() string {
	return "the platform no longer wants this agent: " + u.reason
}

// settings is what an agent reads from its environment.
type settings struct {
	id, name, model string
	generation      int64
	token           string
	platform        string // without a slash at the end
	listen          string // used if no socket is passed
	configs         string // empty: none
}

// load reports all mistakes at once, and never the token.
func load(getenv func(string) string) (settings, error) {
	s := settings{
		id:       getenv("WORKSPACE_ID"),
		name:     getenv("WORKSPACE_NAME"),
		model:    getenv("WORKSPACE_MODEL"),
		token:    getenv("WORKSPACE_TOKEN"),
		platform: strings.TrimRight(getenv("PLATFORM_URL"), "/"),
		listen:   getenv("AGENT_LISTEN"),
		configs:  getenv("AGENT_CONFIGS"),
	}
	var errs []error
	if s.id == "" {
		errs = append(errs, errors.New("WORKSPACE_ID is missing: set it to the workspace's id"))
	}
	if s.token == "" || strings.ContainsFunc(s.token, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		errs = append(errs, errors.New("WORKSPACE_TOKEN is missing or has spaces: set it to the workspace's token"))
	}
	if u, err := url.Parse(s.platform); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		errs = append(errs, errors.New("PLATFORM_URL is not accepted: set it to the platform's address, such as http://platform:8080"))
	}
	var err error
	if s.generation, err = strconv.ParseInt(getenv("WORKSPACE_GENERATION"), 10, 64); err != nil || s.generation < 0 {
		errs = append(errs, errors.New("WORKSPACE_GENERATION is not accepted: set it to the number of the start"))
	}
	if s.name == "" {
		s.name = s.id
	}
	return s, errors.Join(errs...)
}

// Run runs the agent until ctx is done, then lets current requests finish. It fails
// with Unwanted.
func Run(ctx context.Context, getenv func(string) string, log *slog.Logger) error {
	s, err := load(getenv)
	if err != nil {
		return err
	}
	manager, err := serve.Take(getenv, os.Unsetenv)
	if err != nil {
		return err
	}
	if s.listen == "" && len(manager.Sockets) == 0 {
		return errors.New("AGENT_LISTEN is missing: set it to host:port, or pass a socket by LISTEN_FDS")
	}
	ln, err := manager.Listen(ctx, s.listen)
	if err != nil {
		return err
	}
	return newAgent(s, log).run(ctx, ln)
}

// agent is a running agent.
type agent struct {
	settings
	log      *slog.Logger
	activity *activity
	client   *http.Client
	drain    time.Duration
	sleep    func(ctx context.Context, d time.Duration) error
}

func newAgent(s settings, log *slog.Logger) *agent {
	return &agent{
		settings: s,
		log:      log,
		activity: newActivity(time.Now()),
		// The token is for the platform alone, and not for a proxy in the
		// environment or for the target of a redirect.
		client: &http.Client{
			Transport:     &http.Transport{},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       callTimeout,
		},
		drain: drainTimeout,
		sleep: sleep,
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run serves on ln, which it closes.
func (a *agent) run(ctx context.Context, ln net.Listener) error {
	defer a.client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	card := a.card(base(ln.Addr()))
	srv := &http.Server{Handler: a.routes(card), ReadHeaderTimeout: headerTimeout}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	attended := make(chan error, 1)
	go func() { attended <- a.attend(ctx, card) }()
	a.log.Info("serving", "workspace", a.id, "generation", a.generation, "address", ln.Addr())

	var err error
	select {
	case err = <-served: // Serve returns only with an error
		cancel()
		<-attended
		return errors.Join(err, srv.Close())
	case err = <-attended: // nil if ctx is done
	}
	finish, stop := context.WithTimeout(context.WithoutCancel(ctx), a.drain)
	defer stop()
	if e := srv.Shutdown(finish); e != nil {
		a.log.Warn("requests were cut off", "after", a.drain)
		_ = srv.Close() // closes the connections that Shutdown waited for
	}
	<-served
	if err == nil {
		a.log.Info("stopped", "workspace", a.id, "generation", a.generation)
	}
	return err
}

// base returns the URL of an address. For an agent that listens on all addresses it
// has the machine's name.
func base(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return "http://" + addr.String() + "/"
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("http://%s/", net.JoinHostPort(host, strconv.Itoa(tcp.Port)))
}
