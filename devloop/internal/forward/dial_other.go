//go:build !linux

package forward

import "syscall"

// choosePortLate has no equivalent here.
func choosePortLate(string, string, syscall.RawConn) error { return nil }
