package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"iotc-gateway/bridge"
	"iotc-gateway/bridge/central"
	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/buffer/clock"
	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/console"
	"iotc-gateway/cmd/internal/control"
	"iotc-gateway/cmd/internal/downlink"
	"iotc-gateway/cmd/internal/localapi"
	"iotc-gateway/configs"
	"iotc-gateway/mapping"
)

// How long the steps of a stop may take. Together they stay below the ten
// seconds that a stop is allowed.
const (
	drainGrace  = 2 * time.Second
	uplinkGrace = 3 * time.Second
	storeGrace  = 3 * time.Second
)

// Options are what a gateway needs besides its configuration.
type Options struct {
	Log     *zap.Logger
	Version string
	// Notify tells the service manager of the gateway's state; nil where
	// there is none.
	Notify Notifier
	// Load reads the configuration again for a reload, and Reload delivers
	// when one is asked for (SIGHUP). Both may be nil.
	Load   func() (*configs.Config, error)
	Reload <-chan struct{}
	// Transport replaces the uplink's own, and FreeSpace what the file system
	// tells the store, for tests.
	Transport http.RoundTripper
	FreeSpace func(dir string) (free, total int64, err error)
}

// Gateway is all the parts, made and joined.
type Gateway struct {
	cfg     *configs.Config
	log     *zap.Logger
	version string
	notify  Notifier
	started time.Time
	load    func() (*configs.Config, error)
	trigger <-chan struct{}

	reloading sync.Mutex
	routes    chan<- struct{} // tells the loop that the network changed
	wasDown   atomic.Bool     // deliveries were impossible since the last success

	clock    *clock.Clock
	store    *buffer.Store
	users    *broker.Users
	broker   *broker.Broker
	rules    atomic.Pointer[rules]
	ingest   *ingest
	registry *bridge.Registry
	desired  *bridge.Properties
	triggers *bridge.Triggers
	pacer    *bridge.Pacer
	client   *central.Client // nil without an uplink
	loop     *bridge.Loop    // nil without an uplink
	console  *console.Server // nil when it is turned off
	page     *console.Dashboard
	control  *control.Server
	tokens   *access.Tokens
	api      *localapi.Service // the gateway itself as an application, nil without a console
	commands *downlink.Ledger
	status   statusTopics
	apiCalls apiCalls
	syncs    syncTimes
	creation creation
	opened   atomic.Bool // what the store remembers was taken up
	cleanup  cleanup
}

// UsersFile is where the users of a data directory live.
func UsersFile(dataDir string) string { return filepath.Join(dataDir, "users.json") }

// StoreDir is where the store of a data directory lives.
func StoreDir(dataDir string) string { return filepath.Join(dataDir, "store") }

// New makes a gateway: everything that can fail because of the configuration
// or the machine fails here, and what was made until then is closed again. A
// disk without space is no failure: see waiting.go.
func New(cfg *configs.Config, opts Options) (_ *Gateway, err error) {
	g := &Gateway{cfg: cfg, log: opts.Log, version: opts.Version, notify: opts.Notify, started: time.Now(), load: opts.Load, trigger: opts.Reload}
	if g.notify == nil {
		g.notify = silent{}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.cleanup.run(g.log))
		}
	}()
	steps := []func() error{
		func() error { return g.openStore(opts.FreeSpace) }, g.openMapping, func() error { return g.openUplink(opts.Transport) },
		g.openUsers, g.openTokens, func() error { g.openCommands(); return nil }, g.openBroker, g.openConsole, g.openControl,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if g.readable() {
		if err := g.takeUp(); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *Gateway) openStore(free func(dir string) (free, total int64, err error)) error {
	dir := g.cfg.Gateway.DataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("gateway.data_dir: %w", err)
	}
	g.clock = clock.New(clock.Options{Policy: clock.Policy(g.cfg.Gateway.Clock)})
	store, err := buffer.Open(g.cfg.Buffer, buffer.Options{
		Dir: StoreDir(dir), Log: g.log.Named("buffer"), Clock: g.clock, Commit: g.syncs.measure, FreeSpace: free,
	})
	if err != nil {
		return err
	}
	g.store = store
	g.cleanup.add("store", func(ctx context.Context) error { return store.Close(ctx) })
	return nil
}

func (g *Gateway) openMapping() error {
	rules, err := compileRules(g.cfg, g.templateOf)
	if err != nil {
		return err
	}
	g.rules.Store(rules)
	g.ingest = &ingest{
		store:       g.store,
		log:         throttled(g.log.Named("ingest")),
		synced:      g.clock.Synced,
		owns:        g.cloudOwns,
		checkDevice: g.admitDevice,
		reported:    g.reported,
		mayPublish:  g.mayPublish,
		mayAnswer:   g.mayAnswer,
		events:      g.event,
		answer:      g.answer,
		state:       &mappingState{space: g.store.Space(spaceMapping)},
		pressure:    newPressure(),
	}
	g.ingest.use(rules.mapper, g.cfg.Mapping)
	return nil
}

