package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Errors of Publish.
var (
	ErrTopic         = errors.New("not a valid topic to publish to")
	ErrRetainedLimit = errors.New("there is no room for another retained message")
	ErrStopped       = errors.New("the broker is stopped")
	ErrNoClient      = errors.New("no such client is connected")
)

// More reason codes.
const (
	codeMalformed      byte = 0x81
	codeProtocolError  byte = 0x82
	codeIDNotFound     byte = 0x92
	codeReceiveMaximum byte = 0x93
	codeTopicAlias     byte = 0x94
	codeRateTooHigh    byte = 0x96
)

// releaseTopic marks a PUBREL on its way through the library as a PUBLISH of nothing. No client can send it: NUL is not
// allowed in a topic, and the decoder refuses it.
const releaseTopic = "\x00release"

// mayPublish checks a topic against the limits, the rules and the device check.
func (l *link) mayPublish(topic string) (code byte, r reason, text string) {
	limits := &l.b.cfg.Limits
	if !ValidTopic(topic) {
		return CodeTopicInvalid, reasonPublishTopic, "not a valid topic"
	}
	if !limits.TopicFits(topic) {
		return CodeTopicInvalid, reasonPublishTopic, "the topic is too long or too deep"
	}
	gen := l.b.rulesGen.Load()
	if l.decidedAt != gen {
		clear(l.decided)
		l.decidedAt = gen
	}
	d, ok := l.decided[topic]
	if !ok {
		d = l.b.acl.Load().decide(l.identity.Load(), ActionPublish, topic)
		if d.allowed && d.device != "" && l.b.opts.CheckDevice != nil {
			if err := l.b.opts.CheckDevice(d.device); err != nil {
				return CodeTopicInvalid, reasonPublishDevice, err.Error()
			}
		}
		l.remember(topic, d)
	}
	if !d.allowed {
		return CodeNotAuthorized, reasonPublishACL, d.rule
	}
	return CodeSuccess, 0, ""
}

// maxDecided is how many decisions a connection remembers: a device has few topics, a bridge many.
const maxDecided = 64

func (l *link) remember(topic string, d decision) {
	if l.decided == nil {
		l.decided = make(map[string]decision, 4)
	}
	if len(l.decided) >= maxDecided {
		clear(l.decided)
	}
	l.decided[strings.Clone(topic)] = d
}

// onPublish takes a PUBLISH of a client. Returning nil lets the library retain it and fan it out, ErrRejectPacket ends it.
func (l *link) onPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	b := l.b
	if pk.TopicName == releaseTopic {
		l.release(l.packetID)
		return pk, packets.ErrRejectPacket
	}
	qos := pk.FixedHeader.Qos
	held := l.takeHeld(pk.FixedHeader.Remaining)
	if pk.TopicName == "" {
		l.drop(held)
		l.stop(reasonTopicAlias, codeTopicAlias)
		return pk, packets.ErrRejectPacket
	}
	if !l.throttle(len(pk.Payload)) {
		l.drop(held)
		l.stop(reasonPublishRate, codeRateTooHigh)
		return pk, packets.ErrRejectPacket
	}
	b.count.received[qos].Add(1)
	b.count.bytes.Add(int64(len(pk.Payload)))
	if pk.FixedHeader.Dup {
		b.count.duplicates.Add(1)
	}
	code, r, text := l.mayPublish(pk.TopicName)
	if code == CodeSuccess && b.stopping.Load() {
		code, r, text = CodeQuotaExceeded, reasonStopping, "the gateway is stopping"
	}
	if code != CodeSuccess {
		l.drop(held)
		l.refusePublish(&pk, code, r, text)
		return pk, packets.ErrRejectPacket
	}

	p := b.publication(l.sess, l.protocol, &pk)
	p.settler = l
	p.ack = slot{id: pk.PacketID, kind: ackKind(qos), size: len(pk.Payload), held: held}
	if !l.enter(&p.ack) {
		l.drop(held)
		return pk, packets.ErrRejectPacket
	}
	if qos == 2 && !l.beginExactlyOnce(p) {
		return pk, packets.ErrRejectPacket
	}
	b.count.inFlight.Add(1)
	if b.opts.Ingest != nil {
		b.opts.Ingest.Ingest(p)
	} else {
		p.Settle(Outcome{})
	}
	if pk.FixedHeader.Retain && !b.retained.admit(&pk) {
		b.count.count(reasonRetainedLimit)
		pk.FixedHeader.Retain = false
	}
	pk.Created = b.sequence.Add(1)
	return pk, nil
}

// beginExactlyOnce reports whether a QoS 2 publication is new and within the session's bounds.
func (l *link) beginExactlyOnce(p *Publication) bool {
	l.sess.mu.Lock()
	_, known := l.sess.qos2[p.ack.id]
	full := !known && len(l.sess.qos2) >= l.b.cfg.Limits.MaxQoS2Pending
	if l.protocol == 5 && !known && l.openQoS2 != nil && int(l.openQoS2.Load()) >= l.b.receiveMaximum() {
		full = true // more than CONNACK allowed (MQTT 5 §3.3.4)
	}
	l.sess.mu.Unlock()
	if full {
		l.drop(p.ack.held)
		l.stop(reasonQoS2Pending, codeReceiveMaximum)
		return false
	}
	e, fresh := l.beginQoS2(p.ack.id, &p.ack)
	if !fresh {
		l.drop(p.ack.held)
		return false
	}
	p.ack.qos2 = e
	return true
}

