package broker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/zap"
)

// neverExpires is what the library is told about session expiry; the broker keeps it by the monotonic clock.
const neverExpires = 1<<32 - 1

// takeoverWait is how long a new connection waits for the old one of its session to be gone.
const takeoverWait = 10 * time.Second

// session is what outlives a connection: the owner of a client identifier, the QoS 2 identifiers that wait for release, and
// the messages that wait for the client.
type session struct {
	id         string
	user       string // only this user may have the client identifier
	persistent atomic.Bool
	client     atomic.Pointer[mqtt.Client] // the library's holder of the session; nil while it is shelved
	identity   atomic.Pointer[Identity]
	rules      atomic.Uint64 // generation of the rules its subscriptions were decided by
	stale      atomic.Bool   // the library dropped a message that the queue still counts
	expiring   atomic.Int64  // messages that wait and can expire

	// Guarded by Broker.mu.
	link      *link // nil while the client is away
	shelved   bool  // it holds nothing that the library would have to know of
	away      time.Time
	expiry    time.Duration
	willTimer *time.Timer
	delayed   *will

	mu       sync.Mutex
	record   storedSession // what the store is to have of it
	stored   storedSession // what it has, or soon will; zero for nothing
	qos2     map[uint16]*qos2Entry
	queue    map[uint16]*queued // outbound messages that are not acknowledged, by packet identifier
	bytes    int64
	unsent   int           // of them, those that were not on the wire yet
	progress chan struct{} // closed when unsent falls; nil while nobody waits for that
	slow     time.Time     // until then nobody waits for this client
}

// queued is an outbound message that waits for its acknowledgement.
type queued struct {
	size    int64
	sent    bool  // it was on the wire, so the next time it is a duplicate
	expires int64 // when, in Unix seconds; 0 = never
}

// waits counts a message that waits from here on, n = 1, or does not any longer, n = -1. Called with s.mu held.
func (s *session) waits(b *Broker, e *queued, n int64) {
	s.bytes += n * e.size
	b.count.queued.Add(n)
	b.count.queuedBytes.Add(n * e.size)
	if e.expires > 0 {
		s.expiring.Add(n)
		b.count.expiring.Add(n)
	}
}

// claim gives the session of a client identifier to a connection. The old connection of the session is ended first and
// waited for, will and all, so that the two never overlap.
func (b *Broker) claim(l *link, cl *mqtt.Client, id *Identity) (refusal, bool) {
	deadline := time.NewTimer(takeoverWait)
	defer deadline.Stop()
	for {
		b.mu.Lock()
		s := b.sessions[cl.ID]
		if s != nil && b.expired(s, time.Now()) {
			b.removeSession(s) // it is over, though nobody has looked since
			s = nil
		}
		switch {
		case s != nil && s.user != id.Name || s == nil && b.reserved(cl.ID, id):
			b.mu.Unlock()
			return refusal{reasonClientIDOwner, 0x85, 2, "the client identifier belongs to another user"}, false
		case s != nil && s.link != nil:
			old := s.link
			b.mu.Unlock()
			old.stop(reasonTakeover, packets.ErrSessionTakenOver.Code)
			select {
			case <-old.finished:
				continue
			case <-deadline.C:
				return refusal{reasonTakeover, CodeServerBusy, 3, "the old connection does not end"}, false
			case <-l.done:
				return refusal{reasonTakeover, CodeServerBusy, 3, ""}, false
			}
		case b.count.clients.Load() >= int64(b.cfg.Limits.MaxClients):
			b.mu.Unlock()
			return refusal{reasonMaxClients, CodeServerBusy, 3, "the gateway has as many clients as it may"}, false
		}
		if s == nil {
			s = &session{id: cl.ID, user: id.Name}
			b.sessions[cl.ID] = s
		}
		s.link = l
		s.identity.Store(id)
		s.rules.Store(b.rulesGen.Load())
		l.sess = s
		b.count.clients.Add(1)
		b.mu.Unlock()
		return refusal{}, true
	}
}

// reserved reports whether a client identifier is another user's name. Many devices use their name as their identifier, and
// nobody else can lock them out by taking it first.
func (b *Broker) reserved(client string, id *Identity) bool {
	if client == id.Name {
		return false
	}
	_, known := b.opts.Users.Lookup(client)
	return known && !id.MayWrite(client)
}

