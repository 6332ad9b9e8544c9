package access

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often an address may fail: a burst, and then one attempt every few
// seconds. Beyond that it is told to wait, and nothing is logged for it.
const (
	failureBurst = 10
	failureEvery = 6 * time.Second
	maxAddresses = 4096
)

// failures limits attempts that failed, by address. It remembers a bounded
// number of addresses; an address that has not failed for a minute is as one
// that never did and makes room first.
type failures struct {
	mu   sync.Mutex
	from map[netip.Addr]*failing
}

type failing struct {
	limit *rate.Limiter
	last  time.Time
}

// allow counts a failure and reports false when the address has had too many.
func (f *failures) allow(from netip.Addr, now time.Time) bool {
	from = network(from)
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.from[from]
	if a == nil {
		if f.from == nil {
			f.from = make(map[netip.Addr]*failing)
		}
		if len(f.from) >= maxAddresses && !f.makeRoom(now) {
			// A flood from everywhere at once: whoever is new waits.
			return false
		}
		a = &failing{limit: rate.NewLimiter(rate.Every(failureEvery), failureBurst)}
		f.from[from] = a
	}
	a.last = now
	return a.limit.AllowN(now, 1)
}

// makeRoom forgets the addresses whose allowance is full again.
func (f *failures) makeRoom(now time.Time) bool {
	for from, a := range f.from {
		if now.Sub(a.last) >= failureBurst*failureEvery {
			delete(f.from, from)
		}
	}
	return len(f.from) < maxAddresses
}

// network is what counts as one address: of IPv6 the /64 that one host has.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