// receiveMaximum is what a client of MQTT 5 is told: publications of QoS 1 and 2 that it may have under way.
func (b *Broker) receiveMaximum() int { return min(b.cfg.Limits.InFlight, b.cfg.Limits.MaxQoS2Pending) }

// drop gives packet memory back.
func (l *link) drop(held int64) {
	if held > 0 {
		l.b.memory.release(held)
	}
}

func ackKind(qos byte) byte {
	switch qos {
	case 1:
		return ackPuback
	case 2:
		return ackPubrec
	}
	return ackNone
}

// refusePublish refuses before anybody was asked: by reason code in its turn, or, to a client that knows none, by closing
// the connection after a delay in which nothing more is read.
func (l *link) refusePublish(pk *packets.Packet, code byte, r reason, text string) {
	b := l.b
	b.count.count(r)
	b.count.refused.Add(1)
	b.noise.refused(l, pk.TopicName, r, text)
	if pk.FixedHeader.Qos == 0 {
		return
	}
	if l.protocol == 5 {
		s := &slot{id: pk.PacketID, kind: ackKind(pk.FixedHeader.Qos)}
		if l.enter(s) {
			l.settleSlot(s, code, text)
		}
		return
	}
	t := time.NewTimer(b.cfg.Auth.RefusalDelay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.done:
	case <-b.quit:
	}
	l.cause.CompareAndSwap(0, uint32(r)+1)
	l.stop(r, 0)
}

// throttle holds a client to its rates by not reading on. It reports false when that would take too long.
func (l *link) throttle(size int) bool {
	if l.limit == nil && l.bytes == nil {
		return true
	}
	var delay time.Duration
	now := time.Now()
	if l.limit != nil {
		delay = l.limit.ReserveN(now, 1).DelayFrom(now)
	}
	if l.bytes != nil {
		delay = max(delay, l.bytes.ReserveN(now, size).DelayFrom(now))
	}
	if delay <= 0 {
		return true
	}
	if delay > l.b.cfg.Limits.MaxBackPressure {
		return false
	}
	l.b.count.throttledNs.Add(int64(delay))
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.done:
	}
	return true
}

// publication makes what is handed to Ingest out of a packet. The decoder gives each packet its own memory.
func (b *Broker) publication(s *session, protocol byte, pk *packets.Packet) *Publication {
	p := &Publication{
		Topic: pk.TopicName, Payload: pk.Payload, QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain, Dup: pk.FixedHeader.Dup,
		Client: s.id, User: s.user, Identity: s.identity.Load(), Protocol: protocol,
		ResponseTopic: pk.Properties.ResponseTopic, CorrelationData: pk.Properties.CorrelationData, ContentType: pk.Properties.ContentType,
		Received: time.Now(),
	}
	if n := len(pk.Properties.User); n > 0 {
		p.Properties = make([]Property, n)
		for i, u := range pk.Properties.User {
			p.Properties[i] = Property{Key: u.Key, Value: u.Val}
		}
	}
	return p
}

// Publish publishes to the gateway's clients, past the access rules.
func (b *Broker) Publish(topic string, payload []byte, qos byte, retain bool) error {
	return b.PublishWith(Message{Topic: topic, Payload: payload, QoS: qos, Retain: retain})
}

// PublishWith publishes to the gateway's clients with MQTT 5 properties. It returns when the message was queued for every
// subscriber; it does not wait for them. The payload may be reused afterwards. A retained message that finds no room is
// delivered all the same, and the error is ErrRetainedLimit.
func (b *Broker) PublishWith(m Message) error {
	if !ValidTopic(m.Topic) || m.QoS > 2 {
		return fmt.Errorf("publish to %q: %w", m.Topic, ErrTopic)
	}
	if !b.begin() {
		return ErrStopped
	}
	defer b.wg.Done()
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: m.QoS, Retain: m.Retain},
		TopicName:   m.Topic,
		Payload:     slices.Clone(m.Payload),
		Properties: packets.Properties{
			ResponseTopic: m.ResponseTopic, CorrelationData: slices.Clone(m.CorrelationData), ContentType: m.ContentType,
		},
	}
	if m.Expiry > 0 {
		pk.Properties.MessageExpiryInterval = uint32(min(max(m.Expiry/time.Second, 1), 1<<32-1))
	}
	if m.Transient {
		defer b.transient.hold(m.Topic)()
	}
	for _, p := range m.Properties {
		pk.Properties.User = append(pk.Properties.User, packets.UserProperty{Key: p.Key, Val: p.Value})
	}
	return b.inject(pk)
}

// inject publishes as the gateway itself.
func (b *Broker) inject(pk packets.Packet) error {
	var full error
	if pk.FixedHeader.Retain && !b.retained.admit(&pk) {
		b.count.count(reasonRetainedLimit)
		pk.FixedHeader.Retain = false
		full = ErrRetainedLimit
	}
	pk.PacketID = uint16(pk.FixedHeader.Qos) // not used, but one must be there
	if err := b.server.InjectPacket(b.self, pk); err != nil {
		return fmt.Errorf("publish to %q: %w", pk.TopicName, err)
	}
	return full
}

// HasSubscriber reports whether some session, connected or waiting, would be given a message to the topic.
func (b *Broker) HasSubscriber(topic string) bool {
	subs := b.server.Topics.Subscribers(topic)
	for id := range subs.Subscriptions {
		if _, ok := b.server.Clients.Get(id); ok {
			return true
		}
	}
	for _, group := range subs.Shared {
		for id := range group {
			if _, ok := b.server.Clients.Get(id); ok {
				return true
			}
		}
	}
	return false
}
