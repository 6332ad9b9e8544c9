package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/zap"

	"iotc-gateway/bridge/central"
	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/app"
	"iotc-gateway/configs"
)

// BenchmarkCommand measures the way of a command from the local API over MQTT
// to a device and back to its completion, as a subscriber to its status sees
// it: on loopback, with every state synced to disk. There are 100 devices; under
// load they publish 2,000 readings a second with QoS 1 beside it.
func BenchmarkCommand(b *testing.B) {
	for _, rate := range []int{0, 2000} {
		b.Run(fmt.Sprintf("load=%d", rate), func(b *testing.B) { benchmarkCommand(b, 100, rate) })
	}
}

func benchmarkCommand(b *testing.B, devices, rate int) {
	dir := filepath.Join(b.TempDir(), "data")
	cfg, err := configs.Load("", nil, map[string]string{
		"gateway.id": "gw", "gateway.data_dir": dir, "gateway.report": "off", "console.address": "127.0.0.1:0", "buffer.min_free_bytes": "1MiB",
	})
	if err != nil {
		b.Fatal(err)
	}
	cfg.Broker.Listeners[0].Address = "127.0.0.1:0"
	g, err := app.New(cfg, app.Options{Log: zap.NewNop(), Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}()

	var load sync.WaitGroup
	defer load.Wait()
	loading, endLoad := context.WithCancel(ctx)
	defer endLoad()
	for i := range devices {
		id := fmt.Sprintf("bench-%03d", i)
		c := connectBench(b, g, id)
		subscribeBench(b, c, "devices/"+id+"/commands/+/request/+", func(m mqtt.Message) {
			c.Publish(strings.Replace(m.Topic(), "/request/", "/response/", 1), 1, false, `{"status":"Completed"}`)
		})
		if rate > 0 {
			load.Go(func() { publishBench(loading, c, id, time.Second*time.Duration(devices)/time.Duration(rate)) })
		}
	}
	completed := make(chan string, 1024)
	subscribeBench(b, connectBench(b, g, "observer"), "devices/+/commands/+/status/+", func(m mqtt.Message) {
		if strings.Contains(string(m.Payload()), `"Completed"`) {
			completed <- m.Topic()[strings.LastIndexByte(m.Topic(), '/')+1:]
		}
	})
	api := operatorOf(b, g, dir)

	var took []time.Duration
	b.ResetTimer()
	for n := 0; b.Loop(); n++ {
		begin := time.Now()
		cmd, err := api.TriggerCommand(b.Context(), fmt.Sprintf("bench-%03d", n%devices), "go", json.RawMessage(`{"n":1}`), "")
		if err != nil {
			b.Fatal(err)
		}
		select {
		case id := <-completed:
			if id != cmd.CommandID {
				b.Fatalf("%s completed, want %s", id, cmd.CommandID)
			}
		case <-time.After(10 * time.Second):
			b.Fatal("not completed")
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	ms := func(p int) float64 { return float64(took[min(len(took)*p/100, len(took)-1)].Microseconds()) / 1000 }
	b.ReportMetric(ms(50), "p50-ms")
	b.ReportMetric(ms(99), "p99-ms")
}

func operatorOf(b *testing.B, g *app.Gateway, dir string) *central.Client {
	b.Helper()
	tokens, err := access.Open(app.TokensFile(dir), access.Options{})
	if err != nil {
		b.Fatal(err)
	}
	_, secret, err := tokens.Create(access.Token{Role: access.Operator}, 0)
	if err != nil {
		b.Fatal(err)
	}
	cfg := central.DefaultConfig()
	cfg.URL = "http://" + g.ConsoleAddr().String() + "/api"
	c, err := central.NewClient(cfg, central.ClientOptions{Token: central.StaticToken(secret)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.CloseIdleConnections)
	return c
}

func connectBench(b *testing.B, g *app.Gateway, id string) mqtt.Client {
	b.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + g.BrokerAddr("local").String()).SetClientID(id).SetAutoReconnect(false).SetOrderMatters(false))
	if t := c.Connect(); !t.WaitTimeout(10*time.Second) || t.Error() != nil {
		b.Fatalf("connect %s: %v", id, t.Error())
	}
	b.Cleanup(func() { c.Disconnect(0) })
	return c
}

func subscribeBench(b *testing.B, c mqtt.Client, filter string, fn func(mqtt.Message)) {
	b.Helper()
	if t := c.Subscribe(filter, 1, func(_ mqtt.Client, m mqtt.Message) { fn(m) }); !t.WaitTimeout(10*time.Second) || t.Error() != nil {
		b.Fatalf("subscribe %s: %v", filter, t.Error())
	}
}

func publishBench(ctx context.Context, c mqtt.Client, id string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.Publish("devices/"+id+"/telemetry", 1, false, fmt.Sprintf(`{"temperature":21.5,"seq":%d}`, n))
	}
}
