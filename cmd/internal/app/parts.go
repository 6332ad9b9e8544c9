package app

import (
	"crypto/tls"
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"iotc-gateway/broker"
	"iotc-gateway/buffer"
	"iotc-gateway/configs"
	"iotc-gateway/mapping"
)

// scopes are the topics that presets open to devices.
func scopes(m *mapping.Mapper) []broker.Scope {
	var out []broker.Scope
	for _, s := range m.Scopes() {
		out = append(out, broker.Scope{Name: "preset", Pattern: s.Pattern, Publish: s.Publish, Subscribe: s.Subscribe})
	}
	return out
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
