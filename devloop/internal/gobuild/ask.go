package gobuild

import (
	"context"
	"encoding/json"
	"slices"

	"devloop/internal/process"
)

// Commands returns what "go build -a -n" prints: each command of a build of
// everything, as for a shell. It runs none of them.
func Commands(ctx context.Context, starter *process.Starter, r Request) (string, error) {
	output, err := r.Output()
	if err != nil {
		return "", err
	}
	i, _, _ := findOutput(r.Args)
	args := slices.Concat([]string{"build"}, withOutput(r.Args, output))
	args = slices.Insert(args, i+1, "-a", "-n") // behind -C
	_, said, err := r.output(ctx, starter, r.Dir, args)
	return string(said), err
}

// List runs "go list" with flags for the packages of the request, under the
// request's build flags, and has each answer read.
func List(ctx context.Context, starter *process.Starter, r Request, flags []string, read func(*json.Decoder) error) error {
	return r.stream(ctx, starter, slices.Concat([]string{"list"}, flags, r.listArgs()), read)
}

// Variables returns values of "go env".
func Variables(ctx context.Context, starter *process.Starter, r Request, names ...string) (map[string]string, error) {
	values := make(map[string]string)
	err := r.ask(ctx, starter, &values, append([]string{"env", "-json"}, names...)...)
	return values, err
}
