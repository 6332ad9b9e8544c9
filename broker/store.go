package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Keys of the store. A client identifier holds no control characters (CONNECT is refused otherwise), so NUL ends it.
//
//	s/<client>             storedSession
//	u/<client>\0<filter>   storedSubscription
//	m/<client>\0<id>       storedMessage, one that waits for the client
//	q/<client>\0<id>       nothing: a QoS 2 identifier that waits for its release
//	r/<topic>              storedMessage, retained
//
// Values are JSON: they are few, small, and a field added later is ignored by an older gateway.
const (
	prefixSession      = "s/"
	prefixSubscription = "u/"
	prefixMessage      = "m/"
	prefixQoS2         = "q/"
	prefixRetained     = "r/"
)

type storedSession struct {
	User     string `json:"user"`
	Protocol byte   `json:"protocol"`
	Expiry   int64  `json:"expiry"` // seconds
}

type storedSubscription struct {
	QoS               byte `json:"qos"`
	Identifier        int  `json:"id,omitempty"`
	RetainHandling    byte `json:"retain_handling,omitempty"`
	RetainAsPublished bool `json:"retain_as_published,omitempty"`
	NoLocal           bool `json:"no_local,omitempty"`
}

type storedMessage struct {
	Topic           string                 `json:"topic"`
	Payload         []byte                 `json:"payload,omitempty"`
	Packed          []byte                 `json:"s2,omitempty"` // a long payload, compressed
	QoS             byte                   `json:"qos,omitempty"`
	Retain          bool                   `json:"retain,omitempty"`
	Sent            bool                   `json:"sent,omitempty"`
	Origin          string                 `json:"origin,omitempty"`
	Sequence        int64                  `json:"sequence,omitempty"`
	Expires         int64                  `json:"expires,omitempty"` // Unix seconds
	Identifiers     []int                  `json:"ids,omitempty"`
	User            []packets.UserProperty `json:"user,omitempty"`
	ContentType     string                 `json:"content_type,omitempty"`
	ResponseTopic   string                 `json:"response_topic,omitempty"`
	CorrelationData []byte                 `json:"correlation_data,omitempty"`
	PayloadFormat   *byte                  `json:"payload_format,omitempty"`
}

func storeMessage(pk *packets.Packet, sent bool) storedMessage {
	m := storedMessage{
		Topic: pk.TopicName, Payload: pk.Payload, QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain, Sent: sent,
		Origin: pk.Origin, Sequence: pk.Created, Expires: max(pk.Expiry, 0), Identifiers: pk.Properties.SubscriptionIdentifier,
		User: pk.Properties.User, ContentType: pk.Properties.ContentType, ResponseTopic: pk.Properties.ResponseTopic,
		CorrelationData: pk.Properties.CorrelationData,
	}
	if pk.Properties.PayloadFormatFlag {
		f := pk.Properties.PayloadFormat
		m.PayloadFormat = &f
	}
	m.pack()
	return m
}

// packFrom is the length from which payloads are compressed. Databases that compress what they are given cut their tables
// by the compressed size: payloads that shrink a lot make them hold far more memory than they seem to need.
const packFrom = 1 << 10

func (m *storedMessage) pack() {
	if len(m.Payload) < packFrom {
		return
	}
	if packed := s2.Encode(nil, m.Payload); len(packed) < len(m.Payload) {
		m.Payload, m.Packed = nil, packed
	}
}

// unpack is the reverse. No payload is longer than a packet may be.
func (m *storedMessage) unpack(limit int64) error {
	if len(m.Packed) == 0 {
		return nil
	}
	if n, err := s2.DecodedLen(m.Packed); err != nil || int64(n) > limit {
		return errStored
	}
	payload, err := s2.Decode(nil, m.Packed)
	if err != nil {
		return errStored
	}
	m.Payload, m.Packed = payload, nil
	return nil
}

var errStored = errors.New("a stored message that no client could have been sent")

// packet makes the message a packet again, after the checks that a stranger's would pass: a store can be damaged.
func (m storedMessage) packet(limit int64) (packets.Packet, error) {
	if !ValidTopic(m.Topic) || m.QoS > 2 {
		return packets.Packet{}, errStored
	}
	if err := m.unpack(limit); err != nil {
		return packets.Packet{}, err
	}
	pk := packets.Packet{
		ProtocolVersion: 5,
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: m.QoS, Retain: m.Retain},
		TopicName:       m.Topic, Payload: m.Payload, Origin: m.Origin, Created: m.Sequence, Expiry: m.Expires,
		Properties: packets.Properties{
			SubscriptionIdentifier: m.Identifiers, User: m.User, ContentType: m.ContentType,
			ResponseTopic: m.ResponseTopic, CorrelationData: m.CorrelationData,
		},
	}
	if m.PayloadFormat != nil {
		pk.Properties.PayloadFormat, pk.Properties.PayloadFormatFlag = *m.PayloadFormat, true
	}
	return pk, nil
}

