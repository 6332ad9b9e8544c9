package bridge

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"iotc-gateway/mapping"
)

// Key names one counter of verdicts.
type Key struct {
	Kind   mapping.Kind
	Action Action
	Reason string
}

// Stats is a snapshot of the loop's counters since the process started.
type Stats struct {
	// Records counts records by what was decided; a record that is tried
	// again counts each time.
	Records  map[Key]uint64
	Probes   uint64
	InFlight int64
	Latency  Histogram
	Status   Status
}

type counters struct {
	mu       sync.Mutex
	records  map[Key]uint64
	probes   atomic.Uint64
	inFlight atomic.Int64
	// The common case stays off the map and its lock.
	accepted [8]atomic.Uint64
	latency  histogram
}

func (c *counters) verdict(k mapping.Kind, v Verdict, n int) {
	if v.Action == Accepted && v.Reason == "" {
		c.accepted[k&7].Add(uint64(n))
		return
	}
	c.add(Key{k, v.Action, v.Reason}, n)
}

func (c *counters) reject(k mapping.Kind, reason string, n int) { c.add(Key{k, Rejected, reason}, n) }

func (c *counters) add(k Key, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.records == nil {
		c.records = make(map[Key]uint64)
	}
	c.records[k] += uint64(n)
}

// Stats returns the counters.
func (l *Loop) Stats() Stats {
	c := &l.counters
	c.mu.Lock()
	records := maps.Clone(c.records)
	c.mu.Unlock()
	if records == nil {
		records = make(map[Key]uint64)
	}
	for k := range c.accepted {
		if n := c.accepted[k].Load(); n > 0 {
			records[Key{mapping.Kind(k), Accepted, ""}] += n
		}
	}
	return Stats{Records: records, Probes: c.probes.Load(), InFlight: c.inFlight.Load(), Latency: c.latency.snapshot(), Status: l.Status()}
}

// LatencyBounds are the upper bounds of the latency histogram's buckets.
var LatencyBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second,
}

// Histogram counts durations of deliveries; Counts[i] is what took at most
// LatencyBounds[i] and more than the bound before it.
type Histogram struct {
	Counts [len(LatencyBounds) + 1]uint64
	Sum    time.Duration
}

type histogram struct {
	counts [len(LatencyBounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(LatencyBounds) && d > LatencyBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) snapshot() Histogram {
	var out Histogram
	for i := range h.counts {
		out.Counts[i] = h.counts[i].Load()
	}
	out.Sum = time.Duration(h.sum.Load())
	return out
}

// throttledLog lets one line of a kind through every ten seconds and counts
// the ones that it held back.
type throttledLog struct {
	mu   sync.Mutex
	last map[string]*heldBack
}

type heldBack struct {
	at time.Time
	n  int
}

const (
	logEvery    = 10 * time.Second
	logKindsMax = 256
)

func (t *throttledLog) allow(key string, now time.Time) (suppressed int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.last[key]
	if h != nil && now.Sub(h.at) < logEvery {
		h.n++
		return 0, false
	}
	if h == nil {
		if t.last == nil || len(t.last) >= logKindsMax {
			t.last = make(map[string]*heldBack)
		}
		h = &heldBack{}
		t.last[key] = h
	}
	suppressed, h.n, h.at = h.n, 0, now
	return suppressed, true
}
