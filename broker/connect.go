package broker

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// errRefused ends a connection whose CONNECT was answered with a refusal.
var errRefused = errors.New("connection refused")

// refusal is an answer to CONNECT: the reason code of MQTT 5 (§3.2.2.2), the return code of 3.1.1 (§3.2.2.3) and the words.
type refusal struct {
	reason reason
	v5, v3 byte
	text   string
}

// readConnect looks at a CONNECT before the library does, and mends it where the library would go wrong.
func (l *link) readConnect(cl *mqtt.Client, pk *packets.Packet) error {
	c := &pk.Connect
	l.protocol = pk.ProtocolVersion
	name := string(c.ProtocolName)
	if name != "MQTT" && name != "MQIsdp" {
		l.blame(reasonProtocol)
		return packets.ErrRejectPacket // not MQTT: closed without an answer (MQTT 5 §3.1.2.1)
	}
	if name == "MQTT" && l.protocol != 4 && l.protocol != 5 || name == "MQIsdp" && l.protocol != 3 {
		l.blame(reasonProtocolVersion)
		if l.protocol > 5 {
			l.protocol = 5
			l.say([]byte{0x20, 3, 0, 0x84, 0})
		} else {
			l.say([]byte{0x20, 2, 0, 0x01})
		}
		return packets.ErrRejectPacket
	}
	if l.protocol < 5 && !c.Clean && c.ClientIdentifier == "" {
		l.answer(refusal{reasonClientID, 0x85, 2, ""})
		return packets.ErrRejectPacket
	}
	if c.WillFlag && len(c.WillPayload) == 0 && c.WillTopic != "" {
		c.WillPayload = []byte{0} // the library refuses an empty one; OnConnect takes it out again
		l.emptyWill = true
	}
	// A subscriber's Receive Maximum deadlocks the library, so the link keeps to it. The library's outbound topic aliases
	// are kept with queued messages and mean nothing on the next connection; a server may do without.
	if n := int(pk.Properties.ReceiveMaximum); n > 0 && n < l.b.cfg.Limits.QueuedMessages {
		l.window = newWindow(n)
	}
	pk.Properties.ReceiveMaximum = 0
	pk.Properties.TopicAliasMaximum = 0
	pk.Properties.User = nil // they have no meaning here, and the library would keep them with the session
	l.cl = cl
	return nil
}

// connect decides about a CONNECT: limits, credentials, client identifier, will. It answers a refusal itself, with the code
// that fits, and claims the session.
func (l *link) connect(cl *mqtt.Client, pk packets.Packet) error {
	b := l.b
	password := pk.Connect.Password
	defer clear(password)
	if len(pk.Properties.AuthenticationMethod) > 0 {
		return l.refuse(refusal{reasonAuthMethod, 0x8c, 5, "enhanced authentication is not offered"}, cl)
	}
	if b.stopping.Load() {
		return l.refuse(refusal{reasonStopping, 0x8b, 3, "the gateway is stopping"}, cl)
	}
	if !b.open.Load() {
		return l.refuse(refusal{reasonStarting, 0x88, 3, "the gateway cannot read its store yet, try again"}, cl)
	}
	if r, ok := checkClientID(cl.ID, b.cfg.Limits.MaxClientIDBytes); !ok {
		return l.refuse(r, cl)
	}
	id, r, ok := l.authenticate(pk)
	if !ok {
		return l.refuse(r, cl)
	}
	if id.Role == RoleDevice && id.Name != "" && b.opts.CheckDevice != nil {
		if err := b.opts.CheckDevice(id.Name); err != nil {
			return l.refuse(refusal{reasonDeviceID, CodeNotAuthorized, 5, err.Error()}, cl)
		}
	}
	l.identity.Store(id)
	if r, ok := l.prepareWill(cl, pk); !ok {
		return l.refuse(r, cl)
	}
	l.prepareTimes(cl)
	if r, ok := b.claim(l, cl, id); !ok {
		return l.refuse(r, cl)
	}
	if limits := &b.cfg.Limits; limits.PublishRate > 0 {
		l.limit = rate.NewLimiter(rate.Limit(limits.PublishRate), max(1, int(limits.PublishRate)))
	}
	if limits := &b.cfg.Limits; limits.PublishBytesRate > 0 {
		l.bytes = rate.NewLimiter(rate.Limit(limits.PublishBytesRate), int(max(limits.PublishBytesRate, limits.MaxPacketBytes)))
	}
	// Inbound publications do not use the library's quota, but the releases of outbound QoS 2 messages do.
	cl.State.Inflight.ResetReceiveQuota(1 << 30)
	l.connected.Store(true)
	b.count.logins.Add(1)
	return nil
}

func checkClientID(id string, limit int) (refusal, bool) {
	switch {
	case len(id) > limit:
		return refusal{reasonClientID, 0x85, 2, "the client identifier is too long"}, false
	case !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		return refusal{reasonClientID, 0x85, 2, "the client identifier holds control characters"}, false
	}
	return refusal{}, true
}

