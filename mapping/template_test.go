package mapping_test

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/fstest"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/template"
)

const plugTemplate = `{"@context":"dtmi:dtdl:context;2","@id":"dtmi:com:example:plug;1","@type":"Interface","contents":[
{"@type":"Telemetry","name":"power","schema":"double"},{"@type":"Property","name":"relay","schema":"boolean","writable":true},
{"@type":"Command","name":"blink","request":{"name":"times","schema":"integer"}}]}`

func withTemplate(t *testing.T) *mapping.Mapper {
	t.Helper()
	set, err := template.Load(fstest.MapFS{"plug.json": &fstest.MapFile{Data: []byte(plugTemplate)}})
	if err != nil {
		t.Fatal(err)
	}
	plug, ok := set.Get("dtmi:com:example:plug;1")
	if !ok {
		t.Fatal("the template is not there")
	}
	cfg := mapping.DefaultConfig()
	cfg.Routes = []mapping.Route{{Match: "x/{device}", Telemetry: values("power", "payload.p")}}
	m, err := mapping.New(cfg, mapping.Options{Families: []mapping.Family{toy{}}, Template: func(device string) mapping.Template {
		if device == "free" {
			return nil
		}
		return plug
	}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	m := withTemplate(t)
	const at = `,"timestamp":"2026-11-22T12:00:00Z"}`
	for _, tt := range []struct{ topic, payload, want string }{
		{"devices/p1/telemetry", `{"power":"23.50"}`, `POST /devices/p1/telemetry {"power":23.50` + at},
		{"devices/p1/telemetry", `{"power":1,"other":2}`, `POST /devices/p1/telemetry {"power":1,"other":2` + at},
		{"devices/p1/telemetry", `{"power":"much"}`, `template: device p1: power: expected double, found "much" (template dtmi:com:example:plug;1)`},
		{"devices/free/telemetry", `{"power":"much"}`, `POST /devices/free/telemetry {"power":"much"` + at},
		{"x/p1", `{"p":true}`, `template: device p1: power: expected double, found true (template dtmi:com:example:plug;1)`},
		{"devices/p1/properties", `{"relay":1}`, `PATCH /devices/p1/properties/relay {"value":true}`},
		{"devices/p1/properties/rellay", `1`, `template: device p1: the template dtmi:com:example:plug;1 has no property "rellay" (did you mean "relay"?)`},
		{"devices/p1/commands/blnk/trigger", ``, `template: device p1: the template dtmi:com:example:plug;1 has no command "blnk" (did you mean "blink"?)`},
		// Availability is the gateway's own knowledge: a template without it is no fault of the device.
		{"lamp/p1/LWT", `Online`, ``},
		// A family tells whatever a device says of itself, nobody wrote a template for that.
		{"lamp/p1/state", `on`, ``},
		{"lamp/free/state", `on`, `PATCH /devices/free/properties/state {"value":"on"}`},
	} {
		if got := calls(m, tt.topic, tt.payload); got != tt.want {
			t.Errorf("%s %s: got\n%s\nwant\n%s", tt.topic, tt.payload, got, tt.want)
		}
	}
	if _, err := m.Command("p1", "reboot", "1", nil, receipt, nil); !errors.Is(err, template.ErrUnknownName) {
		t.Errorf("an unknown command gave %v", err)
	}
	res, err := m.Command("p1", "blink", "1", json.RawMessage(`{"times":"3"}`), receipt, nil)
	if err != nil || string(res.Publish[0].Payload) != `{"times":3}` {
		t.Errorf("command became %+v, %v", res, err)
	}
	if _, err := m.Desired("p1", "relay", json.RawMessage(`"perhaps"`), 1, receipt, nil); err == nil {
		t.Error("a desired value that does not fit was taken")
	}
}
