package downlink_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iotc-gateway/bridge"
	"iotc-gateway/cmd/internal/downlink"
	"iotc-gateway/mapping"
)

// disk is a store that syncs when the test says so, and can lose or refuse
// what was not synced.
type disk struct {
	mu      sync.Mutex
	keys    map[string][]byte // synced
	pending []commit
	hold    bool
	fail    error
}

type commit struct {
	changes []downlink.Change
	done    func(error)
}

func newDisk() *disk { return &disk{keys: map[string][]byte{}} }

func (d *disk) Load(fn func(string, []byte)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(d.keys)) {
		fn(k, d.keys[k])
	}
	return nil
}

func (d *disk) Commit(changes []downlink.Change, _ []mapping.Change, done func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = append(d.pending, commit{changes, done})
	if !d.hold {
		go d.sync()
	}
}

// sync writes what is pending.
func (d *disk) sync() {
	d.mu.Lock()
	pending, fail := d.pending, d.fail
	d.pending = nil
	for _, c := range pending {
		for _, change := range c.changes {
			switch {
			case fail != nil:
			case change.Value == nil:
				delete(d.keys, change.Key)
			default:
				d.keys[change.Key] = change.Value
			}
		}
	}
	d.mu.Unlock()
	for _, c := range pending {
		c.done(fail)
	}
}

func (d *disk) set(hold bool, fail error) {
	d.mu.Lock()
	d.hold, d.fail = hold, fail
	d.mu.Unlock()
	if !hold {
		d.sync()
	}
}

// killed is what another process finds after this one was killed.
func (d *disk) killed() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &disk{keys: maps.Clone(d.keys)}
}

// statuses are the synced states by command id.
func (d *disk) statuses() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string]string{}
	for k, v := range d.keys {
		var e downlink.Entry
		if json.Unmarshal(v, &e) == nil {
			out[k] = e.Status
		}
	}
	return out
}

// field is the broker with the devices that are there.
type field struct {
	mu        sync.Mutex
	there     map[string]bool
	published []mapping.Message
}

func (f *field) Reaches(device, _ string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.there[device]
}

func (f *field) Publish(m mapping.Message, _ time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.published = append(f.published, m)
	return nil
}

func (f *field) set(device string, there bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.there[device] = there
}

// topics lists what was published.
func (f *field) topics() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, m := range f.published {
		out = append(out, m.Topic)
	}
	return out
}

// count tells how often a command was published.
func (f *field) count(id string) int {
	n := 0
	for _, t := range f.topics() {
		if strings.HasSuffix(t, "/"+id) {
			n++
		}
	}
	return n
}

type bundle struct {
	*testing.T
	*downlink.Ledger
	cfg   bridge.DeviceCommandConfig
	disk  *disk
	field *field
	told  []string
	mu    sync.Mutex
	kill  func()
}

var errMapping = errors.New("cannot be mapped")

// setup starts a ledger. In a synctest bubble its time is the bubble's.
func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{
		T: t, disk: newDisk(), field: &field{there: map[string]bool{}},
		cfg: bridge.DeviceCommandConfig{Expiry: 5 * time.Minute, Timeout: 30 * time.Second, MaxWaiting: 3},
	}
	b.start()
	return b
}

// start opens the ledger as a process that starts does.
func (b *bundle) start() {
	b.Helper()
	mapper, err := mapping.New(mapping.DefaultConfig(), mapping.Options{})
	if err != nil {
		b.Fatal(err)
	}
	l := downlink.New(b.cfg, downlink.Options{
		Store: b.disk, Field: b.field,
		Map: func(e downlink.Entry, now time.Time, use func(mapping.Result, error)) {
			if e.Name == "unmappable" {
				use(mapping.Result{}, errMapping)
				return
			}
			if e.Name == "quiet" {
				use(mapping.Result{
					Publish: []mapping.Message{{Topic: "quiet/" + e.ID}},
					Events:  []mapping.Event{mapping.CommandResponse{Device: e.Device, Name: e.Name, ID: e.ID, Status: mapping.StatusCompleted}},
				}, nil)
				return
			}
			use(mapper.Command(e.Device, e.Name, e.ID, e.Args, now, nil))
		},
		OnChange: func(e downlink.Entry) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.told = append(b.told, e.ID+" "+e.Status)
		},
	})
	if err := l.Load(); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Run(ctx) }()
	b.Ledger = l
	b.kill = func() { cancel(); <-done }
	b.Cleanup(b.kill)
}

// restart is a kill and a start on what was synced.
func (b *bundle) restart() {
	b.Helper()
	found := b.disk.killed()
	b.kill()
	b.disk = found
	b.start()
}

func (b *bundle) trigger(device, name, args, request string) downlink.Entry {
	b.Helper()
	e, err := b.Trigger(b.Context(), downlink.Request{Device: device, Name: name, Args: json.RawMessage(args), RequestID: request})
	if err != nil {
		b.Fatal(err)
	}
	return e
}

func (b *bundle) status(device, id string) string {
	b.Helper()
	e, err := b.Command(device, id)
	if err != nil {
		b.Fatal(err)
	}
	return e.Status
}

// answer is a device's answer; the result is what the broker is told.
func (b *bundle) answer(device, name, id, status, result string) <-chan error {
	settled := make(chan error, 1)
	b.Respond(mapping.CommandResponse{Device: device, Name: name, ID: id, Status: status, Result: json.RawMessage(result)}, func(err error) { settled <- err })
	return settled
}

func (b *bundle) history(id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, t := range b.told {
		if rest, ok := strings.CutPrefix(t, id+" "); ok {
			out = append(out, rest)
		}
	}
	return strings.Join(out, " ")
}
