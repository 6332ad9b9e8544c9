package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge"
	"iotc-gateway/buffer/clock"
)

// watchRoutes hands changes of the host's network to the uplink loop, which
// then tries a dead link at once. Where nobody tells of them, probes find a
// returning link as well, only later.
func (g *Gateway) watchRoutes(ctx context.Context) error {
	changes, err := bridge.WatchRoutes(ctx)
	if err != nil {
		g.log.Warn("changes of the network are not seen; a returning link is found by probes", zap.Error(err))
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changes:
		}
		select {
		case g.routes <- struct{}{}:
		default:
		}
	}
}

// clockAwaited holds delivery back while gateway.clock is wait and nobody knows
// what time it is. It reports false when ctx ended first.
func (g *Gateway) clockAwaited(ctx context.Context) bool {
	if g.cfg.Gateway.Clock != string(clock.Wait) {
		return ctx.Err() == nil
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for !g.clock.Synced() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return ctx.Err() == nil
}
