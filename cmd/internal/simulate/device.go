package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	// window is how many publishes of one device wait for their PUBACK at most.
	window         = 20
	connectTimeout = 10 * time.Second
	ackTimeout     = 30 * time.Second
	maxReconnect   = 10 * time.Second
	commandDelay   = 200 * time.Millisecond
)

// device is one simulated device.
type device struct {
	id     string
	run    *run
	rng    *rand.Rand
	client mqtt.Client
	values map[string]*source

	slots    chan struct{} // publishes that wait for their PUBACK
	acks     sync.WaitGroup
	requests chan mqtt.Message // desired properties and commands

	mu   sync.Mutex
	conn *cable // to break it
}

func newDevice(r *run, n int) *device {
	d := &device{
		id: fmt.Sprintf("%s%03d", r.opts.Prefix, n), run: r, rng: rand.New(rand.NewPCG(r.opts.Seed, uint64(n))),
		values: map[string]*source{}, slots: make(chan struct{}, window), requests: make(chan mqtt.Message, 64),
	}
	for _, list := range [][]named{r.model.telemetry, r.model.properties, r.model.writable} {
		for _, v := range list {
			d.values[v.name] = newSource(v.value, d.rng)
		}
	}
	d.client = mqtt.NewClient(r.opts.clientOptions(d))
	return d
}

// topic is one of the device's own.
func (d *device) topic(rest string) string { return "devices/" + d.id + "/" + rest }

// connected runs at each connection, also those that the client makes anew.
func (d *device) connected(c mqtt.Client) {
	if d.run.stats.connects.Add(1) > int64(d.run.opts.Devices) {
		d.run.stats.reconnects.Add(1)
	}
	d.run.stats.connected.Add(1)
	filters := map[string]byte{d.topic("properties/+/desired"): 1, d.topic("commands/+/request/+"): 1}
	c.SubscribeMultiple(filters, func(_ mqtt.Client, m mqtt.Message) {
		select {
		case d.requests <- m:
		default:
			d.run.stats.overrun.Add(1)
		}
	})
}

// loop publishes until ctx ends or as much as was asked for, and waits for the
// last PUBACKs.
func (d *device) loop(ctx context.Context) {
	defer d.leave()
	defer d.acks.Wait()
	// Devices do not publish in step.
	every := time.Duration(float64(time.Second) / d.run.opts.Rate)
	begin := time.NewTimer(time.Duration(d.rng.Int64N(int64(every) + 1)))
	defer begin.Stop()
	properties := time.NewTicker(d.run.opts.PropertiesEvery)
	defer properties.Stop()
	var tick <-chan time.Time
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	d.reportProperties(ctx, time.Now())
	for sent := 0; d.run.opts.Messages == 0 || sent < d.run.opts.Messages; {
		select {
		case <-ctx.Done():
			return
		case <-begin.C:
			ticker.Reset(every)
			tick = ticker.C
		case now := <-properties.C:
			d.reportProperties(ctx, now)
			continue
		case m := <-d.requests:
			d.handle(ctx, m)
			continue
		case <-tick:
		}
		d.breakConnection()
		if len(d.run.model.telemetry) > 0 {
			d.publish(ctx, d.topic("telemetry"), d.reading(time.Now()), &d.run.stats.telemetry)
		}
		sent++
	}
}

// happens decides whether a fault strikes now, and counts it.
func (d *device) happens(f Fault) bool {
	if p := d.run.opts.Faults[f]; p == 0 || d.rng.Float64() >= p {
		return false
	}
	d.run.stats.fault(f)
	return true
}

