package mapping_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping"
)

func TestAnswer(t *testing.T) {
	t.Parallel()
	m := newMapper(t)
	res, err := m.Answer(mapping.PropertyQuery{Device: "d", Name: "p"}, json.RawMessage("1"), 4, receipt, nil)
	if err != nil || res.Publish[0].Topic != "devices/d/properties/p/desired" || !res.Publish[0].Retain {
		t.Errorf("got %+v, %v", res, err)
	}
	pub := &mapping.Publication{Topic: "devices/d/properties/p/get", ResponseTopic: "my/reply", CorrelationData: []byte("x")}
	asked, err := m.Map(pub, receipt, nil)
	if err != nil {
		t.Fatal(err)
	}
	q, ok := asked.Events[0].(mapping.PropertyQuery)
	if !ok {
		t.Fatalf("got %+v", asked)
	}
	res, err = m.Answer(q, json.RawMessage("1"), 4, receipt, nil)
	if got := res.Publish[0]; err != nil || got.Topic != "my/reply" || got.Retain || string(got.CorrelationData) != "x" || string(got.Payload) != `{"value":1,"version":4}` {
		t.Errorf("got %+v, %v", got, err)
	}
	pub.Topic = "devices/d/commands/go/trigger"
	if res, err := m.Map(pub, receipt, nil); err != nil || res.Records[0].Response == nil || res.Records[0].Response.Topic != "my/reply" {
		t.Errorf("trigger became %+v, %v", res, err)
	}
	if res, err := m.Desired("d", "p", nil, 1, receipt, nil); err != nil || res.Publish[0].Payload != nil {
		t.Errorf("clearing became %+v, %v", res, err)
	}
	if _, err := m.Command("d", "go", "a/b", nil, receipt, nil); err == nil {
		t.Error("a command id with a slash was taken")
	}
}

func TestForeign(t *testing.T) {
	t.Parallel()
	m := newMapper(t)
	for topic, payload := range map[string]string{
		"devices/d/telemetry": `{"a":1}`, "devices/d/properties/p/get": "", "devices/d/commands/c/response/1": "",
	} {
		res, err := m.Map(&mapping.Publication{Topic: topic, Payload: []byte(payload)}, receipt, nil)
		if err != nil {
			t.Fatal(err)
		}
		if device, foreign := res.Foreign(func(string) bool { return false }); !foreign || device != "d" {
			t.Errorf("%s: %q, %v", topic, device, foreign)
		}
		if _, foreign := res.Foreign(func(d string) bool { return d == "d" }); foreign {
			t.Errorf("%s: the device's own publication is foreign", topic)
		}
	}
}