// beginSession prepares the session just before the library resumes it or makes a new one.
func (b *Broker) beginSession(l *link, cl *mqtt.Client, clean bool) {
	s := l.sess
	old, ok := b.server.Clients.Get(cl.ID)
	if ok && !clean {
		s.expire(b, time.Now().Unix())
	}
	s.client.Store(cl) // from here on, what the library does to the old holder is no news
	b.loaded.Delete(old)
	expiry := l.sessionExpiry(cl)
	b.mu.Lock()
	l.resumed = s.shelved && !clean
	s.shelved = false
	b.mu.Unlock()
	switch {
	case ok && !clean:
		renumber(old)
	case !l.resumed:
		s.forget(b, old)
	}
	b.mu.Lock()
	s.expiry = expiry
	if s.willTimer != nil {
		pending := s.willTimer.Stop() && clean
		s.willTimer = nil
		if pending && s.delayed != nil {
			w := s.delayed
			defer b.publishWill(s, w) // its session ends now (MQTT 5 §3.1.3.2.2)
		}
	}
	s.delayed = nil
	b.mu.Unlock()
	s.persistent.Store(expiry > 0)
	s.describe(b, l.protocol, expiry)
	if cl.Properties.Props.SessionExpiryInterval > 0 {
		cl.Properties.Props.SessionExpiryInterval = neverExpires
		cl.Properties.Props.SessionExpiryIntervalFlag = true
	}
}

// renumber puts the waiting messages' sequence into the sixteen bits by which the library sorts them, so that a queue is
// delivered in the order it was filled (MQTT 5 §4.6).
func renumber(cl *mqtt.Client) {
	waiting := cl.State.Inflight.GetAll(false)
	slices.SortStableFunc(waiting, func(a, b packets.Packet) int { return int(min(max(a.Created-b.Created, -1), 1)) })
	for i, pk := range waiting {
		pk.Created = int64(i)
		cl.State.Inflight.Set(pk)
	}
}

