package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

// container is what the engine says of one.
type container struct {
	ID     string `json:"Id"`
	Name   string // with a slash before it
	Config struct{ Labels map[string]string }
	State  struct {
		Status    string // created, running, paused, restarting, removing, exited or dead
		ExitCode  int
		OOMKilled bool
		Error     string // why it was not started
	}
	NetworkSettings addresses
}

// addresses are the addresses of a container, by network.
type addresses struct {
	Networks map[string]struct{ IPAddress string }
}

func (a addresses) on(network string) string {
	if ip := a.Networks[network].IPAddress; ip != "" {
		return net.JoinHostPort(ip, port)
	}
	return ""
}

func (c container) generation() int64 { return number(c.Config.Labels[labelGeneration]) }

func number(label string) int64 {
	n, _ := strconv.ParseInt(label, 10, 64) // what is no number was not made by this driver, and gives way
	return n
}

// Inspect implements provision.Provisioner.
func (d *Driver) Inspect(ctx context.Context, workspace string) (provision.Instance, error) {
	found, err := d.find(ctx, workspace)
	if err != nil {
		return provision.Instance{}, err
	}
	return d.instance(found), nil
}

// foreign is the error for a name that is taken by something of another's. There is
// no instance then.
type foreign struct {
	name string
	error
}

func (f foreign) Unwrap() error { return f.error }

// find returns the container of a workspace. IsAbsent is true for its error only if
// the engine says that there is none.
func (d *Driver) find(ctx context.Context, id string) (container, error) {
	const do = "show the workspace's container"
	if !isID(id) {
		return container{}, provision.Absent(id)
	}
	name := nameOf(d.settings.Installation, id)
	var found container
	err := d.engine.call(ctx, http.MethodGet, "/containers/"+name+"/json", nil, nil, &found)
	switch {
	case status(err) == http.StatusNotFound && strings.Contains(strings.ToLower(err.Error()), "no such container"):
		return container{}, provision.Absent(id)
	case err != nil:
		return container{}, failed(do, err)
	case found.ID == "" || found.Name != "/"+name:
		return container{}, failed(do, fmt.Errorf("it answered with %q, asked for %q", found.Name, name))
	case !d.owns(found.Config.Labels) || found.Config.Labels[labelWorkspace] != id:
		return container{}, foreign{name, provision.Absent(id)}
	}
	return found, nil
}

// owns reports whether labels are of something that this installation made.
func (d *Driver) owns(labels map[string]string) bool {
	return labels[labelInstallation] == d.settings.Installation
}

// List implements provision.Provisioner.
func (d *Driver) List(ctx context.Context) ([]provision.Instance, error) {
	const do = "list the workspaces' containers"
	filters, err := json.Marshal(map[string][]string{"label": {labelInstallation + "=" + d.settings.Installation}})
	if err != nil {
		return nil, err
	}
	var found []struct {
		ID              string `json:"Id"`
		Names           []string
		Labels          map[string]string
		State           string
		NetworkSettings addresses
	}
	query := url.Values{"all": {"1"}, "filters": {string(filters)}}
	if err := d.engine.call(ctx, http.MethodGet, "/containers/json", query, nil, &found); err != nil {
		return nil, failed(do, err)
	}
	if found == nil {
		return nil, failed(do, errors.New("its answer is not a list"))
	}
	all := []provision.Instance{}
	for _, c := range found {
		// An image that was made from a workspace's container passes its labels on
		// to its own containers, but not its name.
		name := "/" + nameOf(d.settings.Installation, c.Labels[labelWorkspace])
		if !d.owns(c.Labels) || !slices.Contains(c.Names, name) {
			continue
		}
		var one container
		if isRunning(c.State) {
			one.Config.Labels, one.State.Status, one.NetworkSettings = c.Labels, c.State, c.NetworkSettings
		} else if one, err = d.find(ctx, c.Labels[labelWorkspace]); provision.IsAbsent(err) {
			continue // it has gone since
		} else if err != nil {
			return nil, err
		}
		all = append(all, d.instance(one))
	}
	return all, nil
}

func isRunning(status string) bool {
	return slices.Contains([]string{"running", "paused", "restarting"}, status)
}

// instance translates what the engine says. A container that was made but not
// started counts as exited, so that it is seen and can be removed.
func (d *Driver) instance(c container) provision.Instance {
	labels := c.Config.Labels
	i := provision.Instance{
		Workspace:  labels[labelWorkspace],
		Generation: c.generation(),
		State:      provision.Running,
		Started:    time.UnixMilli(number(labels[labelStarted])),
	}
	if isRunning(c.State.Status) {
		i.Address = c.NetworkSettings.on(d.settings.Network)
		return i
	}
	i.State, i.ExitCode = provision.Exited, c.State.ExitCode
	switch code := c.State.ExitCode; {
	case c.State.Error != "":
		i.Message = adviceFor(c.State.Error, "The container could not be started. The server's log says why.")
	case c.State.Status == "created":
		i.Message = "The container was made, but has not been started."
	case c.State.OOMKilled:
		i.Message = "The process used more memory than its tier allows."
	case code > 128 && code < 128+65:
		i.Message = fmt.Sprintf("The process was ended by a signal: %s.", syscall.Signal(code-128))
	case code == 126, code == 127:
		// The container's init ends like this, but so may an agent.
		i.Message = fmt.Sprintf("The process ended with exit code %d. "+
			"If its log says that exec failed, the image that WORKSPACE_IMAGE names cannot run its entrypoint: build it again, for the processor of the engine's host.", code)
	default:
		i.Message = fmt.Sprintf("The process ended with exit code %d.", code)
	}
	return i
}

// findVolume reports whether there is a volume of that name, and whether this
// installation made it.
func (d *Driver) findVolume(ctx context.Context, name string) (owned, there bool, err error) {
	var volume struct {
		Name   string
		Labels map[string]string
	}
	err = d.engine.call(ctx, http.MethodGet, "/volumes/"+name, nil, nil, &volume)
	if status(err) == http.StatusNotFound {
		return false, false, nil
	}
	if err == nil && volume.Name != name {
		err = fmt.Errorf("it answered with %q, asked for %q", volume.Name, name)
	}
	if err != nil {
		return false, false, failed("show the workspace's volume", err)
	}
	return d.owns(volume.Labels), true, nil
}

// needNetwork makes the containers' network if it is missing. A network that
// someone else made is used as it is, but not one of another installation.
func (d *Driver) needNetwork(ctx context.Context) error {
	const do = "make the workspaces' network"
	name := d.settings.Network
	var network struct {
		Name, Driver string
		Labels       map[string]string
	}
	err := d.engine.call(ctx, http.MethodGet, "/networks/"+name, nil, nil, &network)
	if status(err) == http.StatusNotFound {
		err = d.engine.call(ctx, http.MethodPost, "/networks/create", nil, networkRequest(d.settings), nil)
		if status(err) == http.StatusConflict {
			return raced{failed(do, err)}
		}
		if err != nil {
			return failed(do, err)
		}
		return nil
	}
	if err != nil {
		return failed(do, err)
	}
	of, labelled := network.Labels[labelInstallation]
	switch {
	case network.Name != name:
		return failed(do, fmt.Errorf("it answered with %q, asked for %q", network.Name, name))
	case labelled && of != d.settings.Installation:
		return workspace.Errorf(workspace.Conflict, "The network %s belongs to another installation, %s. Set WORKSPACE_NETWORK to the name of another network.", name, strings.ToValidUTF8(of, ""))
	}
	return nil
}
