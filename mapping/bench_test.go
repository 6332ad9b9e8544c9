package mapping_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tidwall/gjson"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
	"iotc-gateway/mapping/template"
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

// benchTemplate is a device template of the values of reading200.
const benchTemplate = `{"@context":"dtmi:dtdl:context;2","@id":"dtmi:com:example:sensor;1","@type":"Interface","contents":[
{"@type":"Telemetry","name":"temperature","schema":"double"},{"@type":"Telemetry","name":"humidity","schema":"double"},
{"@type":"Telemetry","name":"fahrenheit","schema":"double"},{"@type":"Telemetry","name":"state","schema":"string"},
{"@type":"Telemetry","name":"counter","schema":"long"},{"@type":"Telemetry","name":"alarm","schema":"boolean"}]}`

func templateOf(tb testing.TB) func(string) mapping.Template {
	tb.Helper()
	set, err := template.Load(fstest.MapFS{"t.json": &fstest.MapFile{Data: []byte(benchTemplate)}})
	if err != nil {
		tb.Fatal(err)
	}
	t, ok := set.Get("dtmi:com:example:sensor;1")
	if !ok {
		tb.Fatal("no template")
	}
	return func(string) mapping.Template { return t }
}

// BenchmarkRoute is the figure of the promise: a reading of 200 bytes through matching, decoding, one expression and its template,
// with one route and with a thousand.
func BenchmarkRoute(b *testing.B) {
	kinds := map[string]mapping.Route{
		"expression": {Match: "plant/{area}/{device}/reading", Telemetry: values("temperature", "payload.temperature", "humidity", "payload.humidity", "fahrenheit", "payload.temperature * 1.8 + 32")},
		"all":        {Match: "plant/{area}/{device}/reading", Telemetry: all},
		"whole":      {Match: "plant/{area}/{device}/reading", Telemetry: values("fahrenheit", "payload.temperature * 1.8 + 32", "n", "len(payload)")},
	}
	pub := &mapping.Publication{Topic: "plant/hall-3/sensor-17/reading", Payload: []byte(reading200)}
	for _, name := range []string{"expression", "all", "whole"} {
		for _, n := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s/routes=%d", name, n), func(b *testing.B) {
				cfg := mapping.DefaultConfig()
				for i := range n - 1 {
					cfg.Routes = append(cfg.Routes, mapping.Route{Match: fmt.Sprintf("plant/{area}/{device}/value-%d", i), Telemetry: all})
				}
				cfg.Routes = append(cfg.Routes, kinds[name])
				m, err := mapping.New(cfg, mapping.Options{Template: templateOf(b)})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if res, err := m.Map(pub, receipt, nil); err != nil || len(res.Records) != 1 {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkDecode holds the ways of reading 200 bytes of JSON side by side: into a map with encoding/json and with payload.ParseJSON,
// three members with gjson (which needs the text validated first), and one pass that validates and hands over every member.
func BenchmarkDecode(b *testing.B) {
	text := []byte(reading200)
	for _, way := range []struct {
		name   string
		decode func() error
	}{
		{"encoding-json-map", func() error { var v map[string]any; return json.Unmarshal(text, &v) }},
		{"ParseJSON", func() error { _, err := payload.ParseJSON(text); return err }},
		{"gjson-3-members", func() error {
			if !gjson.ValidBytes(text) {
				return errors.New("invalid")
			}
			for _, path := range []string{"temperature", "humidity", "battery.voltage"} {
				if !gjson.GetBytes(text, path).Exists() {
					return errors.New(path)
				}
			}
			return nil
		}},
		{"Members", func() error { return mapping.Members(text, func(string, json.RawMessage) error { return nil }) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := way.decode(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLoad compiles 2,000 routes with two expressions each.
func BenchmarkLoad(b *testing.B) {
	cfg := mapping.DefaultConfig()
	for i := range 2000 {
		cfg.Routes = append(cfg.Routes, mapping.Route{
			Match: fmt.Sprintf("site-%d/{area}/{device}/value", i), When: "payload.ok != false",
			Telemetry: values("a", "payload.a", "b", "payload.b * 0.1"),
		})
	}
	for b.Loop() {
		if _, err := mapping.New(cfg, mapping.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReportState measures the memory of report on change: 100,000 devices with a value each, in a Go map.
func BenchmarkReportState(b *testing.B) {
	cfg := mapping.DefaultConfig()
	cfg.Report = mapping.Report{DeadBand: 0.5, Heartbeat: time.Hour}
	m, err := mapping.New(cfg, mapping.Options{})
	if err != nil {
		b.Fatal(err)
	}
	const devices = 100_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		state := mapping.MemoryState{}
		for i := range devices {
			pub := &mapping.Publication{Topic: fmt.Sprintf("devices/sensor-%06d/telemetry", i), Payload: []byte(`{"temperature":21.53}`)}
			res, err := m.Map(pub, receipt, state)
			if err != nil {
				b.Fatal(err)
			}
			state.Apply(res.Changes)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/devices, "B/value")
		runtime.KeepAlive(state)
	}
}
