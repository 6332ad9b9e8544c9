package template_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"iotc-gateway/mapping/template"
)

// BenchmarkTelemetry validates an object of 200 bytes.
func BenchmarkTelemetry(b *testing.B) {
	tmpl, _ := models(b).Get("dtmi:com:example:thermostat;1")
	for _, c := range []struct{ name, body string }{
		{"fits", `{"temperature": 21.53, "ratio": 0.75, "count": 1234, "total": 98765432101, "on": true, "label": "north wing, 2nd floor", "mode": 2, "since": "2026-11-22T10:00:00Z", "motion": {"x": 0.1, "y": -0.25}, "z": 7}`},
		{"coerced", `{"temperature": "21.53", "ratio": 0.75, "count": 1234, "total": 98765432101, "on": 1, "label": "north wing, 2nd floor", "mode": "heating", "since": "2026-11-22T10:00:00Z", "motion": {"x": 0.1, "y": -0.25}}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			body := []byte(c.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := tmpl.Telemetry(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLoad reads 200 templates of 20 elements.
func BenchmarkLoad(b *testing.B) {
	files := fstest.MapFS{}
	for i := range 200 {
		text := fmt.Sprintf(`{"@context": "dtmi:dtdl:context;2", "@id": "dtmi:com:example:t%d;1", "@type": "Interface", "contents": [`, i)
		for j := range 20 {
			if j > 0 {
				text += ","
			}
			text += fmt.Sprintf("\n"+`  {"@type": ["Telemetry", "Temperature"], "name": "value%d", "schema": "double", "unit": "kelvin", "displayName": "Value %d"}`, j, j)
		}
		files[fmt.Sprintf("t%d.json", i)] = &fstest.MapFile{Data: []byte(text + "]}")}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := template.Load(files); err != nil {
			b.Fatal(err)
		}
	}
}
