package mapping_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping"
)

// FuzzExpression compiles any text and runs what compiles: it must neither panic nor take long, whatever it says.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		"payload.a * 2", "payload?.a ?? 1", "map(payload.list, # + 1)", "count(1..1000, # % 3 == 0)", "payload", "len(payload)",
		"payload.s contains 'x' ? upper(payload.s) : nil", "split(payload.s, ',')[0]", "{'a': [1, payload.b]}", "convert(payload.a, 'C', 'F')",
		"sum(1..99999)", "payload.s matches '^a+$'", "fromJSON(payload.s)", "sort(payload.list)", "1 in payload.list", "payload.list[1:2]", "-payload.a ** 9",
	} {
		f.Add(seed, []byte(`{"a":1.5,"b":{"c":null},"s":"a,b","list":[3,1,2]}`))
	}
	f.Fuzz(func(t *testing.T, source string, body []byte) {
		cfg := mapping.DefaultConfig()
		cfg.Routes = []mapping.Route{{Match: "x/{device}", Telemetry: mapping.Outputs{Values: map[string]string{"v": source}}}}
		m, err := mapping.New(cfg, mapping.Options{})
		if err != nil {
			return
		}
		start := time.Now()
		for _, text := range [][]byte{body, []byte(`{"list":[1` + strings.Repeat(",1", 2000) + `],"s":"` + strings.Repeat("a", 5000) + `"}`)} {
			res, err := m.Map(&mapping.Publication{Topic: "x/d", Payload: text}, receipt, nil)
			if err != nil {
				if _, ok := errors.AsType[*mapping.Error](err); !ok {
					t.Fatalf("%v is no *Error", err)
				}
				continue
			}
			for _, r := range res.Records {
				if !json.Valid(r.Value) {
					t.Fatalf("%s gave %q", source, r.Value)
				}
			}
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Fatalf("%s took %v", source, took)
		}
	})
}

// FuzzRoutePayload maps any payload through routes of several formats.
func FuzzRoutePayload(f *testing.F) {
	m := withRoutes(f,
		mapping.Route{Match: "all/{device}", Telemetry: all, Flatten: "_"},
		mapping.Route{Match: "expr/{device}", Telemetry: values("a", "payload.a", "b", "payload.b.c + 1", "n", "len(payload)"), Properties: values("p", "payload")},
		mapping.Route{Match: "cbor/{device}", Payload: "cbor", Telemetry: all},
		mapping.Route{Match: "senml/{device}", Payload: "senml"},
		mapping.Route{Match: "influx/{device}", Payload: "influx"})
	for _, topic := range []string{"all/d", "expr/d", "cbor/d", "senml/d", "influx/d"} {
		f.Add(topic, []byte(`{"a":1.50,"b":{"c":[1,{"d":null}]}, "timestamp":1700000000}`))
		f.Add(topic, []byte(`[{"n":"t","v":1}]`))
		f.Add(topic, []byte("weather,location=us temperature=82 1465839830100400200"))
		f.Add(topic, []byte{0xa1, 0x61, 'a', 0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, topic string, body []byte) {
		pub := &mapping.Publication{Topic: topic, Payload: body, FutureBound: time.Hour}
		res, err := m.Map(pub, receipt, nil)
		if err != nil {
			if _, ok := errors.AsType[*mapping.Error](err); !ok {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		for _, r := range res.Records {
			if !json.Valid(r.Value) {
				t.Fatalf("%q gave %q", body, r.Value)
			}
			if r.Time.Before(mapping.EarliestTime) || r.Time.After(receipt.Add(time.Hour)) {
				t.Fatalf("%q has the time %v", body, r.Time)
			}
		}
	})
}
