package emulator

import (
	"encoding/json"
	"sync"
	"time"

	"iotc-gateway/bridge/central"
)

// device is one device with all that was received for it.
type device struct {
	id        string
	createdBy string // request id of the creation

	mu         sync.Mutex // guards everything below, for the length of a copy
	info       central.Device
	account    DeviceStats
	sequence   position
	time       position
	history    []Event // a ring once it is full; next is the place of the oldest
	next       int
	properties map[string]central.Property
	commands   map[string]*command
	order      []string // command ids, oldest first
}

// position is the highest place in an order that has been reached.
type position struct {
	at  float64
	set bool
}

// reach moves on to a place and tells whether it lies before one that was reached earlier.
func (p *position) reach(at float64) (behind bool) {
	if p.set && at < p.at {
		return true
	}
	p.at, p.set = at, true
	return false
}

// Event is a telemetry event as it was received.
type Event struct {
	ReceivedTime time.Time       `json:"receivedTime"`
	RequestID    string          `json:"requestId,omitempty"`
	Body         json.RawMessage `json:"body"`
}

func (d *device) snapshot() central.Device {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.info
}

// seen notes that the device has sent something; d.mu is held.
func (d *device) seen(now time.Time) {
	d.info.LastSeen = now.Truncate(time.Millisecond)
}

// keep appends to the history; d.mu is held.
func (d *device) keep(e Event, limit int) {
	if len(d.history) < limit {
		d.history = append(d.history, e)
		return
	}
	d.history[d.next] = e
	d.next = (d.next + 1) % limit
}

// events returns the last n events, oldest first.
func (d *device) events(n int) []Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	n = min(n, len(d.history))
	out := make([]Event, 0, n)
	for i := len(d.history) - n; i < len(d.history); i++ {
		out = append(out, d.history[(d.next+i)%len(d.history)])
	}
	return out
}
