package broker

import (
	"slices"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/zap"
)

// will is a client's last will. The library is not told of it: it would publish it past the access rules and past Ingest,
// without most of its properties, and would not publish the one of an MQTT 5 DISCONNECT with reason 0x04.
type will struct {
	packet   packets.Packet
	protocol byte
	delay    time.Duration
}

// prepareWill takes the will out of the library's hands after it passed the checks of a publication.
func (l *link) prepareWill(cl *mqtt.Client, pk packets.Packet) (refusal, bool) {
	if cl.Properties.Will.Flag == 0 {
		return refusal{}, true
	}
	w := cl.Properties.Will
	cl.Properties.Will = mqtt.Will{}
	if l.emptyWill {
		w.Payload = nil
	}
	if code, _, text := l.mayPublish(w.TopicName); code != CodeSuccess {
		v3 := byte(5)
		return refusal{reasonWill, code, v3, "will: " + text}, false
	}
	props := pk.Connect.WillProperties
	p := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: w.Qos, Retain: w.Retain},
		TopicName:   w.TopicName,
		Payload:     slices.Clone(w.Payload),
		Properties: packets.Properties{
			User: props.User, ContentType: props.ContentType, ResponseTopic: props.ResponseTopic, CorrelationData: props.CorrelationData,
			MessageExpiryInterval: props.MessageExpiryInterval, PayloadFormat: props.PayloadFormat, PayloadFormatFlag: props.PayloadFormatFlag,
		},
	}
	l.will.Store(&will{packet: p, protocol: l.protocol, delay: time.Duration(w.WillDelayInterval) * time.Second})
	return refusal{}, true
}

// lastWill publishes the will of a connection that ended without a DISCONNECT, at once or when its delay or its session ends,
// whichever is first (MQTT 5 §3.1.3.2.2). It is published at most once, and not at all when it is the gateway that goes away.
func (b *Broker) lastWill(l *link) {
	w := l.will.Swap(nil)
	if w == nil || b.stopping.Load() {
		return
	}
	s := l.sess
	b.mu.Lock()
	delay := min(w.delay, s.expiry)
	if delay <= 0 {
		b.mu.Unlock()
		b.publishWill(s, w)
		return
	}
	defer b.mu.Unlock()
	s.delayed = w
	s.willTimer = time.AfterFunc(delay, func() {
		b.mu.Lock()
		due := s.delayed == w
		if due {
			s.delayed = nil
		}
		b.mu.Unlock()
		if due && b.begin() {
			defer b.wg.Done()
			b.publishWill(s, w)
		}
	})
}

// publishWill hands the will to Ingest and to subscribers.
func (b *Broker) publishWill(s *session, w *will) {
	b.count.wills.Add(1)
	p := b.publication(s, w.protocol, &w.packet)
	p.Will = true
	if b.opts.Ingest != nil {
		b.count.received[p.QoS].Add(1)
		b.opts.Ingest.Ingest(p)
	}
	pk := w.packet
	pk.Payload = slices.Clone(pk.Payload)
	if err := b.inject(pk); err != nil {
		b.noise.warn("last will was not delivered to subscribers", zap.String("topic", printable(pk.TopicName)), zap.Error(err))
	}
}
