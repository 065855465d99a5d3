package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"devloop/internal/testkit"
)

func TestRelayUsage(t *testing.T) {
	tests := []struct{ args, want string }{
		{"", "devloop relay needs -listen and -to"},
		{"-to :1", "devloop relay needs -listen and -to"},
		{"-listen :1", "devloop relay needs -listen and -to"},
		{"-listen :1 -to", "flag needs an argument: -to"},
		{"-listen nowhere -to :1", `invalid value "nowhere" for flag -listen: want HOST:PORT or unix:PATH`},
		{"-listen unix: -to :1", `invalid value "unix:" for flag -listen: want HOST:PORT or unix:PATH`},
		{"-listen :1 -to host:", `invalid value "host:" for flag -to: want HOST:PORT or unix:PATH`},
		{"-listen :1 -to :2 more", `devloop relay knows no argument "more"`},
		{"-x", "flag provided but not defined: -x"},
	}
	for _, tt := range tests {
		var out, stderr bytes.Buffer
		err := run(t.Context(), append([]string{"relay"}, strings.Fields(tt.args)...), nil, streams{&out, &stderr})
		if _, ok := errors.AsType[*usageError](err); !ok || err.Error() != tt.want {
			t.Errorf("devloop relay %s = %T %v, want a usage error: %s", tt.args, err, err, tt.want)
		}
		if out.Len()+stderr.Len() > 0 {
			t.Errorf("devloop relay %s printed %q and %q, want nothing", tt.args, out.String(), stderr.String())
		}
	}
}

func TestRelayHelp(t *testing.T) {
	for args, wants := range map[string][]string{
		"help":     {"\n  relay   "},
		"relay -h": {"usage: devloop relay [-v] -listen ADDRESS -to ADDRESS", "-listen address", "-to address", "-v"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), strings.Fields(args), nil, streams{&out, io.Discard}); err != nil {
			t.Errorf("devloop %s = %v", args, err)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("devloop %s printed\n%s\nwant %q in it", args, out.String(), want)
			}
		}
	}
}

func TestRelayAddressTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	err = run(t.Context(), []string{"relay", "-listen", address, "-to", address}, nil, streams{io.Discard, io.Discard})
	if err == nil || !strings.Contains(err.Error(), address+" is in use") {
		t.Errorf("devloop relay -listen %s = %v, want that it is in use", address, err)
	}
}

// TestRelay hands a message on over Unix sockets, and shows it.
func TestRelay(t *testing.T) {
	dir := testkit.ShortDir(t)
	debugger, err := net.Listen("unix", filepath.Join(dir, "debugger"))
	if err != nil {
		t.Fatal(err)
	}
	defer debugger.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	printed, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"relay", "-v", "-listen", "unix:" + filepath.Join(dir, "clients"), "-to", "unix:" + filepath.Join(dir, "debugger")}, nil, streams{w, io.Discard})
		w.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(printed)
	line := func() string {
		lines.Scan()
		return lines.Text()
	}
	if got, want := line(), "listening on "+filepath.Join(dir, "clients"); got != want {
		t.Fatalf("devloop relay printed %q, want %q", got, want)
	}
	client, err := net.Dial("unix", filepath.Join(dir, "clients"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const said = `{"id":1,"method":"RPCServer.State"}` + "\n"
	if _, err := io.WriteString(client, said); err != nil {
		t.Fatal(err)
	}
	if got := line(); !strings.HasPrefix(got, "1 connected: ") {
		t.Errorf("devloop relay printed %q, want the connection", got)
	}
	conn, err := debugger.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, want := line(), "1 -> "+strings.TrimSpace(said); got != want {
		t.Errorf("devloop relay printed %q, want %q", got, want)
	}
	if got, err := bufio.NewReader(conn).ReadString('\n'); err != nil || got != said {
		t.Errorf("the debugger got %q, %v, want %q", got, err, said)
	}
	cancel()
	for lines.Scan() { // until the end
	}
	if err := lines.Err(); err != nil {
		t.Errorf("read what devloop relay prints: %v", err)
	}
	if err := testkit.Within(t, "the end", ended); err != nil {
		t.Errorf("devloop relay = %v, want nil", err)
	}
}
