package localapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"iotc-gateway/bridge/central"
	"iotc-gateway/cmd/internal/access"
	"iotc-gateway/cmd/internal/downlink"
	"iotc-gateway/cmd/internal/localapi"
	"iotc-gateway/mapping"
)

func TestTimeOfTelemetry(t *testing.T) {
	t.Parallel()
	p := newParts()
	s := p.service(t)
	for _, c := range []struct {
		body, value string
		time        string // empty: that of the receipt
	}{
		{`{"t":1}`, `{"t":1}`, ""},
		{` { "timestamp" : "2026-01-02T03:04:05.123456+02:00" , "t" : 1.50 } `, `{"t":1.50}`, "2026-01-02T01:04:05.123456Z"},
		{`{"a":1,"timestamp":"2026-01-02T03:04:05Z","b":{"timestamp":5}}`, `{"a":1,"b":{"timestamp":5}}`, "2026-01-02T03:04:05Z"},
		{`{"timestamp":"2026-01-02T03:04:05Z"}`, `{}`, "2026-01-02T03:04:05Z"},
		{`{"t":1,"timestamp":"1970-01-01T00:00:09Z"}`, `{"t":1}`, ""},
		{`{"t":1,"timestamp":"2099-01-01T00:00:00Z"}`, `{"t":1}`, ""},
		{`{"\u0074imestamp":"2026-01-02T03:04:05Z","ü":12345678901234567890}`, `{"ü":12345678901234567890}`, "2026-01-02T03:04:05Z"},
	} {
		if err := s.SendTelemetry(t.Context(), "d1", json.RawMessage(c.body), ""); err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		r := p.records[len(p.records)-1]
		if string(r.Value) != c.value {
			t.Errorf("%s became %s, want %s", c.body, r.Value, c.value)
		}
		if c.time == "" {
			if r.TimeFrom != mapping.Receipt || time.Since(r.Time) > time.Minute {
				t.Errorf("%s has the time %v", c.body, r.Time)
			}
		} else if r.TimeFrom != mapping.Payload || r.Time.Format(time.RFC3339Nano) != c.time {
			t.Errorf("%s has the time %v, want %s", c.body, r.Time, c.time)
		}
	}
}

func TestRepeatedRequestWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	p := newParts()
	p.block = make(chan struct{})
	s := p.service(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := s.SendTelemetry(t.Context(), "d1", json.RawMessage(`{"t":1}`), "r1"); err != nil {
				t.Error(err)
			}
		})
	}
	close(p.block)
	wg.Wait()
	if n := p.stored(); n != 1 {
		t.Errorf("stored %d times", n)
	}
	// The same id of another device, or for another call, is another request.
	if _, err := s.CreateDevice(t.Context(), "d2", central.DeviceCreate{}, "r1"); err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{"d1", "d2"} {
		if err := s.SendTelemetry(t.Context(), device, json.RawMessage(`{"t":1}`), "r1"); err != nil {
			t.Error(err)
		}
	}
	if n := p.stored(); n != 2 {
		t.Errorf("stored %d times", n)
	}
}

func TestFailedRequestIsNotRemembered(t *testing.T) {
	t.Parallel()
	p := newParts()
	s := p.service(t)
	for fail, status := range map[error]int{
		errors.Join(localapi.ErrBusy, errors.New("full")): 503, errors.Join(localapi.ErrTooLarge, errors.New("large")): 413,
		central.Errorf(409, central.CodeConflict, "disabled"): 409,
	} {
		p.set(fail)
		if err := s.SendTelemetry(t.Context(), "d1", json.RawMessage(`{"t":1}`), "r1"); central.StatusOf(err) != status {
			t.Errorf("%v, want %d", err, status)
		}
	}
	p.set(nil)
	if err := s.SendTelemetry(t.Context(), "d1", json.RawMessage(`{"t":1}`), "r1"); err != nil || p.stored() != 1 {
		t.Errorf("again: %v, stored %d times", err, p.stored())
	}
}

