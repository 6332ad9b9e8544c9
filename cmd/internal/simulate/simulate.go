package simulate

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"iotc-gateway/mapping/template"
)

// Options say what to simulate.
type Options struct {
	Template *template.Template
	Broker   string // host:port, mqtt:// or mqtts://
	Devices  int
	Prefix   string  // of the device ids, which end in 001, 002, ...
	Rate     float64 // publishes a second of each device
	QoS      byte
	// Duration and Messages (of each device) end the simulation; 0 for both is
	// until ctx ends.
	Duration time.Duration
	Messages int
	// PropertiesEvery is how often properties are reported; 0 means 5 min.
	PropertiesEvery time.Duration
	Faults          Faults
	Seed            uint64

	// Username is one for all devices; without it, and with a password, each
	// device is a user of its own name.
	Username, Password string
	TLS                *tls.Config

	// Progress gets a line now and then; nil is silent. Terminal overwrites
	// the line before.
	Progress io.Writer
	Terminal bool

	broker *url.URL
}

// ErrOptions is an option that cannot work.
var ErrOptions = errors.New("simulate")

// Limits of a simulation on one machine.
const (
	MaxDevices = 5000
	MaxRate    = 1000
)

func (o *Options) check() (err error) {
	if o.broker, err = brokerURL(o.Broker); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	switch {
	case o.Devices < 1 || o.Devices > MaxDevices:
		return fmt.Errorf("%w: devices must be between 1 and %d, not %d", ErrOptions, MaxDevices, o.Devices)
	case !(o.Rate > 0 && o.Rate <= MaxRate):
		return fmt.Errorf("%w: the rate must be above 0 and at most %d a second, not %g", ErrOptions, MaxRate, o.Rate)
	case o.QoS > 2:
		return fmt.Errorf("%w: QoS must be 0, 1 or 2, not %d", ErrOptions, o.QoS)
	case o.Duration < 0 || o.Messages < 0 || o.PropertiesEvery < 0:
		return fmt.Errorf("%w: times and counts must not be negative", ErrOptions)
	}
	o.PropertiesEvery = cmp.Or(o.PropertiesEvery, 5*time.Minute)
	return nil
}

// Summary is what a simulation did.
type Summary struct {
	Template       string           `json:"template"`
	Devices        int              `json:"devices"`
	Seconds        float64          `json:"seconds"`
	Published      int64            `json:"published"`
	Acknowledged   int64            `json:"acknowledged"`
	Unacknowledged int64            `json:"unacknowledged"`
	Telemetry      int64            `json:"telemetry"`
	Properties     int64            `json:"properties"`
	Desired        int64            `json:"desired_received"`
	Commands       int64            `json:"commands_received"`
	Answered       int64            `json:"commands_answered"`
	Overrun        int64            `json:"requests_overrun,omitempty"`
	Reconnects     int64            `json:"reconnects"`
	Faults         map[string]int64 `json:"faults,omitempty"`
	LeftOut        []string         `json:"left_out,omitempty"`
}

type counter = atomic.Int64

type stats struct {
	connects, connected, reconnects         counter
	published, acknowledged, unacknowledged counter
	telemetry, properties, desired          counter
	commands, answered, overrun             counter

	mu     sync.Mutex
	faults map[string]int64
}

func (s *stats) fault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[string(f)]++
}

// run is one simulation.
type run struct {
	opts  Options
	model *model
	stats stats
}

// failsCommand strikes on the goroutines that answer, so it does not use a
// device's own randomness.
func (r *run) failsCommand() bool {
	if p := r.opts.Faults[Command]; p == 0 || rand.Float64() >= p {
		return false
	}
	r.stats.fault(Command)
	return true
}

// Run simulates until ctx ends or what was asked for is done, and returns the
// summary in either case. The error is one of the options or of the first
// connections.
func Run(ctx context.Context, opts Options) (Summary, error) {
	if err := opts.check(); err != nil {
		return Summary{}, err
	}
	m, err := newModel(opts.Template)
	if err != nil {
		return Summary{}, fmt.Errorf("%s: %w", opts.Template.ID(), err)
	}
	r := &run{opts: opts, model: m, stats: stats{faults: map[string]int64{}}}
	devices := make([]*device, opts.Devices)
	for i := range devices {
		devices[i] = newDevice(r, i+1)
	}
	if err := connectAll(ctx, devices); err != nil {
		return Summary{}, err
	}
	start := time.Now()
	if opts.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opts.Duration)
		defer cancel()
	}
	var wg sync.WaitGroup
	for _, d := range devices {
		wg.Go(func() { d.loop(ctx) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	r.watch(start, done)
	return r.summary(time.Since(start)), nil
}

// parallelConnects is how many devices connect at the same time.
const parallelConnects = 16

// connectAll connects every device, or none.
func connectAll(ctx context.Context, devices []*device) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelConnects)
	for _, d := range devices {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			token := d.client.Connect()
			err := errors.New("no answer to CONNECT")
			if token.WaitTimeout(connectTimeout) {
				err = token.Error()
			}
			if err != nil {
				return fmt.Errorf("connect %s to %s: %w", d.id, d.run.opts.broker.Host, err)
			}
			return nil
		})
	}
	err := group.Wait()
	if err != nil {
		for _, d := range devices {
			d.client.Disconnect(0)
		}
	}
	return err
}

// watch prints progress until done.
func (r *run) watch(start time.Time, done <-chan struct{}) {
	every := 5 * time.Second
	if r.opts.Terminal {
		every = 500 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	last, lastAt := int64(0), start
	for {
		select {
		case <-done:
			if r.opts.Progress != nil && r.opts.Terminal {
				_, _ = fmt.Fprintln(r.opts.Progress)
			}
			return
		case now := <-tick.C:
			if r.opts.Progress == nil {
				continue
			}
			s := &r.stats
			n := s.acknowledged.Load()
			line := fmt.Sprintf("%6.0f s  %d of %d connected  %d published, %d acknowledged (%.0f/s), %d not  %d desired  %d commands",
				now.Sub(start).Seconds(), s.connected.Load(), r.opts.Devices, s.published.Load(), n,
				float64(n-last)/now.Sub(lastAt).Seconds(), s.unacknowledged.Load(), s.desired.Load(), s.commands.Load())
			last, lastAt = n, now
			if r.opts.Terminal {
				_, _ = fmt.Fprintf(r.opts.Progress, "\r%-120s", line)
			} else {
				_, _ = fmt.Fprintln(r.opts.Progress, line)
			}
		}
	}
}

func (r *run) summary(took time.Duration) Summary {
	s := &r.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	return Summary{
		Template: r.opts.Template.ID(), Devices: r.opts.Devices, Seconds: took.Seconds(),
		Published: s.published.Load(), Acknowledged: s.acknowledged.Load(), Unacknowledged: s.unacknowledged.Load(),
		Telemetry: s.telemetry.Load(), Properties: s.properties.Load(), Desired: s.desired.Load(),
		Commands: s.commands.Load(), Answered: s.answered.Load(), Overrun: s.overrun.Load(),
		Reconnects: s.reconnects.Load(), Faults: s.faults, LeftOut: r.model.leftOut,
	}
}
