package mapping

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Test is one of a user's own tests of his mapping: a publication, and the calls that must become of it.
//
//	tests:
//	  - name: the boiler reports in tenths
//	    topic: plant/cellar/boiler-1/temp
//	    payload: "213"
//	    calls:
//	      - call: POST /devices/boiler-1/telemetry
//	        body: {temperature: 21.3}
//	  - name: letters are refused
//	    topic: plant/cellar/boiler-1/temp
//	    payload: warm
//	    error: undecodable
//
// Neither calls nor error means that nothing must become of it. A body that names no timestamp leaves the time open.
type Test struct {
	Name          string            `yaml:"name" json:"name" doc:"What the test shows."`
	Given         []TestPublication `yaml:"given" json:"given" doc:"Publications that come before, for what a mapping remembers."`
	Topic         string            `yaml:"topic" json:"topic" doc:"Topic of the publication."`
	Payload       string            `yaml:"payload" json:"payload" doc:"Payload of the publication."`
	PayloadBase64 string            `yaml:"payload_base64" json:"payload_base64" doc:"Payload that is no text."`
	Retain        bool              `yaml:"retain" json:"retain" doc:"The publication is retained."`
	Replayed      bool              `yaml:"replayed" json:"replayed" doc:"It is a retained message delivered again."`
	Client        string            `yaml:"client" json:"client" doc:"MQTT client id of the sender."`
	Received      string            `yaml:"received" json:"received" doc:"Time of receipt, RFC 3339; empty: a fixed time."`
	Calls         []TestCall        `yaml:"calls" json:"calls" doc:"The calls that must become of it, in order."`
	Error         string            `yaml:"error" json:"error" doc:"The code of the error that must become of it: unmapped, undecodable, bad_device ..."`
	Route         string            `yaml:"route" json:"route" doc:"The route that must have taken it; empty: any."`
}

// TestPublication is a publication that comes before.
type TestPublication struct {
	Topic         string `yaml:"topic" json:"topic" doc:"Topic of the publication."`
	Payload       string `yaml:"payload" json:"payload" doc:"Payload of the publication."`
	PayloadBase64 string `yaml:"payload_base64" json:"payload_base64" doc:"Payload that is no text."`
	Received      string `yaml:"received" json:"received" doc:"Time of receipt, RFC 3339; empty: a fixed time."`
}

// TestCall is a call that is expected.
type TestCall struct {
	Call string `yaml:"call" json:"call" doc:"Method and path: POST /devices/d1/telemetry."`
	Body any    `yaml:"body" json:"body" doc:"Body; without a timestamp the time is left open."`
}

// testTime is the time of receipt where a test names none.
var testTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Run runs the test. It returns what differs from what is expected, nothing if the test passes; err is a fault of the test itself.
func (t Test) Run(m *Mapper) (differences []string, err error) {
	r := m.Rehearse()
	for i, g := range t.Given {
		pub, now, err := publication(g)
		if err != nil {
			return nil, fmt.Errorf("given[%d]: %w", i, err)
		}
		if trial := r.Try(pub, now); trial.Err != nil {
			return nil, fmt.Errorf("given[%d]: %w", i, trial.Err)
		}
	}
	pub, now, err := publication(TestPublication{t.Topic, t.Payload, t.PayloadBase64, t.Received})
	if err != nil {
		return nil, err
	}
	if t.Error != "" && len(t.Calls) > 0 {
		return nil, errors.New("a test expects calls or an error, not both")
	}
	pub.Retain, pub.Replayed, pub.Client = t.Retain, t.Replayed, t.Client
	return t.differences(r.Try(pub, now))
}

func publication(p TestPublication) (*Publication, time.Time, error) {
	pub := &Publication{Topic: p.Topic, Payload: []byte(p.Payload), QoS: 1}
	if p.Topic == "" {
		return nil, time.Time{}, errors.New("has no topic")
	}
	if p.PayloadBase64 != "" {
		if p.Payload != "" {
			return nil, time.Time{}, errors.New("has both payload and payload_base64")
		}
		var err error
		if pub.Payload, err = base64.StdEncoding.DecodeString(p.PayloadBase64); err != nil {
			return nil, time.Time{}, fmt.Errorf("payload_base64: %w", err)
		}
	}
	if p.Received == "" {
		return pub, testTime, nil
	}
	now, err := time.Parse(time.RFC3339Nano, p.Received)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("received: %w", err)
	}
	return pub, now, nil
}

func (t Test) differences(trial Trial) ([]string, error) {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if t.Route != "" && trial.Route() != t.Route {
		say("route: got %q, want %q", trial.Route(), t.Route)
	}
	switch {
	case trial.Err != nil && t.Error == "":
		say("error: got %s: %s", trial.Err.Code, trial.Err.Error())
	case trial.Err != nil && trial.Err.Code != t.Error:
		say("error: got %s: %s; want %s", trial.Err.Code, trial.Err.Error(), t.Error)
	case trial.Err == nil && t.Error != "":
		say("error: got none, want %s", t.Error)
	}
	requests := trial.Requests()
	for i := range max(len(requests), len(t.Calls)) {
		switch {
		case i >= len(requests):
			say("call %d: missing, want %s", i+1, t.Calls[i].Call)
		case i >= len(t.Calls):
			say("call %d: not expected: %s %s %s", i+1, requests[i].Method, requests[i].Path, requests[i].Body)
		default:
			got, want, err := sameCall(requests[i], t.Calls[i])
			if err != nil {
				return nil, fmt.Errorf("call %d: %w", i+1, err)
			}
			if got != want {
				say("call %d: got  %s\n        want %s", i+1, got, want)
			}
		}
	}
	return out, nil
}

// sameCall writes both calls in one canonical form.
func sameCall(q Request, want TestCall) (gotText, wantText string, err error) {
	wantBody, err := canonical(want.Body)
	if err != nil {
		return "", "", err
	}
	var gotValue any
	if q.Body != nil {
		if err := json.Unmarshal(q.Body, &gotValue); err != nil {
			return "", "", fmt.Errorf("the call has a body that is no JSON: %w", err)
		}
	}
	if got, ok := gotValue.(map[string]any); ok {
		if w, ok := wantBody.(map[string]any); ok {
			if _, named := w[timestampKey]; !named {
				delete(got, timestampKey)
			}
		}
	}
	gotJSON, err := Encode(gotValue)
	if err != nil {
		return "", "", err
	}
	wantJSON, err := Encode(wantBody)
	if err != nil {
		return "", "", err
	}
	return q.Method + " " + q.Path + " " + string(gotJSON), want.Call + " " + string(wantJSON), nil
}

// canonical turns what a YAML or JSON reader made into what encoding/json makes.
func canonical(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("the expected body has no JSON form: %w", err)
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("the expected body has no JSON form: %w", err)
	}
	return out, nil
}
