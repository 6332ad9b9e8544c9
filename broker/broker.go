package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"go.uber.org/zap"
)

// Options are what the broker is joined with.
type Options struct {
	Ingest Ingest // takes publications over; nil acknowledges and forgets them
	Users  *Users // nil: nobody has a password
	Store  Store  // nil: sessions and retained messages live in memory only
	Events Events
	Log    *zap.Logger // nil: silent
	Scopes []Scope     // topics of presets and routes that devices may use

	// CheckDevice says why an id cannot be a device's, or nil. It is asked for the name of a device that connects and for the
	// device in a topic that is published to. It must be quick and may be called from many goroutines.
	CheckDevice func(id string) error
}

// Broker is an MQTT 3.1, 3.1.1 and 5 broker. Make one with New, restore it with Load, run it with Run.
type Broker struct {
	cfg       Config
	opts      Options
	noise     noise
	server    *mqtt.Server
	self      *mqtt.Client // publishes for the gateway
	anonymous *Identity    // of every client without credentials
	listeners []*listener
	logins    *logins
	gate      *gate
	retained  *retained
	store     *persistence
	memory    *memory
	transient transientTopics
	count     counters
	acl       atomic.Pointer[ACL]
	rulesGen  atomic.Uint64 // grows when scopes or users change
	sequence  atomic.Int64  // order of messages through the broker
	open      atomic.Bool   // Load was there: clients are let in
	stopping  atomic.Bool
	quit      chan struct{} // closed when the broker stops
	loaded    sync.Map      // *mqtt.Client of a session loaded from the store -> *session

	mu       sync.Mutex
	sessions map[string]*session

	life    sync.Mutex // guards the state and adding to wg
	state   state
	wg      sync.WaitGroup // connections, and publications of the gateway's own
	closing sync.Once
}

type state uint8

const (
	stateNew state = iota
	stateRunning
	stateStopped
)

// topicAliases is how many topic aliases an MQTT 5 client may set.
const topicAliases = 32

// New checks the configuration and binds the listeners. Clients are served by Run, and let in once Load has restored what the
// store holds. If it fails, nothing stays open.
func New(cfg Config, opts Options) (*Broker, error) {
	var faults []error
	cfg.Validate(func(path, message string) { faults = append(faults, fmt.Errorf("broker.%s %s", path, message)) })
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	b := &Broker{cfg: cfg, opts: opts, noise: newNoise(opts.Log.Named("broker")), quit: make(chan struct{}), sessions: map[string]*session{}}
	limits := &b.cfg.Limits
	b.anonymous = Anonymous()
	b.acl.Store(NewACL(opts.Scopes))
	b.rulesGen.Store(1)
	b.logins = newLogins(cfg.Auth, opts.Users)
	b.gate = newGate(limits, &b.count)
	b.store = newPersistence(opts.Store)
	b.retained = newRetained(limits, b.store)
	b.memory = newMemory(limits.PacketMemory)
	b.server = mqtt.New(libraryOptions(limits))
	b.self = b.server.NewClient(nil, mqtt.LocalListener, "\x00gateway", true)
	b.self.Properties.ProtocolVersion = 5
	if err := b.server.AddHook(&hook{b: b}, nil); err != nil {
		return nil, fmt.Errorf("attach to the broker library: %w", err)
	}
	for _, lc := range cfg.Listeners {
		l, err := b.listen(lc)
		if err == nil {
			b.listeners = append(b.listeners, l)
			err = b.server.AddListener(l)
		}
		if err != nil {
			b.closeListeners()
			return nil, err
		}
	}
	return b, nil
}

// libraryOptions are the settings under which the library is safe to use; the defaults are not.
func libraryOptions(limits *Limits) *mqtt.Options {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumClients = math.MaxInt32 // ours counts sockets and refuses with the right code
	c.MaximumMessageExpiryInterval = 0
	c.MaximumSessionExpiryInterval = neverExpires
	c.MaximumClientWritesPending = int32(limits.PendingWrites)
	c.MaximumPacketSize = uint32(limits.MaxPacketBytes)
	c.MaximumInflight = uint16(limits.QueuedMessages)
	c.ReceiveMaximum = uint16(min(limits.InFlight, limits.MaxQoS2Pending))
	c.TopicAliasMaximum = topicAliases
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	return &mqtt.Options{
		Capabilities:             c,
		ClientNetReadBufferSize:  1024,
		ClientNetWriteBufferSize: 1024,
		// The library logs whole packets, payloads and passwords among them. What matters is logged here.
		Logger: slog.New(slog.DiscardHandler),
	}
}

