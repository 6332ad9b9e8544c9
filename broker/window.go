package broker

import (
	"encoding/binary"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"
)

// window keeps a client of MQTT 5 to the Receive Maximum that it asked for (§3.3.4): QoS 1 and 2 messages beyond it wait
// here, in their order, until the client has acknowledged earlier ones. It stands between the library and the socket,
// because the library's own way of doing this deadlocks it; the library believes that they were sent. How many can wait is
// bounded by the session's queue, which counts them too.
type window struct {
	size int

	mu   sync.Mutex
	open map[uint16]struct{} // sent, not acknowledged
	held []heldPacket
}

type heldPacket struct {
	id   uint16
	data []byte
}

func newWindow(size int) *window { return &window{size: size, open: map[uint16]struct{}{}} }

// pass takes what the library writes, whole packets, and gives what may go out now.
func (w *window) pass(p []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	out, kept := p, false
	for rest := p; len(rest) > 0; {
		n, id := delivery(rest)
		pk := rest[:n]
		rest = rest[n:]
		ok := id == 0 || w.enter(id)
		switch {
		case !ok && !kept:
			out, kept = append([]byte(nil), p[:len(p)-len(rest)-n]...), true
		case ok && kept:
			out = append(out, pk...)
		}
		if !ok {
			w.held = append(w.held, heldPacket{id, append([]byte(nil), pk...)})
		}
	}
	return out
}

// enter reports whether a message may go out now. One that is sent again has its place already.
func (w *window) enter(id uint16) bool {
	if _, again := w.open[id]; again {
		return true
	}
	if len(w.held) > 0 || len(w.open) >= w.size {
		return false
	}
	w.open[id] = struct{}{}
	return true
}

// release frees the place of a message that is done with, and gives what may go out now.
func (w *window) release(id uint16) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, id)
	for i, h := range w.held {
		if h.id == id { // acknowledged before it was sent: the library has forgotten it and may use its identifier again
			w.held = append(w.held[:i], w.held[i+1:]...)
			break
		}
	}
	var out []byte
	for len(w.held) > 0 && len(w.open) < w.size {
		h := w.held[0]
		w.held[0] = heldPacket{}
		w.held = w.held[1:]
		w.open[h.id] = struct{}{}
		out = append(out, h.data...)
	}
	return out
}

// unsent gives the identifiers of what still waits.
func (w *window) unsent() []uint16 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []uint16
	for _, h := range w.held {
		ids = append(ids, h.id)
	}
	return ids
}

// delivery gives the length of the packet that p begins with, and, if it is a PUBLISH of QoS 1 or 2, its identifier.
func delivery(p []byte) (n int, id uint16) {
	length, at := 0, 1
	for shift := 0; at < len(p) && shift <= 21; shift += 7 {
		b := p[at]
		at++
		length |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	n = min(at+length, len(p))
	if p[0]>>4 != packets.Publish || p[0]&0x06 == 0 || n < at+2 {
		return n, 0
	}
	if at += 2 + int(binary.BigEndian.Uint16(p[at:])); at+2 > n {
		return n, 0
	}
	return n, binary.BigEndian.Uint16(p[at:])
}

// acknowledged is told of PUBACK, PUBCOMP and a refusing PUBREC, and sends what waited for it.
func (l *link) acknowledged(id uint16) {
	if l.window == nil {
		return
	}
	l.cl.Lock()
	defer l.cl.Unlock()
	if next := l.window.release(id); len(next) > 0 {
		_, _ = l.write(next)
	}
}
