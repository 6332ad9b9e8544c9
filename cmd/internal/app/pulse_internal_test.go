package app

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

func TestPulse(t *testing.T) {
	t.Parallel()
	good := sign{"good", func(context.Context) error { return nil }}
	for name, test := range map[string]struct {
		check func(context.Context) error
		beats bool
	}{
		"answers":          {func(context.Context) error { return nil }, true},
		"disk full":        {func(context.Context) error { return errors.New("the disk is full") }, true},
		"stands still":     {func(context.Context) error { return errStill }, false},
		"hangs":            {func(context.Context) error { select {} }, false},
		"waits for a lock": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, false},
		"slow":             {func(context.Context) error { time.Sleep(9 * time.Second); return nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "hangs" {
				// A goroutine that hangs for ever cannot be in a bubble.
				if newPulse(zap.NewNop(), good, sign{"it", test.check}).beats(t.Context(), 10*time.Millisecond) {
					t.Error("beats")
				}
				return
			}
			synctest.Test(t, func(t *testing.T) {
				if got := newPulse(zap.NewNop(), good, sign{"it", test.check}).beats(t.Context(), 10*time.Second); got != test.beats {
					t.Errorf("beats: %v, want %v", got, test.beats)
				}
			})
		})
	}
}

// One that hangs is asked once, and is back when it answers.
func TestPulseComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		p := newPulse(zap.NewNop(), sign{"it", func(context.Context) error { asked.Add(1); <-release; return nil }})
		for range 3 {
			if p.beats(t.Context(), time.Second) {
				t.Fatal("beats while it hangs")
			}
		}
		close(release)
		synctest.Wait()
		if !p.beats(t.Context(), time.Second) || asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
		if !p.beats(t.Context(), time.Second) || asked.Load() != 2 {
			t.Errorf("then asked %d times", asked.Load())
		}
	})
}