func TestStateful(t *testing.T) {
	t.Parallel()
	thin := mapping.Report{OnChange: true}
	for _, tt := range []struct {
		change func(*mapping.Config)
		want   bool
	}{
		{func(*mapping.Config) {}, false},
		{func(c *mapping.Config) { c.Report = thin }, true},
		{func(c *mapping.Config) { c.Reports = map[string]mapping.Report{"t": thin} }, true},
		{func(c *mapping.Config) { c.Routes = []mapping.Route{{Match: "x/{device}", Report: thin}} }, false},
		{func(c *mapping.Config) {
			c.Routes = []mapping.Route{{Match: "{site}/{device}/telemetry", Report: thin}}
		}, true},
		{func(c *mapping.Config) { c.Routes = []mapping.Route{{Match: "devices/{device}/#", Report: thin}} }, true},
	} {
		cfg := mapping.DefaultConfig()
		tt.change(&cfg)
		m, err := mapping.New(cfg, mapping.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.NativeState(); got != tt.want {
			t.Errorf("%+v: got %v", cfg, got)
		}
	}
	// By name: one value is thinned out, the other is not.
	cfg := mapping.DefaultConfig()
	cfg.Reports = map[string]mapping.Report{"t": thin}
	m, err := mapping.New(cfg, mapping.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := m.Rehearse()
	r.Try(&mapping.Publication{Topic: "devices/d/telemetry", Payload: []byte(`{"t":1,"u":1}`)}, receipt)
	trial := r.Try(&mapping.Publication{Topic: "devices/d/telemetry", Payload: []byte(`{"t":1,"u":1}`)}, receipt)
	if got := string(trial.Result.Records[0].Value); got != `{"u":1}` {
		t.Errorf("got %s", got)
	}
	prefix, key := mapping.StateOf("d")
	state := mapping.MemoryState{}
	res, err := m.Map(&mapping.Publication{Topic: "devices/d/telemetry", Payload: []byte(`{"t":1}`)}, receipt, state)
	if err != nil || len(res.Changes) != 1 || !strings.HasPrefix(res.Changes[0].Key, prefix) || key == "" {
		t.Errorf("changes %+v, %v, prefix %s", res.Changes, err, prefix)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	cfg := mapping.Config{
		Unmapped: "maybe", MaxRecordBytes: 5, Presets: []mapping.Preset{{}}, Report: mapping.Report{Heartbeat: -1},
		Reports: map[string]mapping.Report{"t": {DeadBandPercent: -1, MinInterval: 400 * 24 * time.Hour, Heartbeat: time.Second}},
	}
	var got []string
	cfg.Validate(func(path, _ string) { got = append(got, path) })
	want := "unmapped max_record_bytes presets[0] report.heartbeat reports.t.dead_band_percent reports.t.min_interval reports.t.heartbeat"
	if strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, " "), want)
	}
	var p mapping.Preset
	if err := p.UnmarshalText([]byte("tasmota")); err != nil || p.Name != "tasmota" {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestTrialText(t *testing.T) {
	t.Parallel()
	cfg := mapping.DefaultConfig()
	cfg.Routes = []mapping.Route{{Name: "bytes", Match: "raw/{device}", Payload: "cbor", Telemetry: all}}
	m, err := mapping.New(cfg, mapping.Options{Families: []mapping.Family{toy{}}})
	if err != nil {
		t.Fatal(err)
	}
	r := m.Rehearse()
	for _, tt := range []struct{ topic, payload, want string }{
		{"devices/d/commands/go/response/7", `{"status":"Failed","result":"hot"}`, "devices/d/commands/go/response/7  [native]\n  payload  {\"status\":\"Failed\",\"result\":\"hot\"}\n  answer   command go of d (7): Failed \"hot\"\n"},
		{"devices/d/properties/p/get", "", "devices/d/properties/p/get  [native]\n  query    property p of d\n"},
		{"raw/d", "\xa1\x61a\x1b\x00\x20\x00\x00\x00\x00\x00\x01", "raw/d  [bytes]\n  payload  {\"a\":9007199254740993}\n  call     POST /devices/d/telemetry {\"a\":9007199254740993,\"timestamp\":\"2026-11-22T12:00:00Z\"}\n"},
		{"raw/d", "\xff", "raw/d  [bytes]\n  error    undecodable: "},
		{"devices/d/telemetry", `{"a":1,"timestamp":5}`, "devices/d/telemetry  [native]\n  payload  {\"a\":1,\"timestamp\":5}\n  call     POST /devices/d/telemetry {\"a\":1,\"timestamp\":\"2026-11-22T12:00:00Z\"}\n  left out 1: times that cannot be; the time of receipt was taken\n"},
		{"lamp/l/state", "on", "lamp/l/state  [toy]\n  payload  \"on\"\n  call     PATCH /devices/l/properties/state {\"value\":\"on\"}\n"},
	} {
		got := r.Try(&mapping.Publication{Topic: tt.topic, Payload: []byte(tt.payload)}, receipt).String()
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("got\n%s\nwant\n%s", got, tt.want)
		}
	}
	if scopes := m.Scopes(); len(scopes) != 2 {
		t.Errorf("scopes %+v", scopes)
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	m := withRoutes(t, mapping.Route{
		Match: "x/{device}", Payload: "string", Time: "received - 1",
		Telemetry: values("a", "topic + ' ' + client + ' ' + user", "b", "qos", "c", "retain", "d", "properties['k']", "e", "upper(payload)"),
	})
	pub := &mapping.Publication{
		Topic: "x/d", Payload: []byte("warm"), Client: "c1", User: "u1", QoS: 1, Retain: true,
		Properties: []mapping.Property{{Key: "k", Value: "first"}, {Key: "k", Value: "second"}},
	}
	if got, want := callsOf(m, pub), `POST /devices/d/telemetry {"a":"x/d c1 u1","b":1,"c":true,"d":"first","e":"WARM","timestamp":"2026-11-22T11:59:59Z"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
