package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Versions of the API that the driver speaks. Newer engines speak them, too.
const (
	oldest            = "1.44" // Docker 25
	oldestWithSubpath = "1.45" // Docker 26, for directories in volumes
)

// Limits of one call.
const (
	pullPatience = 10 * time.Minute
	maxAnswer    = 64 << 20
	maxError     = 64 << 10
)

// engine speaks the part of the Docker Engine API that the driver needs.
type engine struct {
	http    *http.Client
	base    string // of URLs
	version string

	patience time.Duration // how long an answer may take until it is complete
}

// dial returns the engine at a host, which has the form of DOCKER_HOST. It does not
// connect yet.
func dial(host, version string) (*engine, error) {
	if host == "" {
		host = "unix:///var/run/docker.sock"
	}
	network, address, _ := strings.Cut(host, "://")
	switch {
	case network == "unix" && strings.HasPrefix(address, "/"):
	case network == "tcp" && address != "" && !strings.ContainsAny(address, "/?#@"):
	default:
		return nil, fmt.Errorf("docker: host %q: use unix:///path or tcp://host:port", host)
	}
	base := "http://docker"
	if network == "tcp" {
		base = "http://" + address
	}
	return &engine{
		base:     base,
		version:  version,
		patience: 30 * time.Second,
		http: &http.Client{
			// No proxy stands between the server and its engine.
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, address)
				},
				DisableCompression: true,
				IdleConnTimeout:    time.Minute,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// refusal is the engine's answer when it does not do what the driver asked.
type refusal struct {
	call    string
	status  int
	message string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s: %d: %s", r.call, r.status, r.message)
}

// status returns the HTTP status with which the engine refused, or 0.
func status(err error) int {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.status
	}
	return 0
}

// call sends a request and decodes the answer. Body and answer may be nil.
func (e *engine) call(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	return e.callWithin(ctx, e.patience, method, path, query, body, answer)
}

func (e *engine) callWithin(ctx context.Context, limit time.Duration, method, path string, query url.Values, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := e.send(ctx, method, "/v"+e.version+path, query, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && answer != nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}

// send returns an answer, whose body the caller must close. The engine answers 304
// when it has nothing to change.
func (e *engine) send(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	target := e.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, err
	}
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusNotModified {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refused(method+" "+path, resp)
}

// refused reads why the engine refused. Only the engine's own words count as a
// refusal: what else answers in its place may not know what there is.
func refused(call string, resp *http.Response) error {
	var said struct{ Message string }
	err := json.NewDecoder(io.LimitReader(resp.Body, maxError)).Decode(&said)
	if err != nil || said.Message == "" || said.Message == "page not found" {
		return fmt.Errorf("%s: status %d without an engine's message", call, resp.StatusCode)
	}
	return &refusal{call, resp.StatusCode, said.Message}
}

// pull pulls an image. It fails with a refusal if the engine says why it cannot.
func (e *engine) pull(ctx context.Context, image string) error {
	ctx, cancel := context.WithTimeout(ctx, pullPatience)
	defer cancel()
	query := url.Values{"fromImage": {image}}
	if last := image[strings.LastIndex(image, "/")+1:]; !strings.ContainsAny(last, ":@") {
		query.Set("tag", "latest") // without a tag the engine pulls all of them
	}
	resp, err := e.send(ctx, http.MethodPost, "/v"+e.version+"/images/create", query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(resp.Body); ; {
		var line struct{ Error string }
		if err := lines.Decode(&line); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("pull %s: %w", image, err)
		}
		if line.Error != "" {
			return &refusal{"pull " + image, resp.StatusCode, line.Error}
		}
	}
}

// stream returns an answer of any length, which ends with ctx.
func (e *engine) stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	// Only the beginning of the answer must come in that time.
	impatient := time.AfterFunc(e.patience, func() { cancel(context.DeadlineExceeded) })
	resp, err := e.send(ctx, http.MethodGet, "/v"+e.version+path, query, nil)
	if err == nil && !impatient.Stop() {
		resp.Body.Close()
		err = context.DeadlineExceeded
	}
	if err != nil {
		impatient.Stop()
		cancel(nil)
		return nil, err
	}
	return &body{resp.Body, cancel}, nil
}

type body struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *body) Close() error {
	b.cancel(nil)
	return b.ReadCloser.Close()
}
