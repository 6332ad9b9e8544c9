package payload_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"iotc-gateway/mapping/payload"
)

// telemetry200 is a plug's report of 200 bytes, as in the benchmark of the whole mapping.
const telemetry200 = `{"Time":"2026-03-01T12:00:00","ENERGY":{"TotalStartTime":"2025-01-01T00:00:00",` +
	`"Total":42.215,"Yesterday":0.338,"Today":0.128,"Power":21,"ApparentPower":39,"Factor":0.54,"Voltage":231,"Current":0.1}}`

// large is an object of about 10 KB.
var large = `{"values":[` + strings.TrimSuffix(strings.Repeat(`{"name":"temperature","value":21.5,"ok":true,"n":123456},`, 180), ",") + `]}`

// BenchmarkJSON compares the readers of whole trees; see the package comment.
func BenchmarkJSON(b *testing.B) {
	own := mustNew(b, "json", payload.Options{})
	for _, size := range []struct{ name, text string }{{"200B", telemetry200}, {"10KB", large}} {
		data := []byte(size.text)
		for _, reader := range []struct {
			name string
			read func() error
		}{
			{"payload", func() error { _, err := own.Decode(data, receipt); return err }},
			{"encoding-json", func() error { var v any; return json.Unmarshal(data, &v) }},
			{"encoding-json-number", func() error {
				var v any
				d := json.NewDecoder(bytes.NewReader(data))
				d.UseNumber()
				return d.Decode(&v)
			}},
			{"gjson", func() error { _ = gjson.ParseBytes(data).Value(); return nil }},
			{"gjson-valid", func() error {
				if !gjson.ValidBytes(data) {
					return payload.ErrSyntax
				}
				_ = gjson.ParseBytes(data).Value()
				return nil
			}},
		} {
			b.Run(size.name+"/"+reader.name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					if err := reader.read(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkFormats measures every other format on a typical payload.
func BenchmarkFormats(b *testing.B) {
	file := func(path ...string) []byte {
		data, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	lora := layout(
		payload.BinaryField{Name: "battery", Type: "u16", Bits: 14, Scale: 0.001},
		payload.BinaryField{Name: "temperature", Offset: 2, Type: "i16", Scale: 0.01},
		payload.BinaryField{Name: "humidity", Offset: 4, Type: "u16", Scale: 0.1},
	)
	for _, bench := range []struct {
		name, format string
		opts         payload.Options
		data         []byte
	}{
		{"number", "number", payload.Options{}, []byte("21.5")},
		{"boolean", "boolean", payload.Options{}, []byte("ON")},
		{"string", "string", payload.Options{}, []byte("heating")},
		{"auto", "auto", payload.Options{}, []byte("heating")},
		{"gzip+json", "gzip+json", payload.Options{}, zipped(b, []byte(telemetry200))},
		{"cbor", "cbor", payload.Options{}, fromHex(b, "a56474696d651a65f1a2b06474656d70fb4035800000000000636875691829626f6ef5646e616d6565706c756731")},
		{"senml-13", "senml", payload.Options{}, file("testdata", "senml", "rfc8428-5.1.3.json")},
		{"senml-cbor-7", "senml-cbor", payload.Options{}, fromHex(b, string(file("testdata", "senml", "rfc8428-6.hex")))},
		{"influx", "influx", payload.Options{}, []byte("weather,device=s1,site=north temp=82.5,hum=71i,ok=t 1556813561098000000")},
		{"csv-2x4", "csv", payload.Options{CSV: payload.CSVOptions{Columns: []string{"t", "a", "b", "c"}, TimeColumn: "t"}}, []byte("1772366340,1.5,2,on\n1772366341,1.6,3,off\n")},
		{"binary-3", "binary", lora, fromHex(b, "cbf60b0d0276010add7fff")},
		{"sparkplug-4", "sparkplug", payload.Options{}, file("sparkplug", "testdata", "ndata.bin")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			d := mustNew(b, bench.format, bench.opts)
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.data)))
			for b.Loop() {
				if _, err := d.Decode(bench.data, receipt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
