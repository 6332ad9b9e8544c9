package broker

import (
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is where the library calls us. It holds no state of its own: a client's is in its link, everything else in the broker.
type hook struct {
	mqtt.HookBase
	b *Broker
}

// linkOf finds our connection below a client. The gateway's own client and sessions without a client have none.
func linkOf(cl *mqtt.Client) *link {
	l, _ := cl.Net.Conn.(*link)
	return l
}

func (h *hook) ID() string { return "gateway" }

func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished,
		mqtt.OnDisconnect, mqtt.OnAuthPacket, mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPacketProcessed,
		mqtt.OnSelectSubscribers, mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnUnsubscribed, mqtt.OnPublish, mqtt.OnPublishDropped,
		mqtt.OnRetainMessage, mqtt.OnQosPublish, mqtt.OnQosComplete, mqtt.OnQosDropped:
		return true
	}
	return false
}

// OnPacketRead sees a packet before the library acts on it.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	l := linkOf(cl)
	if l == nil {
		return pk, nil
	}
	unpin(&pk)
	switch pk.FixedHeader.Type {
	case packets.Connect:
		if l.connected.Load() {
			return pk, nil // a second CONNECT: the library ends the connection
		}
		err := l.readConnect(cl, &pk)
		return pk, err
	case packets.Publish:
		cl.Net.Inline = true // see the package comment
	case packets.Pubrel:
		l.packetID = pk.PacketID
		cl.Net.Inline = true
		return packets.Packet{ProtocolVersion: pk.ProtocolVersion, FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: releaseTopic}, nil
	case packets.Subscribe, packets.Unsubscribe:
		// The library compares the identifier with those of its own deliveries, which are another name space (MQTT 5
		// §2.2.1), and would refuse. It gets 0, which none of them has; OnPacketEncode puts the right one into the answer.
		if pk.PacketID != 0 {
			l.packetID = pk.PacketID
			pk.PacketID = 0
			pk.FixedHeader.Qos = 0
		}
	case packets.Puback, packets.Pubcomp:
		l.acknowledged(pk.PacketID)
	case packets.Pubrec:
		if pk.ReasonCode >= CodeUnspecified {
			l.acknowledged(pk.PacketID)
		}
	case packets.Disconnect:
		l.farewell.Store(true)
		l.readDisconnect(&pk)
	}
	return pk, nil
}

// readDisconnect mends a DISCONNECT whose body is the reason code alone, which the library does not read, and bounds the
// session expiry in it.
func (l *link) readDisconnect(pk *packets.Packet) {
	if l.protocol != 5 {
		return
	}
	if pk.FixedHeader.Remaining == 1 && l.head.willOn {
		pk.ReasonCode = packets.CodeDisconnectWillMessage.Code
	}
	if p := &pk.Properties; p.SessionExpiryIntervalFlag {
		if p.SessionExpiryInterval > 0 && l.sess.expiry == 0 {
			return // a protocol error (MQTT 5 §3.14.2.2.2), which the library sees to
		}
		l.b.setExpiry(l.sess, min(time.Duration(p.SessionExpiryInterval)*time.Second, l.b.cfg.Limits.SessionExpiry))
		if p.SessionExpiryInterval > 0 {
			p.SessionExpiryInterval = neverExpires
		}
	}
}

func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	l := linkOf(cl)
	if l == nil {
		return
	}
	cl.Net.Inline = false
	if pk.FixedHeader.Type == packets.Subscribe && err == nil {
		l.sendOwed(cl)
	}
}

