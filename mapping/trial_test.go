package mapping_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping"
)

func TestTrialLine(t *testing.T) {
	t.Parallel()
	m := withRoutes(t, mapping.Route{Name: "temperature", Match: "plant/{area}/{device}/temp", Payload: "number", Telemetry: values("temperature", "payload * 0.1")})
	tests := []struct{ topic, payload, want string }{
		{
			"plant/a/d1/temp", "213",
			`{"topic":"plant/a/d1/temp","route":"temperature","records":[{"kind":"telemetry","device":"d1","name":"","value":{"temperature":21.3},"time":"2026-11-22T12:00:00Z"}],"requests":[{"method":"POST","path":"/devices/d1/telemetry","body":{"temperature":21.3,"timestamp":"2026-11-22T12:00:00Z"}}],"error":null}`,
		},
		{
			"plant/a/d1/tmp", "213",
			`{"topic":"plant/a/d1/tmp","route":"","records":[],"requests":[],"error":{"code":"unmapped","message":"nothing maps the topic plant/a/d1/tmp","hint":"nearest is temperature with plant/{area}/{device}/temp: level 4 is \"tmp\", not \"temp\""}}`,
		},
		{
			"plant/a/d1/temp", "<>",
			`{"topic":"plant/a/d1/temp","route":"temperature","records":[],"requests":[],"error":{"code":"undecodable","message":"number: line 1, column 1: expected a number, found \"<>\"","hint":""}}`,
		},
		{
			"devices/d1/commands/go/trigger", "",
			`{"topic":"devices/d1/commands/go/trigger","route":"native","records":[{"kind":"command","device":"d1","name":"go","value":null,"time":"2026-11-22T12:00:00Z"}],"requests":[{"method":"POST","path":"/devices/d1/commands/go","body":null}],"error":null}`,
		},
	}
	for _, tt := range tests {
		trial := m.Rehearse().Try(&mapping.Publication{Topic: tt.topic, Payload: []byte(tt.payload)}, receipt)
		got, err := trial.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != tt.want {
			t.Errorf("got\n%s\nwant\n%s", got, tt.want)
		}
	}
	text := m.Rehearse().Try(&mapping.Publication{Topic: "plant/a/d1/temp", Payload: []byte("213")}, receipt).String()
	if want := "plant/a/d1/temp  [temperature]\n  payload  213\n  call     POST /devices/d1/telemetry {\"temperature\":21.3,\"timestamp\":\"2026-11-22T12:00:00Z\"}\n"; text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestHints(t *testing.T) {
	t.Parallel()
	m := withRoutes(t,
		mapping.Route{Match: "plant/{area}/{device}/temp", When: "payload.a > 1", Telemetry: all},
		mapping.Route{Match: "{site...}/room/{device}/{rest...}", Telemetry: all})
	for topic, want := range map[string]string{
		"plant/a/d1/temp":                 `routes[0] matches the topic, but its condition does not hold: payload.a > 1`,
		"Plant/a/d1/temp":                 `nearest is routes[0] with plant/{area}/{device}/temp: level 1 is "Plant", not "plant"`,
		"plant/a/d1/temp/x":               `nearest is routes[0] with plant/{area}/{device}/temp: the topic goes on after level 4`,
		"device/d1/telemetry":             `nearest is the native scheme with devices/{device}/telemetry: level 1 is "device", not "devices"`,
		"devices/d1":                      `nearest is the native scheme with devices/{device}/telemetry: the topic ends after level 2`,
		"devices/d1/properties/x/desired": `only the gateway publishes this topic`,
		"nothing":                         ``,
	} {
		trial := m.Explain(&mapping.Publication{Topic: topic, Payload: []byte(`{"a":1}`)}, receipt, nil)
		if trial.Err == nil || trial.Err.Hint != want {
			t.Errorf("%s: got %+v, want %s", topic, trial.Err, want)
		}
	}
}

func TestCapture(t *testing.T) {
	t.Parallel()
	pub := &mapping.Publication{Topic: "a/b", Payload: []byte(`{"x":1}`), QoS: 1, Retain: true, Client: "c1", Received: receipt}
	for payload, want := range map[string]string{
		`{"x":1}`:  `{"topic":"a/b","payload":"{\"x\":1}","qos":1,"retain":true,"replayed":false,"client":"c1","received":"2026-11-22T12:00:00Z"}`,
		"\xff\x00": `{"topic":"a/b","payload_base64":"/wA=","qos":1,"retain":true,"replayed":false,"client":"c1","received":"2026-11-22T12:00:00Z"}`,
		"":         `{"topic":"a/b","payload":"","qos":1,"retain":true,"replayed":false,"client":"c1","received":"2026-11-22T12:00:00Z"}`,
	} {
		pub.Payload = []byte(payload)
		got, err := json.Marshal(mapping.Capture(pub))
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
		var back mapping.Captured
		if err := json.Unmarshal(got, &back); err != nil || string(back.Publication().Payload) != payload || !back.Received.Equal(receipt) {
			t.Errorf("%s came back as %+v, %v", got, back, err)
		}
	}
	for _, bad := range []string{`{}`, `{"topic":"a","payload":"x","payload_base64":"eA=="}`, `{"topic":"a","qos":3}`, `[]`} {
		var c mapping.Captured
		if json.Unmarshal([]byte(bad), &c) == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	before := withRoutes(t, mapping.Route{Name: "a", Match: "x/{device}", Payload: "number", Telemetry: values("t", "payload")})
	after := withRoutes(t, mapping.Route{Name: "b", Match: "x/{device}", Payload: "number", Telemetry: values("t", "payload * (payload > 9 ? 2 : 1)")})
	c := mapping.Compare(before, after)
	for i, tt := range []struct {
		payload string
		same    bool
	}{{"1", true}, {"10", false}, {"abc", true}} {
		d, same := c.Next(&mapping.Publication{Topic: "x/d", Payload: []byte(tt.payload)}, receipt)
		if same != tt.same || d.Line != i+1 {
			t.Errorf("%s: same %v, line %d", tt.payload, same, d.Line)
		}
	}
}

func TestUserTests(t *testing.T) {
	t.Parallel()
	m := withRoutes(t, mapping.Route{Match: "x/{device}", Payload: "number", Telemetry: values("t", "payload * 0.1"), Report: mapping.Report{OnChange: true}})
	for name, tt := range map[string]struct {
		text string
		want string
	}{
		"passes":         {`{"topic":"x/d","payload":"213","route":"routes[0]","calls":[{"call":"POST /devices/d/telemetry","body":{"t":21.3}}]}`, ""},
		"time":           {`{"topic":"x/d","payload":"213","received":"2026-02-03T04:05:06Z","calls":[{"call":"POST /devices/d/telemetry","body":{"t":21.3,"timestamp":"2026-02-03T04:05:06Z"}}]}`, ""},
		"error":          {`{"topic":"x/d","payload":"warm","error":"undecodable"}`, ""},
		"nothing":        {`{"given":[{"topic":"x/d","payload":"5"}],"topic":"x/d","payload":"5"}`, ""},
		"another value":  {`{"topic":"x/d","payload":"214","calls":[{"call":"POST /devices/d/telemetry","body":{"t":21.3}}]}`, `call 1: got  POST /devices/d/telemetry {"t":21.4}` + "\n" + `        want POST /devices/d/telemetry {"t":21.3}`},
		"missing":        {`{"topic":"x/d","payload":"warm","calls":[{"call":"POST /devices/d/telemetry"}]}`, "error: got undecodable: routes[0]: number: line 1, column 1: expected a number, found \"warm\"|call 1: missing, want POST /devices/d/telemetry"},
		"not expected":   {`{"topic":"x/d","payload":"1"}`, `call 1: not expected: POST /devices/d/telemetry {"t":0.1,"timestamp":"2026-01-01T00:00:00Z"}`},
		"expected error": {`{"topic":"x/d","payload":"1","error":"unmapped","calls":[]}`, `error: got none, want unmapped|call 1: not expected: POST /devices/d/telemetry {"t":0.1,"timestamp":"2026-01-01T00:00:00Z"}`},
		"broken":         {`{"payload":"1"}`, "!has no topic"},
	} {
		var test mapping.Test
		if err := json.Unmarshal([]byte(tt.text), &test); err != nil {
			t.Fatal(err)
		}
		diff, err := test.Run(m)
		got := strings.Join(diff, "|")
		if err != nil {
			got = "!" + err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, tt.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	cfg := mapping.DefaultConfig()
	device := "'d'"
	cfg.Routes = []mapping.Route{
		{Match: "a/{device}", Telemetry: all},
		{Name: "lost", Match: "a/b", Device: device, Telemetry: all},
		{Match: "b/{device}", When: "qos > 0", Telemetry: all},
		{Match: "b/c", Device: device, Telemetry: all},
		{Match: "lamp/{device}/#", Telemetry: all},
		{Match: "devices/{device}/properties/{p}/desired", Telemetry: all},
		{Match: "#", Device: device, Drop: true},
		{Match: "{p...}/x", Device: device, Telemetry: all},
	}
	m, err := mapping.New(cfg, mapping.Options{Families: []mapping.Family{toy{}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range m.Warnings() {
		got = append(got, w.Path+": "+w.Message)
	}
	want := []string{
		"routes[1].match: a/b can never match: routes[0] takes everything with a/{device}",
		"routes[4].match: lamp/{device}/# hides lamp/{device}/state of the preset toy",
		"routes[4].match: lamp/{device}/# hides lamp/{device}/LWT of the preset toy",
		"routes[4].match: lamp/{device}/# hides lamp/{device}/config of the preset toy",
		"routes[5].match: devices/{device}/properties/{p}/desired can never match: only the gateway publishes these topics",
		"routes[6].match: # hides devices/{device}/telemetry of the native scheme",
		"routes[6].match: # hides lamp/{device}/state of the preset toy",
		"routes[6].match: # hides lamp/{device}/LWT of the preset toy",
		"routes[6].match: # hides lamp/{device}/config of the preset toy",
		"routes[6].match: # hides {prefix...}/ping/{device} of the preset toy",
		"routes[6].match: # hides panic of the preset toy",
		"routes[7].match: {p...}/x can never match: routes[6] takes everything with #",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestCoverIsSound draws pairs of patterns: where the first is said to take everything of the second, no topic may reach the
// second. The matching itself is held against a slow matcher of its own.
func TestCoverIsSound(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 8))
	words := []string{"a", "b", "$c"}
	draw := func() string {
		var levels []string
		if rng.IntN(4) == 0 {
			levels = append(levels, "{p...}")
		}
		for range 1 + rng.IntN(3) {
			if rng.IntN(2) == 0 {
				levels = append(levels, "+")
			} else {
				levels = append(levels, words[rng.IntN(len(words))])
			}
		}
		switch rng.IntN(4) {
		case 0:
			levels = append(levels, "{r...}")
		case 1:
			levels = append(levels, "#")
		}
		return strings.Join(levels, "/")
	}
	covered := 0
	for range 1000 {
		p, q := draw(), draw()
		route := func(match string) mapping.Route { return mapping.Route{Match: match, Device: "'d'", Drop: true} }
		m := withRoutes(t, route(p), route(q))
		said := false
		for _, w := range m.Warnings() {
			said = said || w.Path == "routes[1].match" && strings.Contains(w.Message, "routes[0] takes everything")
		}
		if said {
			covered++
		}
		for range 40 {
			var levels []string
			for range 1 + rng.IntN(5) {
				levels = append(levels, words[rng.IntN(len(words))])
			}
			topic := strings.Join(levels, "/")
			res, err := m.Map(&mapping.Publication{Topic: topic}, receipt, nil)
			want := ""
			if matches(strings.Split(p, "/"), levels, true) {
				want = "routes[0]"
			} else if matches(strings.Split(q, "/"), levels, true) {
				want = "routes[1]"
			}
			if res.Route != want || (err == nil) != (want != "") {
				t.Fatalf("%s with %s, %s: got %q, %v, want %q", topic, p, q, res.Route, err, want)
			}
			if said && want == "routes[1]" {
				t.Fatalf("%s is said to cover %s, but not %s", p, q, topic)
			}
		}
	}
	if covered < 30 {
		t.Errorf("only %d pairs were covered", covered)
	}
}

// matches is the definition of a pattern, level by level.
func matches(pattern, levels []string, first bool) bool {
	if len(pattern) == 0 {
		return len(levels) == 0
	}
	wild := strings.ContainsAny(pattern[0], "+#{")
	if first && wild && len(levels) > 0 && strings.HasPrefix(levels[0], "$") {
		return false
	}
	switch {
	case pattern[0] == "#":
		return true
	case strings.HasSuffix(pattern[0], "...}"):
		for n := 1; n <= len(levels); n++ {
			if matches(pattern[1:], levels[n:], false) {
				return true
			}
		}
		return false
	case len(levels) == 0:
		return false
	default:
		return (wild || pattern[0] == levels[0]) && matches(pattern[1:], levels[1:], false)
	}
}

func ExampleRehearsal_Try() {
	cfg := mapping.DefaultConfig()
	cfg.Routes = []mapping.Route{{
		Match: "plant/{area}/{device}/temp", Payload: "number",
		Telemetry: mapping.Outputs{Values: map[string]string{"temperature": "payload * 0.1"}},
	}}
	m, err := mapping.New(cfg, mapping.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	fmt.Print(m.Rehearse().Try(&mapping.Publication{Topic: "plant/cellar/boiler-1/temp", Payload: []byte("213")}, now))
	// Output:
	// plant/cellar/boiler-1/temp  [routes[0]]
	//   payload  213
	//   call     POST /devices/boiler-1/telemetry {"temperature":21.3,"timestamp":"2026-01-02T03:04:05Z"}
}
