package bridge

import "sync/atomic"

// PropertyStats count since the process started.
type PropertyStats struct {
	Followed     int    // gauge: properties that are followed
	Unconfirmed  int    // gauge: desired values that their devices have not reported
	Pending      int    // gauge: local values that have not reached the application
	Polls        uint64 // questions to the application
	PollFaults   uint64 // that were not answered
	Changes      uint64 // desired values that changed in the application
	Local        uint64 // desired values set by local operators
	Delivered    uint64 // handed to devices
	Refused      uint64 // that a device's template refuses
	Acknowledged uint64
	Written      uint64 // local values that the application took over
	Overtaken    uint64 // local values that the application's own was newer than
	Rejected     uint64 // local values that the application refused
	NoRoom       uint64 // properties that were not followed, for want of room
}

type propertyCounters struct {
	polls, pollFaults, changes, local, delivered, refused, acknowledged, written, overtaken, rejected, noRoom atomic.Uint64
}

// Stats returns the counters.
func (p *Properties) Stats() PropertyStats {
	c := &p.counters
	s := PropertyStats{
		Polls: c.polls.Load(), PollFaults: c.pollFaults.Load(), Changes: c.changes.Load(), Local: c.local.Load(),
		Delivered: c.delivered.Load(), Refused: c.refused.Load(), Acknowledged: c.acknowledged.Load(), Written: c.written.Load(),
		Overtaken: c.overtaken.Load(), Rejected: c.rejected.Load(), NoRoom: c.noRoom.Load(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Followed = p.tracked
	for _, d := range p.devices {
		for _, pr := range d.properties {
			if pr.Version > 0 && !pr.Acknowledged {
				s.Unconfirmed++
			}
			if pr.Write != nil {
				s.Pending++
			}
		}
	}
	return s
}
