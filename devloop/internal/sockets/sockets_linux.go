package sockets

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Look looks at a process and at those that it has started, as a script does that
// starts the server.
func Look(pid int) (View, error) {
	v, err := look(pid)
	if err != nil {
		return View{}, err
	}
	for _, child := range children(pid) {
		if its, err := Look(child); err == nil {
			v.Awaited = append(v.Awaited, its.Awaited...)
			v.Listening = append(v.Listening, its.Listening...)
			v.Connected = append(v.Connected, its.Connected...)
		}
	}
	return v, nil
}

// children returns the processes that a process has started. A kernel need not
// list them; then there are none.
func children(pid int) []int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var out []int
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}

func look(pid int) (View, error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	own, pollers, err := descriptors(dir)
	if err != nil {
		return View{}, fmt.Errorf("%w: %w", ErrHidden, err)
	}
	var v View
	for _, fd := range pollers {
		text, err := os.ReadFile(dir + "/fdinfo/" + fd)
		if err != nil {
			continue // closed meanwhile
		}
		v.Awaited = append(v.Awaited, awaited(string(text))...)
	}
	for _, table := range []string{"/net/tcp", "/net/tcp6"} {
		err := rows(dir+table, func(r row) bool {
			switch {
			case !own[r.inode]:
			case r.state == listen:
				v.Listening = append(v.Listening, Socket{r.inode, r.local})
			default:
				v.Connected = append(v.Connected, Socket{r.inode, r.local})
			}
			return true
		})
		if err != nil {
			return View{}, err
		}
	}
	return v, nil
}

// Listens reports whether any process listens at a port. It is cheaper than Look.
func Listens(port uint16) (bool, error) {
	found := false
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		err := rows(table, func(r row) bool {
			found = found || r.state == listen && r.local.Port() == port
			return !found && r.state == listen // which come first
		})
		if err != nil {
			return false, err
		}
	}
	return found, nil
}

// descriptors returns which sockets a process has open, and which of its
// descriptors are pollers.
func descriptors(dir string) (own map[Inode]bool, pollers []string, err error) {
	entries, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return nil, nil, err
	}
	own = make(map[Inode]bool)
	for _, e := range entries {
		to, err := os.Readlink(dir + "/fd/" + e.Name())
		if err != nil {
			continue
		}
		if to == "anon_inode:[eventpoll]" {
			pollers = append(pollers, e.Name())
		}
		if text, ok := strings.CutPrefix(to, "socket:["); ok {
			if n, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64); err == nil {
				own[Inode(n)] = true
			}
		}
	}
	return own, pollers, nil
}

// awaited returns the inodes that the fdinfo of a poller lists (proc(5)):
//
//	tfd:        3 events: 80002019 data: 7f8e40b2f0c80001  pos:0 ino:1a2b sdev:8
func awaited(fdinfo string) []Inode {
	var out []Inode
	for line := range strings.Lines(fdinfo) {
		if !strings.HasPrefix(line, "tfd:") {
			continue
		}
		for _, field := range strings.Fields(line) {
			text, ok := strings.CutPrefix(field, "ino:")
			if !ok {
				continue
			}
			if n, err := strconv.ParseUint(text, 16, 64); err == nil {
				out = append(out, Inode(n))
			}
		}
	}
	return out
}

// listen is the state of a listening socket (include/net/tcp_states.h).
const listen = 0x0A

// A row is a socket of the kernel's table.
type row struct {
	local netip.AddrPort
	state uint64
	inode Inode
}

// rows calls see for each row of a table until that returns false. A kernel
// without IPv6 has no table for it.
func rows(path string, see func(row) bool) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrHidden, err)
	}
	defer f.Close()
	return readRows(f, see)
}

func readRows(in io.Reader, see func(row) bool) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		r, ok := parseRow(lines.Bytes())
		if ok && !see(r) {
			return nil
		}
	}
	return lines.Err()
}

// parseRow reads a line of /proc/net/tcp; the heading is none.
func parseRow(line []byte) (row, bool) {
	f := bytes.Fields(line)
	if len(f) < 10 {
		return row{}, false
	}
	local, ok := parseAddress(string(f[1]))
	state, err := strconv.ParseUint(string(f[3]), 16, 8)
	if !ok || err != nil {
		return row{}, false
	}
	inode, err := strconv.ParseUint(string(f[9]), 10, 64)
	return row{local, state, Inode(inode)}, err == nil
}

// parseAddress reads an address as the kernel prints it: words of 32 bits in the
// machine's order, then the port.
func parseAddress(text string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || err2 != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr, uint16(n)), ok
}
