package app

import (
	"sync/atomic"
	"time"
)

// syncBounds are the upper bounds of the buckets for transactions of the store:
// an SSD syncs in a millisecond, a worn SD card takes seconds.
var syncBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 10 * time.Second,
}

// syncTimes counts how long the store's transactions take to reach the disk.
type syncTimes struct {
	counts [len(syncBounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

// measure surrounds a transaction.
func (s *syncTimes) measure(commit func() error) error {
	begin := time.Now()
	err := commit()
	took := time.Since(begin)
	i := 0
	for i < len(syncBounds) && took > syncBounds[i] {
		i++
	}
	s.counts[i].Add(1)
	s.sum.Add(int64(took))
	return err
}

// histogram is the state in the form of Prometheus: counts up to each bound.
func (s *syncTimes) histogram() (total uint64, seconds float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(syncBounds))
	for i := range s.counts {
		total += s.counts[i].Load()
		if i < len(syncBounds) {
			buckets[syncBounds[i].Seconds()] = total
		}
	}
	return total, time.Duration(s.sum.Load()).Seconds(), buckets
}
