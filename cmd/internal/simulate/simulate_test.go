package simulate_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"iotc-gateway/broker"
	"iotc-gateway/cmd/internal/simulate"
	"iotc-gateway/mapping/template"
)

// bundle is a broker that keeps what devices publish, and options for it.
type bundle struct {
	*testing.T
	broker *broker.Broker
	opts   simulate.Options
	mu     sync.Mutex
	got    map[string][]string // by topic
	notify chan struct{}
}

// Ingest implements broker.Ingest.
func (b *bundle) Ingest(p *broker.Publication) {
	b.mu.Lock()
	b.got[p.Topic] = append(b.got[p.Topic], string(p.Payload))
	b.mu.Unlock()
	p.Settle(broker.Outcome{})
	select {
	case b.notify <- struct{}{}:
	default:
	}
}

func everything(t *testing.T) *template.Template {
	t.Helper()
	set, err := template.LoadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := simulate.Choose(set, "")
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{T: t, got: map[string][]string{}, notify: make(chan struct{}, 1)}
	cfg := broker.DefaultConfig()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	server, err := broker.New(cfg, broker.Options{Ingest: b})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Load(); err != nil {
		t.Fatal(err)
	}
	b.broker = server
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		server.Close()
	})
	b.opts = simulate.Options{Template: everything(t), Broker: server.Addr("local").String(), Devices: 3, Prefix: "sim-", Rate: 200, QoS: 1}
	return b
}

func (b *bundle) received(topic string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got[topic]
}

// until waits for what devices do in answer.
func (b *bundle) until(what string, done func() bool) {
	b.Helper()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-b.notify:
		case <-deadline:
			b.Fatalf("%s did not happen", what)
		}
	}
}

func TestEveryValueFits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.opts.Messages = 50
	summary, err := simulate.Run(t.Context(), b.opts)
	if err != nil {
		t.Fatal(err)
	}
	if summary.Telemetry != 150 || summary.Properties != 3 || summary.Unacknowledged != 0 || len(summary.LeftOut) > 0 {
		t.Errorf("%+v", summary)
	}
	tmpl := b.opts.Template
	for _, id := range []string{"sim-001", "sim-002", "sim-003"} {
		bodies := b.received("devices/" + id + "/telemetry")
		if len(bodies) != 50 {
			t.Errorf("%s: %d telemetry publishes", id, len(bodies))
		}
		for _, body := range bodies {
			fitted, unknown, err := tmpl.Telemetry(json.RawMessage(body))
			if err != nil || unknown != 0 || string(fitted) != body {
				t.Fatalf("%s: %v, %d unknown\n%s", id, err, unknown, body)
			}
			if !strings.Contains(body, `"motor.speed":`) {
				t.Fatalf("no component in %s", body)
			}
		}
		for _, body := range b.received("devices/" + id + "/properties") {
			var values map[string]json.RawMessage
			if err := json.Unmarshal([]byte(body), &values); err != nil || len(values) != 2 {
				t.Fatalf("properties %s: %v", body, err)
			}
		}
	}
	if first, second := b.received("devices/sim-001/telemetry")[0], b.received("devices/sim-002/telemetry")[0]; first == second {
		t.Error("two devices publish the same")
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.opts.Messages, b.opts.Devices = 60, 1
	if _, err := simulate.Run(t.Context(), b.opts); err != nil {
		t.Fatal(err)
	}
	ranges := map[string][2]float64{
		"temperature": {15, 30}, "boiler": {59, 86}, "air": {970, 1050}, "battery": {0, 100}, "motor.speed": {0, 3000}, "level": {0, 100},
	}
	last := map[string]float64{}
	for _, body := range b.received("devices/sim-001/telemetry") {
		var values map[string]any
		if err := json.Unmarshal([]byte(body), &values); err != nil {
			t.Fatal(err)
		}
		for name, r := range ranges {
			if n, ok := values[name].(float64); !ok || n < r[0] || n > r[1] {
				t.Fatalf("%s is %v, want %v", name, values[name], r)
			}
		}
		for _, name := range []string{"used", "starts_total"} {
			n, _ := values[name].(float64)
			if n < last[name] {
				t.Fatalf("the counter %s fell from %v to %v", name, last[name], n)
			}
			last[name] = n
		}
	}
}

