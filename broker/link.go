package broker

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/time/rate"
)

// link is one connection as the library sees it, below it the guarded socket and perhaps TLS or WebSocket. It carries all we
// know about the client, so that no map has to be asked for it, and it looks at the packets' headers as they pass: what is
// too large is ended before anything is allocated for it.
type link struct {
	net.Conn
	b        *Broker
	listener *listener
	addr     netip.Addr // of the peer; an IPv6 address cut to its /64
	remote   string
	opened   time.Time

	done      chan struct{} // closed with the connection
	finished  chan struct{} // closed when everything about it is cleaned up
	closeOnce sync.Once
	cause     atomic.Uint32 // reason+1 of our own doing, 0 = the peer's or the library's
	held      atomic.Int64  // packet memory that belongs to packets not yet handed over
	connected atomic.Bool   // CONNECT was accepted
	farewell  atomic.Bool   // the end needs no word: the peer said DISCONNECT, is gone, or was told
	ended     bool          // endConnection was called; read goroutine only
	endReason string        // read goroutine only

	head  header // read goroutine only
	early []byte // read before the library was told of the connection; read goroutine only

	// Set while CONNECT is processed, on the read goroutine, before anybody else can see the link.
	cl       *mqtt.Client
	sess     *session
	protocol byte
	limit    *rate.Limiter // publishes
	bytes    *rate.Limiter
	will     atomic.Pointer[will]
	window   *window // nil without a Receive Maximum

	identity      atomic.Pointer[Identity]
	byCertificate bool // set before the link is seen by anybody else
	subs          atomic.Int32

	// Read goroutine only.
	emptyWill bool
	resumed   bool          // its session was shelved, so the library takes it for a new one
	expiryCap uint32        // session expiry to announce, 0 = none
	packetID  uint16        // of the SUBSCRIBE, UNSUBSCRIBE or PUBREL being processed
	codes     []byte        // our answers to the filters of the SUBSCRIBE being processed, 0 = the library's
	wants     []bool        // which of them are owed retained messages
	owed      []owed        // the messages
	openQoS2  *atomic.Int32 // QoS 2 publications that wait for their release; nil before the first
	decided   map[string]decision
	decidedAt uint64 // the rules' generation that decided belongs to

	acks acks
}

// header follows the fixed headers in the stream (MQTT 5 §2.1): one byte of type and flags, one to four of length.
type header struct {
	state  uint8 // 0 type expected, 1 length expected, 2 inside the body
	first  byte
	shift  uint
	length uint32
	left   uint32
	seen   bool  // the header of CONNECT has passed
	whole  bool  // all of it has
	name   uint8 // length of the protocol's name in CONNECT
	level  uint8 // the protocol's version in CONNECT; 0 before it
	willOn bool  // a DISCONNECT of one byte of body with reason 0x04 has passed
	scan   filterScan
}

var (
	errConnectSize  = errors.New("the first packet is too large")
	errNotConnect   = errors.New("the first packet is not CONNECT")
	errPacketSize   = errors.New("the packet is too large")
	errPacketMemory = errors.New("no memory for large packets")
	errBadLength    = errors.New("the packet's length is malformed")
)

// bigPacket is the size from which packets are counted against Limits.PacketMemory.
const bigPacket = 4 << 10

func newLink(b *Broker, l *listener, c net.Conn, addr netip.Addr) *link {
	return &link{
		Conn: c, b: b, listener: l, addr: addr, remote: c.RemoteAddr().String(),
		opened: time.Now(), done: make(chan struct{}), finished: make(chan struct{}),
	}
}

// Read passes the client's bytes on after a look at the headers in them.
func (l *link) Read(p []byte) (int, error) {
	if l.early != nil {
		return l.takeEarly(p), nil
	}
	n, err := l.Conn.Read(p)
	if n > 0 {
		if herr := l.look(p[:n]); herr != nil {
			return 0, herr
		}
	}
	if err != nil {
		l.farewell.Store(true)
	}
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		if l.connected.Load() {
			l.blame(reasonKeepAlive)
		} else {
			l.blame(reasonConnectTimeout)
		}
	}
	return n, err
}

