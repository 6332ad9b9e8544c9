package broker

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// noRetained tells the library not to send retained messages for a subscription (MQTT 5 §3.8.3.1, Retain Handling 2). The
// broker does that itself: the library looks for them after SUBACK, so that what is published then comes twice, and drops
// what does not fit into the queue of pending writes.
const noRetained = 2

// owed is what a new subscription is owed: the retained messages there were when it was made.
type owed struct {
	sub      packets.Subscription
	messages []packets.Packet
}

// OnSubscribe decides about each filter. A refused one is emptied, which the library refuses too; the code comes from us.
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	l := linkOf(cl)
	if l == nil {
		return pk
	}
	filters := make(packets.Subscriptions, len(pk.Filters))
	copy(filters, pk.Filters)
	l.codes, l.wants = make([]byte, len(filters)), make([]bool, len(filters))
	known := cl.State.Subscriptions.Len()
	for i := range filters {
		f := filters[i].Filter
		_, existed := cl.State.Subscriptions.Get(f)
		l.wants[i] = !mqtt.IsSharedFilter(f) && (filters[i].RetainHandling == 0 || filters[i].RetainHandling == 1 && !existed)
		filters[i].RetainHandling = noRetained
		code, r := l.maySubscribe(f, known, existed)
		if code != CodeSuccess {
			h.b.count.count(r)
			h.b.noise.refused(l, f, r, "subscribe")
			l.codes[i], filters[i].Filter = code, ""
			continue
		}
		if !existed {
			known++
		}
	}
	pk.Filters = filters
	return pk
}

func (l *link) maySubscribe(filter string, known int, existed bool) (byte, reason) {
	limits := &l.b.cfg.Limits
	inner, ok := unshare(filter)
	switch {
	case !ok || !ValidFilter(inner) || !limits.TopicFits(filter):
		return packets.ErrTopicFilterInvalid.Code, reasonSubscribeFilter
	case !existed && known >= limits.MaxSubscriptions:
		return CodeQuotaExceeded, reasonSubscribeLimit
	}
	if !l.b.acl.Load().decide(l.identity.Load(), ActionSubscribe, filter).allowed {
		return CodeNotAuthorized, reasonSubscribeACL
	}
	return CodeSuccess, 0
}

// OnSubscribed is told what the library made of the filters, before SUBACK is sent.
func (h *hook) OnSubscribed(cl *mqtt.Client, pk packets.Packet, codes []byte) {
	l := linkOf(cl)
	if l == nil {
		return
	}
	l.subs.Store(int32(cl.State.Subscriptions.Len()))
	for i, f := range pk.Filters {
		if i >= len(codes) || codes[i] >= CodeUnspecified {
			continue
		}
		if l.sess.persistent.Load() {
			l.sess.mu.Lock()
			l.sess.save(h.b)
			l.sess.mu.Unlock()
			h.b.store.putSubscription(l.sess.id, f)
		}
		if fn := h.b.opts.Events.Subscribed; fn != nil {
			fn(l.info(), strings.Clone(f.Filter))
		}
		if i < len(l.wants) && l.wants[i] {
			if found := h.b.server.Topics.Messages(f.Filter); len(found) > 0 {
				l.owed = append(l.owed, owed{f, found})
			}
		}
	}
}

// sendOwed sends the retained messages that a SUBSCRIBE has earned, after its SUBACK. It writes them itself, on the
// client's own goroutine: a client that does not keep up holds up nobody else.
func (l *link) sendOwed(cl *mqtt.Client) {
	all := l.owed
	l.owed = nil
	for _, o := range all {
		for i := range o.messages {
			if cl.Closed() {
				return
			}
			l.sendRetained(cl, &o.sub, &o.messages[i])
		}
	}
}

func (l *link) sendRetained(cl *mqtt.Client, sub *packets.Subscription, pk *packets.Packet) {
	b := l.b
	switch {
	case sub.NoLocal && pk.Origin == cl.ID,
		pk.Expiry > 0 && pk.Expiry < time.Now().Unix(),
		!b.mayDeliver(cl, pk.TopicName):
		return
	}
	out := pk.Copy(false)
	out.FixedHeader.Retain = true
	out.FixedHeader.Qos = min(out.FixedHeader.Qos, sub.Qos)
	if sub.Identifier > 0 {
		out.Properties.SubscriptionIdentifier = []int{sub.Identifier}
	}
	if out.FixedHeader.Qos > 0 {
		if cl.State.Inflight.Len() >= b.cfg.Limits.QueuedMessages {
			atomic.AddInt64(&b.server.Info.InflightDropped, 1)
			return
		}
		id, err := cl.NextPacketID()
		if err != nil {
			atomic.AddInt64(&b.server.Info.InflightDropped, 1)
			return
		}
		out.PacketID = uint16(id)
		if cl.State.Inflight.Set(out) {
			atomic.AddInt64(&b.server.Info.Inflight, 1)
			l.sess.enqueue(b, cl, &out)
		}
	}
	_ = cl.WritePacket(out) // what goes wrong ends the connection, which the read loop sees
}

// OnUnsubscribed takes subscriptions out of the store.
func (h *hook) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	s := h.b.sessionOf(cl)
	if s == nil {
		return
	}
	if l := linkOf(cl); l != nil {
		l.subs.Store(int32(cl.State.Subscriptions.Len()))
	}
	if s.persistent.Load() {
		for _, f := range pk.Filters {
			h.b.store.deleteSubscription(s.id, f.Filter)
		}
	}
}

// OnSelectSubscribers picks the member of each shared subscription that gets a message: a connected one if there is one,
// each as likely as the others. The library takes any, also one that is away.
func (h *hook) OnSelectSubscribers(subs *mqtt.Subscribers, _ packets.Packet) *mqtt.Subscribers {
	subs.SharedSelected = make(map[string]packets.Subscription, len(subs.Shared))
	for _, group := range subs.Shared {
		var chosen string
		here, away := 0, 0
		for id := range group {
			cl, ok := h.b.server.Clients.Get(id)
			switch {
			case ok && !cl.Closed():
				if here++; rand.IntN(here) == 0 {
					chosen = id
				}
			case here == 0:
				if away++; rand.IntN(away) == 0 {
					chosen = id
				}
			}
		}
		sub := group[chosen]
		if had, ok := subs.SharedSelected[chosen]; ok {
			sub = had.Merge(sub)
		}
		subs.SharedSelected[chosen] = sub
	}
	return subs
}

// fits reports whether a delivery is no larger than the client takes. One that is too large is not sent, and for the
// session it counts as done (MQTT 5 §3.1.2.11.4); the library would keep it for ever.
func (l *link) fits(cl *mqtt.Client, pk *packets.Packet) bool {
	limit := cl.Properties.Props.MaximumPacketSize
	if limit == 0 {
		return true
	}
	var buf bytes.Buffer
	if err := pk.PublishEncode(&buf); err != nil || buf.Len() <= int(limit) {
		return true
	}
	l.b.count.count(reasonTooLarge)
	if pk.FixedHeader.Qos > 0 && cl.State.Inflight.Delete(pk.PacketID) {
		atomic.AddInt64(&l.b.server.Info.Inflight, -1)
		l.sess.dequeue(l.b, pk.PacketID)
	}
	return false
}
