package delve

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// binaries names the variable that has this program act as a dlv: the
	// directory of the real one and of devloop.
	binaries = "E2E_DELVE_BIN"
	// logs names the one with the directory for what the relay tells.
	logs = "E2E_DELVE_LOGS"
)

// relayed is dlv with a relay in front: it prints all that dlv prints, but the
// relay's address in place of dlv's. It returns the exit code.
func relayed(args []string) int {
	dlv := exec.Command(filepath.Join(os.Getenv(binaries), "dlv"), args...)
	dlv.Stdin, dlv.Stderr = os.Stdin, os.Stderr
	out, err := dlv.StdoutPipe()
	if err == nil {
		err = dlv.Start()
	}
	if err != nil {
		return failed(err)
	}
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	const marker = " server listening at: "
	title, address, ok := strings.Cut(strings.TrimSuffix(first, "\n"), marker)
	if err != nil || !ok {
		_ = dlv.Process.Kill()
		_ = dlv.Wait()
		return failed(fmt.Errorf("dlv %s printed %q, want its address", strings.Join(args, " "), first))
	}
	r, err := newRelay(address)
	if err != nil {
		_ = dlv.Process.Kill()
		_ = dlv.Wait()
		return failed(err)
	}
	fmt.Println(title + marker + r.address)
	_, _ = io.Copy(os.Stdout, lines) // its reader may have gone
	_ = dlv.Wait()                   // its exit code tells
	if err := r.end(); err != nil {
		return failed(err)
	}
	return dlv.ProcessState.ExitCode()
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "dlv behind a relay:", err)
	return 1
}

// A relay is a running "devloop relay".
type relay struct {
	address string
	cmd     *exec.Cmd
	log     *os.File
	idle    chan struct{} // holds something while no connection is open any more
	copied  chan error
}

func newRelay(to string) (*relay, error) {
	file, err := os.CreateTemp(os.Getenv(logs), "relay-")
	if err != nil {
		return nil, err
	}
	r := &relay{log: file, idle: make(chan struct{}, 1), copied: make(chan error, 1)}
	r.cmd = exec.Command(filepath.Join(os.Getenv(binaries), "devloop"), "relay", "-v", "-listen", "127.0.0.1:0", "-to", to)
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSuffix(first, "\n"), "listening on ")
	if err != nil || !ok {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		return nil, fmt.Errorf("the relay printed %q, want its address", first)
	}
	r.address = address
	go func() { r.copied <- r.copy(lines) }()
	return r, nil
}

// copy writes what the relay tells to its log.
func (r *relay) copy(lines *bufio.Reader) error {
	open := 0
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := r.log.WriteString(line); err != nil {
			return err
		}
		_, said, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(said, "connected: "):
			open++
			select {
			case <-r.idle:
			default:
			}
		case said == "closed\n":
			open--
		}
		if open == 0 {
			select {
			case r.idle <- struct{}{}:
			default:
			}
		}
	}
}

// end ends a relay whose debugger has ended, once it has handed on everything.
func (r *relay) end() error {
	const patience = 5 * time.Second
	select {
	case <-r.idle:
	case <-time.After(patience):
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := <-r.copied; err != nil {
		return err
	}
	if err := r.cmd.Wait(); err != nil {
		return err
	}
	return r.log.Close()
}
