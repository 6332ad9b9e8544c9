package mapping_test

import (
	"testing"

	"iotc-gateway/mapping"
)

// reading200 is a typical reading of 200 bytes.
const reading200 = `{"temperature":21.50,"humidity":44.72,"pressure":1013.25,"battery":{"voltage":3.71,"percent":87},"state":"running","counter":123456,"location":{"lat":52.520008,"lon":13.404954},"alarm":false,"level":7}`

func BenchmarkNative(b *testing.B) {
	m := newMapper(b)
	for name, pub := range map[string]*mapping.Publication{
		"object200": {Topic: "devices/sensor-17/telemetry", Payload: []byte(reading200)},
		"timestamp": {Topic: "devices/sensor-17/telemetry", Payload: []byte(`{"timestamp":"2026-11-22T11:59:59Z",` + reading200[1:])},
		"scalar":    {Topic: "devices/sensor-17/telemetry/temperature", Payload: []byte("21.50")},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Map(pub, receipt, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	r := mapping.Record{Kind: mapping.KindTelemetry, Device: "sensor-17", Value: []byte(reading200), Time: receipt}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, body := r.Request(); body == nil {
			b.Fatal("no body")
		}
	}
}
