package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"workspace-server/internal/workspace"
)

// failed returns the error of a call that the engine did not do, and that may
// succeed later. Its message says what to do. What the engine said is for the log
// alone: it may name paths of the engine's host.
func failed(do string, err error) error {
	var message string
	if refused, ok := errors.AsType[*refusal](err); ok {
		message = adviceFor(refused.message, "The Docker engine could not "+do+". The server's log says why.")
	} else {
		message = unanswered(err)
	}
	return workspace.Wrap(workspace.Unavailable, message, fmt.Errorf("docker: %s: %w", do, err))
}

// notPulled returns the error for an image that is missing and could not be pulled.
func notPulled(image string, err error) error {
	message := fmt.Sprintf("The image %[1]s is missing and cannot be pulled. Build it, or run 'docker pull %[1]s' on the engine's host.", image)
	if pulled, ok := errors.AsType[*refusal](err); ok {
		message = adviceFor(pulled.message, message)
	}
	return workspace.Wrap(workspace.Unavailable, message, err)
}

// unseen returns the error for a directory that the engine cannot share.
func unseen(err error) error {
	return workspace.Wrap(workspace.Unavailable,
		"The Docker engine cannot see a directory that the workspace needs. Give STATE_DIRECTORY and PLUGINS_DIR absolute paths; "+
			"with STATE_VOLUME set, PLUGINS_DIR must be below STATE_DIRECTORY.", err)
}

// canBeMended reports whether there is advice about an engine's refusal: repeating
// the call does not help then.
func canBeMended(err error) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && adviceFor(refused.message, "") != ""
}

// unanswered says what to do when the engine did not answer, or something else
// answered in its place.
func unanswered(err error) string {
	_, dialled := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "The server may not use the Docker engine's socket. " +
			"Let the server's user belong to the group that owns the socket; for a server in a container, DOCKER_GID in .env names that group."
	case dialled && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)):
		return "The Docker engine does not run, or listens elsewhere. Start it, or set DOCKER_HOST to where it listens."
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "The Docker engine did not answer in time. Restart it if 'docker ps' hangs, too."
	case dialled:
		return "The Docker engine cannot be reached. Set DOCKER_HOST to where it listens."
	}
	return "The Docker engine did not answer as it should. The server's log has its answer."
}

// adviceFor says what to do about what an engine said, or returns otherwise.
func adviceFor(said, otherwise string) string {
	said = strings.ToLower(said)
	for _, a := range []struct{ said, advice string }{
		{
			"is too new. maximum supported api version",
			"The Docker engine is too old. Update it: the server needs Docker 25, or Docker 26 with STATE_VOLUME.",
		},
		{
			"no space left on device",
			"The disk of the Docker engine is full. Free space on it: 'docker system df' shows what uses it.",
		},
		{
			"address pools have been fully subscribed",
			"The Docker engine has no addresses left for another network. " +
				"Remove unused networks with 'docker network prune', or set WORKSPACE_NETWORK to the name of a network that exists.",
		},
		{
			"no available ipv4 addresses",
			"The network of the workspaces has no addresses left. Remove workspaces, or set WORKSPACE_NETWORK to the name of a larger network.",
		},
		{
			"bind source path does not exist",
			"The Docker engine does not see the workspace's files. " +
				"Run the server on the engine's host, or keep STATE_DIRECTORY in a volume that STATE_VOLUME names.",
		},
		{
			"cannot access path",
			"The volume that STATE_VOLUME names does not hold the workspace's files. Set STATE_VOLUME to the volume that STATE_DIRECTORY is in.",
		},
	} {
		if strings.Contains(said, a.said) {
			return a.advice
		}
	}
	return otherwise
}
