package forward

import (
	"net"
	"syscall"
	"time"
)

// An upstream is a client's connection to a backend.
type upstream struct {
	link
	conn   *net.TCPConn
	raw    syscall.RawConn
	in     buffer
	used   time.Time     // when it carried its last response; zero if none yet
	idle   time.Duration // for how long it had been idle before this request
	peeked error
	peek   func(fd uintptr) bool
}

func newUpstream(conn *net.TCPConn, p *pool) (*upstream, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	u := &upstream{conn: conn, raw: raw, in: buffer{pool: p}}
	u.close = func() { conn.Close() }
	u.peek = func(fd uintptr) bool {
		var b [1]byte
		_, _, u.peeked = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	}
	return u, nil
}

// fit reports whether an unused connection may carry a request. A request that
// cannot be sent twice gets none that the backend closed or may be closing right
// now. Another is sent again if need be, so it need not be looked at each time,
// but no backend says anything unasked within maxTrust.
func (u *upstream) fit(repeatable bool) bool {
	idle := time.Since(u.used)
	u.idle = idle
	if repeatable && idle < maxTrust {
		return true
	}
	if !repeatable && int64(idle) > u.backend.trust.Load() || u.raw.Read(u.peek) != nil {
		return false
	}
	if u.peeked != syscall.EAGAIN { // it ended, or said what nobody asked for
		u.backend.distrust(idle)
		return false
	}
	return true
}
