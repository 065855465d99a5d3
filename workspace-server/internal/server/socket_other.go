//go:build !unix

package server

import "net"

func unblock(net.Listener) {}

func hasInput(net.Conn) bool { return false }
