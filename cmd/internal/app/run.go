package app

import (
	"context"
	"errors"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"iotc-gateway/bridge"
	"iotc-gateway/buffer"
)

// Run serves until ctx ends or a part fails, and stops in the order of the
// package comment.
func (g *Gateway) Run(ctx context.Context) error {
	// The parts outlive ctx: a stop goes step by step.
	parts, stopParts := context.WithCancel(context.WithoutCancel(ctx))
	defer stopParts()
	uplink, stopUplink := context.WithCancel(parts)
	defer stopUplink()

	group, failed := errgroup.WithContext(parts)
	var delivery sync.WaitGroup
	g.answerFirst(parts, group)
	switch open, err := g.awaitStore(ctx, failed); {
	case err != nil:
		group.Go(func() error { return err })
	case open:
		g.work(parts, uplink, group, &delivery)
	}

	select {
	case <-ctx.Done():
		g.log.Info("stopping")
	case <-failed.Done():
		g.log.Error("a part of the gateway failed, stopping")
	}
	g.notify.Stopping()
	g.stopIntake()
	stopUplink()
	delivery.Wait()
	stopParts()
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	err = errors.Join(err, g.cleanup.run(g.log))
	g.log.Info("stopped")
	return err
}

// answerFirst starts what needs nothing of the store: it answers while the
// store waits for space, too.
func (g *Gateway) answerFirst(parts context.Context, group *errgroup.Group) {
	group.Go(func() error { return g.broker.Run(parts) })
	if g.console != nil {
		group.Go(func() error { return g.console.Run(parts) })
		group.Go(func() error { return g.page.Run(parts) })
	}
	group.Go(func() error { return g.control.Run(parts) })
	group.Go(func() error { return g.watchUsers(parts) })
	group.Go(func() error { return g.tellServiceManager(parts) })
	g.announce()
}

// work starts everything else, on what the store remembers. The uplink's
// context ends before that of the other parts; a stop waits for delivery in between.
func (g *Gateway) work(parts, uplink context.Context, group *errgroup.Group, delivery *sync.WaitGroup) {
	group.Go(func() error { return g.commands.Run(parts) })
	group.Go(func() error { return g.registry.Run(uplink) })
	g.restoreDesired()
	group.Go(func() error { return g.desired.Run(uplink) })
	group.Go(func() error { return g.triggers.Run(uplink) })
	if g.loop != nil {
		delivery.Go(func() {
			if g.clockAwaited(uplink) {
				_ = g.loop.Run(uplink, uplinkGrace)
			}
		})
		group.Go(func() error {
			delivers := func() bool { return g.loop.Status().State == bridge.Online }
			backlog := func() int64 { _, bytes := g.store.Backlog(); return bytes }
			return g.ingest.pressure.run(parts, delivers, backlog, processorTime)
		})
		group.Go(func() error { return g.watchRoutes(parts) })
	}
	group.Go(func() error { return g.reportHealth(parts) })
	group.Go(func() error { return g.tellStatus(parts) })
	group.Go(func() error { return g.reloadOn(parts, g.trigger) })
	g.greet(g.rules.Load().mapper)
}

// stopIntake refuses what comes from now on and waits until what was taken in
// is on disk and acknowledged.
func (g *Gateway) stopIntake() {
	if !g.opened.Load() {
		return // nobody was let in
	}
	g.farewell(g.rules.Load().mapper)
	g.tellStopped()
	g.broker.StopAccepting()
	g.ingest.closed.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), drainGrace)
	defer cancel()
	// Batches are answered in order, so when this one is, all before it were.
	if err := g.store.AppendSync(ctx, &buffer.Batch{}); err != nil {
		g.log.Warn("not everything that was taken in could be synced; it was not acknowledged", zap.Error(err))
	}
}

func (g *Gateway) announce() {
	for _, l := range g.broker.Listeners() {
		g.log.Info("accepting MQTT", zap.String("listener", l.Name), zap.String("address", l.Address))
	}
	if addr := g.ConsoleAddr(); addr != nil {
		g.log.Info("console", zap.Stringer("address", addr))
	}
	if g.loop == nil {
		g.log.Warn("no uplink: central.url is empty; records are stored and wait")
		return
	}
	g.log.Info("uplink", zap.String("url", g.cfg.Central.URL))
}
