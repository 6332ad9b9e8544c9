package app

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/configs"
	"iotc-gateway/mapping"
)

// scopes are the topics that presets and routes open to devices.
func scopes(m *mapping.Mapper, routes []mapping.Route) []broker.Scope {
	var out []broker.Scope
	for _, s := range m.Scopes() {
		out = append(out, broker.Scope{Name: "preset", Pattern: s.Pattern, Publish: s.Publish, Subscribe: s.Subscribe})
	}
	for _, r := range routes {
		if pattern, ok := routeScope(r); ok {
			out = append(out, broker.Scope{Name: "route", Pattern: pattern, Publish: true})
		}
	}
	return out
}

// routeScope is the topics on which a device may publish because a route takes
// them: those in which the topic itself names the device. Where the device
// comes from elsewhere, the topic says nothing about whose it is, and whoever
// publishes there needs topics of its own (user add --topics).
func routeScope(r mapping.Route) (pattern string, ok bool) {
	if r.Drop || r.Device != "" || !strings.Contains(r.Match, "{device}") {
		return "", false
	}
	levels := strings.Split(r.Match, "/")
	for i, level := range levels {
		switch {
		case !strings.HasSuffix(level, "...}"):
		case i == len(levels)-1:
			levels[i] = "#"
		default:
			return "", false // any number of levels in front: no pattern of the broker's says that
		}
	}
	return strings.Join(levels, "/"), true
}

// brokerStore keeps the broker's sessions and retained messages.
type brokerStore struct{ space *buffer.Space }

func (s brokerStore) Scan(prefix string, fn func(key string, value []byte) error) error {
	return s.space.Scan(prefix, fn)
}

func (s brokerStore) Put(key string, value []byte) { s.space.Put(key, value) }

func (s brokerStore) Delete(key string) { s.space.Delete(key) }

// consoleCertificate loads the console's certificate, nil for plain HTTP.
func consoleCertificate(cfg configs.Console) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	if cfg.TLS.CertFile == "" {
		return nil, nil
	}
	if st, err := os.Stat(cfg.TLS.KeyFile); err == nil && st.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("console.tls.key_file: %s may be read by everybody (mode %04o): chmod 600 it", cfg.TLS.KeyFile, st.Mode().Perm())
	}
	if _, err := tls.LoadX509KeyPair(cfg.TLS.CertFile, cfg.TLS.KeyFile); err != nil {
		return nil, fmt.Errorf("console.tls: %w", err)
	}
	// The files are read for each connection: operators are few, and a renewed
	// certificate is in force at once.
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(cfg.TLS.CertFile, cfg.TLS.KeyFile)
		return &c, err
	}, nil
}

// throttled keeps a flood of one message from filling the log: the first ten
// of a second and then every hundredth.
func throttled(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, logSampleTick, logSampleFirst, logSampleThen)
	}))
}

func monotonicMicros() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano() / 1000
}
