package bridge

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// DeviceStatus is a device's entry with how it stands with the gateway now.
type DeviceStatus struct {
	KnownDevice
	// Connected says that a client of this device is connected itself. A device
	// behind a bridge of its family never is.
	Connected bool `json:"connected"`
	// Since is when that last changed, zero while the device was not seen since
	// the gateway started.
	Since time.Time `json:"since,omitzero"`
	// Reason says why it went away: "disconnect" where it said goodbye, any
	// other word where it did not and its last will was published.
	Reason string `json:"reason,omitempty"`
}

// presence is who is connected, and when each device was last heard of. A
// publication moves one atomic number.
type presence struct {
	seen sync.Map // lower-case id -> *presenceEntry
	n    atomic.Int64
}

type presenceEntry struct {
	lastSeen atomic.Int64 // Unix nanoseconds
	saved    atomic.Int64

	mu     sync.Mutex
	links  int
	since  time.Time
	reason string
}

// maxPresence bounds the devices that are remembered beside the registry's
// own: ids come from the field.
const maxPresence = 1_000_000

func (p *presence) entry(key string) *presenceEntry {
	if e, ok := p.seen.Load(key); ok {
		return e.(*presenceEntry) //nolint:forcetypeassert // nothing else is stored
	}
	if p.n.Load() >= maxPresence {
		return &presenceEntry{}
	}
	e, loaded := p.seen.LoadOrStore(strings.Clone(key), &presenceEntry{})
	if !loaded {
		p.n.Add(1)
	}
	return e.(*presenceEntry) //nolint:forcetypeassert // nothing else is stored
}

func (p *presence) forget(key string) {
	if _, ok := p.seen.LoadAndDelete(key); ok {
		p.n.Add(-1)
	}
}

func (p *presence) restore(d KnownDevice) {
	if d.LastSeen.IsZero() {
		return
	}
	e := p.entry(strings.ToLower(d.ID))
	e.lastSeen.Store(d.LastSeen.UnixNano())
	e.saved.Store(d.LastSeen.UnixNano())
}

// Seen notes that a device published something. It is quick.
func (r *Registry) Seen(id string, at time.Time) {
	r.presence.entry(strings.ToLower(id)).lastSeen.Store(at.UnixNano())
}

// Connected notes that a client of the device connected; it reports whether
// the device was away before. A device of the application's that connects here
// for the first time counts as seen here from now on.
func (r *Registry) Connected(id string, at time.Time) (came bool) {
	e := r.presence.entry(strings.ToLower(id))
	e.mu.Lock()
	e.links++
	came = e.links == 1
	if came {
		e.since, e.reason = at, ""
	}
	e.mu.Unlock()
	e.lastSeen.Store(at.UnixNano())
	if d, ok := r.Device(id); ok && !d.Local {
		r.markLocal(id)
	}
	return came
}

// Disconnected notes that a client of the device went away, with the broker's
// reason; it reports whether that was the last one.
func (r *Registry) Disconnected(id, reason string, at time.Time) (went bool) {
	e := r.presence.entry(strings.ToLower(id))
	e.mu.Lock()
	if e.links > 0 {
		e.links--
		if went = e.links == 0; went {
			e.since, e.reason = at, reason
		}
	}
	e.mu.Unlock()
	e.lastSeen.Store(at.UnixNano())
	return went
}

// IsConnected tells whether a client of the device is connected.
func (r *Registry) IsConnected(id string) bool {
	v, ok := r.presence.seen.Load(strings.ToLower(id))
	if !ok {
		return false
	}
	e := v.(*presenceEntry) //nolint:forcetypeassert // nothing else is stored
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.links > 0
}

// Status returns a device's entry with its connection state.
func (r *Registry) Status(id string) (DeviceStatus, bool) {
	d, ok := r.Device(id)
	if !ok {
		return DeviceStatus{}, false
	}
	return r.status(d), true
}

// Statuses lists all devices with their connection state, in the order of ids.
func (r *Registry) Statuses() []DeviceStatus {
	r.mu.RLock()
	all := make([]DeviceStatus, 0, len(r.devices))
	for _, d := range r.devices {
		all = append(all, DeviceStatus{KnownDevice: d})
	}
	r.mu.RUnlock()
	for i := range all {
		all[i] = r.status(all[i].KnownDevice)
	}
	slices.SortFunc(all, func(a, b DeviceStatus) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (r *Registry) status(d KnownDevice) DeviceStatus {
	s := DeviceStatus{KnownDevice: d}
	v, ok := r.presence.seen.Load(strings.ToLower(d.ID))
	if !ok {
		return s
	}
	e := v.(*presenceEntry) //nolint:forcetypeassert // nothing else is stored
	if at := e.lastSeen.Load(); at > 0 {
		s.LastSeen = time.Unix(0, at).UTC()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Connected, s.Since, s.Reason = e.links > 0, e.since, e.reason
	return s
}

// seenKept is how exact the time of a device's last publication is across
// restarts: to write each down would double the writes of the gateway.
const seenKept = time.Minute

// saveSeen writes down when devices were last heard of, as far as that moved.
func (r *Registry) saveSeen() {
	r.presence.seen.Range(func(key, value any) bool {
		e := value.(*presenceEntry) //nolint:forcetypeassert // nothing else is stored
		at := e.lastSeen.Load()
		if at-e.saved.Load() < int64(seenKept) {
			return true
		}
		e.saved.Store(at)
		r.mu.Lock()
		defer r.mu.Unlock()
		if d, ok := r.devices[key.(string)]; ok { //nolint:forcetypeassert // keys are strings
			d.LastSeen = time.Unix(0, at).UTC()
			r.devices[key.(string)] = d //nolint:forcetypeassert // keys are strings
			if r.store != nil {
				r.store.SaveDevice(d)
			}
		}
		return true
	})
}

// lastSeen returns when a device was last heard of, zero if it never was.
func (r *Registry) lastSeen(id string) time.Time {
	v, ok := r.presence.seen.Load(strings.ToLower(id))
	if !ok {
		return time.Time{}
	}
	return time.Unix(0, v.(*presenceEntry).lastSeen.Load()) //nolint:forcetypeassert // nothing else is stored
}