// authenticate finds out who connects: by certificate, by password, or not at all where that is allowed.
func (l *link) authenticate(pk packets.Packet) (*Identity, refusal, bool) {
	b := l.b
	user := string(pk.Connect.Username)
	if name, ok := l.certificateName(); ok {
		if name == "" || pk.Connect.UsernameFlag && user != name {
			return nil, refusal{reasonCertificate, CodeNotAuthorized, 5, "the certificate does not name this user"}, false
		}
		l.byCertificate = true
		if u, ok := b.opts.Users.Lookup(name); ok {
			return u.Identity(), refusal{}, true
		}
		u := User{Name: name, Role: RoleDevice}
		if err := u.Validate(); err != nil {
			return nil, refusal{reasonCertificate, CodeNotAuthorized, 5, "the certificate's name cannot be a device"}, false
		}
		return u.Identity(), refusal{}, true
	}
	if !pk.Connect.UsernameFlag && !pk.Connect.PasswordFlag {
		if l.anonymousAllowed() {
			return b.anonymous, refusal{}, true
		}
		return nil, refusal{reasonAnonymous, CodeNotAuthorized, 5, "credentials are needed"}, false
	}
	id, why, ok := b.logins.check(l.addr, user, pk.Connect.Password)
	if ok {
		return id, refusal{}, true
	}
	switch why {
	default:
	case reasonLoginBusy:
		return nil, refusal{why, CodeServerBusy, 3, "too many logins at once, try again"}, false
	case reasonLoginThrottled:
		return nil, refusal{why, 0x9f, 3, "too many failed logins, try again later"}, false
	}
	return nil, refusal{why, 0x86, 4, ""}, false
}

// certificateName is the name in the client's certificate, if it showed one that was verified.
func (l *link) certificateName() (string, bool) {
	tc, ok := l.Conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok || l.listener.cfg.TLS == nil {
		return "", false
	}
	state := tc.ConnectionState()
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return "", false
	}
	return certificateIdentity(state.PeerCertificates[0], l.listener.cfg.TLS.Identity), true
}

// anonymousAllowed applies never, loopback and always. Loopback means that the listener is bound to this machine, that the
// client is on it, and that it is no browser's WebSocket.
func (l *link) anonymousAllowed() bool {
	policy := l.listener.cfg.Anonymous
	if policy == "" {
		policy = l.b.cfg.Auth.Anonymous
	}
	switch policy {
	case "always":
		return true
	case "loopback":
		return l.listener.loop && l.addr.IsLoopback() && l.listener.cfg.Transport != "websocket"
	}
	return false
}

// prepareTimes bounds keep-alive and session expiry. The library keeps session expiry by the wall clock, which jumps by
// years on a board without a battery; so it is told never, and the broker expires sessions itself.
func (l *link) prepareTimes(cl *mqtt.Client) {
	limits := &l.b.cfg.Limits
	longest := uint16(min(limits.MaxKeepAlive, maxKeepAlive) / time.Second)
	if k := cl.State.Keepalive; k == 0 || k > longest {
		cl.State.Keepalive = longest
		cl.State.ServerKeepalive = l.protocol == 5
	}
	p := &cl.Properties.Props
	if l.protocol != 5 {
		return
	}
	if p.SessionExpiryInterval > 0 {
		longest := uint32(min(limits.SessionExpiry/time.Second, 1<<31))
		if p.SessionExpiryInterval > longest {
			l.expiryCap = longest
		}
	}
}

// sessionExpiry is how long the session outlives the connection, from what the client asked for.
func (l *link) sessionExpiry(cl *mqtt.Client) time.Duration {
	limit := l.b.cfg.Limits.SessionExpiry
	if l.protocol == 5 {
		return min(time.Duration(cl.Properties.Props.SessionExpiryInterval)*time.Second, limit)
	}
	if cl.Properties.Clean {
		return 0
	}
	return limit
}

// refuse answers CONNECT with a refusal and ends the connection.
func (l *link) refuse(r refusal, cl *mqtt.Client) error {
	l.answer(r)
	l.b.noise.warn("client refused", zap.String("client", printable(cl.ID)), zap.String("user", printable(string(cl.Properties.Username))),
		zap.String("remote", l.remote), zap.String("listener", l.listener.cfg.Name), zap.Stringer("reason", r.reason), zap.String("detail", printable(r.text)))
	return errRefused
}

// answer writes the CONNACK of a refusal.
func (l *link) answer(r refusal) {
	l.blame(r.reason)
	if l.protocol != 5 {
		l.say([]byte{0x20, 2, 0, r.v3})
		return
	}
	text := r.text
	if len(text) > maxReason || !utf8.ValidString(text) {
		text = ""
	}
	var buf bytes.Buffer
	if text == "" {
		buf.Write([]byte{0x20, 3, 0, r.v5, 0})
	} else {
		buf.Write([]byte{0x20, byte(6 + len(text)), 0, r.v5, byte(3 + len(text)), 0x1f})
		buf.Write(binary.BigEndian.AppendUint16(nil, uint16(len(text))))
		buf.WriteString(text)
	}
	l.say(buf.Bytes())
}

// printable bounds what a stranger can put into a log line.
func printable(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
