package broker

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Load restores sessions, subscriptions, waiting and retained messages, and opens the door: clients that come before it are
// refused (MQTT 5: server unavailable), for a session that is in the store must not be told to be new. It is apart from New
// because a store on a full disk can be read only later. What cannot be decoded is counted and deleted; it never keeps the
// gateway from starting. Nothing is to be published before it.
func (b *Broker) Load() error {
	if err := b.restore(); err != nil {
		return err
	}
	b.sequence.Add(1 << 20) // above the small numbers that renumber gives
	b.open.Store(true)
	return nil
}

func (b *Broker) restore() error {
	if b.store.store == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var bad []string
	corrupt := func(key string) { bad = append(bad, strings.Clone(key)); b.count.count(reasonStoreCorrupt) }
	steps := []struct {
		prefix string
		fn     func(key string, value []byte) bool
	}{
		{prefixSession, b.loadSession},
		{prefixSubscription, b.loadSubscription},
		{prefixMessage, b.loadMessage},
		{prefixQoS2, b.loadQoS2},
		{prefixRetained, b.loadRetained},
	}
	for _, step := range steps {
		err := b.store.store.Scan(step.prefix, func(key string, value []byte) error {
			if !step.fn(strings.TrimPrefix(key, step.prefix), value) {
				corrupt(key)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("load sessions and retained messages: %w", err)
		}
	}
	for _, key := range bad {
		b.store.store.Delete(key)
	}
	for _, s := range b.sessions {
		b.shelve(s)
	}
	return nil
}

func (b *Broker) loadSession(id string, value []byte) bool {
	var st storedSession
	if json.Unmarshal(value, &st) != nil || id == "" || st.Expiry <= 0 || len(b.sessions) >= b.cfg.Limits.MaxSessions {
		return false
	}
	if _, ok := checkClientID(id, b.cfg.Limits.MaxClientIDBytes); !ok {
		return false
	}
	cl := b.server.NewClient(nil, "", strings.Clone(id), false)
	cl.Properties.ProtocolVersion = st.Protocol
	cl.Properties.Props.SessionExpiryInterval = neverExpires
	cl.Properties.Props.SessionExpiryIntervalFlag = true
	cl.Stop(packets.ErrServerShuttingDown)
	s := &session{id: cl.ID, user: st.User, away: time.Now(), expiry: min(time.Duration(st.Expiry)*time.Second, b.cfg.Limits.SessionExpiry)}
	s.persistent.Store(true)
	s.record, s.stored = st, st
	s.client.Store(cl)
	s.identity.Store(b.opts.Users.IdentityOf(st.User))
	s.rules.Store(b.rulesGen.Load() - 1) // its subscriptions are checked at each delivery until the client is back
	b.sessions[s.id] = s
	b.loaded.Store(cl, s)
	b.server.Clients.Add(cl)
	return true
}

// holder finds the loaded session of a key `<client>\0<rest>`.
func (b *Broker) holder(key string) (s *session, cl *mqtt.Client, rest string, ok bool) {
	id, rest, ok := strings.Cut(key, "\x00")
	if !ok {
		return nil, nil, "", false
	}
	s, ok = b.sessions[id]
	if !ok {
		return nil, nil, "", false
	}
	return s, s.client.Load(), strings.Clone(rest), true
}

func (b *Broker) loadSubscription(key string, value []byte) bool {
	s, cl, filter, ok := b.holder(key)
	var st storedSubscription
	if !ok || json.Unmarshal(value, &st) != nil || st.QoS > 2 {
		return false
	}
	if inner, ok := unshare(filter); !ok || !ValidFilter(inner) {
		return false
	}
	f := packets.Subscription{
		Filter: filter, Qos: st.QoS, Identifier: st.Identifier, RetainHandling: st.RetainHandling,
		RetainAsPublished: st.RetainAsPublished, NoLocal: st.NoLocal,
	}
	if b.server.Topics.Subscribe(s.id, f) {
		cl.State.Subscriptions.Add(filter, f)
		b.addSubscriptions(1)
	}
	return true
}

func (b *Broker) loadMessage(key string, value []byte) bool {
	s, cl, rest, ok := b.holder(key)
	id, err := strconv.ParseUint(rest, 10, 16)
	var m storedMessage
	if !ok || err != nil || id == 0 || json.Unmarshal(value, &m) != nil || m.QoS == 0 {
		return false
	}
	pk, err := m.packet(b.cfg.Limits.MaxPacketBytes)
	if err != nil || len(s.queue) >= b.cfg.Limits.QueuedMessages {
		return false
	}
	pk.PacketID = uint16(id)
	cl.State.Inflight.Set(pk)
	if s.queue == nil {
		s.queue = map[uint16]*queued{}
	}
	e := &queued{size: weight(&pk) + packetCost, sent: m.Sent, expires: max(pk.Expiry, 0)}
	s.queue[pk.PacketID] = e
	s.waits(b, e, 1)
	if !m.Sent {
		s.unsent++
	}
	b.sequence.Store(max(b.sequence.Load(), pk.Created))
	return true
}

func (b *Broker) loadQoS2(key string, _ []byte) bool {
	s, _, rest, ok := b.holder(key)
	id, err := strconv.ParseUint(rest, 10, 16)
	if !ok || err != nil || id == 0 {
		return false
	}
	if s.qos2 == nil {
		s.qos2 = map[uint16]*qos2Entry{}
	}
	s.qos2[uint16(id)] = &qos2Entry{sess: s, id: uint16(id), stored: true}
	return true
}

func (b *Broker) loadRetained(_ string, value []byte) bool {
	var m storedMessage
	if json.Unmarshal(value, &m) != nil || len(m.Payload)+len(m.Packed) == 0 {
		return false
	}
	pk, err := m.packet(b.cfg.Limits.MaxPacketBytes)
	if err != nil || len(pk.Payload) == 0 || !b.retained.admit(&pk) {
		return false
	}
	pk.FixedHeader.Retain = true
	b.server.Topics.RetainMessage(pk)
	b.retained.note(&pk)
	b.sequence.Store(max(b.sequence.Load(), pk.Created))
	return true
}
