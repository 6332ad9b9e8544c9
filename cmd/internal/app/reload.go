package app

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/configs"
	"iotc-gateway/mapping"
)

// Reload puts a new configuration in force as far as that is possible without
// a restart: routes, presets, templates, users and the uplink's token. It is
// whole or not at all: with an error everything is as it was.
func (g *Gateway) Reload(cfg *configs.Config) error {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	next, err := compileRules(cfg, g.templateOf)
	if err != nil {
		return fmt.Errorf("reload refused, everything is as before: %w", err)
	}
	if err := g.tokens.Reload(); err != nil {
		return fmt.Errorf("reload refused, everything is as before: %w", err)
	}
	if err := g.users.Reload(); err != nil {
		return fmt.Errorf("reload refused, everything is as before: %w", err)
	}
	if err := g.ReloadToken(); err != nil {
		// The old token goes on being used, so this is worth a word and no
		// reason to keep an old mapping.
		g.log.Warn("the uplink's token could not be read again", zap.Error(err))
	}
	old := g.rules.Load()
	g.farewell(old.mapper)
	g.rules.Store(next)
	g.ingest.use(next.mapper, cfg.Mapping)
	g.broker.SetScopes(scopes(next.mapper, cfg.Mapping.Routes))
	g.broker.RefreshUsers()
	g.greet(next.mapper)
	g.desired.Refresh()
	g.log.Info("configuration reloaded", zap.Int("routes", len(cfg.Mapping.Routes)), zap.Int("presets", len(cfg.Mapping.Presets)))
	return nil
}

// greet and farewell publish what device families say when the gateway comes
// and goes.
func (g *Gateway) greet(m *mapping.Mapper) {
	for _, msg := range m.Start(time.Now()) {
		g.answer(msg)
	}
}

func (g *Gateway) farewell(m *mapping.Mapper) {
	for _, msg := range m.Stop(time.Now()) {
		g.answer(msg)
	}
}

// reloadOn reloads whenever trigger delivers.
func (g *Gateway) reloadOn(ctx context.Context, trigger <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-trigger:
		}
		if _, err := g.reloadFromSource(); err != nil {
			g.log.Error("reload", zap.Error(err))
		}
	}
}

// errNoSource says that a gateway was started without a configuration that
// could be read again.
var errNoSource = errors.New("there is no configuration to read again")

// reloadFromSource reads the configuration from where it came at the start.
// It names the sections that changed and hold only after a restart.
func (g *Gateway) reloadFromSource() (restart []string, err error) {
	if g.load == nil {
		return nil, errNoSource
	}
	g.notify.Reloading(false)
	defer g.notify.Reloading(true)
	cfg, err := g.load()
	if err != nil {
		return nil, fmt.Errorf("reload refused, everything is as before: %w", err)
	}
	if err := g.Reload(cfg); err != nil {
		return nil, err
	}
	if restart = needsRestart(g.cfg, cfg); len(restart) > 0 {
		g.log.Warn("these sections changed and hold only after a restart", zap.Strings("sections", restart))
	}
	return restart, nil
}

// needsRestart names the sections that differ from those which the gateway was
// started with and that no reload puts in force.
func needsRestart(started, now *configs.Config) (sections []string) {
	bridge := now.Bridge
	bridge.Properties.Desired = started.Bridge.Properties.Desired // read again
	for _, s := range []struct {
		name      string
		was, will any
	}{
		{"gateway", started.Gateway, now.Gateway},
		{"central", started.Central, now.Central},
		{"broker", started.Broker, now.Broker},
		{"buffer", started.Buffer, now.Buffer},
		{"bridge", started.Bridge, bridge},
		{"console", started.Console, now.Console},
		{"log", started.Log, now.Log},
	} {
		if !reflect.DeepEqual(s.was, s.will) {
			sections = append(sections, s.name)
		}
	}
	return sections
}
