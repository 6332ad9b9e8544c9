//go:build unix

package central

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// rawConn gives what sendAndWait needs, or nil for a connection that is no socket.
func rawConn(conn net.Conn) syscall.RawConn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// sendAndWait writes a request and waits until there is something to read. A read right after the write, which is what
// net.Conn offers, finds nothing but on the slowest of machines, and costs a system call each time. Here the runtime is
// told first that somebody waits and the request is written then, so that no answer can be missed.
//
// Without an error and not ready, the time was up or the socket did not take the whole request; sent tells how much.
func (c *directConn) sendAndWait(b []byte) (sent int, ready bool, err error) {
	t := &c.turn
	t.request, t.sent, t.asked, t.err = b, 0, false, nil
	waited := c.raw.Read(t.step)
	t.request = nil
	switch {
	case t.err != nil:
		failed := &net.OpError{Op: "write", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("write", t.err)}
		return t.sent, false, &sendError{failed}
	case waited == nil:
		return t.sent, t.sent == len(b), nil
	case errors.Is(waited, os.ErrDeadlineExceeded):
		return t.sent, false, nil
	}
	return t.sent, false, fmt.Errorf("wait for the answer: %w", waited)
}

// write is called with a socket that does not block, once before the wait and once after it. It reports that there is
// nothing to wait for.
func (t *turn) write(fd uintptr) bool {
	if t.asked {
		return true
	}
	t.asked = true
	for {
		n, err := syscall.Write(int(fd), t.request)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
		case err != nil:
			t.err = err
		default:
			t.sent = n
		}
		return t.sent < len(t.request)
	}
}
