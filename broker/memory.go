package broker

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// memory bounds what the large packets of all clients together take, from the header that announces one to the moment it is
// settled. Without it, a few hundred sockets that announce a large packet each and send nothing of it would do.
type memory struct {
	sem  *semaphore.Weighted
	used atomic.Int64
}

func newMemory(limit int64) *memory { return &memory{sem: semaphore.NewWeighted(limit)} }

// acquire waits its turn for n bytes, but not longer than that.
func (m *memory) acquire(n int64, wait time.Duration) bool {
	if !m.sem.TryAcquire(n) {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if m.sem.Acquire(ctx, n) != nil {
			return false
		}
	}
	m.used.Add(n)
	return true
}

func (m *memory) release(n int64) {
	if n > 0 {
		m.used.Add(-n)
		m.sem.Release(n)
	}
}
