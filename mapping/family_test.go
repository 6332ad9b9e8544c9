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

// toy is a device family as small as one can be: lamp/<device>/state carries a word, lamp/<device>/LWT the availability, and
// lamp/<device>/config claims a topic for values.
type toy struct{}

func (toy) Name() string { return "toy" }

func (toy) Patterns() []string {
	return []string{"lamp/{device}/state", "lamp/{device}/LWT", "lamp/{device}/config", "{prefix...}/ping/{device}", "panic"}
}

func (toy) Scopes() []mapping.Scope {
	return []mapping.Scope{{Pattern: "lamp/{device}/+", Publish: true}, {Pattern: "lamp/{device}/set", Subscribe: true}}
}

func (toy) Map(c *mapping.Call) (mapping.Result, error) {
	device := c.Capture("device")
	var res mapping.Result
	property := func(name, value string) {
		res.Records = append(res.Records, mapping.Record{Kind: mapping.KindProperty, Device: device, Name: name, Value: json.RawMessage(value)})
	}
	switch c.Pattern {
	case 0:
		if pending, ok := c.State.Get("pending/" + device); ok {
			name, id, _ := strings.Cut(string(pending), " ")
			res.Events = append(res.Events, mapping.CommandResponse{Device: device, Name: name, ID: id, Status: mapping.StatusCompleted})
			res.Changes = append(res.Changes, mapping.Change{Key: "pending/" + device})
		}
		property("state", fmt.Sprintf("%q", c.Pub.Payload))
	case 1:
		property(mapping.PropertyOnline, fmt.Sprint(string(c.Pub.Payload) == "Online"))
	case 2:
		res.Claims = append(res.Claims, mapping.Claim{Topic: string(c.Pub.Payload), Data: []byte(device)})
	case 3:
		property("site", fmt.Sprintf("%q", c.Capture("prefix")))
	case 4:
		panic("out of range")
	case -1:
		res.Records = append(res.Records, mapping.Record{
			Kind: mapping.KindTelemetry, Device: string(c.Claim), Value: json.RawMessage(`{"v":` + string(c.Pub.Payload) + `}`),
			Time: time.Unix(100, 0), TimeFrom: mapping.Payload,
		})
	}
	return res, nil
}

func (toy) Command(c *mapping.CommandCall) (mapping.Result, error) {
	if c.Name != "set" {
		return mapping.Result{}, &mapping.Error{Code: mapping.CodeBadName, Message: "a lamp knows set alone"}
	}
	return mapping.Result{
		Publish: []mapping.Message{{Topic: "lamp/" + c.Device + "/set", Payload: c.Args, QoS: 1}},
		Changes: []mapping.Change{{Key: "pending/" + c.Device, Value: []byte("set " + c.ID)}},
	}, nil
}

func (toy) Desired(*mapping.DesiredCall) (mapping.Result, error) {
	return mapping.Result{}, mapping.ErrNotSupported
}

func TestFamily(t *testing.T) {
	t.Parallel()
	m, err := mapping.New(mapping.DefaultConfig(), mapping.Options{Families: []mapping.Family{toy{}}})
	if err != nil {
		t.Fatal(err)
	}
	state := mapping.MemoryState{}
	publish := func(topic, payload string) mapping.Result {
		t.Helper()
		pub := &mapping.Publication{Topic: topic, Payload: []byte(payload), MayPublish: func(topic string) bool { return topic != "forbidden" }}
		res, err := m.Map(pub, receipt, state)
		if err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
		state.Apply(res.Changes)
		return res
	}

	res := publish("lamp/l1/state", "on")
	if r := res.Records[0]; res.Route != "toy" || r.Name != "state" || string(r.Value) != `"on"` || !r.Time.Equal(receipt) || r.Origin != "toy" {
		t.Errorf("state became %+v", res)
	}
	if len(res.Changes) != 1 {
		t.Errorf("the first sight of a device changes its address, got %q", res.Changes)
	}
	if res = publish("lamp/l1/LWT", "Offline"); string(res.Records[0].Value) != "false" || len(res.Changes) != 0 {
		t.Errorf("LWT became %+v", res)
	}
	if res = publish("a/b/ping/l1", ""); string(res.Records[0].Value) != `"a/b"` {
		t.Errorf("ping became %+v", res)
	}

	// A command leaves a pending entry behind, which the reply finds.
	res, err = m.Command("l1", "set", "c1", json.RawMessage(`"off"`), receipt, state)
	if err != nil || res.Publish[0].Topic != "lamp/l1/set" {
		t.Fatalf("command became %+v, %v", res, err)
	}
	state.Apply(res.Changes)
	res = publish("lamp/l1/state", "off")
	if e, ok := res.Events[0].(mapping.CommandResponse); !ok || e.ID != "c1" || len(state) != 1 {
		t.Errorf("reply became %+v, state %q", res, state)
	}
	if _, err := m.Desired("l1", "p", json.RawMessage("1"), 1, receipt, state); !errors.Is(err, mapping.ErrNotSupported) {
		t.Errorf("desired gave %v", err)
	}
	// A device that no family has brought in is addressed natively.
	if res, err := m.Command("other", "set", "c1", nil, receipt, state); err != nil || res.Route != "native" {
		t.Errorf("native command became %+v, %v", res, err)
	}

	publish("lamp/l1/config", "some/topic")
	if res = publish("some/topic", "5"); string(res.Records[0].Value) != `{"v":5}` || res.Records[0].TimeFrom != mapping.Receipt || res.Tally.Implausible != 1 {
		t.Errorf("a claimed topic with a time of 1970 became %+v", res)
	}
	pub := &mapping.Publication{Topic: "lamp/l1/config", Payload: []byte("forbidden"), MayPublish: func(string) bool { return false }}
	_, err = m.Map(pub, receipt, state)
	if e, ok := errors.AsType[*mapping.Error](err); !ok || e.Code != mapping.CodeForeignTopic {
		t.Errorf("a claim of a foreign topic gave %v", err)
	}
	// A fault of a family is an error, not the end of the gateway.
	_, err = m.Map(&mapping.Publication{Topic: "panic"}, receipt, state)
	if e, ok := errors.AsType[*mapping.Error](err); !ok || e.Code != mapping.CodeInternal {
		t.Errorf("a panic gave %v", err)
	}
	if device, foreign := res.Foreign(func(d string) bool { return d == "x" }); !foreign || device != "l1" {
		t.Errorf("foreign device is %q", device)
	}
}