// reading is one telemetry object.
func (d *device) reading(now time.Time) []byte {
	if d.happens(Garbage) {
		return []byte(`{"temperature": 21.`)
	}
	list := d.run.model.telemetry
	outlier, wrong, missing := -1, -1, -1
	if d.happens(Outlier) {
		outlier = d.rng.IntN(len(list))
	}
	if d.happens(WrongType) {
		wrong = d.rng.IntN(len(list))
	}
	if len(list) > 1 && d.happens(Missing) {
		missing = d.rng.IntN(len(list))
	}
	var b strings.Builder
	b.WriteByte('{')
	for i, v := range list {
		if i == missing {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(quote(v.name))
		b.WriteByte(':')
		value := d.values[v.name].next(now)
		switch {
		case i == wrong:
			value = json.RawMessage(`"sensor fault"`)
		case i == outlier && isNumber(value):
			value = json.RawMessage("99999")
		}
		b.Write(value)
	}
	if d.happens(Late) {
		at := now.Add(-time.Duration(d.rng.Int64N(int64(time.Hour))))
		fmt.Fprintf(&b, `,"timestamp":%q`, at.UTC().Format(time.RFC3339Nano))
	}
	b.WriteByte('}')
	return []byte(b.String())
}

func isNumber(v json.RawMessage) bool {
	return len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9')
}

func (d *device) reportProperties(ctx context.Context, now time.Time) {
	if len(d.run.model.properties) == 0 {
		return
	}
	object := make(map[string]json.RawMessage, len(d.run.model.properties))
	for _, p := range d.run.model.properties {
		object[p.name] = d.values[p.name].next(now)
	}
	if payload, err := json.Marshal(object); err == nil {
		d.publish(ctx, d.topic("properties"), payload, &d.run.stats.properties)
	}
}

// handle answers a desired property or a command.
func (d *device) handle(ctx context.Context, m mqtt.Message) {
	parts := strings.Split(m.Topic(), "/")
	switch {
	case len(parts) == 5 && parts[2] == "properties" && parts[4] == "desired":
		var desired struct {
			Value json.RawMessage `json:"value"`
		}
		if json.Unmarshal(m.Payload(), &desired) != nil || len(desired.Value) == 0 {
			return
		}
		d.run.stats.desired.Add(1)
		d.publish(ctx, d.topic("properties/"+parts[3]), desired.Value, &d.run.stats.properties)
	case len(parts) == 6 && parts[2] == "commands" && parts[4] == "request":
		d.run.stats.commands.Add(1)
		if d.happens(Mute) {
			return
		}
		d.acks.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(commandDelay):
			}
			d.answer(parts[3], parts[5])
		})
	}
}

func (d *device) answer(name, id string) {
	answer := map[string]any{"status": "Completed"}
	c, known := d.run.model.commands[name]
	switch {
	case !known:
		answer = map[string]any{"status": "Failed", "result": "the device has no command " + name}
	case d.run.failsCommand():
		answer = map[string]any{"status": "Failed", "result": "simulated failure"}
	case c.Response != nil:
		answer["result"] = newSource(c.Response, rand.New(rand.NewPCG(d.run.opts.Seed, uint64(time.Now().UnixNano())))).next(time.Now())
	}
	payload, err := json.Marshal(answer)
	if err != nil {
		return
	}
	d.account(d.client.Publish(d.topic("commands/"+name+"/response/"+id), d.run.opts.QoS, false, payload), &d.run.stats.answered)
}

// publish sends when there is room in the window.
func (d *device) publish(ctx context.Context, topic string, payload []byte, count *counter) {
	times := 1
	if d.happens(Duplicate) {
		times = 2
	}
	for range times {
		select {
		case <-ctx.Done():
			return
		case d.slots <- struct{}{}:
		}
		// Handed over here, so that what a device publishes stays in order.
		token := d.client.Publish(topic, d.run.opts.QoS, false, payload)
		d.acks.Go(func() {
			defer func() { <-d.slots }()
			d.account(token, count)
		})
	}
}

func (d *device) account(token mqtt.Token, count *counter) {
	d.run.stats.published.Add(1)
	if !token.WaitTimeout(ackTimeout) || token.Error() != nil {
		d.run.stats.unacknowledged.Add(1)
		return
	}
	d.run.stats.acknowledged.Add(1)
	count.Add(1)
}

// breakConnection takes the connection away under the client, as a power
// failure does.
func (d *device) breakConnection() {
	if !d.happens(Disconnect) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		d.conn.pull()
	}
}
