package mapping_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping"
)

// receipt is the time of receipt in every test.
var receipt = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newMapper(t testing.TB) *mapping.Mapper {
	t.Helper()
	m, err := mapping.New(mapping.DefaultConfig(), mapping.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// calls maps one publication and renders it the way a person would write it down.
func calls(m *mapping.Mapper, topic, payload string) string {
	return callsOf(m, &mapping.Publication{Topic: topic, Payload: []byte(payload), FutureBound: 24 * time.Hour})
}

func callsOf(m *mapping.Mapper, pub *mapping.Publication) string {
	res, err := m.Map(pub, receipt, nil)
	if err != nil {
		e, ok := errors.AsType[*mapping.Error](err)
		if !ok {
			return "not an *Error: " + err.Error()
		}
		return e.Code + ": " + e.Message
	}
	var lines []string
	for _, r := range res.Records {
		method, path, body := r.Request()
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", method, path, body)))
	}
	for _, e := range res.Events {
		text, _ := json.Marshal(e)
		lines = append(lines, fmt.Sprintf("%T %s", e, text))
	}
	return strings.Join(lines, "\n")
}

func TestNative(t *testing.T) {
	t.Parallel()
	const at = `,"timestamp":"2026-11-22T12:00:00Z"}`
	tests := []struct{ name, topic, payload, want string }{
		{"object", "devices/d1/telemetry", `{"t":21.50,"n":9007199254740993}`, `POST /devices/d1/telemetry {"t":21.50,"n":9007199254740993` + at},
		{"white space goes", "devices/d1/telemetry", " { \"a b\" : [ 1 , 2 ] }\n", `POST /devices/d1/telemetry {"a b":[1,2]` + at},
		{"time first", "devices/d1/telemetry", `{"timestamp":1700000000,"t":1}`, `POST /devices/d1/telemetry {"t":1,"timestamp":"2023-11-14T22:13:20Z"}`},
		{"time last", "devices/d1/telemetry", `{"t":1,"timestamp":1700000000123}`, `POST /devices/d1/telemetry {"t":1,"timestamp":"2023-11-14T22:13:20.123Z"}`},
		{"time between", "devices/d1/telemetry", `{"t":1, "timestamp":"2023-11-14T23:13:20+01:00" ,"u":2}`, `POST /devices/d1/telemetry {"t":1,"u":2,"timestamp":"2023-11-14T22:13:20Z"}`},
		{"time of 1970", "devices/d1/telemetry", `{"t":1,"timestamp":12}`, `POST /devices/d1/telemetry {"t":1` + at},
		{"time far ahead", "devices/d1/telemetry", `{"t":1,"timestamp":"2027-01-01T00:00:00Z"}`, `POST /devices/d1/telemetry {"t":1` + at},
		{"array", "devices/d1/telemetry", `[{"t":1,"timestamp":1700000000}, {"timestamp":1700000001,"t":2}]`, "POST /devices/d1/telemetry {\"t\":1,\"timestamp\":\"2023-11-14T22:13:20Z\"}\nPOST /devices/d1/telemetry {\"t\":2,\"timestamp\":\"2023-11-14T22:13:21Z\"}"},
		{"one number", "devices/d:1/telemetry/t", "21.50\n", `POST /devices/d:1/telemetry {"t":21.50` + at},
		{"one word", "devices/d1/telemetry/state", "on", `POST /devices/d1/telemetry {"state":"on"` + at},
		{"properties", "devices/d1/properties", `{"fw":"1.2.0","b":null}`, "PATCH /devices/d1/properties/fw {\"value\":\"1.2.0\"}\nPATCH /devices/d1/properties/b {\"value\":null}"},
		{"property", "devices/d1/properties/firm ware", `1.2.0`, `PATCH /devices/d1/properties/firm%20ware {"value":"1.2.0"}`},
		{"property get", "devices/d1/properties/fw/get", ``, `mapping.PropertyQuery {"Device":"d1","Name":"fw","Response":null}`},
		{"response", "devices/d1/commands/reboot/response/7", `{"status":"Failed","result":{"why":1}}`, `mapping.CommandResponse {"Device":"d1","Name":"reboot","ID":"7","Status":"Failed","Result":{"why":1}}`},
		{"bare response", "devices/d1/commands/reboot/response/7", `{"status":"ok"}`, `mapping.CommandResponse {"Device":"d1","Name":"reboot","ID":"7","Status":"Completed","Result":{"status":"ok"}}`},
		{"empty response", "devices/d1/commands/reboot/response/7", ``, `mapping.CommandResponse {"Device":"d1","Name":"reboot","ID":"7","Status":"Completed","Result":null}`},
		{"trigger", "devices/d1/commands/reboot/trigger", `{"in": 5}`, `POST /devices/d1/commands/reboot {"in":5}`},
		{"trigger without arguments", "devices/d1/commands/reboot/trigger", ``, `POST /devices/d1/commands/reboot`},

		{"unmapped", "plant/d1/temp", `1`, "unmapped: nothing maps the topic plant/d1/temp"},
		{"own topic", "devices/d1/properties/fw/desired", `1`, "unmapped: nothing maps the topic devices/d1/properties/fw/desired"},
		{"bad device", "devices/../telemetry", `{"t":1}`, `bad_device: device id ".." ends in '.'`},
		{"NUL in device", "devices/d\x001/telemetry", `{"t":1}`, `bad_device: device id "d\x001" holds '\x00'`},
		{"empty", "devices/d1/telemetry", ``, "undecodable: the payload is empty"},
		{"no object", "devices/d1/telemetry", `5`, "undecodable: the payload is neither an object nor an array of objects"},
		{"cut off", "devices/d1/telemetry", `{"t":1`, "undecodable: the JSON text ends early, expected a comma or }"},
		{"trailing", "devices/d1/telemetry", `{"t":1} x`, "undecodable: invalid JSON at byte 8: 'x', expected the end"},
		{"NaN", "devices/d1/telemetry", `{"t":NaN}`, "undecodable: invalid JSON at byte 5: 'N', expected a value"},
		{"bare NaN", "devices/d1/telemetry/t", `-nan`, "undecodable: -nan is no JSON number"},
		{"duplicate", "devices/d1/telemetry", `{"t":1,"\u0074":2}`, `undecodable: the key "t" stands twice in one object`},
		{"nested duplicate", "devices/d1/telemetry", `{"t":{"a":1,"a":2}}`, `undecodable: the key "a" stands twice in one object`},
		{"too large a number", "devices/d1/telemetry", `{"t":1e999}`, "undecodable: the number 1e999 does not fit a double"},
		{"UTF-8", "devices/d1/telemetry", "{\"t\":\"\xff\"}", "undecodable: the payload is not valid UTF-8"},
		{"underscore", "devices/d1/telemetry", `{"_t":1}`, `bad_name: name "_t" begins with an underscore, which the application refuses`},
		{"empty name", "devices/d1/telemetry", `{"":1}`, `bad_name: name "" is empty`},
		{"bad time", "devices/d1/telemetry", `{"t":1,"timestamp":"noon"}`, `undecodable: timestamp: "noon" is no time: want RFC 3339, or seconds or milliseconds since 1970`},
		{"bad element", "devices/d1/telemetry", `[{"t":1},{"t":}]`, `undecodable: reading 1: invalid JSON at byte 14: '}', expected a value`},
		{"no value", "devices/d1/telemetry", `{"timestamp":1700000000}`, "undecodable: the object holds no value"},
		{"deep", "devices/d1/telemetry", `{"t":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}", "too_large: objects and arrays are nested deeper than 32"},
		{"long array", "devices/d1/telemetry", `[{"t":1}` + strings.Repeat(`,{"t":1}`, 1000) + "]", "too_large: the array holds more than 1000 readings"},
		{"large", "devices/d1/telemetry/t", `"` + strings.Repeat("x", 300<<10) + `"`, "too_large: the record has 307208 bytes, at most 262144 are allowed"},
		{"name timestamp", "devices/d1/telemetry/timestamp", `1`, "bad_name: timestamp is the time of a reading and cannot be the name of a value"},
		{"trigger with a number", "devices/d1/commands/reboot/trigger", `5`, "undecodable: the arguments of a command are no JSON object"},
	}
	m := newMapper(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := calls(m, tt.topic, tt.payload); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestReplayed(t *testing.T) {
	t.Parallel()
	m := newMapper(t)
	pub := &mapping.Publication{Topic: "devices/d/telemetry", Payload: []byte(`{"t":1}`), Retain: true, Replayed: true}
	res, err := m.Map(pub, receipt, nil)
	if err != nil || len(res.Records) != 0 || res.Tally.Replayed != 1 {
		t.Fatalf("a replay without time gave %+v, %v", res, err)
	}
	pub.Payload = []byte(`{"t":1,"timestamp":1700000000}`)
	res, err = m.Map(pub, receipt, nil)
	if err != nil || len(res.Records) != 1 || !res.Records[0].Historical {
		t.Fatalf("a replay with its time gave %+v, %v", res, err)
	}
}

func TestDownward(t *testing.T) {
	t.Parallel()
	m := newMapper(t)
	res, err := m.Command("d1", "reboot", "c7", json.RawMessage(`{"in":5}`), receipt, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Publish[0]; got.Topic != "devices/d1/commands/reboot/request/c7" || string(got.Payload) != `{"in":5}` || got.Retain || got.ResponseTopic != "devices/d1/commands/reboot/response/c7" {
		t.Errorf("command became %+v", got)
	}
	res, err = m.Desired("d1", "rate", json.RawMessage("5"), 3, receipt, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Publish[0]; got.Topic != "devices/d1/properties/rate/desired" || string(got.Payload) != `{"value":5,"version":3}` || !got.Retain {
		t.Errorf("desired became %+v", got)
	}
	if _, err := m.Command("d1", "_x", "c7", nil, receipt, nil); err == nil {
		t.Error("a bad name was taken")
	}
}

func TestValidDeviceID(t *testing.T) {
	t.Parallel()
	for id, ok := range map[string]bool{
		"a": true, "A-b.c_d:9": true, "x-": true, strings.Repeat("a", 128): true,
		"": false, strings.Repeat("a", 129): false, "a.": false, "a_": false, "a:": false, "ä": false, "a b": false, "a/b": false, "a\x00": false,
	} {
		if err := mapping.ValidDeviceID(id); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func FuzzNative(f *testing.F) {
	for _, seed := range []string{`{"t":1}`, `[{"t":1,"timestamp":1700000000}]`, `{"timestamp":"2023-11-14T22:13:20Z" , "a":{"b":[1,2,{"c":null}]}}`, "on", `"\ud83d\ude00"`, `{"a":1e5,"b":-0.0}`} {
		for _, topic := range []string{"telemetry", "telemetry/t", "properties", "commands/c/response/1", "commands/c/trigger"} {
			f.Add("devices/d/"+topic, []byte(seed))
		}
	}
	m := newMapper(f)
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		res, err := m.Map(&mapping.Publication{Topic: topic, Payload: payload}, receipt, nil)
		if err != nil {
			if _, ok := errors.AsType[*mapping.Error](err); !ok {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		for _, r := range res.Records {
			if r.Kind == mapping.KindTelemetry && !json.Valid(r.Value) {
				t.Fatalf("value is no JSON: %q", r.Value)
			}
			_, path, body := r.Request()
			if body != nil && !json.Valid(body) {
				t.Fatalf("%s gets a body that is no JSON: %q", path, body)
			}
			if err := mapping.ValidDeviceID(r.Device); err != nil {
				t.Fatal(err)
			}
		}
	})
}
