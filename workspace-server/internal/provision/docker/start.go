package docker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"workspace-server/internal/provision"
	"workspace-server/internal/workspace"
)

// action is what a start does about what it found.
type action string

const (
	makeNew action = "make"    // there is no container
	resume  action = "resume"  // an earlier call made the container, and did not start it
	report  action = "report"  // it runs or has exited: it is the instance
	replace action = "replace" // it is of an earlier generation, or cannot be started
	await   action = "await"   // the engine is removing it
)

// decide says what the start of a generation does about a workspace's container.
// It takes what find returned. It fails if the generation must not be started.
func decide(found container, err error, generation int64) (action, error) {
	if taken, ok := errors.AsType[foreign](err); ok {
		return "", workspace.Errorf(workspace.Conflict,
			"The name of the workspace's container, %s, is taken by one that this server did not make. Remove or rename that container.", taken.name)
	}
	switch {
	case provision.IsAbsent(err):
		return makeNew, nil
	case err != nil:
		return "", err
	case found.generation() > generation:
		return "", workspace.Errorf(workspace.Conflict, "The workspace was started again in the meantime.")
	case found.generation() < generation, found.State.Status == "dead":
		return replace, nil
	case found.State.Status == "removing":
		return await, nil
	case found.State.Status == "created":
		return resume, nil
	}
	return report, nil
}

// start decides and acts. It fails with raced if another call was at work on the
// workspace, or if it ended an earlier generation, and must look again.
func (d *Driver) start(ctx context.Context, spec provision.Spec, plan plan) (none provision.Instance, err error) {
	found, err := d.find(ctx, spec.Workspace)
	do, err := decide(found, err, spec.Generation)
	if err != nil {
		return none, err
	}
	switch do {
	case report:
		return d.instance(found), nil
	case await:
		return none, raced{fmt.Errorf("container %s is being removed", found.ID)}
	case replace:
		if err := d.removeContainer(ctx, found.ID); err != nil {
			return none, err
		}
		return none, raced{fmt.Errorf("container %s was removed to make room", found.ID)}
	}
	if err := d.needNetwork(ctx); err != nil {
		return none, err
	}
	id := found.ID
	if do == makeNew {
		if id, err = d.create(ctx, plan); err != nil {
			return none, err
		}
	}
	return d.startContainer(ctx, id)
}

// create makes the container, and returns its id. It pulls the image if that is
// missing.
func (d *Driver) create(ctx context.Context, plan plan) (string, error) {
	const do = "make the workspace's container"
	if owned, there, err := d.findVolume(ctx, plan.Name); err != nil {
		return "", err
	} else if there && !owned {
		return "", workspace.Errorf(workspace.Conflict,
			"The name of the workspace's volume, %s, is taken by one that this server did not make. Remove that volume.", plan.Name)
	}
	var made struct {
		ID string `json:"Id"`
	}
	query := url.Values{"name": {plan.Name}}
	err := d.engine.call(ctx, http.MethodPost, "/containers/create", query, plan.Request, &made)
	if status(err) == http.StatusNotFound {
		if err := d.engine.pull(ctx, d.settings.Image); err != nil {
			return "", notPulled(d.settings.Image, err)
		}
		err = d.engine.call(ctx, http.MethodPost, "/containers/create", query, plan.Request, &made)
	}
	switch {
	case status(err) == http.StatusConflict:
		return "", raced{failed(do, err)}
	case err != nil:
		return "", failed(do, err)
	case made.ID == "":
		return "", failed(do, errors.New("its answer has no id"))
	}
	return made.ID, nil
}

// startContainer starts a container that was made, and returns the instance.
func (d *Driver) startContainer(ctx context.Context, id string) (none provision.Instance, err error) {
	const do, show = "start the workspace's container", "show the workspace's container"
	err = d.engine.call(ctx, http.MethodPost, "/containers/"+id+"/start", nil, nil, nil)
	switch code := status(err); {
	case (code == http.StatusNotFound || code == http.StatusConflict) && !canBeMended(err):
		// Another call has removed it, or its network.
		return none, raced{failed(do, err)}
	case err != nil:
		return none, failed(do, err)
	}
	var made container
	err = d.engine.call(ctx, http.MethodGet, "/containers/"+id+"/json", nil, nil, &made)
	switch {
	case status(err) == http.StatusNotFound:
		return none, raced{failed(show, err)}
	case err != nil:
		return none, failed(show, err)
	}
	return d.instance(made), nil
}

// raced is the error of a call that met another call at work on the same
// workspace.
type raced struct{ error }

// retry calls fn until it fails with something other than raced, for half a
// minute: another server is at work on the same workspace, and will finish.
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
			return failed("finish another server's work on the workspace", ctx.Err())
		case <-time.After(pause):
		}
	}
}
