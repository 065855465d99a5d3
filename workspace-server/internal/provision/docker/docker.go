// Package docker runs one container for each workspace, by the API of a Docker
// engine and without its SDK, which would cost every reload of the server.
//
// What the engine has to share with the server are directories: a Spec names
// them as the server sees them, but the engine resolves them on its own host.
// If the server runs on that host, the two are the same. If it runs in a
// container, its state has to be in a named volume, and Settings say which.
// Either way the image's user has to be able to read them. What an agent keeps
// is in a volume of the workspace's at /workspace, which at first belongs to
// whom that directory of the image does.
//
// A network is made if it is missing, and stays. On one that was made here,
// containers reach the engine's host (as host.docker.internal) and what is
// beyond, but not each other; another one's rules are its maker's. The server
// reaches agents by their containers' addresses, so it has to run on the
// engine's host or, in a container, be connected to the same network, which
// somebody else has to make then. It is never to be the database's.
//
// A container is named by installation and workspace, so that two servers
// cannot make two, and labelled with both. Only what carries the installation's
// label is ever shown, stopped or removed.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

// Settings say where containers run, and how they differ from those of other
// installations.
type Settings struct {
	Host         string // of the engine, as in DOCKER_HOST; empty: this machine's socket
	Installation string // an id that no other installation on this engine has
	Image        string // its entrypoint, with the argument "agent", is an agent
	Network      string // of the containers; empty: the installation's own, made when it is missing

	// For a server that runs in a container: the named volume with its state,
	// and the directory where that is mounted. Both, or neither.
	StateVolume, StateRoot string
}

// Provisioner is the driver.
type Provisioner struct {
	settings Settings
	engine   *engine
}

// New does not talk to the engine yet.
func New(settings Settings) (*Provisioner, error) {
	if !isID(settings.Installation) {
		return nil, fmt.Errorf("docker: installation %q: use letters, digits, _ and -, at most 100", settings.Installation)
	}
	if settings.Image == "" {
		return nil, errors.New("docker: no image is given")
	}
	switch settings.Network {
	case "":
		settings.Network = prefix + settings.Installation
	case "host", "none", "bridge", "default":
		return nil, fmt.Errorf("docker: network %q: agents need one of their own", settings.Network)
	}
	if strings.ContainsAny(settings.Network, "/:") {
		return nil, fmt.Errorf("docker: network %q is not the name of a network", settings.Network)
	}
	if (settings.StateVolume == "") != (settings.StateRoot == "") {
		return nil, errors.New("docker: the volume of the server's state and the directory where it is mounted go together")
	}
	version := oldest
	if settings.StateVolume != "" {
		if !filepath.IsAbs(settings.StateRoot) {
			return nil, fmt.Errorf("docker: %q is not the absolute path of a directory", settings.StateRoot)
		}
		version = oldestWithSubpath
	}
	engine, err := dial(settings.Host, version)
	if err != nil {
		return nil, err
	}
	return &Provisioner{settings: settings, engine: engine}, nil
}

// Close closes idle connections to the engine. Containers go on.
func (p *Provisioner) Close() { p.engine.http.CloseIdleConnections() }

// Check reports whether the engine answers and is new enough.
func (p *Provisioner) Check(ctx context.Context) error {
	if err := p.engine.ping(ctx); err != nil {
		return failed("answer", err)
	}
	return nil
}

// Start implements provision.Provisioner.
func (p *Provisioner) Start(ctx context.Context, spec provision.Spec) (provision.Instance, error) {
	plan, err := makePlan(p.settings, spec, time.Now())
	if err != nil {
		return provision.Instance{}, err
	}
	var instance provision.Instance
	err = retry(ctx, func() (err error) {
		instance, err = p.start(ctx, spec, plan)
		return err
	})
	return instance, err
}

// start fails with raced when it met another call, or ended an earlier
// generation, and has to look again.
func (p *Provisioner) start(ctx context.Context, spec provision.Spec, plan plan) (none provision.Instance, err error) {
	id := ""
	found, err := p.find(ctx, spec.Workspace)
	taken, isTaken := errors.AsType[foreign](err)
	switch {
	case isTaken:
		return none, workspace.Errorf(workspace.Conflict, "The name of the workspace's container, %s, is taken by one that this server did not make. Remove or rename that.", taken.name)
	case provision.IsAbsent(err):
	case err != nil:
		return none, err
	case found.generation() > spec.Generation:
		return none, workspace.Errorf(workspace.Conflict, "The workspace was started again in the meantime.")
	case found.generation() < spec.Generation || found.State.Status == "dead":
		if err := p.removeContainer(ctx, found.ID); err != nil {
			return none, err
		}
		return none, raced{fmt.Errorf("container %s made room", found.ID)}
	case found.State.Status == "removing":
		return none, raced{fmt.Errorf("container %s is being removed", found.ID)}
	case found.State.Status != "created":
		return p.instance(found), nil
	default:
		id = found.ID
	}

	if err := p.needNetwork(ctx); err != nil {
		return none, err
	}
	if id == "" {
		if id, err = p.create(ctx, plan); err != nil {
			return none, err
		}
	}
	err = p.engine.call(ctx, http.MethodPost, "/containers/"+id+"/start", nil, nil, nil)
	switch status(err) {
	case http.StatusNotFound, http.StatusConflict:
		// It was removed, or its network was.
		return none, raced{failed("start the workspace's container", err)}
	}
	if err != nil {
		return none, failed("start the workspace's container", err)
	}
	var made container
	if err := p.engine.call(ctx, http.MethodGet, "/containers/"+id+"/json", nil, nil, &made); status(err) == http.StatusNotFound {
		return none, raced{failed("show the workspace's container", err)}
	} else if err != nil {
		return none, failed("show the workspace's container", err)
	}
	return p.instance(made), nil
}

