package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
	"iotc-gateway/bridge/emulator"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/configs"
)

// Options set how long and how much.
type Options struct {
	// Duration is how long the sensors publish; 0 is until ctx ends.
	Duration time.Duration
	Devices  int
	Rate     float64 // publishes a second of each device
	Out      io.Writer
	Terminal bool
	// Log takes the gateway's log; nil discards it.
	Log *zap.Logger
}

// drainLimit is how long the demo waits for the backlog at the end.
const drainLimit = time.Minute

// Run shows the demo and returns the proof. It ends early, and still with the
// proof, when ctx ends.
func Run(ctx context.Context, opts Options) (Proof, error) {
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	dir, err := os.MkdirTemp("", "iotc-gateway-demo-")
	if err != nil {
		return Proof{}, fmt.Errorf("make a data directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	d := &demo{opts: opts, relay: &relay{ready: make(chan struct{})}, ledger: newLedger(), view: &view{out: opts.Out, terminal: opts.Terminal}}
	if err := d.startApplication(); err != nil {
		return Proof{}, err
	}
	defer d.server.Close()
	if err := d.startGateway(dir); err != nil {
		return Proof{}, err
	}
	return d.run(ctx)
}

type demo struct {
	opts        Options
	ledger      *ledger
	view        *view
	application *emulator.Application
	server      *http.Server
	url, token  string
	operator    string // a token of the gateway's local API
	relay       *relay
	gateway     *app.Gateway
}

func (d *demo) startApplication() error {
	d.token = rand.Text()
	d.application = &emulator.Application{Forward: d.relay, OnTelemetry: func(device string, body json.RawMessage, _ string) { d.ledger.arrived(device, body) }}
	l, err := listen("127.0.0.1:8090")
	if err != nil {
		return fmt.Errorf("start the application: %w", err)
	}
	d.url = "http://" + l.Addr().String()
	d.server = &http.Server{
		Handler:           emulator.NewServer(d.application, emulator.ServerOptions{Authorizer: central.StaticTokens(d.token)}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go func() { _ = d.server.Serve(l) }()
	return nil
}

func (d *demo) startGateway(dir string) error {
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(d.token), 0o600); err != nil {
		return fmt.Errorf("write the token: %w", err)
	}
	cfg, err := configs.Load("", nil, map[string]string{
		"gateway.id": "demo-gateway", "gateway.data_dir": filepath.Join(dir, "data"),
		"central.url": d.url + "/api", "central.token_file": token, "central.rate": "0",
		"bridge.registry.create_rate": "0",
	})
	if err != nil {
		return err
	}
	if cfg.Broker.Listeners[0].Address, err = free("127.0.0.1:1883"); err != nil {
		return err
	}
	if cfg.Console.Address, err = free("127.0.0.1:8080"); err != nil {
		return err
	}
	cfg.Gateway.Report = "off"
	if d.gateway, err = app.New(cfg, app.Options{Log: d.opts.Log, Version: "demo"}); err != nil {
		return err
	}
	return d.openRelay(cfg.Gateway.DataDir)
}

func (d *demo) run(ctx context.Context) (Proof, error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.gateway.Run(running) }()

	broker := d.gateway.BrokerAddr("local").String()
	sensors, err := d.connect("tcp://" + broker)
	if err != nil {
		stop()
		return Proof{}, errors.Join(err, <-ended)
	}
	d.introduce(broker)

	publishing, finish := context.WithCancel(ctx)
	if d.opts.Duration > 0 {
		publishing, finish = context.WithTimeout(ctx, d.opts.Duration)
	}
	defer finish()
	var wg sync.WaitGroup
	for _, s := range sensors {
		wg.Go(func() { s.run(publishing) })
	}
	d.startCommand(publishing, &wg)
	d.watch(publishing)
	finish()
	d.setDown(false)
	wg.Wait()
	d.view.say("The sensors have stopped; the backlog drains.")
	d.drain()
	proof := d.ledger.proof()
	stop()
	err = <-ended
	d.view.proof(proof)
	return proof, err
}

func (d *demo) connect(broker string) ([]*sensor, error) {
	sensors := make([]*sensor, d.opts.Devices)
	for i := range sensors {
		sensors[i] = newSensor(fmt.Sprintf("%s%02d", sensorPrefix, i+1), broker, d.opts.Rate, d.ledger)
		if err := sensors[i].connect(); err != nil {
			return nil, err
		}
	}
	return sensors, nil
}

func (d *demo) introduce(broker string) {
	host, port, _ := net.SplitHostPort(broker)
	d.view.say("iotc-gateway demo: %d sensors, %g readings a second each, over MQTT; an emulated IoT Central application above.", d.opts.Devices, d.opts.Rate)
	d.view.say("")
	d.view.say("  MQTT broker   %s", broker)
	d.view.say("  application   %s/api      (token %s)", d.url, d.token)
	if addr := d.gateway.ConsoleAddr(); addr != nil {
		d.view.say("  dashboard     http://%s/      (token %s)", addr, d.operator)
		d.view.say("  local API     http://%s/api   (token %s)", addr, d.operator)
	}
	d.view.say("")
	d.view.say("Publish to it yourself:")
	d.view.say("  mosquitto_pub -h %s -p %s -q 1 -t devices/my-sensor/telemetry -m '{\"temperature\": 21.5}'", host, port)
	d.view.say("  curl -H 'Authorization: Bearer %s' %s/emulator/devices/my-sensor/telemetry", d.token, d.url)
	d.view.say("")
}

// watch shows the figures until ctx ends and cuts the uplink in between: from
// a third of the time on for a quarter of it, or for ten seconds of each
// forty when there is no end.
func (d *demo) watch(ctx context.Context) {
	start := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	down := false
	for {
		elapsed := time.Since(start)
		if cut := d.cutAt(elapsed); cut != down {
			down = cut
			d.setDown(down)
			if down {
				d.view.say("--- the uplink is cut; the sensors go on publishing ---")
			} else {
				d.view.say("--- the uplink is back ---")
			}
		}
		d.view.show(d.figures(elapsed, down))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (d *demo) cutAt(elapsed time.Duration) bool {
	if total := d.opts.Duration; total > 0 {
		return elapsed >= total/3 && elapsed < total/3+total/4
	}
	const cycle, from, until = 40 * time.Second, 12 * time.Second, 22 * time.Second
	in := elapsed % cycle
	return in >= from && in < until
}

func (d *demo) setDown(down bool) { d.application.Faults.SetDown(down) }

func (d *demo) figures(elapsed time.Duration, down bool) figures {
	st := d.gateway.Figures()
	f := figures{elapsed: elapsed, total: d.opts.Duration, published: st.Stored, buffered: st.Waiting, received: st.Delivered, uplink: st.Uplink}
	if down {
		f.cut = " (cut)"
	}
	return f
}

// drain waits until nothing waits any more.
func (d *demo) drain() {
	deadline := time.Now().Add(drainLimit)
	start := time.Now()
	for time.Now().Before(deadline) {
		f := d.figures(time.Since(start), false)
		d.view.show(f)
		if f.buffered == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // the next picture of a view for people
	}
	d.view.say("The backlog did not drain within %s.", drainLimit)
}

// listen binds the address, or any port when it is taken.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	return l, err
}

// free returns the address, or one with any port when it is taken.
func free(address string) (string, error) {
	l, err := listen(address)
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	if l.Addr().String() == address {
		return address, nil
	}
	return "127.0.0.1:0", nil
}
