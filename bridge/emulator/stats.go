package emulator

import (
	"sync/atomic"
	"time"
)

// totals are the application's counters.
type totals struct {
	requests, refused, faults           atomic.Uint64
	telemetry, accepted, bytes          atomic.Uint64
	duplicates, sameContent, outOfOrder atomic.Uint64
	properties, commands                atomic.Uint64
}

// Stats is what the application has received since it began or was reset.
type Stats struct {
	// Requests counts all calls, Refused those that were answered with an error, Faults those on which a fault acted.
	Requests uint64 `json:"requests"`
	Refused  uint64 `json:"refused"`
	Faults   uint64 `json:"faults"`
	// Telemetry counts the events that were valid, Accepted those of them that were not seen before.
	Telemetry uint64 `json:"telemetry"`
	Accepted  uint64 `json:"accepted"`
	Bytes     uint64 `json:"bytes"`
	// Duplicates counts writes of all kinds whose request id was applied before.
	Duplicates uint64 `json:"duplicates"`
	// SameContent counts telemetry that equals an earlier event under another request id.
	SameContent uint64 `json:"sameContent"`
	// OutOfOrder counts accepted telemetry behind a later event of the same device.
	OutOfOrder uint64 `json:"outOfOrder"`
	Properties uint64 `json:"properties"`
	Commands   uint64 `json:"commands"`
	// DeviceCount is the number of devices, Devices their own counts.
	DeviceCount int                    `json:"deviceCount"`
	Devices     map[string]DeviceStats `json:"devices,omitempty"`
}

// DeviceStats is what was received for one device.
type DeviceStats struct {
	Received     uint64    `json:"received"`
	Accepted     uint64    `json:"accepted"`
	Duplicates   uint64    `json:"duplicates"`
	SameContent  uint64    `json:"sameContent"`
	OutOfOrder   uint64    `json:"outOfOrder"`
	Properties   uint64    `json:"properties"`
	Commands     uint64    `json:"commands"`
	LastReceived time.Time `json:"lastReceived,omitzero"`
	// LastSequence is the highest sequence number, nil if none was sent.
	LastSequence *float64 `json:"lastSequence,omitempty"`
}

// Totals returns the counts of the whole application; it costs little.
func (a *Application) Totals() Stats {
	t := &a.totals
	return Stats{
		Requests: t.requests.Load(), Refused: t.refused.Load(), Faults: t.faults.Load(),
		Telemetry: t.telemetry.Load(), Accepted: t.accepted.Load(), Bytes: t.bytes.Load(),
		Duplicates: t.duplicates.Load(), SameContent: t.sameContent.Load(), OutOfOrder: t.outOfOrder.Load(),
		Properties: t.properties.Load(), Commands: t.commands.Load(), DeviceCount: int(a.devices.Load()),
	}
}

// Stats returns the counts of the application and of each device.
func (a *Application) Stats() Stats {
	out := a.Totals()
	all := a.sorted("")
	out.Devices = make(map[string]DeviceStats, len(all))
	for _, d := range all {
		out.Devices[d.id] = d.stats()
	}
	return out
}

// DeviceStats returns the counts of one device, false if there is none of that id.
func (a *Application) DeviceStats(id string) (DeviceStats, bool) {
	a.init()
	d, err := a.lookup(id)
	if err != nil {
		return DeviceStats{}, false
	}
	return d.stats(), true
}

func (d *device) stats() DeviceStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.account
	if d.sequence.set {
		out.LastSequence = new(d.sequence.at)
	}
	return out
}

// Reset forgets all devices, counts and request ids; the faults stay as they are.
func (a *Application) Reset() {
	a.init()
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.Lock()
		a.devices.Add(-int64(len(s.devices)))
		s.devices = nil
		s.mu.Unlock()
	}
	a.ids.clear()
	a.content.clear()
	t := &a.totals
	for _, counter := range []*atomic.Uint64{
		&t.requests, &t.refused, &t.faults, &t.telemetry, &t.accepted, &t.bytes, &t.duplicates, &t.sameContent,
		&t.outOfOrder, &t.properties, &t.commands,
	} {
		counter.Store(0)
	}
}