func (g *Gateway) openUplink(transport http.RoundTripper) error {
	cfg := g.cfg.Central
	g.pacer = bridge.NewPacer(cfg.Rate)
	var service central.Service
	if cfg.URL != "" {
		client, err := central.NewClient(cfg, central.ClientOptions{Transport: transport, UserAgent: "iotc-gateway/" + g.version})
		if err != nil {
			return err
		}
		g.client, service = client, client
	}
	registry := bridge.NewRegistry(g.cfg.Bridge.Registry, bridge.RegistryOptions{
		Service: service, Pacer: g.pacer, Store: registryStore{g.store.Space(spaceRegistry)},
		Template: func(string) string { return g.cfg.Mapping.DefaultTemplate },
		OnChange: g.deviceChanged, Log: g.log.Named("registry"),
	})
	g.registry = registry
	if err := g.openProperties(service); err != nil {
		return err
	}
	if err := g.openTriggers(service); err != nil {
		return err
	}
	if service == nil {
		return nil
	}
	routes := make(chan struct{}, 1)
	g.routes = routes
	uplink := bridge.NewREST(bridge.RESTOptions{Service: service, Registry: registry, Pacer: g.pacer, Deduplicates: cfg.Deduplicates, Commands: g.triggers})
	var err error
	g.loop, err = bridge.New(g.cfg.Bridge, bridge.Options{
		Queue:     &queue{store: g.store, options: leaseOptions(g.cfg.Bridge), correct: g.correct},
		Uplink:    uplink,
		Log:       g.log.Named("bridge"),
		OnState:   g.uplinkChanged,
		OnSettled: g.settled,
		// Filled while the gateway runs.
		LinkEvents: routes,
	})
	return err
}

// correct gives a record that was stamped by a wrong clock its right time, as
// far as that is known by now.
func (g *Gateway) correct(r *buffer.Record) int64 {
	t, _ := g.clock.Correct(r.Stamp, r.Time)
	return t
}

func (g *Gateway) uplinkChanged(st bridge.Status) {
	switch st.State {
	case bridge.Offline, bridge.Unauthorised:
		g.wasDown.Store(true)
	case bridge.Online:
		if g.wasDown.Swap(false) && g.cfg.Bridge.Order == bridge.OrderLiveFirst {
			// What waited is the backlog, what comes from now on is live.
			g.store.MarkLive()
		}
	default:
	}
	g.registry.LinkChanged(st)
	g.desired.LinkChanged(st)
	g.triggers.LinkChanged(st)
	g.tellUplink(st)
	g.log.Info("uplink", zap.Stringer("state", st.State), zap.String("reason", st.Reason))
}

func (g *Gateway) openBroker() error {
	b, err := broker.New(g.cfg.Broker, broker.Options{
		Ingest:      g.ingest,
		Users:       g.users,
		Store:       brokerStore{g.store.Space(spaceBroker)},
		CheckDevice: g.checkDevice,
		Scopes:      scopes(g.ingest.mapper.Load(), g.cfg.Mapping.Routes),
		Events:      broker.Events{Connected: g.connected, Disconnected: g.disconnected, Subscribed: g.subscribed},
		Log:         g.log,
	})
	if err != nil {
		return err
	}
	g.broker = b
	g.cleanup.add("broker", func(context.Context) error { b.Close(); return nil })
	return nil
}

func (g *Gateway) checkDevice(id string) error {
	if err := mapping.ValidDeviceID(id); err != nil {
		return err
	}
	return g.registry.Check(id)
}

func (g *Gateway) mayPublish(id *broker.Identity, topic string) bool {
	var rules *broker.ACL
	if g.broker != nil {
		rules = g.broker.ACL()
	} else {
		// A gateway that does not run has the rules all the same.
		rules = broker.NewACL(scopes(g.ingest.mapper.Load(), g.cfg.Mapping.Routes))
	}
	allowed, _ := rules.Decide(id, broker.ActionPublish, topic)
	return allowed
}

func (g *Gateway) openConsole() error {
	cfg := g.cfg.Console
	if cfg.Address == "" {
		return nil
	}
	metrics := prometheus.NewRegistry()
	if err := g.registerMetrics(metrics); err != nil {
		return err
	}
	api := g.localAPI()
	certificate, err := consoleCertificate(cfg)
	if err != nil {
		return err
	}
	g.page = console.NewDashboard(console.DashboardOptions{
		Source: dashboard{g}, Tokens: g.tokens, TokenCommand: "iotc-gateway token create --role operator", Log: g.log,
		Closed: g.closed,
	})
	server, err := console.New(console.Options{
		Address: cfg.Address, Certificate: certificate, Hosts: cfg.Hosts, Health: g.Health, Metrics: metrics, Dashboard: g.page, API: api,
		Log: g.log.Named("console"),
	})
	if err != nil {
		return err
	}
	g.console = server
	g.cleanup.add("console", func(context.Context) error { return server.Close() })
	return nil
}

// BrokerAddr is where the named listener listens, nil if there is none.
func (g *Gateway) BrokerAddr(name string) net.Addr { return g.broker.Addr(name) }

// ConsoleAddr is where the console listens, nil if it is turned off.
func (g *Gateway) ConsoleAddr() net.Addr {
	if g.console == nil {
		return nil
	}
	return g.console.Addr()
}

// ReloadToken reads the uplink's token again and lets a refused uplink try it
// at once.
func (g *Gateway) ReloadToken() error {
	if g.client == nil {
		return nil
	}
	if err := g.client.ReloadToken(); err != nil {
		return err
	}
	g.loop.Nudge()
	return nil
}
