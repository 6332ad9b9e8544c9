package preset_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping"
)

// onStage is the time of receipt, unless a test turns the clock.
var onStage = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// stage plays publications against a mapper with one family, and keeps its state from one to the next.
type stage struct {
	t     *testing.T
	m     *mapping.Mapper
	state mapping.MemoryState
	now   time.Time

	mayPublish func(topic string) bool
}

func newStage(t *testing.T, family mapping.Family, err error) *stage {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	m, err := mapping.New(mapping.DefaultConfig(), mapping.Options{Families: []mapping.Family{family}})
	if err != nil {
		t.Fatal(err)
	}
	return &stage{t: t, m: m, state: mapping.MemoryState{}, now: onStage}
}

// publish maps a publication and compares what becomes of it, one line each.
func (s *stage) publish(topic, payload string, want ...string) {
	s.t.Helper()
	s.play(&mapping.Publication{Topic: topic, Payload: []byte(payload)}, want...)
}

// replay does the same with a retained message from a subscription.
func (s *stage) replay(topic, payload string, want ...string) {
	s.t.Helper()
	s.play(&mapping.Publication{Topic: topic, Payload: []byte(payload), Retain: true, Replayed: true}, want...)
}

func (s *stage) play(pub *mapping.Publication, want ...string) {
	s.t.Helper()
	pub.MayPublish, pub.FutureBound = s.mayPublish, 24*time.Hour
	res, err := s.m.Map(pub, s.now, s.state)
	s.check(pub.Topic, res, err, want)
}

// command and desired do the same downwards.
func (s *stage) command(device, name, id, args string, want ...string) {
	s.t.Helper()
	var raw json.RawMessage
	if args != "" {
		raw = json.RawMessage(args)
	}
	res, err := s.m.Command(device, name, id, raw, s.now, s.state)
	s.check("command "+name, res, err, want)
}

func (s *stage) desired(device, name, value string, want ...string) {
	s.t.Helper()
	res, err := s.m.Desired(device, name, json.RawMessage(value), 1, s.now, s.state)
	s.check("desired "+name, res, err, want)
}

func (s *stage) check(what string, res mapping.Result, err error, want []string) {
	s.t.Helper()
	got := script(res, err)
	if !reflect.DeepEqual(got, append([]string(nil), want...)) {
		s.t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	if err == nil {
		s.state.Apply(res.Changes)
	}
}

// script writes a result in lines: records, events, messages, claims, counts.
func script(res mapping.Result, err error) []string {
	if err != nil {
		code := "error"
		if e, ok := errors.AsType[*mapping.Error](err); ok {
			code = e.Code
		}
		return []string{code + ": " + err.Error()}
	}
	var out []string
	for _, r := range res.Records {
		line := r.Kind.String() + " " + r.Device
		if r.Name != "" {
			line += " " + r.Name
		}
		if line += " " + string(r.Value); r.TimeFrom == mapping.Payload {
			line += " @" + r.Time.Format(time.RFC3339Nano)
		}
		if r.Historical {
			line += " historical"
		}
		out = append(out, line)
	}
	for _, e := range res.Events {
		switch e := e.(type) {
		case mapping.CommandResponse:
			out = append(out, strings.TrimSpace(fmt.Sprintf("response %s %s %s %s %s", e.Device, e.Name, e.ID, e.Status, e.Result)))
		case mapping.PropertyQuery:
			out = append(out, "query "+e.Device+" "+e.Name)
		}
	}
	for _, m := range res.Publish {
		text := string(m.Payload)
		if strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == '\uFFFD' }) >= 0 {
			text = fmt.Sprintf("%x", m.Payload)
		}
		line := "publish " + m.Topic + " " + text
		if m.Retain {
			line += " retained"
		}
		out = append(out, line)
	}
	tally := reflect.ValueOf(res.Tally)
	for i := range tally.NumField() {
		if n := tally.Field(i).Int(); n > 0 {
			out = append(out, fmt.Sprintf("%s %d", strings.ToLower(tally.Type().Field(i).Name), n))
		}
	}
	return out
}
