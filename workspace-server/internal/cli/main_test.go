package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"workspace-server/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// aToken has the form of a token.
const aToken = "wst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// result is the outcome of a command line.
type result struct {
	out, err string
	code     int
	fails    string
}

// run runs a command line against a server.
func run(ctx context.Context, server string, args ...string) result {
	env := map[string]string{"WORKSPACE_SERVER": server, "WORKSPACE_SERVER_TOKEN": aToken}
	var stdout, stderr bytes.Buffer
	err := Run(ctx, args, Terminal{
		Getenv: func(name string) string { return env[name] },
		In:     strings.NewReader(""), Out: &stdout, Err: &stderr,
	})
	r := result{out: stdout.String(), err: stderr.String()}
	if err != nil {
		r.fails, r.code = err.Error(), -1
	}
	if e, ok := errors.AsType[*Error](err); ok {
		r.code = e.Code
	}
	return r
}
