package localapi_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"iotc-gateway/bridge/central"
	"iotc-gateway/cmd/internal/downlink"
	"iotc-gateway/cmd/internal/localapi"
	"iotc-gateway/mapping"
)

// parts plays everything behind the service.
type parts struct {
	mu      sync.Mutex
	known   map[string]central.Device
	records []mapping.Record
	desired []string
	marks   map[string][]byte
	fail    error
	block   chan struct{} // closed: writes go on
}

func newParts() *parts {
	p := &parts{known: map[string]central.Device{"d1": {ID: "d1", Enabled: true}}, marks: map[string][]byte{}, block: make(chan struct{})}
	close(p.block)
	return p
}

func (p *parts) Device(id string) (central.Device, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ok := p.known[id]
	return d, ok
}

func (p *parts) Devices() []central.Device { return nil }

func (p *parts) SeenHere(string) bool { return true }

func (p *parts) Create(_ context.Context, id string, _ central.DeviceCreate) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[id] = central.Device{ID: id, Enabled: true}
	return p.fail
}

func (p *parts) Update(context.Context, string, central.DeviceUpdate) error { return nil }

func (p *parts) Remove(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, id)
	return nil
}

func (p *parts) Telemetry(_ context.Context, r mapping.Record, m localapi.Mark) error {
	<-p.block
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	p.records = append(p.records, r)
	if m.Key != "" {
		p.marks[m.Key] = m.Value
	}
	return nil
}

func (p *parts) Report(ctx context.Context, r mapping.Record, m localapi.Mark) error {
	return p.Telemetry(ctx, r, m)
}

func (p *parts) Desire(_ context.Context, _, name string, value json.RawMessage) (central.Property, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.desired = append(p.desired, name+"="+string(value))
	return central.Property{Value: value}, p.fail
}

func (p *parts) Property(string, string) (central.Property, bool) {
	return central.Property{Value: json.RawMessage(`1`)}, true
}

func (p *parts) Trigger(context.Context, downlink.Request) (downlink.Entry, error) {
	return downlink.Entry{}, p.fail
}

func (p *parts) Command(string, string) (downlink.Entry, error) {
	return downlink.Entry{}, downlink.ErrNoCommand
}

func (p *parts) LoadMarks(fn func(string, []byte)) error {
	for k, v := range p.marks {
		fn(k, v)
	}
	return nil
}

func (p *parts) SaveMark(m localapi.Mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks[m.Key] = m.Value
}

func (p *parts) set(fail error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

func (p *parts) stored() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.records)
}

// service is the local API over the parts, as after a start.
func (p *parts) service(t testing.TB) *localapi.Service {
	t.Helper()
	s := localapi.New(localapi.Options{
		Application: func() central.Application { return central.Application{} }, Devices: p, Values: p, Commands: p, Marks: p,
		Template: func(string) mapping.Template { return nil }, FutureBound: func() time.Duration { return 24 * time.Hour },
	})
	if err := s.Load(); err != nil {
		t.Fatal(err)
	}
	return s
}
