package broker_test

import (
	"context"
	"net"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"iotc-gateway/broker"
)

// sink is an Ingest that settles as the test says.
type sink struct {
	mu   sync.Mutex
	got  []*broker.Publication
	in   chan *broker.Publication
	auto func(p *broker.Publication) // nil leaves settling to the test
}

func newSink() *sink {
	return &sink{in: make(chan *broker.Publication, 10000), auto: func(p *broker.Publication) { p.Settle(broker.Outcome{}) }}
}

func (s *sink) Ingest(p *broker.Publication) {
	s.mu.Lock()
	s.got = append(s.got, p)
	auto := s.auto
	s.mu.Unlock()
	s.in <- p
	if auto != nil {
		auto(p)
	}
}

func (s *sink) next(t testing.TB) *broker.Publication {
	t.Helper()
	select {
	case p := <-s.in:
		return p
	case <-time.After(wait):
		t.Fatal("no publication came")
		return nil
	}
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}

// bundle is a running broker.
type bundle struct {
	*broker.Broker
	sink  *sink
	users *broker.Users
	store *memoryStore
	addr  net.Addr
	stop  func()
}

// users of the bundle, and their passwords.
func addUsers(t testing.TB, u *broker.Users) {
	t.Helper()
	for _, x := range []struct {
		user broker.User
		pass string
	}{
		{broker.User{Name: "dev1"}, "secret1"},
		{broker.User{Name: "dev2"}, "secret2"},
		{broker.User{Name: "hub", Role: broker.RoleBridge, Devices: []string{"room-*"}}, "secret3"},
		{broker.User{Name: "op", Role: broker.RoleOperator}, "secret4"},
		{broker.User{Name: "mon", Role: broker.RoleMonitor}, "secret5"},
	} {
		if err := u.Add(x.user, []byte(x.pass), false); err != nil {
			t.Fatal(err)
		}
	}
}

type option func(*broker.Config, *broker.Options)

func setup(t testing.TB, options ...option) *bundle {
	t.Helper()
	b := &bundle{sink: newSink(), store: newMemoryStore()}
	cfg := broker.DefaultConfig()
	cfg.Listeners = []broker.ListenerConfig{{Name: "test", Address: "127.0.0.1:0"}}
	cfg.Auth.RefusalDelay = 20 * time.Millisecond
	cfg.Auth.FailureDelay = 0
	cfg.Auth.MaxDelay = 0
	opts := broker.Options{Ingest: b.sink}
	for _, o := range options {
		o(&cfg, &opts)
	}
	b.users = opts.Users
	if st, ok := opts.Store.(*memoryStore); ok {
		b.store = st
	}
	br, err := broker.New(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := br.Load(); err != nil {
		t.Fatal(err)
	}
	b.Broker = br
	b.addr = br.Addr(cfg.Listeners[0].Name)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- br.Run(ctx) }()
	var once sync.Once
	b.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("Run: %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("Run did not end")
			}
		})
	}
	t.Cleanup(b.stop)
	return b
}

// withUsers adds the users file; hashing costs some 20 ms each.
func withUsers(t testing.TB) option {
	u, err := broker.OpenUsers(filepath.Join(t.TempDir(), "users.json"))
	if err != nil {
		t.Fatal(err)
	}
	addUsers(t, u)
	return func(_ *broker.Config, o *broker.Options) { o.Users = u }
}

func withStore(s *memoryStore) option {
	return func(_ *broker.Config, o *broker.Options) { o.Store = s }
}

func withLimits(fn func(l *broker.Limits)) option {
	return func(c *broker.Config, _ *broker.Options) { fn(&c.Limits) }
}

func (b *bundle) dial(t testing.TB, version byte) *raw { t.Helper(); return dial(t, b.addr, version) }

// client connects an anonymous client.
func (b *bundle) client(t testing.TB, version byte, id string) *raw {
	t.Helper()
	c := b.dial(t, version)
	c.mustConnect(connectOpts{id: id})
	return c
}

// reason waits until a counter has the value: counters move when a connection is cleaned up.
func (b *bundle) reason(t testing.TB, name string, want int64) {
	t.Helper()
	deadline := time.Now().Add(wait)
	for {
		got := b.Stats().Reasons[name]
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("reason %s = %d, want %d", name, got, want)
		}
		time.Sleep(time.Millisecond)
	}
}

// eventually polls for what another goroutine is about to do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(wait)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// memoryStore is a Store in memory.
type memoryStore struct {
	mu   sync.Mutex
	kv   map[string][]byte
	puts int
}

func newMemoryStore() *memoryStore { return &memoryStore{kv: map[string][]byte{}} }

func (s *memoryStore) Scan(prefix string, fn func(string, []byte) error) error {
	s.mu.Lock()
	keys := []string{}
	for k := range s.kv {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	s.mu.Unlock()
	sort.Strings(keys)
	for _, k := range keys {
		s.mu.Lock()
		v := s.kv[k]
		s.mu.Unlock()
		if err := fn(k, v); err != nil {
			return err
		}
	}
	return nil
}

func (s *memoryStore) Put(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kv[key] = value
	s.puts++
}

func (s *memoryStore) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kv, key)
}

func (s *memoryStore) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.kv[key]
	return ok
}
