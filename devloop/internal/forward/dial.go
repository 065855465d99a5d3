package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// origin returns the address from which the backend is to be reached: the
// client's, if it is one of this machine. Others cannot be had, and then the
// result is not valid.
func origin(conn *net.TCPConn) netip.Addr {
	remote, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := remote.AddrPort().Addr().Unmap()
	if ip.IsLoopback() {
		return ip
	}
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok && local.AddrPort().Addr().Unmap() == ip {
		return ip
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip.AsSlice()) {
			return ip
		}
	}
	return netip.Addr{}
}

// dial connects to a backend, from the given address if that is possible.
func dial(ctx context.Context, b *Backend, from netip.Addr) (*net.TCPConn, error) {
	d := net.Dialer{}
	d.SetMultipathTCP(false)
	if from.IsValid() && from != netip.AddrFrom4([4]byte{127, 0, 0, 1}) && from != netip.IPv6Loopback() {
		bound := d
		bound.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		bound.Control = choosePortLate
		if conn, err := bound.DialContext(ctx, "tcp", b.addr); err == nil {
			return conn.(*net.TCPConn), nil
		} else if errors.Is(err, syscall.ECONNREFUSED) || ctx.Err() != nil {
			return nil, err
		}
	}
	conn, err := d.DialContext(ctx, "tcp", b.addr)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// reach dials, and dials again while the backend refuses, for as long as it may
// be about to be replaced. It returns errReplaced if it was.
func (p *Proxy) reach(ctx context.Context, b *Backend, from netip.Addr) (*net.TCPConn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.retired, cancel)()
	defer context.AfterFunc(b.closed, cancel)()
	for deadline := time.Now().Add(p.options.Refused); ; {
		conn, err := dial(ctx, b, from)
		switch {
		case err == nil:
			return conn, nil
		case b.retired.Err() != nil || b.closed.Err() != nil:
			return nil, errReplaced
		case !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(deadline):
			return nil, fmt.Errorf("the server cannot be reached: %w", err)
		}
		select {
		case <-time.After(refusedPause):
		case <-ctx.Done():
		case <-p.ending:
			return nil, fmt.Errorf("the server cannot be reached: %w", err)
		}
	}
}

var errReplaced = errors.New("the backend was replaced")
