package broker_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// raw is a small MQTT client of our own: it sends what it is told, also what no library would.
type raw struct {
	t       testing.TB
	conn    net.Conn
	r       *bufio.Reader
	version byte
}

// packet is one packet as received.
type packet struct {
	first byte
	body  []byte
}

func (p packet) kind() byte { return p.first >> 4 }

// id is the packet identifier of an acknowledgement.
func (p packet) id() uint16 { return binary.BigEndian.Uint16(p.body) }

// code is the reason code of an acknowledgement or DISCONNECT; 0 when it is left out.
func (p packet) code() byte {
	at := 2
	switch p.kind() {
	case 14:
		at = 0
	case 2:
		at = 1
	}
	if len(p.body) <= at {
		return 0
	}
	return p.body[at]
}

const wait = 5 * time.Second

func dial(t testing.TB, addr net.Addr, version byte) *raw {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return wrap(t, c, version)
}

func wrap(t testing.TB, c net.Conn, version byte) *raw {
	t.Cleanup(func() { c.Close() })
	return &raw{t: t, conn: c, r: bufio.NewReader(c), version: version}
}

func str(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func frame(first byte, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	out := []byte{first}
	n := len(body)
	for {
		b := byte(n % 128)
		n /= 128
		if n > 0 {
			b |= 0x80
		}
		out = append(out, b)
		if n == 0 {
			break
		}
	}
	return append(out, body...)
}

func (c *raw) send(p []byte) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(wait))
	if _, err := c.conn.Write(p); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// trySend does not mind a connection that is closed already.
func (c *raw) trySend(p []byte) { _, _ = c.conn.Write(p) }

func (c *raw) read() (packet, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(wait))
	first, err := c.r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	n, shift := 0, 0
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return packet{}, err
		}
		n |= int(b&0x7f) << shift
		shift += 7
		if b&0x80 == 0 {
			break
		}
	}
	body := make([]byte, n)
	_, err = io.ReadFull(c.r, body)
	return packet{first, body}, err
}

func (c *raw) want(kind byte) packet {
	c.t.Helper()
	p, err := c.read()
	if err != nil {
		c.t.Fatalf("waiting for packet type %d: %v", kind, err)
	}
	if p.kind() != kind {
		c.t.Fatalf("got packet type %d (% x), want %d", p.kind(), p.body, kind)
	}
	return p
}

// wantClosed reads until the connection is closed and gives the last packet before that.
func (c *raw) wantClosed() (last packet) {
	c.t.Helper()
	for {
		p, err := c.read()
		if err == nil {
			last = p
			continue
		}
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			c.t.Fatal("the connection was not closed")
		}
		return last
	}
}

type connectOpts struct {
	id, user, pass string
	keepalive      uint16
	resume         bool // clean session/start = 0
	expiry         uint32
	props          []byte
	will           string
	willPayload    string
	willQoS        byte
	willRetain     bool
	willProps      []byte
	protocolName   string
	level          byte
}

func (c *raw) connectPacket(o connectOpts) []byte {
	name := "MQTT"
	if o.protocolName != "" {
		name = o.protocolName
	}
	level := c.version
	if o.level != 0 {
		level = o.level
	}
	var flags byte
	if !o.resume {
		flags |= 2
	}
	if o.will != "" {
		flags |= 4 | o.willQoS<<3
		if o.willRetain {
			flags |= 32
		}
	}
	if o.user != "" {
		flags |= 128
	}
	if o.pass != "" {
		flags |= 64
	}
	keepalive := o.keepalive
	if keepalive == 0 {
		keepalive = 60
	}
	parts := [][]byte{str(name), {level, flags, byte(keepalive >> 8), byte(keepalive)}}
	if c.version == 5 {
		props := o.props
		if o.expiry > 0 {
			props = append(append([]byte{}, props...), 0x11)
			props = binary.BigEndian.AppendUint32(props, o.expiry)
		}
		parts = append(parts, []byte{byte(len(props))}, props)
	}
	parts = append(parts, str(o.id))
	if o.will != "" {
		if c.version == 5 {
			parts = append(parts, []byte{byte(len(o.willProps))}, o.willProps)
		}
		parts = append(parts, str(o.will), str(o.willPayload))
	}
	if o.user != "" {
		parts = append(parts, str(o.user))
	}
	if o.pass != "" {
		parts = append(parts, str(o.pass))
	}
	return frame(0x10, parts...)
}

