package forward

import "syscall"

// ipBindAddressNoPort is IP_BIND_ADDRESS_NO_PORT (ip(7)).
const ipBindAddressNoPort = 24

// choosePortLate has connect choose the port, not bind: then connections to
// different addresses may share one, and the ports do not run out.
func choosePortLate(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		// Without it, it works as well, but for fewer connections.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	})
}
