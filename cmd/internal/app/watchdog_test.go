package app_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iotc-gateway/configs"
)

// manager is a service manager that writes down what it is told.
type manager struct {
	mu       sync.Mutex
	said     []string
	feeds    int
	reloads  []bool
	interval time.Duration
	notify   chan struct{}
}

func newManager() *manager {
	return &manager{interval: 150 * time.Millisecond, notify: make(chan struct{}, 1)}
}

func (m *manager) note(change func()) {
	m.mu.Lock()
	change()
	m.mu.Unlock()
	select {
	case m.notify <- struct{}{}:
	default:
	}
}

func (m *manager) Ready() { m.note(func() { m.said = append(m.said, "ready") }) }

func (m *manager) Status(text string) { m.note(func() { m.said = append(m.said, text) }) }

func (m *manager) Stopping() { m.note(func() { m.said = append(m.said, "stopping") }) }

func (m *manager) Reloading(done bool)             { m.note(func() { m.reloads = append(m.reloads, done) }) }
func (m *manager) Watchdog()                       { m.note(func() { m.feeds++ }) }
func (m *manager) WatchdogInterval() time.Duration { return m.interval }

func (m *manager) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		m.mu.Lock()
		ok := done()
		m.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-m.notify:
		case <-deadline:
			t.Fatalf("%s did not happen: %v", what, m.said)
		}
	}
}

// Whatever is wrong outside of the process, the watchdog is fed.
func TestWatchdogIsFed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b *bench, cfg *configs.Config){
		"all well":      func(*bench, *configs.Config) {},
		"uplink down":   func(_ *bench, cfg *configs.Config) { cfg.Central.URL = "http://127.0.0.1:1/api" },
		"token refused": func(b *bench, _ *configs.Config) { b.writeToken("a-wrong-token") },
		"no uplink":     func(_ *bench, cfg *configs.Config) { cfg.Central.URL = "" },
		"disk full":     func(_ *bench, cfg *configs.Config) { cfg.Buffer.MinFreeBytes = 1 << 60 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			b.stop()
			m := newManager()
			b.notify = m
			change(b, b.cfg)
			b.start()
			m.until(t, "feeding", func() bool { return m.feeds >= 5 })
			b.stop()
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.said[0] != "ready" || !slices.Contains(m.said, "stopping") || !strings.Contains(m.said[1], "records waiting") {
				t.Errorf("said %v", m.said)
			}
		})
	}
}
