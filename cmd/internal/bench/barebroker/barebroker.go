// Package barebroker is the broker library as it comes: a yardstick for what the gateway's own broker, queue and uplink
// cost. It is the one place outside the package broker that knows the library, since a yardstick that went through the
// gateway's own code would measure nothing.
package barebroker

import (
	"context"
	"fmt"
	"log/slog"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Serve lets everybody in at a TCP address and hands on what they publish, until ctx ends. published is called on the
// client's own goroutine, in the order of its publishes, and holds the client back while it blocks. The payload is its
// own. The library acknowledges before that and writes nothing to disk.
func Serve(ctx context.Context, address string, published func(topic string, payload []byte)) error {
	server := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(&hook{published: published}, nil); err != nil {
		return fmt.Errorf("serve a bare broker: %w", err)
	}
	if err := server.AddListener(listeners.NewTCP(listeners.Config{ID: "bare", Address: address})); err != nil {
		return fmt.Errorf("serve a bare broker: %w", err)
	}
	if err := server.Serve(); err != nil {
		return fmt.Errorf("serve a bare broker: %w", err)
	}
	<-ctx.Done()
	if err := server.Close(); err != nil {
		return fmt.Errorf("stop a bare broker: %w", err)
	}
	return nil
}

type hook struct {
	mqtt.HookBase
	published func(topic string, payload []byte)
}

func (h *hook) ID() string { return "bare" }

func (h *hook) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck || b == mqtt.OnPublished
}

func (h *hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

func (h *hook) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

// OnPublished is told of a publish after it was acknowledged.
func (h *hook) OnPublished(_ *mqtt.Client, pk packets.Packet) { h.published(pk.TopicName, pk.Payload) }
