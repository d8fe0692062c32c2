//go:build unix

package api

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// someoneWaits reports whether a client has made a connection that is yet to be accepted.
func someoneWaits(l net.Listener) (waits bool) {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		waits = n > 0
	})
	return waits && err == nil
}
