package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Each power of two is cut into subBuckets steps, so a percentile is at most 1/128 above the true value.
const (
	subBucketBits = 7
	subBuckets    = 1 << subBucketBits
	octaves       = 35 // up to about 36 minutes in nanoseconds
)

// Histogram counts durations. It is safe for concurrent use; its zero value is empty.
type Histogram struct {
	counts [octaves * subBuckets]atomic.Uint64
	total  atomic.Uint64
}

func bucketOf(nanos uint64) int {
	if nanos < subBuckets {
		return int(nanos)
	}
	octave := bits.Len64(nanos) - subBucketBits // at least 1
	index := octave*subBuckets + int(nanos>>(octave-1)) - subBuckets
	return min(index, octaves*subBuckets-1)
}

// ceiling is the largest duration that falls into a bucket.
func ceiling(bucket int) time.Duration {
	if bucket < subBuckets {
		return time.Duration(bucket)
	}
	octave := bucket / subBuckets
	step := uint64(bucket%subBuckets + subBuckets)
	return time.Duration((step+1)<<(octave-1) - 1)
}

// Record adds one duration; a negative one counts as zero.
func (h *Histogram) Record(d time.Duration) { h.record(d, 1) }

func (h *Histogram) record(d time.Duration, times uint64) {
	h.counts[bucketOf(uint64(max(d, 0)))].Add(times)
	h.total.Add(times)
}

// Count is the number of durations recorded.
func (h *Histogram) Count() uint64 { return h.total.Load() }

// Percentile returns the duration that p percent of the recorded ones do not exceed, and 0 when there are none.
func (h *Histogram) Percentile(p float64) time.Duration {
	total := h.total.Load()
	if total == 0 {
		return 0
	}
	rank := uint64(p / 100 * float64(total))
	rank = min(max(rank, 1), total)
	var seen uint64
	for i := range h.counts {
		seen += h.counts[i].Load()
		if seen >= rank {
			return ceiling(i)
		}
	}
	return ceiling(len(h.counts) - 1)
}

// Reset empties the histogram. Durations recorded meanwhile may be lost.
func (h *Histogram) Reset() {
	for i := range h.counts {
		h.counts[i].Store(0)
	}
	h.total.Store(0)
}