// Run serves clients until ctx ends, then disconnects them, writes what is pending to the store and returns. It can be
// called once.
func (b *Broker) Run(ctx context.Context) error {
	b.life.Lock()
	if b.state != stateNew {
		b.life.Unlock()
		return errors.New("the broker was run before")
	}
	b.state = stateRunning
	b.life.Unlock()
	defer b.Close()
	b.serveLibrary()
	for _, l := range b.Listeners() {
		b.noise.info("listening", zap.String("listener", l.Name), zap.String("address", l.Address), zap.String("transport", l.Transport))
	}
	fast, slow, certs := time.NewTicker(sessionDelay), time.NewTicker(retainedDelay), time.NewTicker(certificateCheck)
	second, sys := time.NewTicker(time.Second), time.NewTicker(sysInterval)
	defer second.Stop()
	defer sys.Stop()
	defer fast.Stop()
	defer slow.Stop()
	defer certs.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-fast.C:
			if b.store.store != nil {
				b.store.sessions.flush()
			}
		case <-slow.C:
			b.expireSessions(time.Now())
			if b.store.store != nil {
				b.store.retained.flush()
			}
		case now := <-second.C:
			b.expireMessages(now)
		case now := <-sys.C:
			b.publishSys(now)
		case <-certs.C:
			b.refreshCertificates()
		}
	}
}

// StopAccepting refuses new clients and new publishes (MQTT 5: quota exceeded; otherwise the connection is closed), while
// those in flight are settled and acknowledged as ever. Last wills are not published from here on: the gateway goes away, not
// the devices.
func (b *Broker) StopAccepting() { b.stopping.Store(true) }

// shutdownWait bounds how long Close waits for connections to end.
const shutdownWait = 3 * time.Second

// Close ends every connection and writes what is pending to the store. It is bounded and may be called more than once; Run
// does so at its end.
func (b *Broker) Close() {
	b.closing.Do(func() {
		b.stopping.Store(true)
		b.closeListeners()
		// Each on its own: one that does not read would hold the others up.
		var told sync.WaitGroup
		for _, l := range b.connectedLinks() {
			told.Go(func() { l.stop(reasonStopping, 0x8b) })
		}
		wait(told.Wait, shutdownWait)
		b.gate.closeAll()
		b.life.Lock()
		ran := b.state == stateRunning
		b.state = stateStopped
		close(b.quit)
		b.life.Unlock()
		b.gate.closeAll() // one that slipped in meanwhile
		if !wait(b.wg.Wait, shutdownWait) {
			b.noise.warn("some connections did not end in time")
		}
		b.store.flush()
		if ran && !wait(func() { _ = b.server.Close() }, shutdownWait) {
			b.noise.warn("the broker library did not stop in time")
		}
	})
}

