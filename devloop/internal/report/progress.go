package report

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// A progress is the line about a build that runs long.
type progress struct {
	terminal bool
	line     string        // on the terminal now; the next thing printed replaces it
	next     time.Duration // where there is no terminal: when to print again
}

// Building tells how far a build is that runs long: on a terminal by one line
// that is written again and again, elsewhere now and then.
func (p *Printer) Building(elapsed time.Duration, begun, all int) {
	line := fmt.Sprintf("building for %ds", int(elapsed.Seconds()))
	switch {
	case all > 0 && begun >= all:
		line += fmt.Sprintf(": package %d of %d, then the linker", begun, all)
	case all > 0:
		line += fmt.Sprintf(": package %d of %d, %d left", begun, all, all-begun)
	case begun > 0:
		line += fmt.Sprintf(": package %d", begun)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.progress.terminal {
		p.progress.line = line
		_, _ = io.WriteString(p.out, erase+line)
		return
	}
	const first, most = 15 * time.Second, time.Minute
	if elapsed >= p.progress.next {
		p.progress.next = elapsed + min(max(elapsed, first), most)
		_, _ = p.write([]byte(line + "\n"))
	}
}

// BuildEnded removes what Building showed.
func (p *Printer) BuildEnded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.progress.next = 0
}

// erase goes to the beginning of the line and removes it (ECMA-48, EL).
const erase = "\r\x1b[K"

// clear makes room for a line; p.mu is held.
func (p *Printer) clear() {
	if p.progress.line != "" {
		_, _ = io.WriteString(p.out, erase)
		p.progress.line = ""
	}
}

// isTerminal reports whether lines may be written again there.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	var size [4]uint16
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	return errno == 0
}
