package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Ill is what a wire does to the bytes that go over it. The zero value does
// nothing.
type Ill struct {
	Refused  bool          // nobody listens
	CutAfter int           // connections are reset after so many bytes of answers; 0 cuts none
	Stalled  bool          // bytes are taken and never arrive, connections stay open
	Delay    time.Duration // every piece arrives so much later
	PerPiece int           // a piece is no longer than this; with Delay it bounds the rate; 0 is 16 KiB
	Garbled  bool          // one byte in a hundred of the answers has its top bit flipped
}

// Wire is a stretch of network between two processes that can be cut, slowed,
// stalled and garbled, in place of a cable that somebody trips over. It listens
// on loopback and connects to its target.
type Wire struct {
	target  string
	address string

	mu       sync.Mutex // guards all below
	ill      Ill
	listener net.Listener
	conns    map[net.Conn]struct{}
	closed   bool
	group    sync.WaitGroup
}

// NewWire lays a wire to a target, host:port.
func NewWire(target string) (*Wire, error) {
	w := &Wire{target: target, conns: make(map[net.Conn]struct{})}
	if err := w.listen("127.0.0.1:0"); err != nil {
		return nil, err
	}
	w.address = w.listener.Addr().String()
	return w, nil
}

// Address is where to connect in place of the target.
func (w *Wire) Address() string { return w.address }

func (w *Wire) listen(address string) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("lay a wire: %w", err)
	}
	w.listener = l
	w.group.Go(func() { w.accept(l) })
	return nil
}

// Set makes the wire ill, or well again with the zero value. Connections from
// before are reset: they have the illness, or would go on having it.
func (w *Wire) Set(ill Ill) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errors.New("the wire is gone")
	}
	w.ill = ill
	w.reset()
	if ill.Refused {
		_ = w.listener.Close()
		w.listener = nil
		return nil
	}
	if w.listener != nil {
		return nil
	}
	return w.listen(w.address)
}

// Cut resets every connection and nothing else.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reset()
}

func (w *Wire) reset() {
	for c := range w.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	clear(w.conns)
}

// Close takes the wire away and waits for its goroutines.
func (w *Wire) Close() {
	w.mu.Lock()
	w.closed = true
	w.reset()
	if w.listener != nil {
		_ = w.listener.Close()
	}
	w.mu.Unlock()
	w.group.Wait()
}

func (w *Wire) accept(l net.Listener) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		w.group.Go(func() { w.carry(near) })
	}
}

// keep remembers a connection so that it can be reset; false when the wire is
// gone.
func (w *Wire) keep(c net.Conn) (Ill, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return Ill{}, false
	}
	w.conns[c] = struct{}{}
	return w.ill, true
}

func (w *Wire) drop(c net.Conn) {
	w.mu.Lock()
	delete(w.conns, c)
	w.mu.Unlock()
	_ = c.Close()
}

func (w *Wire) carry(near net.Conn) {
	ill, ok := w.keep(near)
	defer w.drop(near)
	if !ok {
		return
	}
	far, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(context.Background(), "tcp", w.target)
	if err != nil {
		return
	}
	defer w.drop(far)
	if _, ok := w.keep(far); !ok {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		w.pump(near, far, ill, true)
		w.drop(near)
	}()
	w.pump(far, near, ill, false)
	w.drop(far)
	<-back
}

// pump moves bytes one way. Illnesses that need a direction hit the answers:
// what was garbled on its way there would be another message, and no protocol
// without a checksum of its own could tell.
func (w *Wire) pump(to, from net.Conn, ill Ill, answers bool) {
	size := ill.PerPiece
	if size == 0 {
		size = 16 << 10
	}
	piece, total := make([]byte, size), 0
	for {
		n, err := from.Read(piece)
		if n > 0 && !ill.Stalled {
			if ill.Delay > 0 {
				time.Sleep(ill.Delay) //nolint:forbidigo // the delay is what the wire is for
			}
			total += n
			if answers && ill.Garbled {
				garble(piece[:n], total-n)
			}
			if _, werr := to.Write(piece[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
		if answers && ill.CutAfter > 0 && total >= ill.CutAfter {
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			return
		}
	}
}

// garble flips the top bit of every hundredth byte of a stream, which makes it
// what no text can be.
func garble(piece []byte, from int) {
	for i := range piece {
		if (from+i)%100 == 9 {
			piece[i] ^= 0x80
		}
	}
}
