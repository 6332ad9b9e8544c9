package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"go.uber.org/zap"

	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/control"
)

// A gateway that starts on a disk without space cannot read its store, and so
// knows no device, no session and no retained message. It runs all the same:
// all parts are made and bound, health, metrics and console answer and tell
// that the disk is full, MQTT clients are refused (they would be told that
// their sessions are gone), and so is everything that would change what is not
// known yet. When there is space the parts take up what the store remembers,
// and work begins.

// errWaiting is the answer to what needs the store.
var errWaiting = errors.New("the disk is full: the gateway waits for space to open its store")

// readable tells whether the store can be read.
func (g *Gateway) readable() bool {
	select {
	case <-g.store.Ready():
		return true
	default:
		return false
	}
}

// closed says why nothing may be changed now, or nil.
func (g *Gateway) closed() error {
	if g.opened.Load() {
		return nil
	}
	return errWaiting
}

// takeUp gives every part what the store remembers. The broker comes last: it
// lets clients in, who are to find everything else.
func (g *Gateway) takeUp() error {
	steps := []func() error{g.registry.Load, g.desired.Load, g.triggers.Load, g.commands.Load}
	if g.api != nil {
		steps = append(steps, g.api.Load, g.loadCreation)
	}
	for _, load := range append(steps, g.broker.Load) {
		if err := load(); err != nil {
			return err
		}
	}
	g.opened.Store(true)
	return nil
}

// awaitStore returns when work can begin. It reports false when the gateway
// stops before that.
func (g *Gateway) awaitStore(ctx, failed context.Context) (open bool, err error) {
	if g.opened.Load() {
		return true, nil
	}
	g.log.Error("the disk is full: MQTT clients are refused until there is space to open the store")
	select {
	case <-ctx.Done():
		return false, nil
	case <-failed.Done():
		return false, nil
	case <-g.store.Ready():
	}
	if err := g.takeUp(); err != nil {
		return false, err
	}
	g.log.Info("there is space: the store is open, work begins", zap.Int("devices", len(g.registry.Devices())))
	return true, nil
}

// whenOpen refuses calls while the store waits, all but those that pass.
func (g *Gateway) whenOpen(next http.Handler, pass func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := g.closed()
		if err == nil || pass(r) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "10")
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]control.Error{"error": {Code: "ServiceUnavailable", Message: err.Error()}})
	})
}

// openStopped opens the store of a gateway that does not run, for which
// nobody wants to wait.
func (g *Gateway) openStopped() error {
	if err := g.openStore(nil); err != nil {
		return err
	}
	if !g.readable() {
		return fmt.Errorf("open the store: %w", buffer.ErrDiskFull)
	}
	return nil
}
