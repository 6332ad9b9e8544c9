package broker

import (
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
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
