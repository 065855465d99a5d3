package main

import (
	"context"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// A pollFD is what ppoll(2) takes.
type pollFD struct {
	fd              int32
	events, revents int16
}

// awaitHangup calls gone when f is a terminal whose other side is closed, or a
// pipe that no one reads.
func awaitHangup(ctx context.Context, f *os.File, gone func()) {
	go func() {
		const pause = time.Second
		for ctx.Err() == nil {
			if hungUp(f, pause) {
				gone()
				return
			}
		}
	}()
}

// hungUp waits until f's other side is closed, for a time at most.
func hungUp(f *os.File, most time.Duration) bool {
	const (
		pollErr    = 0x8  // POLLERR: a pipe without a reader
		pollHangup = 0x10 // POLLHUP
	)
	fd := pollFD{fd: int32(f.Fd())}
	timeout := syscall.NsecToTimespec(most.Nanoseconds())
	n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&fd)), 1, uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
	return errno == 0 && n == 1 && fd.revents&(pollErr|pollHangup) != 0
}
