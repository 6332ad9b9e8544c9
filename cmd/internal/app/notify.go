package app

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// Notifier tells the service manager how the gateway is. Its methods return at
// once.
type Notifier interface {
	Ready()
	Status(text string)
	Stopping()
	Reloading(done bool)
	// Watchdog reports that the gateway's loops still turn.
	Watchdog()
	// WatchdogInterval is how often Watchdog is due, 0 for never.
	WatchdogInterval() time.Duration
}

type silent struct{}

func (silent) Ready()                          {}
func (silent) Status(string)                   {}
func (silent) Stopping()                       {}
func (silent) Reloading(bool)                  {}
func (silent) Watchdog()                       {}
func (silent) WatchdogInterval() time.Duration { return 0 }

// Systemd notifies the systemd that started the process; elsewhere it does
// nothing. See sd_notify(3).
type Systemd struct{ Log *zap.Logger }

func (s Systemd) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.Log.Warn("notify the service manager", zap.Error(err))
	}
}

// Ready implements Notifier.
func (s Systemd) Ready() { s.send(daemon.SdNotifyReady) }

// Status implements Notifier.
func (s Systemd) Status(text string) { s.send("STATUS=" + text) }

// Stopping implements Notifier.
func (s Systemd) Stopping() { s.send(daemon.SdNotifyStopping) }

// Reloading implements Notifier. systemd wants the monotonic time with it.
func (s Systemd) Reloading(done bool) {
	if done {
		s.send(daemon.SdNotifyReady)
		return
	}
	s.send(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, monotonicMicros()))
}

// Watchdog implements Notifier.
func (s Systemd) Watchdog() { s.send(daemon.SdNotifyWatchdog) }

// WatchdogInterval implements Notifier.
func (s Systemd) WatchdogInterval() time.Duration {
	d, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return d
}

// tellServiceManager reports readiness, feeds the watchdog while the
// loops turn, and keeps the status line up to date.
func (g *Gateway) tellServiceManager(ctx context.Context) error {
	g.notify.Ready()
	interval := 10 * time.Second
	watchdog := g.notify.WatchdogInterval()
	if watchdog > 0 {
		interval = min(interval, watchdog/3)
	}
	pulse := g.pulse()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		g.notify.Status(g.statusLine())
		// While the store waits nothing turns that could stand still, and its
		// opening, which may take long on a slow card, holds up whoever asks it.
		if watchdog > 0 && (!g.opened.Load() || pulse.beats(ctx, interval)) {
			g.notify.Watchdog()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
