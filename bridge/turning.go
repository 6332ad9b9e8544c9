package bridge

import "time"

// beat notes that the loop did something now: it began or ended a call.
func (l *Loop) beat(now time.Time) { l.lastBeat.Store(now.UnixNano()) }

// Turning reports whether the loop still turns, for a watchdog. An uplink that
// is paused, slow or down is no reason to say no: only calls of which none has
// ended for longer than limit are, and probes that are long overdue. limit is
// to be longer than a call may take. A loop that hangs on its own locks does
// not return, so the caller bounds its patience.
func (l *Loop) Turning(limit time.Duration) bool {
	_, open, _ := l.link.snapshot()
	last := l.lastBeat.Load()
	if last == 0 {
		return true // nothing was asked of it yet
	}
	still := time.Duration(time.Now().UnixNano() - last)
	if open {
		return l.counters.inFlight.Load() == 0 || still < limit
	}
	return still < slowCap+limit
}
