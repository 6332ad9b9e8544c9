package bridge

import (
	"context"
	"time"
)

// Calls that can wait (synchronising the registry, polling properties and the
// status of commands) take the whole rate while nobody else wants it, and a
// share of it while records wait for their turn.
const (
	backgroundShare = 0.25
	backgroundLook  = 20 * time.Millisecond
)

// WaitBackground blocks until the next call may be made that can wait for the
// others, or ctx ends.
func (p *Pacer) WaitBackground(ctx context.Context) error {
	for !p.idle.Load() && p.wanted.Load() > 0 && !p.background.Allow() {
		if err := sleep(ctx, backgroundLook); err != nil {
			return err
		}
	}
	return p.wait(ctx)
}
