package broker

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

// logins checks passwords without letting a flood of them starve the gateway: a few hashes at a time, a cache of recent
// successes, and per address a growing delay after failures.
type logins struct {
	cfg   AuthConfig
	users *Users
	slots chan struct{}
	key   []byte // of the cache; new in each process

	mu       sync.Mutex
	success  map[[sha256.Size]byte]time.Time // keyed hash of generation, name and password -> valid until
	failures map[netip.Addr]failure
}

// failure counts the failed logins of an address.
type failure struct {
	count int
	until time.Time // no password of this address is hashed before
}

// maxRemembered bounds both maps.
const maxRemembered = 8192

// failureMemory is how long an address must behave until its failures are forgotten.
const failureMemory = 10 * time.Minute

// loginWait is how long a login waits for its turn to be hashed.
const loginWait = 2 * time.Second

func newLogins(cfg AuthConfig, users *Users) *logins {
	l := &logins{
		cfg: cfg, users: users, slots: make(chan struct{}, max(1, cfg.HashConcurrent)), key: make([]byte, 32),
		success: map[[sha256.Size]byte]time.Time{}, failures: map[netip.Addr]failure{},
	}
	_, _ = rand.Read(l.key) // never fails, see crypto/rand
	return l
}

// check lets a user in or says why not. What was right a short while ago is right at once, even for an address that is shut
// out: one misconfigured device must not shut out its neighbours behind the same router.
func (l *logins) check(addr netip.Addr, name string, password []byte) (*Identity, reason, bool) {
	hash, user, gen, known := l.users.hash(name)
	token := l.token(gen, name, password)
	now := time.Now()

	l.mu.Lock()
	until, cached := l.success[token]
	shut := now.Before(l.failures[addr].until)
	l.mu.Unlock()
	if cached && known && now.Before(until) {
		return user.Identity(), 0, true
	}
	if shut {
		return nil, reasonLoginThrottled, false
	}

	wait := time.NewTimer(loginWait)
	defer wait.Stop()
	select {
	case l.slots <- struct{}{}:
	case <-wait.C:
		return nil, reasonLoginBusy, false
	}
	// Meanwhile another attempt of this address may have failed: of many at once only the first are hashed.
	l.mu.Lock()
	shut = time.Now().Before(l.failures[addr].until)
	l.mu.Unlock()
	if shut {
		<-l.slots
		return nil, reasonLoginThrottled, false
	}
	right := verifyPassword(hash, password) && known
	<-l.slots

	l.mu.Lock()
	defer l.mu.Unlock()
	if !right {
		l.fail(addr, time.Now())
		return nil, reasonCredentials, false
	}
	delete(l.failures, addr)
	if l.cfg.SuccessCache > 0 {
		makeRoom(l.success, func(t time.Time) bool { return !now.Before(t) })
		l.success[token] = now.Add(l.cfg.SuccessCache)
	}
	return user.Identity(), 0, true
}

// fail counts a failed login; the address is shut out for twice as long as the last time. Called with mu held.
func (l *logins) fail(addr netip.Addr, now time.Time) {
	if l.cfg.FailureDelay <= 0 {
		return
	}
	f := l.failures[addr]
	if now.After(f.until.Add(failureMemory)) {
		f.count = 0
	}
	delay := l.cfg.MaxDelay
	if f.count < 20 {
		delay = min(l.cfg.FailureDelay<<f.count, l.cfg.MaxDelay)
	}
	f.count++
	f.until = now.Add(delay)
	makeRoom(l.failures, func(f failure) bool { return now.After(f.until.Add(failureMemory)) })
	l.failures[addr] = f
}

// makeRoom drops what is stale from a full map, and if that is nothing, some entry.
func makeRoom[K comparable, V any](m map[K]V, stale func(V) bool) {
	if len(m) < maxRemembered {
		return
	}
	for k, v := range m {
		if stale(v) {
			delete(m, k)
		}
	}
	for k := range m {
		if len(m) < maxRemembered {
			return
		}
		delete(m, k)
	}
}

// token is a keyed hash, so that the process's memory holds no password.
func (l *logins) token(gen uint64, name string, password []byte) (t [sha256.Size]byte) {
	h := hmac.New(sha256.New, l.key)
	var n [16]byte
	binary.BigEndian.PutUint64(n[:8], gen)
	binary.BigEndian.PutUint64(n[8:], uint64(len(name)))
	h.Write(n[:])
	h.Write([]byte(name))
	h.Write(password)
	h.Sum(t[:0])
	return t
}
