// Package a2a passes a message on to the agent of a workspace, and its answer
// back. It knows no version of the A2A protocol: bodies pass byte for byte, and
// of the headers those that begin with A2A-.
//
// An agent is either where a provisioner has put it, or at a URL that was
// registered for it. Nobody vouches for such a URL: it leads to the addresses
// that everybody can reach, and to networks that an administrator named.
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

	// silence is how long an agent may send nothing, before its answer and
	// within it. Agents think for minutes.
	silence = 5 * time.Minute

	maxAnswerHeader = 64 << 10 // bytes
)

// Target is where an agent is.
type Target struct {
	// Address is the host:port that a provisioner gave the agent. It is
	// dialled whatever it is.
	Address string

	// URL, if it is not empty, takes the place of Address.
	URL string
}

// Options are what New needs to know.
type Options struct {
	// Networks are where URLs may lead to, besides public addresses.
	Networks []netip.Prefix

	// Stopping is done when streams have to end.
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

// transport returns one that asks no proxy, and keeps no connection: a message
// that goes out on one that the agent is about to close would be lost, and must
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

// Deliver sends the body of r, which was read before, to an agent and answers
// r with what the agent answers. It sends it once at most. It fails, before it
// has written anything, with Unavailable when the agent got nothing, and with
// BadGateway when it did, or when it cannot be reached at all. An answer that
// breaks off later is an error too.
func (p *Proxy) Deliver(w http.ResponseWriter, r *http.Request, to Target, body []byte) error {
	endpoint, transport, err := p.route(to)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	patience := time.AfterFunc(p.silence+2*dialTimeout, func() { cancel(silent{}) })
	defer patience.Stop()

	// Once there is a connection, nobody knows how much the agent got.
	var connected atomic.Bool
	out, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			connected.Store(true)
			patience.Reset(p.silence)
		},
	}), http.MethodPost, endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return workspace.Wrap(workspace.BadGateway, "The agent has an address that cannot be used.", err)
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

// route returns where a message goes, and by what.
func (p *Proxy) route(to Target) (*url.URL, *http.Transport, error) {
	if to.URL == "" {
		if to.Address == "" {
			return nil, nil, workspace.Errorf(workspace.Unavailable, "The agent has no address yet. Try again.")
		}
		return &url.URL{Scheme: "http", Host: to.Address, Path: "/"}, p.trusted, nil
	}
	// It was checked when it was registered, perhaps by an older server.
	err := workspace.CheckAgentURL(to.URL)
	if err != nil {
		return nil, nil, workspace.Wrap(workspace.BadGateway, "The agent has registered a URL that cannot be used.", err)
	}
	endpoint, err := url.Parse(to.URL)
	return endpoint, p.guarded, err
}

// outgoing returns the headers that an agent gets. Whose message it is, and by
// which token, is not among them.
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

// copyProtocol copies the headers of the A2A protocol, except for those that
// are meant for the connection only.
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

// cause returns why ctx was cancelled, if that is what err is about.
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
			"The agent's URL leads to an address that the server does not call. An administrator can allow its network, with AGENT_NETWORKS.", err)
	case isUntrusted:
		return workspace.Wrap(workspace.BadGateway, "The agent's certificate is not one that the server trusts.", err)
	case !connected:
		return workspace.Wrap(workspace.Unavailable, "The agent cannot be reached at the moment. It got nothing; try again.", err)
	case errors.Is(err, silent{}):
		return workspace.Wrap(workspace.BadGateway, fmt.Sprintf(
			"The agent did not answer within %v. It may have got the message, so ask it before you send that again.", p.silence,
		), err)
	}
	return workspace.Wrap(workspace.BadGateway,
		"The agent ended without an answer. It may have got the message, so ask it before you send that again.", err)
}

// silent and stopped are why a message that is under way is given up.
type (
	silent  struct{}
	stopped struct{}
)

func (silent) Error() string  { return "the agent sent nothing for too long" }
func (stopped) Error() string { return "the server stops" }