func TestDesiredAndCommands(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.opts.Devices = 1
	ctx, stop := context.WithCancel(t.Context())
	result := make(chan simulate.Summary, 1)
	go func() {
		s, _ := simulate.Run(ctx, b.opts)
		result <- s
	}()
	b.until("a publish", func() bool { return len(b.received("devices/sim-001/telemetry")) > 0 })
	send := func(topic, payload string, retain bool) {
		if err := b.broker.PublishWith(broker.Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retain: retain}); err != nil {
			t.Fatal(err)
		}
	}
	send("devices/sim-001/properties/target/desired", `{"value":21.5,"version":3}`, true)
	b.until("an acknowledgement of the desired value", func() bool { return len(b.received("devices/sim-001/properties/target")) > 0 })
	if got := b.received("devices/sim-001/properties/target")[0]; got != "21.5" {
		t.Errorf("acknowledged %s", got)
	}
	for name, want := range map[string]string{"reboot": `"status":"Completed"`, "motor.stop": `"status":"Completed"`, "fly": `"status":"Failed"`} {
		topic := "devices/sim-001/commands/" + name + "/response/c1"
		send("devices/sim-001/commands/"+name+"/request/c1", `{}`, false)
		b.until("an answer to "+name, func() bool { return len(b.received(topic)) > 0 })
		if got := b.received(topic)[0]; !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	stop()
	if s := <-result; s.Desired != 1 || s.Commands != 3 || s.Answered != 3 {
		t.Errorf("%+v", s)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.opts.Devices, b.opts.Messages = 2, 120
	var err error
	if b.opts.Faults, err = simulate.ParseFaults("garbage=0.2,wrong_type=0.2,outlier=0.2,late=0.2,duplicate=0.1,missing=0.2,disconnect=0.02"); err != nil {
		t.Fatal(err)
	}
	s, err := simulate.Run(t.Context(), b.opts)
	if err != nil {
		t.Fatal(err)
	}
	for f := range b.opts.Faults {
		if s.Faults[string(f)] == 0 {
			t.Errorf("%s never happened: %+v", f, s)
		}
	}
	if s.Reconnects == 0 || s.Published <= 240 || s.Unacknowledged != 0 {
		t.Errorf("%+v", s)
	}
	misfits := 0
	for _, body := range b.received("devices/sim-001/telemetry") {
		if _, _, err := b.opts.Template.Telemetry(json.RawMessage(body)); err != nil {
			misfits++
		}
	}
	if misfits == 0 {
		t.Error("every faulty payload fits the template")
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(o *simulate.Options){
		"no devices":   func(o *simulate.Options) { o.Devices = 0 },
		"many devices": func(o *simulate.Options) { o.Devices = simulate.MaxDevices + 1 },
		"no rate":      func(o *simulate.Options) { o.Rate = 0 },
		"high rate":    func(o *simulate.Options) { o.Rate = simulate.MaxRate + 1 },
		"bad QoS":      func(o *simulate.Options) { o.QoS = 3 },
		"no port":      func(o *simulate.Options) { o.Broker = "localhost" },
		"web":          func(o *simulate.Options) { o.Broker = "http://localhost:80" },
		"no TLS port":  func(o *simulate.Options) { o.Broker = "mqtts://localhost" },
		"negative":     func(o *simulate.Options) { o.Messages = -1 },
	} {
		o := simulate.Options{Template: everything(t), Broker: "127.0.0.1:1883", Devices: 1, Rate: 1}
		change(&o)
		if _, err := simulate.Run(t.Context(), o); !errors.Is(err, simulate.ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := simulate.Options{Template: everything(t), Broker: "127.0.0.1:1", Devices: 2, Rate: 1}
	if _, err := simulate.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "connect 00") {
		t.Errorf("nobody there: %v", err)
	}
}

func FuzzParseFaults(f *testing.F) {
	for _, s := range []string{"", "late=0.5", "late=0.5,mute=1", "late", "x=1", "late=2", "late=NaN", ",,", "late=0.1=3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		faults, err := simulate.ParseFaults(text)
		if err != nil {
			return
		}
		for name, p := range faults {
			if _, known := simulate.AllFaults()[name]; !known || !(p >= 0 && p <= 1) {
				t.Errorf("%q became %v", text, faults)
			}
		}
	})
}