// journal writes behind: what is put and deleted again within its delay never reaches the store, and a value that changes
// often is written once a delay. That keeps a memory card alive that every device's retained status would otherwise wear out.
type journal struct {
	store Store
	mu    sync.Mutex
	ops   map[string]op
}

type op struct {
	value []byte // nil deletes
	fresh bool   // the store does not have the key
}

func newJournal(store Store) *journal { return &journal{store: store, ops: map[string]op{}} }

func (j *journal) put(key string, value []byte, fresh bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if old, ok := j.ops[key]; ok {
		fresh = old.fresh && old.value != nil
	}
	j.ops[key] = op{value, fresh}
}

// putNow writes a value ahead of what waits, and in place of what waits for its key.
func (j *journal) putNow(key string, value []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.ops, key)
	j.store.Put(key, value)
}

// hurry writes the value that waits for a key, if there is one.
func (j *journal) hurry(key string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if o, ok := j.ops[key]; ok && o.value != nil {
		delete(j.ops, key)
		j.store.Put(key, o.value)
	}
}

func (j *journal) delete(key string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if old, ok := j.ops[key]; ok && old.fresh {
		delete(j.ops, key)
		return
	}
	j.ops[key] = op{}
}

func (j *journal) flush() {
	j.mu.Lock()
	ops := j.ops
	j.ops = make(map[string]op)
	defer j.mu.Unlock()
	for key, o := range ops {
		if o.value == nil {
			j.store.Delete(key)
		} else {
			j.store.Put(key, o.value)
		}
	}
}

// Delays of the journals.
const (
	sessionDelay  = 250 * time.Millisecond
	retainedDelay = 5 * time.Second
)

// persistence is the broker's side of the store. Without a store its methods do nothing.
type persistence struct {
	store    Store
	sessions *journal
	retained *journal
}

func newPersistence(store Store) *persistence {
	return &persistence{store: store, sessions: newJournal(store), retained: newJournal(store)}
}

func (p *persistence) flush() {
	if p.store != nil {
		p.sessions.flush()
		p.retained.flush()
	}
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		return []byte("{}") // cannot be: the types are plain
	}
	return data
}

func idKey(prefix, client string, id uint16) string {
	return prefix + client + "\x00" + strconv.Itoa(int(id))
}

func (p *persistence) putSession(client string, st storedSession, fresh bool) {
	if p.store != nil {
		p.sessions.put(prefixSession+client, encode(st), fresh)
	}
}

// putSessionNow does not wait in the journal: a QoS 2 identifier is on its way, which is nothing without its session.
func (p *persistence) putSessionNow(client string, st storedSession) {
	if p.store != nil {
		p.sessions.putNow(prefixSession+client, encode(st))
	}
}

// hurrySession ends the session's wait in the journal, for the same reason.
func (p *persistence) hurrySession(client string) {
	if p.store != nil {
		p.sessions.hurry(prefixSession + client)
	}
}

func (p *persistence) deleteSession(client string) {
	if p.store != nil {
		p.sessions.delete(prefixSession + client)
	}
}

func (p *persistence) putSubscription(client string, f packets.Subscription) {
	if p.store != nil {
		p.sessions.put(prefixSubscription+client+"\x00"+f.Filter, encode(storedSubscription{
			QoS: f.Qos, Identifier: f.Identifier, RetainHandling: f.RetainHandling, RetainAsPublished: f.RetainAsPublished, NoLocal: f.NoLocal,
		}), false)
	}
}

func (p *persistence) deleteSubscription(client, filter string) {
	if p.store != nil {
		p.sessions.delete(prefixSubscription + client + "\x00" + filter)
	}
}

func (p *persistence) putMessage(client string, pk *packets.Packet, sent bool) {
	if p.store != nil {
		p.sessions.put(idKey(prefixMessage, client, pk.PacketID), encode(storeMessage(pk, sent)), true)
	}
}

func (p *persistence) deleteMessage(client string, id uint16) {
	if p.store != nil {
		p.sessions.delete(idKey(prefixMessage, client, id))
	}
}

// QoS 2 identifiers do not wait in the journal: the store has them before PUBREC leaves.
func (p *persistence) putQoS2(client string, id uint16) {
	if p.store != nil {
		p.store.Put(idKey(prefixQoS2, client, id), []byte{1})
	}
}

func (p *persistence) deleteQoS2(client string, id uint16) {
	if p.store != nil {
		p.store.Delete(idKey(prefixQoS2, client, id))
	}
}

func (p *persistence) putRetained(pk *packets.Packet) {
	if p.store != nil {
		p.retained.put(prefixRetained+pk.TopicName, encode(storeMessage(pk, false)), false)
	}
}

func (p *persistence) deleteRetained(topic string) {
	if p.store != nil {
		p.retained.delete(prefixRetained + topic)
	}
}

// load restores sessions, subscriptions, waiting and retained messages before the first client comes. What cannot be read is
// counted and deleted; it never keeps the gateway from starting.
func (b *Broker) load() error {
	if b.store.store == nil {
		return nil
	}
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