// The last 65,536 requests are remembered, over a restart as well, and no more.
func TestRememberedRequestsAreBounded(t *testing.T) {
	t.Parallel()
	p := newParts()
	s := p.service(t)
	send := func(n int) {
		t.Helper()
		if err := s.SendTelemetry(t.Context(), "d1", json.RawMessage(`{"t":1}`), fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
	}
	const kept = 1 << 16
	for n := range kept + 10 {
		send(n)
	}
	if n := len(p.marks); n != kept {
		t.Errorf("%d marks are kept", n)
	}
	for range 2 {
		before := p.stored()
		send(kept + 9)
		send(10)
		if n := p.stored() - before; n != 0 {
			t.Errorf("%d of the remembered requests were carried out again", n)
		}
		s = p.service(t)
	}
	before := p.stored()
	send(9)
	if n := p.stored() - before; n != 1 {
		t.Error("a request that was forgotten was not carried out")
	}
	s = p.service(t)
	before = p.stored()
	send(9)
	if n := p.stored() - before; n != 0 {
		t.Error("a request after a restart was not remembered")
	}
}

func TestWhoSetsAProperty(t *testing.T) {
	t.Parallel()
	p := newParts()
	s := p.service(t)
	for _, role := range access.Roles() {
		ctx := access.WithPrincipal(t.Context(), access.Principal{ID: "x", Role: role})
		if _, err := s.UpdateProperty(ctx, "d1", string(role), json.RawMessage(` { "a" : 1 } `), ""); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.records) != 1 || p.records[0].Name != "gateway" || p.records[0].Kind != mapping.KindProperty || string(p.records[0].Value) != `{"a":1}` {
		t.Errorf("reported %+v", p.records)
	}
	if got := strings.Join(p.desired, " "); got != `reader={"a":1} operator={"a":1} device-admin={"a":1} admin={"a":1}` {
		t.Errorf("desired %s", got)
	}
	for _, name := range []string{"_x", "a/b", "a+", "#", ""} {
		if _, err := s.UpdateProperty(t.Context(), "d1", name, json.RawMessage(`1`), ""); central.StatusOf(err) != 400 {
			t.Errorf("the name %q: %v", name, err)
		}
	}
}

func TestCommandRefusals(t *testing.T) {
	t.Parallel()
	p := newParts()
	s := p.service(t)
	for fail, status := range map[error]int{
		downlink.ErrTooMany: 429, downlink.ErrNoRoom: 429,
		&mapping.Error{Code: mapping.CodeBadName}: 404, &mapping.Error{Code: mapping.CodeTemplate}: 400, &mapping.Error{Code: mapping.CodeTooLarge}: 400,
		localapi.ErrBusy: 503,
	} {
		p.set(fail)
		if _, err := s.TriggerCommand(t.Context(), "d1", "go", nil, ""); central.StatusOf(err) != status {
			t.Errorf("%v: %v, want %d", fail, err, status)
		}
	}
	p.known["d1"] = central.Device{ID: "d1"}
	if _, err := s.TriggerCommand(t.Context(), "d1", "go", nil, ""); central.StatusOf(err) != 409 {
		t.Errorf("disabled: %v", err)
	}
}

// Whatever is sent, what is stored is one JSON object without a time of its
// own.
func FuzzTelemetry(f *testing.F) {
	f.Add(`{"t":1,"timestamp":"2026-01-02T03:04:05Z"}`)
	f.Add(`{"timestamp":"2026-01-02T03:04:05Z","timestamp":"x","\u0074imestamp":1}`)
	f.Add(`{"a":{"timestamp":[]},"b":[1,2]} `)
	f.Add(`{"a`)
	f.Fuzz(func(t *testing.T, body string) {
		p := newParts()
		err := p.service(t).SendTelemetry(t.Context(), "d1", json.RawMessage(body), "")
		if err != nil {
			if central.StatusOf(err) != 400 {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		r := p.records[0]
		var members map[string]json.RawMessage
		if err := json.Unmarshal(r.Value, &members); err != nil {
			t.Fatalf("%q became %q: %v", body, r.Value, err)
		}
		if _, has := members["timestamp"]; has {
			t.Fatalf("%q became %q", body, r.Value)
		}
		_, _, sent := r.Request()
		if !json.Valid(sent) {
			t.Fatalf("%q is sent as %q", body, sent)
		}
	})
}

// Marks come from the disk.
func FuzzMarks(f *testing.F) {
	f.Add("0000", []byte("12345678abcdefghijklmnop"))
	f.Add("x", []byte{})
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		p := newParts()
		p.marks[key] = value
		s := p.service(t)
		for range 2 {
			if err := s.SendTelemetry(t.Context(), "d1", json.RawMessage(`{}`), "r"); err != nil {
				t.Fatal(err)
			}
		}
		if p.stored() != 1 {
			t.Fatalf("stored %d times", p.stored())
		}
	})
}
