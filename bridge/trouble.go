package bridge

import (
	"sync"
	"time"
)

// A record that is retried spends its budget only while the uplink takes the
// records of other devices: a day on which everything answers 500 is the
// server's and costs no record, while a record that fails alone is at fault
// itself once it had ten attempts over ten minutes.
const (
	budgetAttempts = 10
	budgetTime     = 10 * time.Minute
	// healthyFor is how long one acceptance vouches for the uplink.
	healthyFor = 15 * time.Second
)

// troubles remembers the devices whose foremost record keeps failing.
type troubles struct {
	mu      sync.Mutex
	devices map[string]*trouble
	// The two last acceptances of different devices, so that "another device
	// was accepted" is answered without a table of all of them.
	latest, other acceptance
}

type trouble struct {
	requestID string
	attempts  int
	spent     time.Duration // while others were accepted
	seen      time.Time
}

type acceptance struct {
	device string
	at     time.Time
}

func newTroubles() *troubles { return &troubles{devices: make(map[string]*trouble)} }

// accepted notes that the uplink took a record of the device.
func (t *troubles) accepted(device string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.latest.device != device {
		t.other = t.latest
	}
	t.latest = acceptance{device, now}
	if len(t.devices) > 0 {
		delete(t.devices, device)
	}
}

// failed notes a failure of the device's foremost record and reports whether
// its budget is spent.
func (t *troubles) failed(device, requestID string, now time.Time) (spent bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tr := t.devices[device]
	if tr == nil || tr.requestID != requestID {
		tr = &trouble{requestID: requestID, seen: now}
		t.devices[device] = tr
	}
	others := t.latest
	if others.device == device {
		others = t.other
	}
	if !others.at.IsZero() && now.Sub(others.at) < healthyFor {
		tr.attempts++
		tr.spent += now.Sub(tr.seen)
	}
	tr.seen = now
	if tr.attempts < budgetAttempts || tr.spent < budgetTime {
		return false
	}
	delete(t.devices, device)
	return true
}

// forget drops what is remembered of a device whose record left the queue.
func (t *troubles) forget(device string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.devices, device)
}