// connect connects and gives the CONNACK.
func (c *raw) connect(o connectOpts) packet {
	c.t.Helper()
	c.send(c.connectPacket(o))
	return c.want(2)
}

// mustConnect wants to be let in.
func (c *raw) mustConnect(o connectOpts) packet {
	c.t.Helper()
	p := c.connect(o)
	if p.code() != 0 {
		c.t.Fatalf("CONNACK code %#x, want 0", p.code())
	}
	return p
}

func (c *raw) publishPacket(topic string, payload []byte, qos byte, id uint16, retain bool, props ...byte) []byte {
	first := byte(0x30) | qos<<1
	if retain {
		first |= 1
	}
	parts := [][]byte{str(topic)}
	if qos > 0 {
		parts = append(parts, binary.BigEndian.AppendUint16(nil, id))
	}
	if c.version == 5 {
		parts = append(parts, []byte{byte(len(props))}, props)
	}
	parts = append(parts, payload)
	return frame(first, parts...)
}

func (c *raw) publish(topic, payload string, qos byte, id uint16) {
	c.t.Helper()
	c.send(c.publishPacket(topic, []byte(payload), qos, id, false))
}

// publishAck publishes at QoS 1 and gives the PUBACK.
func (c *raw) publishAck(topic, payload string, id uint16) packet {
	c.t.Helper()
	c.publish(topic, payload, 1, id)
	p := c.want(4)
	if p.id() != id {
		c.t.Fatalf("PUBACK for %d, want %d", p.id(), id)
	}
	return p
}

// subscribe subscribes one filter and gives its code.
func (c *raw) subscribe(id uint16, filter string, qos byte) byte {
	c.t.Helper()
	parts := [][]byte{binary.BigEndian.AppendUint16(nil, id)}
	if c.version == 5 {
		parts = append(parts, []byte{0})
	}
	parts = append(parts, str(filter), []byte{qos})
	c.send(frame(0x82, parts...))
	p := c.want(9)
	if p.id() != id {
		c.t.Fatalf("SUBACK for %d, want %d", p.id(), id)
	}
	return p.body[len(p.body)-1]
}

func (c *raw) ack(kind byte, id uint16) {
	first := kind << 4
	if kind == 6 {
		first |= 2
	}
	c.send(frame(first, binary.BigEndian.AppendUint16(nil, id)))
}

func (c *raw) ping() {
	c.t.Helper()
	c.send([]byte{0xc0, 0})
	c.want(13)
}

// message is a PUBLISH taken apart.
type message struct {
	topic, payload string
	qos            byte
	id             uint16
	dup, retain    bool
	props          []byte
}

func (c *raw) wantPublish() message {
	c.t.Helper()
	p := c.want(3)
	m := message{qos: p.first >> 1 & 3, dup: p.first&8 != 0, retain: p.first&1 != 0}
	n := int(binary.BigEndian.Uint16(p.body))
	m.topic = string(p.body[2 : 2+n])
	rest := p.body[2+n:]
	if m.qos > 0 {
		m.id = binary.BigEndian.Uint16(rest)
		rest = rest[2:]
	}
	if c.version == 5 {
		l := int(rest[0]) // short properties only
		m.props = rest[1 : 1+l]
		rest = rest[1+l:]
	}
	m.payload = string(rest)
	return m
}

func (c *raw) disconnect() {
	c.trySend([]byte{0xe0, 0})
	c.conn.Close()
}

// versions runs a test for MQTT 3.1.1 and 5.
func versions(t *testing.T, fn func(t *testing.T, version byte)) {
	for _, v := range []byte{4, 5} {
		t.Run(fmt.Sprintf("v%d", v), func(t *testing.T) { t.Parallel(); fn(t, v) })
	}
}