// forget empties the session, in memory and in the store.
func (s *session) forget(b *Broker, old *mqtt.Client) {
	s.mu.Lock()
	ids := make([]uint16, 0, len(s.queue))
	for id := range s.queue {
		ids = append(ids, id)
	}
	for id := range s.qos2 {
		b.store.deleteQoS2(s.id, id)
	}
	s.qos2 = nil
	s.mu.Unlock()
	for _, id := range ids {
		s.dequeue(b, id)
	}
	if old != nil {
		for f := range old.State.Subscriptions.GetAll() {
			b.store.deleteSubscription(s.id, f)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored != (storedSession{}) {
		b.store.deleteSession(s.id)
		s.stored = storedSession{}
	}
}

// setExpiry changes a session's expiry at a DISCONNECT that says so.
func (b *Broker) setExpiry(s *session, expiry time.Duration) {
	b.mu.Lock()
	s.expiry = expiry
	b.mu.Unlock()
	s.persistent.Store(expiry > 0)
	s.describe(b, 5, expiry)
}

// describe sets what the store is to have of the session. It has nothing of one that holds nothing: a device that only
// publishes reconnects without a write, and so does a stranger with a new name each time.
func (s *session) describe(b *Broker, protocol byte, expiry time.Duration) {
	if expiry <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = storedSession{User: s.user, Protocol: protocol, Expiry: int64(expiry / time.Second)}
	if s.stored != (storedSession{}) {
		s.save(b)
	}
}

// save sees to it that the store has the session, whose first subscription or message comes. Called with s.mu held.
func (s *session) save(b *Broker) {
	if s.stored != s.record {
		b.store.putSession(s.id, s.record, s.stored == storedSession{})
		s.stored = s.record
	}
}

// saveNow is the same for a QoS 2 identifier, which does not wait in the journal. Called with s.mu held.
func (s *session) saveNow(b *Broker) {
	if s.stored == s.record {
		b.store.hurrySession(s.id)
		return
	}
	b.store.putSessionNow(s.id, s.record)
	s.stored = s.record
}

// endConnection is told that the client's connection ended, on its read goroutine.
func (b *Broker) endConnection(l *link, err error, _ bool) {
	if l.ended {
		return
	}
	l.ended = true
	if graceful := l.cl.StopCause() == packets.CodeDisconnect && err == nil; graceful { //nolint:errorlint // the library's own value
		l.will.Store(nil)
	} else {
		b.lastWill(l)
	}
	l.endReason = l.why(err)
	if l.cl.StopCause() == packets.CodeDisconnect { //nolint:errorlint // the library's own value
		l.endReason = "disconnect"
	}
}

// finish cleans up after a connection, also one that the library gave up half way: after a panic, or when CONNACK could not
// be written, it does not do so itself.
func (b *Broker) finish(l *link) {
	defer close(l.finished)
	defer l.Close()
	s := l.sess
	if s == nil {
		return
	}
	cl := l.cl
	if !l.ended {
		cl.Stop(errRefused)
		b.endConnection(l, errRefused, true)
	}
	if l.window != nil {
		s.heldBack(l.window.unsent())
	}
	l.decided, l.owed = nil, nil // the library keeps the link for as long as the session
	b.mu.Lock()
	s.link = nil
	s.away = time.Now()
	b.count.clients.Add(-1)
	if !s.persistent.Load() {
		b.removeSession(s)
	} else {
		b.shelve(s)
	}
	if waiting := len(b.sessions) - int(b.count.clients.Load()); waiting > b.cfg.Limits.MaxSessions {
		b.evict()
	}
	b.mu.Unlock()
	b.noise.info("client disconnected", zap.String("client", s.id), zap.String("user", s.user), zap.String("reason", l.endReason))
	if f := b.opts.Events.Disconnected; f != nil {
		f(l.info(), l.endReason)
	}
}

// shelve takes a session out of the library's hands whose client is away and which has neither subscriptions nor messages.
// Nothing can come for it, and the library would keep some 5 KiB of its connection: a stranger's scanner that asks for a
// session a thousand times over, or a device that only publishes, costs next to nothing. Called with mu held.
func (b *Broker) shelve(s *session) {
	cl := s.client.Load()
	if cl == nil || cl.State.Subscriptions.Len() > 0 || cl.State.Inflight.Len() > 0 {
		return
	}
	if now, ok := b.server.Clients.Get(s.id); ok && now == cl {
		b.server.Clients.Delete(s.id)
	}
	b.loaded.Delete(cl)
	s.client.Store(nil)
	s.shelved = true
}

// removeSession forgets a session whose client is away. Called with mu held: a client that comes back meanwhile waits.
func (b *Broker) removeSession(s *session) {
	if b.sessions[s.id] == s {
		delete(b.sessions, s.id)
	}
	if s.willTimer != nil && s.willTimer.Stop() && s.delayed != nil {
		w := s.delayed
		s.delayed = nil
		b.spawn(func() { b.publishWill(s, w) }) // the session ends before the delay
	}
	s.willTimer = nil
	cl := s.client.Load()
	s.forget(b, cl)
	if cl == nil {
		return
	}
	cl.ClearInflights()
	b.server.UnsubscribeClient(cl)
	if now, ok := b.server.Clients.Get(s.id); ok && now == cl {
		b.server.Clients.Delete(s.id)
	}
	b.loaded.Delete(cl)
}

// evict drops a session that waits: of the user who has most of them, the one that has waited longest. So one who makes
// sessions without end drops its own. Called with mu held.
func (b *Broker) evict() {
	waiting := map[string]int{}
	most := 0
	for _, s := range b.sessions {
		if s.link == nil {
			waiting[s.user]++
			most = max(most, waiting[s.user])
		}
	}
	var oldest *session
	for _, s := range b.sessions {
		if s.link == nil && waiting[s.user] == most && (oldest == nil || s.away.Before(oldest.away)) {
			oldest = s
		}
	}
	if oldest != nil {
		b.count.count(reasonSessionEvicted)
		b.removeSession(oldest)
	}
}

// expireSessions drops the sessions whose time is over.
func (b *Broker) expireSessions(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sessions {
		if b.expired(s, now) {
			b.removeSession(s)
		}
	}
}

// expired reports, and counts, that a session's time is over. Called with mu held.
func (b *Broker) expired(s *session, now time.Time) bool {
	if s.link != nil || now.Sub(s.away) < s.expiry {
		return false
	}
	b.count.count(reasonSessionExpired)
	return true
}

// sessionOf finds the session that a client of the library holds now, or nil.
func (b *Broker) sessionOf(cl *mqtt.Client) *session {
	var s *session
	if l := linkOf(cl); l != nil {
		s = l.sess
	} else if v, ok := b.loaded.Load(cl); ok {
		s, _ = v.(*session)
	}
	if s == nil || s.client.Load() != cl {
		return nil
	}
	return s
}

// mayDeliver is asked before each delivery to a session.
func (b *Broker) mayDeliver(cl *mqtt.Client, topic string) bool {
	s := b.sessionOf(cl)
	if s == nil {
		return true
	}
	if s.stale.Swap(false) {
		s.reconcile(b, cl)
	}
	s.mu.Lock()
	full := s.bytes >= b.cfg.Limits.QueuedBytes
	s.mu.Unlock()
	if full || b.count.queuedBytes.Load() >= b.cfg.Limits.TotalQueuedBytes {
		b.count.count(reasonQueueBytes)
		return false
	}
	if s.rules.Load() != b.rulesGen.Load() && !b.acl.Load().decide(s.identity.Load(), ActionSubscribe, topic).allowed {
		b.count.count(reasonDeliveryACL)
		return false
	}
	return true
}
