package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge"
	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/cmd/internal/control"
	"iotc-gateway/configs"
	"iotc-gateway/mapping"
)

// openControl binds the control socket.
func (g *Gateway) openControl() error {
	dir := g.cfg.Gateway.DataDir
	server, err := control.Listen(dir, g.whenOpen(control.NewHandler(g.controls()), onlyLooks), g.log.Named("control"))
	if err != nil {
		return err
	}
	g.control = server
	g.cleanup.add("control socket", func(context.Context) error { return server.Close(dir) })
	return nil
}

// onlyLooks tells the one call that a gateway without a store answers: it is how
// the command line sees that the disk is full.
func onlyLooks(r *http.Request) bool { return r.URL.Path == "/v1/buffer" }

// controls are what the control socket of a running gateway may do.
func (g *Gateway) controls() control.Options {
	opts := g.storeControls()
	opts.Reload = g.reloadFromSource
	opts.Watch = g.watch
	opts.Wear = g.wear
	return opts
}

// storeControls are what needs the store and the mapping and no more.
func (g *Gateway) storeControls() control.Options {
	return control.Options{
		DeadLetters: g.store,
		Devices:     g.registry,
		Queue:       g.store,
		Retry:       g.retry,
		Explain:     g.explain,
		Log:         g.log.Named("audit"),
	}
}

// watch shows publications with what became of them.
func (g *Gateway) watch() (seen <-chan control.Seen, missed func() uint64, stop func()) {
	in, missed, end := g.ingest.tap.watch()
	out, done := make(chan control.Seen), make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case t := <-in:
				if t.Refused != "" {
					continue
				}
				select {
				case out <- control.Seen{Publication: t.Publication, Trial: t.Trial}:
				case <-done:
					return
				}
			}
		}
	}()
	return out, missed, func() { end(); close(done) }
}

// retry puts what a dead letter holds back into the queue: a record that the
// application refused as it is, a publication by the mapping of now.
func (g *Gateway) retry(ctx context.Context, l *buffer.DeadLetter) error {
	if l.Record != nil {
		return g.store.RetryDeadLetter(ctx, l.ID)
	}
	if l.Topic == "" {
		return fmt.Errorf("dead letter %d holds neither a record nor a publication", l.ID)
	}
	return g.ingest.remap(ctx, l, g.users.IdentityOf(l.User))
}

// explain tells what a publication would become, with the state that the
// mapping has now and without changing it.
func (g *Gateway) explain(pub *mapping.Publication) mapping.Trial {
	now := pub.Received
	if now.IsZero() {
		now = time.Now()
	}
	if g.clock.Synced() {
		pub.FutureBound = futureBound
	}
	return g.ingest.mapper.Load().Explain(pub, now, g.ingest.state)
}

// Stopped is the data directory of a gateway that does not run, opened to look
// after it.
type Stopped struct{ g *Gateway }

// InspectStopped reads the store of a gateway that does not run, and changes
// nothing.
func InspectStopped(cfg *configs.Config, log *zap.Logger) (buffer.Stats, error) {
	found, err := buffer.Inspect(StoreDir(cfg.Gateway.DataDir), log.Named("buffer"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return buffer.Stats{}, noStore(cfg, err)
	case err != nil:
		return buffer.Stats{}, err
	}
	return found.Stats(cfg.Buffer), nil
}

func noStore(cfg *configs.Config, err error) error {
	return fmt.Errorf("there is no store in %s: %w; name the gateway's configuration with --config", cfg.Gateway.DataDir, err)
}

// OpenStopped opens the store of a gateway that does not run. Nothing listens,
// nothing is delivered. A data directory without a store is an error: there is
// nothing to look after.
func OpenStopped(cfg *configs.Config, log *zap.Logger) (_ *Stopped, err error) {
	dir := StoreDir(cfg.Gateway.DataDir)
	if _, err := os.Stat(dir); err != nil {
		return nil, noStore(cfg, err)
	}
	g := &Gateway{cfg: cfg, log: log, notify: silent{}, started: time.Now()}
	s := &Stopped{g}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	for _, step := range []func() error{g.openStopped, g.openMapping, g.openUsers, g.openIdleRegistry} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// openIdleRegistry opens the registry of a gateway that calls nobody.
func (g *Gateway) openIdleRegistry() error {
	g.registry = bridge.NewRegistry(g.cfg.Bridge.Registry, bridge.RegistryOptions{Store: registryStore{g.store.Space(spaceRegistry)}})
	return g.registry.Load()
}

func (g *Gateway) openUsers() (err error) {
	g.users, err = broker.OpenUsers(UsersFile(g.cfg.Gateway.DataDir))
	return err
}

// Controls are what may be done while the gateway does not run.
func (s *Stopped) Controls() control.Options { return s.g.storeControls() }

// Close closes the store.
func (s *Stopped) Close() error { return s.g.cleanup.run(s.g.log) }
