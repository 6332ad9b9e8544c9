package app_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sys/unix"

	"iotc-gateway/bridge/central"
	"iotc-gateway/configs"
)

// BenchmarkDesiredFanOut sets one property of a thousand connected devices in
// the application and waits until each device has its value over MQTT, with no
// rate limit on the uplink. The changes are made before the clock runs; the
// first of them is found by the polling that goes on all the time.
func BenchmarkDesiredFanOut(b *testing.B) {
	const devices = 1000
	g := setup(b, func(c *configs.Config) {
		c.Bridge.Properties.Desired = []string{"setpoint"}
		c.Bridge.Registry.CreateRate = 0
		c.Bridge.Registry.MaxDevices = 2 * devices
	})
	var told sync.Map // device -> value
	var count atomic.Int64
	name := func(i int) string { return fmt.Sprintf("dev-%04d", i) }
	for i := range devices {
		c := g.connect(name(i), "", "")
		t := c.Subscribe("devices/"+name(i)+"/properties/setpoint/desired", 1, func(_ mqtt.Client, m mqtt.Message) {
			var body struct{ Value json.Number }
			if json.Unmarshal(m.Payload(), &body) == nil {
				if old, _ := told.Swap(m.Topic(), body.Value); old != body.Value {
					count.Add(1)
				}
			}
		})
		if t.Wait() && t.Error() != nil {
			b.Fatal(t.Error())
		}
		publish(c, "devices/"+name(i)+"/telemetry", `{"a":1}`)
	}
	g.eventually("every device is registered", func() bool { return g.metric(`registered_devices{state="registered"}`) == devices })
	value := 0
	for b.Loop() {
		value++
		count.Store(0)
		for i := range devices {
			if _, err := g.application.UpdateProperty(b.Context(), name(i), "setpoint", json.RawMessage(fmt.Sprint(value)), ""); err != nil {
				b.Fatal(err)
			}
		}
		start, used := time.Now(), processorTime(b)
		for count.Load() < devices {
			if time.Since(start) > time.Minute {
				b.Fatalf("%d of %d devices were told after a minute", count.Load(), devices)
			}
			time.Sleep(time.Millisecond)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s/fan-out")
		b.ReportMetric((processorTime(b) - used).Seconds(), "cpu-s/fan-out")
		b.StopTimer()
		time.Sleep(11 * time.Second) // the next change is one of its own
		b.StartTimer()
	}
}

// BenchmarkStartWith20000Devices starts a gateway that knows as many.
func BenchmarkStartWith20000Devices(b *testing.B) {
	g := setup(b, nil)
	for i := range 20_000 {
		if _, err := g.application.CreateDevice(b.Context(), fmt.Sprintf("device-%05d", i), central.DeviceCreate{}, ""); err != nil {
			b.Fatal(err)
		}
	}
	if _, _, err := g.gateway.Registry().Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
	g.stop()
	for b.Loop() {
		g.start()
		if n := len(g.gateway.Registry().Devices()); n != 20_000 {
			b.Fatalf("%d devices are known", n)
		}
		b.StopTimer()
		g.stop()
		b.StartTimer()
	}
}

// processorTime is what the process has used so far: on a machine with other
// work it says more than the clock.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
