package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
	"iotc-gateway/buffer"
	"iotc-gateway/mapping"
)

// errStill is a loop that answers and does not turn.
var errStill = errors.New("it does not turn")

// sign is one loop's sign of life. Its check returns when the loop answered:
// an error other than errStill is an answer as well, such as that the disk is
// full.
type sign struct {
	name  string
	check func(ctx context.Context) error
}

// pulse asks every loop for a sign of life. One that hangs is not asked again
// before it has answered, so that a watchdog does not pile up what hangs.
type pulse struct {
	log     *zap.Logger
	signs   []sign
	pending map[string]chan error
}

func newPulse(log *zap.Logger, signs ...sign) *pulse {
	return &pulse{log: log, signs: signs, pending: map[string]chan error{}}
}

// beats reports whether every loop answered within a time that they share.
func (p *pulse) beats(ctx context.Context, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, s := range p.signs {
		if p.pending[s.name] == nil {
			answer := make(chan error, 1)
			p.pending[s.name] = answer
			go func() { answer <- s.check(ctx) }()
		}
	}
	var silent []string
	for _, s := range p.signs {
		select {
		case err := <-p.pending[s.name]:
			delete(p.pending, s.name)
			if errors.Is(err, errStill) || errors.Is(err, context.DeadlineExceeded) {
				silent = append(silent, s.name)
			}
		case <-ctx.Done():
			silent = append(silent, s.name)
		}
	}
	if len(silent) == 0 || errors.Is(ctx.Err(), context.Canceled) {
		return true
	}
	p.log.Error("no sign of life; the service manager will restart the gateway unless it comes back", zap.String("loops", strings.Join(silent, ", ")))
	return false
}

// uplinkPatience is how much longer than its timeout a call may take.
const uplinkPatience = 30 * time.Second

// pulse watches ingest, store, broker and uplink. A paused uplink or a full
// disk is none of its business: a restart would mend neither.
func (g *Gateway) pulse() *pulse {
	signs := []sign{
		// An empty batch passes through the committer like any other.
		// Whatever it answers, it turns.
		{"store", func(ctx context.Context) error { return g.store.AppendSync(ctx, &buffer.Batch{}) }},
		// A publication is mapped, though not stored, with the locks and the
		// state that those of devices go through.
		{"ingest", func(context.Context) error {
			g.explain(&mapping.Publication{Topic: "devices/" + g.cfg.Gateway.ID + "/telemetry/pulse", Payload: []byte("1")})
			g.ingest.counters.mu.Lock()
			defer g.ingest.counters.mu.Unlock()
			return nil
		}},
		{"broker", func(context.Context) error { g.broker.Stats(); return nil }},
	}
	if g.loop != nil {
		limit := max(g.cfg.Central.Timeout, central.DefaultConfig().Timeout) + uplinkPatience
		signs = append(signs, sign{"uplink", func(context.Context) error {
			if !g.loop.Turning(limit) {
				return errStill
			}
			return nil
		}})
	}
	return newPulse(g.log, signs...)
}
