package broker

import (
	"encoding/binary"
	"runtime"
	"sync"
	"time"
	"unicode/utf8"
)

// Kinds of acknowledgement: the first byte on the wire.
const (
	ackNone    byte = 0
	ackPuback  byte = 0x40
	ackPubrec  byte = 0x50
	ackPubcomp byte = 0x70
)

// slot is one acknowledgement in the order its publication arrived.
type slot struct {
	id     uint16
	kind   byte
	done   bool
	code   byte
	reason string
	size   int   // payload bytes, for the window
	held   int64 // packet memory to give back
	qos2   *qos2Entry
}

// acks is the pipeline of one connection's acknowledgements. Publications are settled in any order; what is written follows
// the order of arrival. A goroutine that writes exists only while there is something to write, so an idle client costs none.
type acks struct {
	mu      sync.Mutex
	queue   []*slot
	open    int  // publications handed over or waiting to be acknowledged, QoS 0 too
	bytes   int  // their payloads
	writing bool // a goroutine is writing acknowledgements
	refused bool // an MQTT 3.1.1 client was refused: nothing more is acknowledged
	waiting bool // the reader waits for room
	room    chan struct{}
}

// windowBytes is how many payload bytes of one client may wait to be stored, besides Limits.InFlight.
const windowBytes = 1 << 20

// enter takes a place in the window for a publication, and its turn if it is to be acknowledged. It blocks the read
// goroutine while the window is full, and reports false when the connection ended instead.
func (l *link) enter(s *slot) bool {
	a := &l.acks
	for {
		a.mu.Lock()
		if !a.refused && a.open < l.b.cfg.Limits.InFlight && (a.open == 0 || a.bytes+s.size <= windowBytes) {
			a.open++
			a.bytes += s.size
			if s.kind != ackNone {
				a.queue = append(a.queue, s)
			}
			a.mu.Unlock()
			return true
		}
		if a.room == nil {
			a.room = make(chan struct{}, 1)
		}
		a.waiting = true
		a.mu.Unlock()
		select {
		case <-a.room:
		case <-l.done:
			return false
		}
	}
}

// settle takes a publication's outcome. It is the settler of everything that arrives on this connection.
func (l *link) settle(p *Publication, o Outcome) {
	b := l.b
	b.count.inFlight.Add(-1)
	if o.Code >= CodeUnspecified {
		b.count.refused.Add(1)
		b.count.count(refusalReason(o.Code))
	} else if p.QoS > 0 {
		b.count.acked.Add(1)
	}
	if p.ack.held > 0 {
		b.memory.release(p.ack.held)
	}
	if e := p.ack.qos2; e != nil {
		e.settled(b, o)
	}
	l.settleSlot(&p.ack, o.Code, o.Reason)
}

func refusalReason(code byte) reason {
	switch code {
	case CodeUnspecified, CodeImplementation:
		return reasonRefusedStore
	case CodeQuotaExceeded:
		return reasonRefusedQuota
	}
	return reasonRefusedOther
}

// settleSlot marks a slot done and sees to it that somebody writes what can be written.
func (l *link) settleSlot(s *slot, code byte, why string) {
	a := &l.acks
	a.mu.Lock()
	s.done, s.code, s.reason = true, code, why
	if s.kind == ackNone {
		a.leave(s)
		a.mu.Unlock()
		return
	}
	start := !a.writing && len(a.queue) > 0 && a.queue[0].done
	if start {
		a.writing = true
	}
	a.mu.Unlock()
	if start {
		go l.drain()
	}
}

// leave frees a slot's place in the window. Called with mu held.
func (a *acks) leave(s *slot) {
	a.open--
	a.bytes -= s.size
	if a.waiting {
		a.waiting = false
		select {
		case a.room <- struct{}{}:
		default:
		}
	}
}

// ackBatch bounds one write.
const ackBatch = 4 << 10

// drain writes acknowledgements until the next one in order is not settled. It ends by itself: a write that does not
// succeed in time closes the connection, after which everything is dropped.
func (l *link) drain() {
	runtime.Gosched() // a committer that settles a batch gets to settle the rest of it first
	a := &l.acks
	buf := make([]byte, 0, 64)
	for {
		buf = buf[:0]
		refused := false
		var n int64
		a.mu.Lock()
		for len(a.queue) > 0 && a.queue[0].done && len(buf) < ackBatch && !a.refused {
			s := a.queue[0]
			if s.code >= CodeUnspecified && l.protocol != 5 {
				a.refused, refused = true, true
				break
			}
			a.queue[0] = nil
			a.queue = a.queue[1:]
			a.leave(s)
			buf = appendAck(buf, s, l.protocol, l.problemInfo())
			n++
		}
		if len(a.queue) == 0 {
			a.queue = nil
		}
		if len(buf) == 0 && !refused {
			a.writing = false
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		if len(buf) > 0 {
			l.cl.Lock()
			_, err := l.Write(buf)
			l.cl.Unlock()
			if err == nil {
				l.b.sent(n, int64(len(buf)))
			}
		}
		if refused {
			l.refuseLater()
		}
	}
}

// refuseLater closes a client of MQTT 3.1.1, which has no other way to learn of a refusal, after a delay: it will come back
// at once and try again.
func (l *link) refuseLater() {
	delay := l.b.cfg.Auth.RefusalDelay
	time.AfterFunc(delay, func() { l.stop(reasonRefusedOther, 0) })
}

// problemInfo reports whether the client wants reason strings (MQTT 5 §3.1.2.11.7) and takes packets that are large enough.
func (l *link) problemInfo() bool {
	p := &l.cl.Properties.Props
	if p.MaximumPacketSize > 0 && p.MaximumPacketSize < maxReason+16 {
		return false
	}
	return !p.RequestProblemInfoFlag || p.RequestProblemInfo != 0
}

// maxReason bounds a reason string, so that an acknowledgement fits any client's maximum packet size that makes sense.
const maxReason = 100

// appendAck encodes PUBACK, PUBREC or PUBCOMP (MQTT 5 §3.4, §3.5, §3.7; 3.1.1 knows only the identifier).
func appendAck(buf []byte, s *slot, protocol byte, problemInfo bool) []byte {
	if protocol != 5 || s.code == 0 {
		buf = append(buf, s.kind, 2)
		return binary.BigEndian.AppendUint16(buf, s.id)
	}
	why := s.reason
	if len(why) > maxReason {
		why = why[:maxReason]
	}
	if why == "" || !problemInfo || !utf8.ValidString(why) {
		buf = append(buf, s.kind, 3)
		buf = binary.BigEndian.AppendUint16(buf, s.id)
		return append(buf, s.code)
	}
	buf = append(buf, s.kind, byte(2+1+1+3+len(why)))
	buf = binary.BigEndian.AppendUint16(buf, s.id)
	buf = append(buf, s.code, byte(3+len(why)), 0x1f)
	buf = binary.BigEndian.AppendUint16(buf, uint16(len(why)))
	return append(buf, why...)
}

// inFlight is how many publications are not settled and acknowledged.
func (a *acks) inFlight() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open
}
