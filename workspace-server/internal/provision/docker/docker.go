// Package docker runs one container for each workspace. It speaks the API of a
// Docker engine without Docker's SDK, which would cost every reload of the server.
//
// The engine shares directories with the server. A Spec names them as the server
// sees them, but the engine resolves them on its own host. If the server runs on
// that host, the two are the same. If it runs in a container, its state must be in
// a named volume, and Settings name that. Either way the image's user must be able
// to read them. An agent's data is in a volume of the workspace's at /workspace,
// which at first belongs to the owner of that directory in the image.
//
// The driver makes the network if it is missing, and keeps it. On such a network,
// containers reach the engine's host (as host.docker.internal) and what is beyond,
// but not each other; whoever makes another network decides its rules. The server
// reaches agents by their containers' addresses, so it must run on the engine's
// host or, in a container, be connected to the same network, which someone else
// must then make. Never use the database's network.
//
// A container is named by installation and workspace, so that two servers cannot
// make two, and labelled with both. The driver shows, stops and removes only what
// carries the installation's label.
package docker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"workspace-server/internal/provision"
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

// Driver implements provision.Provisioner.
type Driver struct {
	settings Settings
	engine   *engine
}

// New returns the driver of an installation. It checks the settings, and does not
// talk to the engine yet.
func New(settings Settings) (*Driver, error) {
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
		return nil, fmt.Errorf("docker: network %q: name one that only agents use", settings.Network)
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
	return &Driver{settings: settings, engine: engine}, nil
}

// Close closes idle connections to the engine. Containers run on.
func (d *Driver) Close() { d.engine.http.CloseIdleConnections() }

// Start implements provision.Provisioner.
func (d *Driver) Start(ctx context.Context, spec provision.Spec) (provision.Instance, error) {
	plan, err := makePlan(d.settings, spec, time.Now())
	if err != nil {
		return provision.Instance{}, err
	}
	var instance provision.Instance
	err = retry(ctx, func() (err error) {
		instance, err = d.start(ctx, spec, plan)
		return err
	})
	return instance, err
}

// Stop implements provision.Provisioner.
func (d *Driver) Stop(ctx context.Context, workspace string, grace time.Duration) error {
	found, err := d.find(ctx, workspace)
	if provision.IsAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	seconds := (max(grace, 0) + time.Second - 1) / time.Second
	query := url.Values{"t": {strconv.Itoa(int(seconds))}}
	err = d.engine.callWithin(ctx, seconds*time.Second+d.engine.patience, http.MethodPost, "/containers/"+found.ID+"/stop", query, nil, nil)
	if err != nil && status(err) != http.StatusNotFound {
		return failed("stop the workspace's container", err)
	}
	return nil
}

// Remove implements provision.Provisioner.
func (d *Driver) Remove(ctx context.Context, workspace string, keepData bool) error {
	return retry(ctx, func() error {
		found, err := d.find(ctx, workspace)
		if err == nil {
			err = d.removeContainer(ctx, found.ID)
		}
		if err != nil && !provision.IsAbsent(err) {
			return err
		}
		if keepData {
			return nil
		}
		name := nameOf(d.settings.Installation, workspace)
		owned, there, err := d.findVolume(ctx, name)
		if err != nil || !there || !owned {
			return err
		}
		err = d.engine.call(ctx, http.MethodDelete, "/volumes/"+name, nil, nil, nil)
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

// removeContainer ends a container and removes it, with its unnamed volumes.
func (d *Driver) removeContainer(ctx context.Context, id string) error {
	err := d.engine.call(ctx, http.MethodDelete, "/containers/"+id, url.Values{"force": {"1"}, "v": {"1"}}, nil, nil)
	switch {
	case status(err) == http.StatusConflict:
		return raced{failed("remove the workspace's container", err)}
	case err != nil && status(err) != http.StatusNotFound:
		return failed("remove the workspace's container", err)
	}
	return nil
}