// look follows the stream. It fails on the first packet that must not be read to its end.
func (l *link) look(p []byte) error {
	h := &l.head
	for len(p) > 0 {
		switch h.state {
		case 0:
			if h.level == 3 {
				p[0] = plainFlags(p[0])
			}
			h.first, h.shift, h.length, h.state = p[0], 0, 0, 1
			p = p[1:]
		case 1:
			if h.shift > 21 {
				l.blame(reasonProtocol)
				return errBadLength
			}
			h.length |= uint32(p[0]&0x7f) << h.shift
			h.shift += 7
			more := p[0]&0x80 != 0
			p = p[1:]
			if more {
				continue
			}
			if err := l.admit(); err != nil {
				return err
			}
			h.left = h.length
			h.state = 2
			if h.left == 0 {
				h.state, h.whole = 0, true
			}
			h.scan = newFilterScan()
		default:
			n := min(uint32(len(p)), h.left)
			h.body(p[:n])
			p, h.left = p[n:], h.left-n
			if h.left > 0 {
				break
			}
			h.state, h.whole = 0, true
			if h.first>>4 == packets.Subscribe && h.level == 5 {
				if err := h.scan.end(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// body looks at a piece of a packet's body.
func (h *header) body(p []byte) {
	switch h.first >> 4 {
	case packets.Connect:
		// The version is behind the protocol's name (MQTT 5 §3.1.2.2). What follows in the same read is looked at before the
		// library has decoded the CONNECT.
		for i, c := range p {
			switch at := h.length - h.left + uint32(i); {
			case h.level != 0 || at > 258:
				return
			case at == 1:
				h.name = c
			case at == 2+uint32(h.name) && at > 1:
				h.level = c
			}
		}
	case packets.Subscribe:
		if h.level == 5 {
			h.scan.feed(p)
		}
	case packets.Disconnect:
		if h.length == 1 && p[0] == 0x04 {
			h.willOn = true
		}
	}
}

// plainFlags takes DUP out of a PUBREL, SUBSCRIBE or UNSUBSCRIBE, where MQTT 3.1 allows it (§2.1) and the library does not.
func plainFlags(first byte) byte {
	switch first >> 4 {
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		return first &^ 0x08
	}
	return first
}

// admit decides on a packet whose header has just been read.
func (l *link) admit() error {
	h, limits := &l.head, &l.b.cfg.Limits
	if !h.seen {
		h.seen = true
		if h.first != 0x10 {
			l.blame(reasonNotConnect)
			return errNotConnect
		}
		if int64(h.length) > limits.MaxConnectBytes {
			l.blame(reasonConnectSize)
			return errConnectSize
		}
		return nil
	}
	if int64(h.length) > limits.MaxPacketBytes-5 {
		l.blame(reasonPacketSize)
		if l.protocol == 5 {
			l.say([]byte{0xe0, 1, 0x95})
		}
		return errPacketSize
	}
	if h.length < bigPacket {
		return nil
	}
	if !l.b.memory.acquire(int64(h.length), limits.MaxBackPressure) {
		l.blame(reasonPacketMemory)
		return errPacketMemory
	}
	l.held.Add(int64(h.length))
	return nil
}

// takeHeld moves a packet's memory from the link to whoever settles it.
func (l *link) takeHeld(length int) int64 {
	if length < bigPacket || l.held.Load() < int64(length) {
		return 0
	}
	l.held.Add(-int64(length))
	return int64(length)
}

// Write gives the client a bounded time to take the bytes. One that does not is disconnected: the library holds the
// client's lock meanwhile, and whoever publishes to it waits for that lock.
func (l *link) Write(p []byte) (int, error) {
	if l.window != nil {
		out := l.window.pass(p)
		if len(out) > 0 {
			if _, err := l.write(out); err != nil {
				return 0, err
			}
		}
		return len(p), nil
	}
	return l.write(p)
}

func (l *link) write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == 0xe0 {
		l.farewell.Store(true)
	}
	if err := l.SetWriteDeadline(time.Now().Add(l.b.cfg.Limits.WriteTimeout)); err != nil {
		return 0, err
	}
	n, err := l.Conn.Write(p)
	if err != nil {
		l.farewell.Store(true)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			l.blame(reasonWriteTimeout)
		}
		_ = l.Close()
	} else if l.listener.tls != nil {
		// TLS also writes by itself, in answer to a key update, and must not find a deadline that is over.
		_ = l.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// SetDeadline is how the library sets the keep-alive. It must not touch the deadline of a write under way.
func (l *link) SetDeadline(t time.Time) error { return l.SetReadDeadline(t) }

// Close closes the connection, once. The library closes without a word when a packet cannot be decoded; an MQTT 5 client
// is told here (§4.13.1).
func (l *link) Close() error {
	err := net.ErrClosed
	l.closeOnce.Do(func() {
		if l.connected.Load() && l.protocol == 5 && l.cause.Load() == 0 && !l.farewell.Load() && l.cl.TryLock() {
			l.farewell.Store(true)
			_ = l.SetWriteDeadline(time.Now().Add(l.b.cfg.Limits.WriteTimeout))
			_, _ = l.Conn.Write([]byte{0xe0, 1, codeMalformed})
			l.cl.Unlock()
		}
		close(l.done)
		err = l.Conn.Close()
		l.b.memory.release(l.held.Swap(0))
	})
	return err
}

// blame remembers why the connection ends, and counts it. Only the first reason stands.
func (l *link) blame(r reason) {
	if l.cause.CompareAndSwap(0, uint32(r)+1) {
		l.b.count.count(r)
	}
}

// blamed is the reason of the end, if it was our doing.
func (l *link) blamed() (reason, bool) {
	c := l.cause.Load()
	if c == 0 {
		return 0, false
	}
	return reason(c - 1), true
}

// say writes a whole packet outside the library's ways. The error does not matter: the connection is about to end.
func (l *link) say(packet []byte) { _, _ = l.Write(packet) }

// stop ends the connection for a reason of ours; with a code of 0x80 and above an MQTT 5 client is told.
func (l *link) stop(r reason, code byte) {
	l.blame(r)
	if code >= 0x80 && l.protocol == 5 && l.cl != nil {
		l.cl.Lock() // whoever has it is writing, which the write timeout bounds
		l.say([]byte{0xe0, 1, code})
		l.cl.Unlock()
	}
	if l.cl != nil {
		l.cl.Stop(errors.New(r.String()))
	}
	_ = l.Close()
}

// why puts the end of the connection into a word: a reason of ours, or what the peer did.
func (l *link) why(err error) string {
	if r, ok := l.blamed(); ok {
		return r.String()
	}
	switch {
	case err == nil:
		return "disconnect"
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection_lost"
	}
	if ne, ok := errors.AsType[*net.OpError](err); ok && ne != nil {
		return "connection_lost"
	}
	return reasonProtocol.String()
}

// info describes the connection.
func (l *link) info() ClientInfo {
	c := ClientInfo{
		Remote: l.remote, Listener: l.listener.cfg.Name, Protocol: l.protocol, TLS: l.listener.cfg.TLS != nil,
		WebSocket: l.listener.cfg.Transport == "websocket", Connected: l.opened,
		Subscriptions: int(l.subs.Load()), InFlight: l.acks.inFlight(),
	}
	if l.sess != nil {
		c.ID, c.Persistent = l.sess.id, l.sess.persistent.Load()
	}
	if id := l.identity.Load(); id != nil {
		c.User, c.Role = id.Name, id.Role
		c.Device = id.DeviceOf(c.ID)
	}
	return c
}

// addressOf gives the address to count by: IPv4 whole, IPv6 by its /64, since one host owns that many.
func addressOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is6() && !addr.IsLoopback() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}
