// Package a2a passes a message to the agent of a workspace, and the answer back. It
// knows no version of the A2A protocol: bodies pass byte for byte, as do the headers
// that begin with A2A-.
//
// An agent is at the address that a driver gave it, or at a URL that it registered.
// No one vouches for such a URL, so it may lead only to public addresses and to the
// networks that an administrator named.
package a2a

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"workspace-server/internal/stream"
	"workspace-server/internal/trace"
	"workspace-server/internal/workspace"
)

// MaxBody is the greatest size of a message, in bytes.
const MaxBody = 10 << 20

const (
	dialTimeout = 5 * time.Second

	// silence is how long an agent may send nothing, before its answer and within
	// it. Agents think for minutes.
	silence = 5 * time.Minute

	maxAnswerHeader = 64 << 10 // bytes
)

// Target is where an agent is.
type Target struct {
	// Address is the host:port that a driver gave the agent. The guard does not
	// apply to it.
	Address string

	// URL takes the place of Address, unless it is empty.
	URL string
}

// Options are the settings of a Proxy.
type Options struct {
	// Networks are the networks that URLs may lead to besides public addresses.
	Networks []netip.Prefix

	// Stopping is done when streams must end.
	Stopping context.Context
}

// Proxy delivers messages.
type Proxy struct {
	trusted, guarded *http.Transport
	dialer           *net.Dialer // of guarded
	stopping         context.Context
	silence          time.Duration
	writeTimeout     time.Duration
}

// New returns a proxy.
func New(opts Options) *Proxy {
	guarded := &net.Dialer{Timeout: dialTimeout, ControlContext: newGuard(opts.Networks).control}
	return &Proxy{
		trusted:      transport(&net.Dialer{Timeout: dialTimeout}),
		guarded:      transport(guarded),
		dialer:       guarded,
		stopping:     opts.Stopping,
		silence:      silence,
		writeTimeout: stream.WriteTimeout,
	}
}

// transport returns a transport that asks no proxy and keeps no connection: a
// message on a connection that the agent is about to close would be lost, and must
// not be sent again.
func transport(dialer *net.Dialer) *http.Transport {
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswerHeader,
	}
}

// Deliver sends body, which the caller read from r, to an agent at most once, and
// answers r with the agent's answer. Before it has written anything it fails with
// Unavailable if the agent got nothing, and with BadGateway if it may have got the
// message or can never be reached. An answer that breaks off later is an error too.
func (p *Proxy) Deliver(w http.ResponseWriter, r *http.Request, to Target, body []byte) error {
	endpoint, transport, err := p.route(to)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	patience := time.AfterFunc(p.silence+2*dialTimeout, func() { cancel(silent{}) })
	defer patience.Stop()

	// Once there is a connection, no one knows how much the agent got.
	var connected atomic.Bool
	out, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			connected.Store(true)
			patience.Reset(p.silence)
		},
	}), http.MethodPost, endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return workspace.Wrap(workspace.BadGateway, "The address of the agent cannot be used. Restart its workspace.", err)
	}
	out.Header = outgoing(r, w.Header().Get("X-Request-Id"))
	resp, err := transport.RoundTrip(out)
	// The agent may have taken longer than the server allows an answer.
	_ = stream.Extend(w, p.writeTimeout) // if that fails, so does writing
	if err != nil {
		return p.explain(cause(ctx, err), connected.Load())
	}
	defer resp.Body.Close()
	if err := checkAnswer(resp); err != nil {
		return err
	}
	return p.pass(ctx, cancel, w, resp, patience)
}

// route returns where a message goes, and by which transport.
func (p *Proxy) route(to Target) (*url.URL, *http.Transport, error) {
	if to.URL == "" {
		if to.Address == "" {
			return nil, nil, workspace.Errorf(workspace.Unavailable, "The agent has no address yet. Try again soon.")
		}
		return &url.URL{Scheme: "http", Host: to.Address, Path: "/"}, p.trusted, nil
	}
	// The URL was checked when the agent registered, but perhaps by an older server.
	err := workspace.CheckAgentURL(to.URL)
	if err != nil {
		return nil, nil, workspace.Wrap(workspace.BadGateway, "The agent registered a URL that cannot be used. It must register another.", err)
	}
	endpoint, err := url.Parse(to.URL)
	return endpoint, p.guarded, err
}

// outgoing returns the headers that an agent gets. They tell neither the sender nor
// its token.
func outgoing(r *http.Request, id string) http.Header {
	h := http.Header{
		"User-Agent":      {"workspace-server"},
		"Accept-Encoding": {"identity"},
	}
	copyProtocol(h, r.Header)
	for _, name := range []string{"Content-Type", "Accept"} {
		if values := r.Header[name]; len(values) > 0 {
			h[name] = values
		}
	}
	trace.FromContext(r.Context()).SetHeader(h)
	if id != "" {
		h.Set("X-Request-Id", id)
	}
	return h
}

// copyProtocol copies the headers of the A2A protocol, except those that are for one
// connection only.
func copyProtocol(to, from http.Header) {
	hop := map[string]bool{}
	for _, list := range from["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			hop[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	for name, values := range from {
		if strings.HasPrefix(name, "A2a-") && !hop[name] {
			to[name] = values
		}
	}
}

// cause returns why ctx was cancelled or, if it was not, err.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return err
}

// explain says why there is no answer.
func (p *Proxy) explain(err error, connected bool) error {
	_, isDenied := errors.AsType[denied](err)
	_, isUntrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case isDenied:
		return workspace.Wrap(workspace.BadGateway,
			"The agent's URL leads to an address that the server does not call. An administrator can allow its network in AGENT_NETWORKS.", err)
	case isUntrusted:
		return workspace.Wrap(workspace.BadGateway, "The server does not trust the agent's certificate. The agent needs one from a public authority.", err)
	case !connected:
		return workspace.Wrap(workspace.Unavailable, "The agent cannot be reached at the moment. It got nothing; try again soon.", err)
	case errors.Is(err, silent{}):
		return workspace.Wrap(workspace.BadGateway, fmt.Sprintf(
			"The agent did not answer within %v. It may have got the message, so ask it before you send the message again.", p.silence,
		), err)
	}
	return workspace.Wrap(workspace.BadGateway,
		"The agent ended without an answer. It may have got the message, so ask it before you send the message again.", err)
}

// silent and stopped are the reasons to give up a message under way.
type (
	silent  struct{}
	stopped struct{}
)

func (silent) Error() string  { return "the agent sent nothing for too long" }
func (stopped) Error() string { return "the server is stopping" }