// OnPacketEncode mends what the library is about to send.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	l := linkOf(cl)
	if l == nil {
		return pk
	}
	limits := &h.b.cfg.Limits
	switch pk.FixedHeader.Type {
	case packets.Connack:
		if pk.ReasonCode == 0 && l.resumed {
			pk.SessionPresent = true
		}
		if l.protocol == 3 {
			pk.SessionPresent = false // MQTT 3.1 has no such flag
		}
		if l.protocol == 5 && pk.ReasonCode == 0 {
			pk.Properties.MaximumPacketSize = uint32(limits.MaxPacketBytes)
			pk.Properties.TopicAliasMaximum = topicAliases
			pk.Properties.ReceiveMaximum = uint16(h.b.receiveMaximum())
			if l.expiryCap > 0 {
				pk.Properties.SessionExpiryInterval = l.expiryCap
				pk.Properties.SessionExpiryIntervalFlag = true
			}
		}
	case packets.Suback:
		pk.PacketID = l.packetID
		pk.Properties.User = nil
		for i, c := range l.codes {
			if c != 0 && i < len(pk.ReasonCodes) {
				pk.ReasonCodes[i] = c
				if l.protocol != 5 {
					pk.ReasonCodes[i] = CodeUnspecified
				}
			}
		}
	case packets.Unsuback:
		pk.PacketID = l.packetID
		pk.Properties.User = nil
	case packets.Publish:
		if l.sess == nil || !l.fits(cl, &pk) {
			return pk
		}
		if pk.FixedHeader.Qos > 0 {
			before := l.sess.sentBefore(pk.PacketID)
			pk.FixedHeader.Dup = pk.FixedHeader.Dup && before
		}
	}
	return pk
}

// OnConnect decides; OnConnectAuthenticate only repeats the decision, since there the library answers with one code for all.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	if l := linkOf(cl); l != nil {
		return l.connect(cl, pk)
	}
	return errRefused
}

func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, _ packets.Packet) bool {
	l := linkOf(cl)
	return l != nil && l.connected.Load()
}

// OnACLCheck is asked for each delivery; publishing and subscribing were decided elsewhere.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	return write || h.b.mayDeliver(cl, topic)
}

// OnAuthPacket refuses AUTH: there is no enhanced authentication.
func (h *hook) OnAuthPacket(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	return pk, packets.ErrProtocolViolation
}

func (h *hook) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	h.b.beginSession(linkOf(cl), cl, pk.Connect.Clean)
}

func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	l := linkOf(cl)
	cl.State.Inflight.ResetReceiveQuota(1 << 30) // resuming a session set it back
	l.subs.Store(int32(cl.State.Subscriptions.Len()))
	h.b.noise.connected(l)
	if f := h.b.opts.Events.Connected; f != nil {
		f(l.info())
	}
}

func (h *hook) OnDisconnect(cl *mqtt.Client, err error, expire bool) {
	if l := linkOf(cl); l != nil {
		h.b.endConnection(l, err, expire)
	}
}

func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if l := linkOf(cl); l != nil {
		return l.onPublish(cl, pk)
	}
	pk.Created = h.b.sequence.Add(1)
	return pk, nil
}

// OnPublishDropped is told that a slow subscriber's queue of writes was full.
func (h *hook) OnPublishDropped(cl *mqtt.Client, _ packets.Packet) {
	h.b.count.count(reasonSlowConsumer)
	if l := linkOf(cl); l != nil && l.sess != nil {
		l.sess.stale.Store(true)
	}
}

func (h *hook) OnRetainMessage(_ *mqtt.Client, pk packets.Packet, _ int64) { h.b.retained.stored(&pk) }

func (h *hook) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if pk.FixedHeader.Type == packets.Publish {
		if s := h.b.sessionOf(cl); s != nil && s.enqueue(h.b, cl, &pk) {
			s.hold(h.b, cl)
		}
	}
}

func (h *hook) OnQosComplete(cl *mqtt.Client, pk packets.Packet) {
	if s := h.b.sessionOf(cl); s != nil {
		s.dequeue(h.b, pk.PacketID)
	}
}

func (h *hook) OnQosDropped(cl *mqtt.Client, pk packets.Packet) {
	if s := h.b.sessionOf(cl); s != nil {
		if s.dequeue(h.b, pk.PacketID) {
			h.b.count.count(reasonQueueExpired)
		}
	}
}
