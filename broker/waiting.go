package broker

import (
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// packetCost is about what a message that waits takes besides its own bytes: the library keeps whole packets.
const packetCost = 1200

// weight is what a message's own bytes come to, its properties too.
func weight(pk *packets.Packet) int64 {
	p := &pk.Properties
	n := len(pk.Payload) + len(pk.TopicName) + len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData)
	for _, u := range p.User {
		n += len(u.Key) + len(u.Val) + 32
	}
	return int64(n)
}

// enqueue counts and keeps a message that waits for the client's acknowledgement. It reports whether it is a new one.
func (s *session) enqueue(b *Broker, cl *mqtt.Client, pk *packets.Packet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.queue[pk.PacketID]; ok {
		return false // sent again after a reconnect
	}
	if s.queue == nil {
		s.queue = map[uint16]*queued{}
	}
	e := &queued{size: weight(pk) + packetCost, expires: max(pk.Expiry, 0)}
	s.queue[pk.PacketID] = e
	s.unsent++
	s.waits(b, e, 1)
	if s.persistent.Load() && !b.transient.holds(pk.TopicName) {
		s.save(b)
		b.store.putMessage(s.id, pk, !cl.Closed())
	}
	return true
}

// A publisher waits this long at most for a subscriber that falls behind, and then nobody does for a while.
const (
	holdTime = 100 * time.Millisecond
	slowTime = 5 * time.Second
)

// hold makes whoever publishes wait a moment for a connected client that is busy taking messages: the library drops what does
// not fit into its queue of pending writes, QoS 1 and 2 too, and a burst would not fit. A client that is slow for longer
// cannot hold up the others: it loses messages, which are counted.
func (s *session) hold(b *Broker, cl *mqtt.Client) {
	l := linkOf(cl)
	if l == nil || cl.Closed() {
		return
	}
	room := max(1, b.cfg.Limits.PendingWrites/2)
	var limit *time.Timer
	for {
		s.mu.Lock()
		if s.unsent <= room || time.Now().Before(s.slow) {
			s.mu.Unlock()
			return
		}
		if s.progress == nil {
			s.progress = make(chan struct{})
		}
		progress := s.progress
		s.mu.Unlock()
		if limit == nil {
			limit = time.NewTimer(holdTime)
			defer limit.Stop()
		}
		select {
		case <-progress:
		case <-l.done:
			return
		case <-limit.C:
			s.mu.Lock()
			s.slow = time.Now().Add(slowTime)
			s.mu.Unlock()
			return
		}
	}
}

// onWire notes that one message fewer waits for the wire. Called with mu held.
func (s *session) onWire() {
	s.unsent--
	if s.progress != nil {
		close(s.progress)
		s.progress = nil
	}
}

// heldBack notes that messages which seemed sent were not.
func (s *session) heldBack(ids []uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if e, ok := s.queue[id]; ok && e.sent {
			e.sent = false
			s.unsent++
		}
	}
}

// dequeue forgets a message, and reports whether it was there.
func (s *session) dequeue(b *Broker, id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.queue[id]
	if !ok {
		return false
	}
	delete(s.queue, id)
	s.waits(b, e, -1)
	if !e.sent {
		s.onWire()
	}
	b.store.deleteMessage(s.id, id)
	return true
}

// expire drops the messages whose time is over.
func (s *session) expire(b *Broker, now int64) {
	cl := s.client.Load()
	if cl == nil || s.expiring.Load() == 0 {
		return
	}
	over := map[uint16]*queued{}
	s.mu.Lock()
	for id, e := range s.queue {
		if e.expires > 0 && e.expires < now {
			over[id] = e
		}
	}
	s.mu.Unlock()
	for id, e := range over {
		s.mu.Lock()
		still := s.queue[id] == e // else it was acknowledged meanwhile, and its identifier may be another's
		s.mu.Unlock()
		if !still {
			continue
		}
		if cl.State.Inflight.Delete(id) {
			atomic.AddInt64(&b.server.Info.Inflight, -1)
		}
		if s.dequeue(b, id) {
			b.count.count(reasonQueueExpired)
		}
	}
}

// reconcile drops from the queue what the library no longer has.
func (s *session) reconcile(b *Broker, cl *mqtt.Client) {
	s.mu.Lock()
	var gone []uint16
	for id := range s.queue {
		if _, ok := cl.State.Inflight.Get(id); !ok {
			gone = append(gone, id)
		}
	}
	s.mu.Unlock()
	for _, id := range gone {
		s.dequeue(b, id)
	}
}

// sentBefore reports whether a message was on the wire before, and marks that it is now.
func (s *session) sentBefore(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.queue[id]
	if !ok {
		return false
	}
	if e.sent {
		return true
	}
	e.sent = true
	s.onWire()
	return false
}