// wait runs fn and reports whether it came back in time. The library can hang in its Close.
func wait(fn func(), limit time.Duration) bool {
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

func (b *Broker) closeListeners() {
	for _, l := range b.listeners {
		l.close()
	}
}

// begin enters work that Close waits for; it reports false when the broker is stopped.
func (b *Broker) begin() bool {
	b.life.Lock()
	defer b.life.Unlock()
	if b.state == stateStopped {
		return false
	}
	b.wg.Add(1)
	return true
}

// spawn runs fn on a goroutine that Close waits for.
func (b *Broker) spawn(fn func()) bool {
	if !b.begin() {
		return false
	}
	go func() { defer b.wg.Done(); fn() }()
	return true
}

func (b *Broker) stopped() bool {
	select {
	case <-b.quit:
		return true
	default:
		return false
	}
}

// Addr is the bound address of a listener, nil if there is none of the name.
func (b *Broker) Addr(name string) net.Addr {
	for _, l := range b.listeners {
		if l.cfg.Name == name {
			return l.net.Addr()
		}
	}
	return nil
}

// Listeners describes the listeners, in the order of the configuration.
func (b *Broker) Listeners() []ListenerInfo {
	infos := make([]ListenerInfo, 0, len(b.listeners))
	for _, l := range b.listeners {
		infos = append(infos, l.info())
	}
	return infos
}

// Clients describes the connected clients, by client identifier.
func (b *Broker) Clients() []ClientInfo {
	var infos []ClientInfo
	for _, l := range b.connectedLinks() {
		infos = append(infos, l.info())
	}
	slices.SortFunc(infos, func(a, b ClientInfo) int { return strings.Compare(a.ID, b.ID) })
	return infos
}

// connectedLinks lists the connections that were let in.
func (b *Broker) connectedLinks() []*link {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*link
	for _, s := range b.sessions {
		if s.link != nil {
			list = append(list, s.link)
		}
	}
	return list
}

// ACL gives the rules in force, for `acl test`.
func (b *Broker) ACL() *ACL { return b.acl.Load() }

// SetScopes replaces the topics of presets and routes. Connections go on; what they may do is decided anew.
func (b *Broker) SetScopes(scopes []Scope) {
	b.acl.Store(NewACL(scopes))
	b.rulesGen.Add(1)
}

// RefreshUsers applies a users file that was reloaded: whoever is not in it any more is disconnected, everybody else has the
// rights it gives now.
func (b *Broker) RefreshUsers() {
	var gone []*link
	b.mu.Lock()
	for _, s := range b.sessions {
		if s.user == "" {
			continue
		}
		id := b.opts.Users.IdentityOf(s.user)
		s.identity.Store(id)
		if s.link == nil {
			continue
		}
		if _, known := b.opts.Users.Lookup(s.user); !known && !s.link.byCertificate {
			gone = append(gone, s.link)
		}
		s.link.identity.Store(id)
	}
	b.rulesGen.Add(1)
	b.mu.Unlock()
	for _, l := range gone {
		l.stop(reasonUserRemoved, CodeNotAuthorized)
	}
}

// sent counts packets that did not go through the library.
func (b *Broker) sent(packets, bytes int64) {
	atomic.AddInt64(&b.server.Info.PacketsSent, packets)
	atomic.AddInt64(&b.server.Info.BytesSent, bytes)
}

func (b *Broker) addSubscriptions(n int64) { atomic.AddInt64(&b.server.Info.Subscriptions, n) }

// Stats is a snapshot of the counters.
func (b *Broker) Stats() Stats {
	c := &b.count
	info := b.server.Info.Clone()
	st := Stats{
		Connections: c.connections.Load(), Clients: c.clients.Load(), Subscriptions: info.Subscriptions,
		InFlight: c.inFlight.Load(), QueuedMessages: c.queued.Load(), QueuedBytes: c.queuedBytes.Load(),
		Accepted: c.accepted.Load(), Logins: c.logins.Load(), ReceivedBytes: c.bytes.Load(), Acknowledged: c.acked.Load(),
		Refused: c.refused.Load(), Duplicates: c.duplicates.Load(), Wills: c.wills.Load(),
		Delivered: info.MessagesSent, DeliveryDropped: info.MessagesDropped + info.InflightDropped,
		BytesReceived: info.BytesReceived, BytesSent: info.BytesSent,
		BackPressure: float64(c.throttledNs.Load()) / 1e9, Reasons: make(map[string]int64, reasonCount),
	}
	for i := range c.received {
		st.Received[i] = c.received[i].Load()
	}
	for i := range c.reasons {
		st.Reasons[reasonNames[i]] = c.reasons[i].Load()
	}
	st.Reasons[reasonQueueMessages.String()] = info.InflightDropped
	n, bytes := b.retained.usage()
	st.Retained, st.RetainedBytes = int64(n), bytes
	st.PacketMemory = b.memory.used.Load()
	b.mu.Lock()
	st.Sessions = int64(len(b.sessions))
	b.mu.Unlock()
	return st
}
