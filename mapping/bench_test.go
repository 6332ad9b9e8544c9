package mapping_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
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

// readingRoute takes two members of a reading and computes a third value.
func readingRoute() mapping.Route {
	return mapping.Route{
		Match:     "plant/{area}/{device}/reading",
		Telemetry: values("temperature", "payload.temperature", "humidity", "payload.humidity", "fahrenheit", "payload.temperature * 1.8 + 32"),
	}
}

// routesOf are n routes of which the last is the given one.
func routesOf(n int, last mapping.Route) mapping.Config {
	cfg := mapping.DefaultConfig()
	for i := range n - 1 {
		cfg.Routes = append(cfg.Routes, mapping.Route{Match: fmt.Sprintf("plant/{area}/{device}/value-%d", i), Telemetry: all})
	}
	cfg.Routes = append(cfg.Routes, last)
	return cfg
}

// BenchmarkRoute is the figure of the promise: a reading of 200 bytes through matching, decoding, one expression and its template,
// with one route and with a thousand.
func BenchmarkRoute(b *testing.B) {
	kinds := map[string]mapping.Route{
		"expression": readingRoute(),
		"all":        {Match: "plant/{area}/{device}/reading", Telemetry: all},
		"whole":      {Match: "plant/{area}/{device}/reading", Telemetry: values("fahrenheit", "payload.temperature * 1.8 + 32", "n", "len(payload)")},
	}
	pub := &mapping.Publication{Topic: "plant/hall-3/sensor-17/reading", Payload: []byte(reading200)}
	for _, name := range []string{"expression", "all", "whole"} {
		for _, n := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s/routes=%d", name, n), func(b *testing.B) {
				m, err := mapping.New(routesOf(n, kinds[name]), mapping.Options{Template: templateOf(b)})
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

// loadRoutes are 2,000 routes with three expressions each.
func loadRoutes() mapping.Config {
	cfg := mapping.DefaultConfig()
	for i := range 2000 {
		cfg.Routes = append(cfg.Routes, mapping.Route{
			Match: fmt.Sprintf("site-%d/{area}/{device}/value", i), When: "payload.ok != false",
			Telemetry: values("a", "payload.a", "b", "payload.b * 0.1"),
		})
	}
	return cfg
}

// BenchmarkLoad is what a start or a reload costs: 2,000 routes with three expressions each and 200 templates of 20 elements. The
// promise is a second.
func BenchmarkLoad(b *testing.B) {
	cfg, files := loadRoutes(), fstest.MapFS{}
	for i := range 200 {
		var contents strings.Builder
		for j := range 20 {
			fmt.Fprintf(&contents, `,{"@type":["Telemetry","Temperature"],"name":"value%d","schema":"double","unit":"kelvin"}`, j)
		}
		text := fmt.Sprintf(`{"@context":"dtmi:dtdl:context;2","@id":"dtmi:com:example:t%d;1","@type":"Interface","contents":[%s]}`, i, contents.String()[1:])
		files[fmt.Sprintf("t%d.json", i)] = &fstest.MapFile{Data: []byte(text)}
	}
	b.ReportAllocs()
	for b.Loop() {
		set, err := template.Load(files)
		if err != nil {
			b.Fatal(err)
		}
		options := mapping.Options{Template: func(string) mapping.Template {
			t, _ := set.Get("dtmi:com:example:t7;1")
			return t
		}}
		if _, err := mapping.New(cfg, options); err != nil {
			b.Fatal(err)
		}
	}
}

// TestRouteAllocations keeps the promise on allocations: at most 30 for a reading of 200 bytes through matching, decoding, one
// expression and its template, and as many among 1,000 routes as with one.
func TestRouteAllocations(t *testing.T) { // not parallel: it counts the allocations of the process
	pub := &mapping.Publication{Topic: "plant/hall-3/sensor-17/reading", Payload: []byte(reading200)}
	counts := map[int]float64{}
	for _, n := range []int{1, 1000} {
		m, err := mapping.New(routesOf(n, readingRoute()), mapping.Options{Template: templateOf(t)})
		if err != nil {
			t.Fatal(err)
		}
		counts[n] = testing.AllocsPerRun(200, func() {
			if res, err := m.Map(pub, receipt, nil); err != nil || len(res.Records) != 1 {
				t.Error(res, err)
			}
		})
	}
	if counts[1] > 30 || counts[1000] > counts[1]+1 {
		t.Errorf("%.0f allocations with one route, %.0f with 1,000", counts[1], counts[1000])
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
