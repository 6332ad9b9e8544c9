//go:build unix

package central

import (
	"errors"
	"net"
	"syscall"
)

// quiet tells whether a connection has nothing to read, neither bytes nor its end, and waits for nothing. A read with a
// deadline would not do: on a busy machine the deadline passes before the socket is looked at.
func quiet(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	nothing := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		// The socket is non-blocking, as all of Go's are.
		_, err := syscall.Read(int(fd), b[:])
		nothing = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && nothing
}