// create makes the container, and returns its id.
func (p *Provisioner) create(ctx context.Context, plan plan) (string, error) {
	if owned, there, err := p.findVolume(ctx, plan.Name); err != nil {
		return "", err
	} else if there && !owned {
		return "", workspace.Errorf(workspace.Conflict, "The name of the workspace's volume, %s, is taken by one that this server did not make. Remove that.", plan.Name)
	}
	var made struct {
		ID string `json:"Id"`
	}
	query := url.Values{"name": {plan.Name}}
	err := p.engine.call(ctx, http.MethodPost, "/containers/create", query, plan.Request, &made)
	if status(err) == http.StatusNotFound {
		if err := p.engine.pull(ctx, p.settings.Image); err != nil {
			return "", workspace.Wrap(workspace.Unavailable, fmt.Sprintf(
				"The image %[1]s is missing and cannot be pulled. Build it, or run 'docker pull %[1]s' on the engine's host.", p.settings.Image,
			), err)
		}
		err = p.engine.call(ctx, http.MethodPost, "/containers/create", query, plan.Request, &made)
	}
	switch {
	case status(err) == http.StatusConflict:
		return "", raced{failed("make the workspace's container", err)}
	case err != nil:
		return "", failed("make the workspace's container", err)
	case made.ID == "":
		return "", failed("make the workspace's container", errors.New("its answer has no id"))
	}
	return made.ID, nil
}

// Stop implements provision.Provisioner.
func (p *Provisioner) Stop(ctx context.Context, workspace string, grace time.Duration) error {
	found, err := p.find(ctx, workspace)
	if provision.IsAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	seconds := (max(grace, 0) + time.Second - 1) / time.Second
	query := url.Values{"t": {strconv.Itoa(int(seconds))}}
	err = p.engine.callWithin(ctx, seconds*time.Second+p.engine.patience, http.MethodPost, "/containers/"+found.ID+"/stop", query, nil, nil)
	if err != nil && status(err) != http.StatusNotFound {
		return failed("stop the workspace's container", err)
	}
	return nil
}

// Remove implements provision.Provisioner.
func (p *Provisioner) Remove(ctx context.Context, workspace string, keepData bool) error {
	return retry(ctx, func() error {
		found, err := p.find(ctx, workspace)
		if err == nil {
			err = p.removeContainer(ctx, found.ID)
		}
		if err != nil && !provision.IsAbsent(err) {
			return err
		}
		if keepData {
			return nil
		}
		name := nameOf(p.settings.Installation, workspace)
		owned, there, err := p.findVolume(ctx, name)
		if err != nil || !there || !owned {
			return err
		}
		err = p.engine.call(ctx, http.MethodDelete, "/volumes/"+name, nil, nil, nil)
		switch {
		case status(err) == http.StatusConflict:
			// Another call made a container with it.
			return raced{failed("remove the workspace's volume, which is in use", err)}
		case err != nil && status(err) != http.StatusNotFound:
			return failed("remove the workspace's volume", err)
		}
		return nil
	})
}

// removeContainer ends it, too, and takes the volumes without a name along.
func (p *Provisioner) removeContainer(ctx context.Context, id string) error {
	err := p.engine.call(ctx, http.MethodDelete, "/containers/"+id, url.Values{"force": {"1"}, "v": {"1"}}, nil, nil)
	switch {
	case status(err) == http.StatusConflict:
		return raced{failed("remove the workspace's container", err)}
	case err != nil && status(err) != http.StatusNotFound:
		return failed("remove the workspace's container", err)
	}
	return nil
}

// Logs implements provision.Provisioner. The engine keeps a line in pieces of
// 16 KiB: each counts as one, and what the process writes to its other output at
// the same time may come between them.
func (p *Provisioner) Logs(ctx context.Context, workspace string, tail int, follow bool) (io.ReadCloser, error) {
	found, err := p.find(ctx, workspace)
	if err != nil {
		return nil, err
	}
	query := url.Values{"stdout": {"1"}, "stderr": {"1"}, "tail": {"all"}}
	if tail >= 0 {
		query.Set("tail", strconv.Itoa(tail))
	}
	if follow {
		query.Set("follow", "1")
	}
	stream, err := p.engine.stream(ctx, "/containers/"+found.ID+"/logs", query)
	if status(err) == http.StatusNotFound {
		return nil, provision.Absent(workspace)
	}
	if err != nil {
		return nil, failed("show the workspace's logs", err)
	}
	return &frames{stream: stream}, nil
}

// retry calls fn until it fails with something else than raced, for half a
// minute: another server is at work on the same workspace, and will be through.
func retry(ctx context.Context, fn func() error) error {
	const attempts, pause = 300, 100 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := fn()
		lost, again := errors.AsType[raced](err)
		if !again {
			return err
		}
		if attempt == attempts {
			return lost.error
		}
		select {
		case <-ctx.Done():
			return failed("finish what another server does with the workspace", ctx.Err())
		case <-time.After(pause):
		}
	}
}

// raced is the error of a call that came in another's way.
type raced struct{ error }

// failed returns an error that may succeed later. Clients see that the engine
// could not do something; what it said is for the log.
func failed(do string, err error) error {
	message := "The Docker engine could not " + do + "."
	if status(err) == 0 {
		message = "The Docker engine does not answer as it should at the moment."
	}
	return workspace.Wrap(workspace.Unavailable, message, fmt.Errorf("docker: %s: %w", do, err))
}
