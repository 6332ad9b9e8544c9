package bridge

import (
	"math/rand/v2"
	"time"
)

// Bounds of the full-jitter backoff. A record's own retries begin soon, since
// most faults of one call pass at once; probes of a dead link begin slower.
const (
	retryBase = 200 * time.Millisecond
	retryCap  = 30 * time.Second
	probeBase = 500 * time.Millisecond
	probeCap  = 10 * time.Second
	slowBase  = 15 * time.Second
	slowCap   = 5 * time.Minute
)

// fullJitter returns a random wait below base doubled attempt-1 times, and
// below limit, as in "Exponential Backoff And Jitter" (AWS Architecture Blog,
// 2015): many gateways that lost the same uplink do not come back in step.
func fullJitter(attempt int, base, limit time.Duration) time.Duration {
	ceiling := limit
	if shift := attempt - 1; shift < 32 && base<<shift > 0 && base<<shift < limit {
		ceiling = base << shift
	}
	return time.Duration(rand.Int64N(int64(ceiling))) + time.Millisecond
}
