package mapping_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expr-lang/expr/builtin"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload"
)

// withRoutes makes a mapper of routes.
func withRoutes(t testing.TB, routes ...mapping.Route) *mapping.Mapper {
	t.Helper()
	cfg := mapping.DefaultConfig()
	cfg.Routes = routes
	m, err := mapping.New(cfg, mapping.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func values(pairs ...string) mapping.Outputs {
	o := mapping.Outputs{Values: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		o.Values[pairs[i]] = pairs[i+1]
	}
	return o
}

var all = mapping.Outputs{All: true}

func TestRoutes(t *testing.T) {
	t.Parallel()
	const at = `,"timestamp":"2026-11-22T12:00:00Z"}`
	tests := []struct {
		name           string
		routes         []mapping.Route
		topic, payload string
		want           string
	}{
		{
			"the example of the design",
			[]mapping.Route{{Match: "plant/{area}/{device}/temp", Payload: "number", Telemetry: values("temperature", "payload * 0.1")}},
			"plant/hall/d1/temp", "213", `POST /devices/d1/telemetry {"temperature":21.3` + at,
		},
		{
			"members keep their text, missing ones are left out",
			[]mapping.Route{{Match: "x/{device}", Telemetry: values("a", "payload.a", "b", "payload.b.c", "c", `payload["c d"] * 2`, "d", "payload.none", "e", "payload.none + 1")}},
			"x/d1", `{"a":21.50,"b":{"c":9007199254740993},"c d":4}`, `POST /devices/d1/telemetry {"a":21.50,"b":9007199254740993,"c":8` + at,
		},
		{
			"default for what is missing",
			[]mapping.Route{{Match: "x/{device}", Telemetry: values("a", "payload.a ?? 7", "b", "payload.b == nil ? 'none' : payload.b")}},
			"x/d1", `{}`, `POST /devices/d1/telemetry {"a":7,"b":"none"` + at,
		},
		{
			"pass all",
			[]mapping.Route{{Match: "x/{device}", Telemetry: all}},
			"x/d1", `{"b":1.0, "a":{"x":[1, 2]},"n":null,"timestamp":1700000000}`, `POST /devices/d1/telemetry {"b":1.0,"a":{"x":[1,2]},"timestamp":"2023-11-14T22:13:20Z"}`,
		},
		{
			"nothing said is all",
			[]mapping.Route{{Match: "x/{device}"}},
			"x/d1", `{"b":1}`, `POST /devices/d1/telemetry {"b":1` + at,
		},
		{
			"flatten, rename, except, units",
			[]mapping.Route{{
				Match: "x/{device}", Telemetry: all, Flatten: "_", Rename: map[string]string{"env_t": "temperature"}, Except: []string{"env_skip"},
				Units: map[string]string{"temperature": "F -> C"},
			}},
			"x/d1", `{"env":{"t":212,"h":40,"skip":1},"ok":true}`, `POST /devices/d1/telemetry {"temperature":100,"env_h":40,"ok":true` + at,
		},
		{
			"chosen keys",
			[]mapping.Route{{Match: "x/{device}", Telemetry: mapping.Outputs{Keys: []string{"a", "b_c"}}, Flatten: "_"}},
			"x/d1", `{"a":{"p":1},"b":{"c":2,"d":3},"e":4}`, `POST /devices/d1/telemetry {"a_p":1,"b_c":2` + at,
		},
		{
			"properties",
			[]mapping.Route{{Match: "x/{device}/LWT", Payload: "string", Properties: values("online", "payload == 'Online'")}},
			"x/d1/LWT", `Offline`, `PATCH /devices/d1/properties/online {"value":false}`,
		},
		{
			"device and time from the payload",
			[]mapping.Route{{Match: "up/#", Device: "'line-' + lower(payload.dev.eui)", Time: "payload.ts / 10", Telemetry: values("v", "payload.v")}},
			"up/a/b", `{"dev":{"eui":"AB12"},"ts":17000000005,"v":1}`, `POST /devices/line-ab12/telemetry {"v":1,"timestamp":"2023-11-14T22:13:20.5Z"}`,
		},
		{
			"device of a number",
			[]mapping.Route{{Match: "up", Device: "payload.id", Telemetry: values("v", "payload.v")}},
			"up", `{"id":17,"v":1}`, `POST /devices/17/telemetry {"v":1` + at,
		},
		{
			"device is missing",
			[]mapping.Route{{Match: "up", Device: "payload.id", Telemetry: values("v", "payload.v")}},
			"up", `{"v":1}`, `bad_device: the payload has not what device is made of: payload.id`,
		},
		{
			"user properties",
			[]mapping.Route{{Match: "up", Device: "properties.device", Telemetry: values("v", "payload.v", "zone", "properties.zone")}},
			"up", `{"v":1}`, `POST /devices/from-property/telemetry {"v":1,"zone":""` + at,
		},
		{
			"name from the topic",
			[]mapping.Route{{Match: "s/{device}/{name}", Payload: "number"}},
			"s/d1/co2", "417", `POST /devices/d1/telemetry {"co2":417` + at,
		},
		{
			"name from several captures",
			[]mapping.Route{{Match: "s/{device}/{a}/{b}", Payload: "boolean", Telemetry: values("{a}_{b}", "payload")}},
			"s/d1/relay/0", "on", `POST /devices/d1/telemetry {"relay_0":true` + at,
		},
		{
			"prefix and rest",
			[]mapping.Route{{Match: "{prefix...}/dev/{device}/{rest...}", Telemetry: values("p", "prefix", "r", "rest")}},
			"a/b/dev/d1/c/d", "{}", `POST /devices/d1/telemetry {"p":"a/b","r":"c/d"` + at,
		},
		{
			"first match wins",
			[]mapping.Route{{Match: "x/{device}", Telemetry: values("a", "1")}, {Match: "x/d1", Device: "'d1'", Telemetry: values("b", "2")}},
			"x/d1", "{}", `POST /devices/d1/telemetry {"a":1` + at,
		},
		{
			"continue",
			[]mapping.Route{{Match: "x/{device}", Continue: true, Telemetry: values("a", "1")}, {Match: "x/d1", Device: "'d1'", Telemetry: values("b", "2")}},
			"x/d1", "{}", `POST /devices/d1/telemetry {"a":1` + at + "\nPOST /devices/d1/telemetry {\"b\":2" + at,
		},
		{
			"when",
			[]mapping.Route{{Match: "x/{device}", When: "payload.kind == 'a'", Telemetry: values("a", "1")}, {Match: "x/{device}", When: "payload.n > 3", Telemetry: values("b", "2")}},
			"x/d1", `{"n":5}`, `POST /devices/d1/telemetry {"b":2` + at,
		},
		{
			"no condition holds",
			[]mapping.Route{{Match: "x/{device}", When: "payload.kind == 'a'", Telemetry: values("a", "1")}},
			"x/d1", `{"n":5}`, `unmapped: nothing maps the topic x/d1`,
		},
		{
			"drop",
			[]mapping.Route{{Match: "x/#", Drop: true}},
			"x/y/z", "what\x00ever", ``,
		},
		{
			"routes come before the native scheme",
			[]mapping.Route{{Match: "devices/{device}/telemetry", Telemetry: values("mine", "payload.t")}},
			"devices/d1/telemetry", `{"t":1}`, `POST /devices/d1/telemetry {"mine":1` + at,
		},
		{
			"continue into the native scheme",
			[]mapping.Route{{Match: "devices/{device}/telemetry", Continue: true, Properties: values("last", "payload.t")}},
			"devices/d1/telemetry", `{"t":1}`, "PATCH /devices/d1/properties/last {\"value\":1}\nPOST /devices/d1/telemetry {\"t\":1" + at,
		},
		{
			"command",
			[]mapping.Route{{Match: "button/{device}", Command: &mapping.RouteCommand{Name: "open", Args: "{'seconds': payload.s * 2}"}}},
			"button/d1", `{"s":4}`, `POST /devices/d1/commands/open {"seconds":8}`,
		},
		{
			"loops over arrays",
			[]mapping.Route{{Match: "x/{device}", Telemetry: values("hot", "count(payload.list, .t > 20)", "max", "max(map(payload.list, .t))", "first", "payload.list[0].t")}},
			"x/d1", `{"list":[{"t":19},{"t":21.5},{"t":30}]}`, `POST /devices/d1/telemetry {"first":19,"hot":2,"max":30` + at,
		},
		{
			"functions",
			[]mapping.Route{{Match: "x/{device}", Telemetry: values("f", "convert(payload.c, 'C', 'F')", "n", "number(payload.s) + 1", "i", "int(payload.c) % 2", "bits", "bitand(int(payload.c), 4)")}},
			"x/d1", `{"c":37,"s":" 4.5 "}`, `POST /devices/d1/telemetry {"bits":4,"f":98.6,"i":1,"n":5.5` + at,
		},
		{
			"SenML brings devices and times",
			[]mapping.Route{{Match: "senml", Payload: "senml"}},
			"senml", `[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.320067464e+09,"n":"t","v":20.5},{"n":"h","v":40},{"n":"t","t":60,"v":21}]`, "*",
		},
		{
			"an expression that fails",
			[]mapping.Route{{Match: "x/{device}", Telemetry: values("a", "payload.s * 2")}},
			"x/d1", `{"s":"abc"}`, `expression: telemetry.a: line 1, column 11: invalid operation: string * int`,
		},
		{
			"division by zero",
			[]mapping.Route{{Match: "x/{device}", Telemetry: values("a", "1 / payload.z")}},
			"x/d1", `{"z":0}`, `expression: telemetry.a: +Inf is no JSON number`,
		},
		{
			"undecodable",
			[]mapping.Route{{Match: "x/{device}", Payload: "number", Telemetry: values("a", "payload")}},
			"x/d1", `abc`, `undecodable: number: line 1, column 1: expected a number, found "abc"`,
		},
		{
			"nothing to tell",
			[]mapping.Route{{Match: "x/{device}", Telemetry: values("a", "payload.a")}},
			"x/d1", `{"b":1}`, ``,
		},
		{
			"an array of readings",
			[]mapping.Route{{Match: "x/{device}", When: "payload.a != 2", Telemetry: values("a", "payload.a * 2")}},
			"x/d1", `[{"a":1,"timestamp":1700000000}, {"a":2},{"a":3}]`, `POST /devices/d1/telemetry {"a":2,"timestamp":"2023-11-14T22:13:20Z"}` + "\n" + `POST /devices/d1/telemetry {"a":6` + at,
		},
		{
			"an array of readings passed on",
			[]mapping.Route{{Match: "x/{device}", Telemetry: all}},
			"x/d1", `[{"a":1},{"a":"x"}]`, `POST /devices/d1/telemetry {"a":1` + at + "\n" + `POST /devices/d1/telemetry {"a":"x"` + at,
		},
		{
			"an array with something else in it",
			[]mapping.Route{{Match: "x/{device}", Telemetry: values("a", "payload.a")}},
			"x/d1", `[{"a":1},2]`, `undecodable: reading 1: the payload is no object, so it has no members`,
		},
		{
			"an array as a whole",
			[]mapping.Route{{Match: "x/{device}", Telemetry: values("a", "payload[1].a", "n", "len(payload)")}},
			"x/d1", `[{"a":1},{"a":2.50}]`, `POST /devices/d1/telemetry {"a":2.5,"n":2` + at,
		},
		{
			"text where members are read",
			[]mapping.Route{{Match: "x/{device}", Telemetry: values("a", "payload.a")}},
			"x/d1", `warm`, `undecodable: the payload is no object, so it has no members`,
		},
		{
			"a bad key in pass-through",
			[]mapping.Route{{Match: "x/{device}", Telemetry: all}},
			"x/d1", `{"_b":1}`, `bad_name: name "_b" begins with an underscore, which the application refuses`,
		},
		{
			"a bad device",
			[]mapping.Route{{Match: "x/{device}", Telemetry: all}},
			"x/a b", `{"b":1}`, `bad_device: device id "a b" holds ' '`,
		},
		{
			"$ topics match no leading wildcard",
			[]mapping.Route{{Match: "#", Device: "'d'", Telemetry: all}, {Match: "{a...}/x", Device: "'d'", Telemetry: all}},
			"$SYS/x", `{"b":1}`, `unmapped: nothing maps the topic $SYS/x`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := withRoutes(t, tt.routes...)
			pub := &mapping.Publication{Topic: tt.topic, Payload: []byte(tt.payload), Properties: []mapping.Property{{"device", "from-property"}}}
			got := callsOf(m, pub)
			if tt.want == "*" {
				t.Log(got)
				return
			}
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestRouteFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		route mapping.Route
		want  string // path: message
	}{
		{mapping.Route{Match: ""}, "routes[0].match: the pattern is empty"},
		{mapping.Route{Match: "a/#/b"}, "routes[0].match: # is not the last level"},
		{mapping.Route{Match: "a/x{device}"}, `routes[0].match: level "x{device}": {name} stands alone in a level`},
		{mapping.Route{Match: "a/{b...}/{device}"}, `routes[0].match: level "{b...}" is neither the first nor the last`},
		{mapping.Route{Match: "a/{device}/{device}"}, "routes[0].match: {device} stands twice"},
		{mapping.Route{Match: "a/{topic}/{device}", Telemetry: values("a", "1")}, "routes[0].match: {topic} has the name of a variable that expressions know already"},
		{mapping.Route{Match: "a/b", Telemetry: values("a", "1")}, "routes[0].device: names no device: write {device} into match, or give an expression"},
		{mapping.Route{Match: "a/{device}", Payload: "jsn", Telemetry: values("a", "1")}, "routes[0].payload: unknown payload format"},
		{mapping.Route{Match: "a/{device}", Payload: "number"}, "routes[0].telemetry: is missing: give the value a name"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "payload. * 2")}, "routes[0].telemetry.a: line 1, column 12: expected name"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "1 +\npaylod.x")}, "routes[0].telemetry.a: line 2, column 1: unknown name paylod"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "device * 2")}, "routes[0].telemetry.a: line 1, column 8: invalid operation: * (mismatched types string and int)"},
		{mapping.Route{Match: "a/{device}", When: "1 + 1", Telemetry: values("a", "1")}, "routes[0].when: expected bool, but got int"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("_a", "1")}, `routes[0].telemetry._a: name "_a" begins with an underscore`},
		{mapping.Route{Match: "a/{device}", Telemetry: values("timestamp", "1")}, `routes[0].telemetry.timestamp: timestamp is the time of a reading`},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "now()")}, "routes[0].telemetry.a: line 1, column 1: unknown name now (now is not available"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "let x = 1; x")}, "routes[0].telemetry.a: line 1, column 5: let is not available in expressions"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "map(payload.a, count(#, true))")}, "routes[0].telemetry.a: line 1, column 16: count stands within another loop"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "all(payload.a, # == payload.b)")}, "routes[0].telemetry.a: line 1, column 21: a loop sees its element"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "reduce(payload.a, #acc + #)")}, "routes[0].telemetry.a: line 1, column 1: unknown name reduce (reduce is not available"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "map(payload.a, # + topic)")}, "routes[0].telemetry.a: line 1, column 18: a loop cannot join texts"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "map(payload.a, split(topic, '/'))")}, "routes[0].telemetry.a: line 1, column 16: a loop cannot call split"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "'"+strings.Repeat("x", 5000)+"'")}, "routes[0].telemetry.a: the expression has 5002 bytes"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "topic matches device")}, "matches needs its pattern as a text in quotes"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", strings.Repeat("1+", 300)+"payload.x")}, "routes[0].telemetry.a: "},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "payload.x"), Units: map[string]string{"a": "degc -> F"}}, `routes[0].units.a: unknown unit "degc", did you mean C?`},
		{mapping.Route{Match: "a/{device}", Telemetry: values("a", "payload.x"), Units: map[string]string{"a": "C -> bar"}}, `C is a unit of temperature and bar one of pressure`},
		{mapping.Route{Match: "a/{device}", Telemetry: values("{x}", "1")}, "{x} is no capture of the pattern"},
		{mapping.Route{Match: "a/{device}", Drop: true, Telemetry: values("x", "1")}, "routes[0].drop: a route that drops has no telemetry"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("x", "1"), Flatten: "_"}, "routes[0].flatten: has no effect"},
		{mapping.Route{Match: "a/{device}", Telemetry: values("x", "1"), Report: mapping.Report{DeadBand: -1}}, "routes[0].report.dead_band: must not be negative"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			t.Parallel()
			cfg := mapping.DefaultConfig()
			cfg.Routes = []mapping.Route{tt.route}
			var got []string
			cfg.Validate(func(path, message string) { got = append(got, path+": "+message) })
			if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, tt.want) }) {
				t.Errorf("got %q, want %s", got, tt.want)
			}
			if _, err := mapping.New(cfg, mapping.Options{}); err == nil {
				t.Error("New took it")
			}
		})
	}
}

func TestOutputsForms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"all"`: `"all"`, `["a","b"]`: `["a","b"]`, `{"a":"payload.x","b":5,"c":true}`: `{"a":"payload.x","b":"5","c":"true"}`, `null`: `null`,
		`"some"`: "want all", `{"a":{}}`: "want an expression", `[1]`: "want a list of keys", `7`: "want all",
	} {
		var o mapping.Outputs
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if got, err := json.Marshal(o); err != nil || string(got) != want {
			t.Errorf("%s became %s, %v", text, got, err)
		}
	}
}

func TestReportOnChange(t *testing.T) {
	t.Parallel()
	type step struct {
		after   time.Duration
		payload string
		want    string
	}
	tests := []struct {
		name   string
		report mapping.Report
		steps  []step
	}{
		{"on change", mapping.Report{OnChange: true}, []step{{0, `{"a":1,"b":"x"}`, `{"a":1,"b":"x"}`}, {1e9, `{"a":1.0,"b":"x"}`, ""}, {1e9, `{"a":1,"b":"y"}`, `{"b":"y"}`}}},
		{"dead band", mapping.Report{DeadBand: 0.5}, []step{{0, `{"a":1}`, `{"a":1}`}, {1e9, `{"a":1.5}`, ""}, {1e9, `{"a":1.51}`, `{"a":1.51}`}, {1e9, `{"a":1}`, `{"a":1}`}}},
		{"percent", mapping.Report{DeadBandPercent: 10}, []step{{0, `{"a":-100}`, `{"a":-100}`}, {1e9, `{"a":-110}`, ""}, {1e9, `{"a":-111}`, `{"a":-111}`}}},
		{"heartbeat", mapping.Report{OnChange: true, Heartbeat: time.Minute}, []step{{0, `{"a":1}`, `{"a":1}`}, {59 * time.Second, `{"a":1}`, ""}, {time.Second, `{"a":1}`, `{"a":1}`}, {time.Second, `{"a":1}`, ""}}},
		{"interval", mapping.Report{MinInterval: 10 * time.Second}, []step{{0, `{"a":1}`, `{"a":1}`}, {9 * time.Second, `{"a":2}`, ""}, {time.Second, `{"a":2}`, `{"a":2}`}}},
		{"long values", mapping.Report{OnChange: true}, []step{{0, `{"a":"` + strings.Repeat("x", 100) + `"}`, "*"}, {1e9, `{"a":"` + strings.Repeat("x", 100) + `"}`, ""}, {1e9, `{"a":"` + strings.Repeat("x", 101) + `"}`, "*"}}},
		{"clock put back", mapping.Report{OnChange: true}, []step{{0, `{"a":1}`, `{"a":1}`}, {-time.Hour, `{"a":1}`, `{"a":1}`}, {time.Second, `{"a":1}`, ""}}},
		{"within one publication", mapping.Report{OnChange: true}, []step{{0, `[{"a":1},{"a":1},{"a":2}]`, `{"a":1} {"a":2}`}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := mapping.DefaultConfig()
			cfg.Report = tt.report
			m, err := mapping.New(cfg, mapping.Options{})
			if err != nil {
				t.Fatal(err)
			}
			state, now := mapping.MemoryState{}, receipt
			for i, s := range tt.steps {
				now = now.Add(s.after)
				res, err := m.Map(&mapping.Publication{Topic: "devices/d/telemetry", Payload: []byte(s.payload)}, now, state)
				if err != nil {
					t.Fatal(err)
				}
				state.Apply(res.Changes)
				var got []string
				for _, r := range res.Records {
					got = append(got, string(r.Value))
				}
				if s.want == "*" && len(got) == 1 {
					continue
				}
				if strings.Join(got, " ") != s.want {
					t.Errorf("step %d: got %s, want %s (%+v)", i, got, s.want, res.Tally)
				}
			}
		})
	}
}

// TestDeterministic maps the same publication often and expects the same answer each time.
func TestDeterministic(t *testing.T) {
	t.Parallel()
	m := withRoutes(t, mapping.Route{Match: "x/{device}", Payload: "cbor", Telemetry: all, Properties: values("b", "payload", "a", "payload.k1"), Report: mapping.Report{OnChange: true}})
	// {"k1": 1, ... "k9": 9} in CBOR.
	text := []byte{0xa9}
	for i := range byte(9) {
		text = append(text, 0x62, 'k', '1'+i, 1+i)
	}
	pub := &mapping.Publication{Topic: "x/d", Payload: text}
	want := ""
	for range 50 {
		res, err := m.Map(pub, receipt, mapping.MemoryState{})
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%q %q", fmt.Sprint(res.Records), res.Changes)
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("got %s\nafter %s", got, want)
		}
	}
}

// TestBounded runs the most expensive expressions that are allowed on the largest payload.
func TestBounded(t *testing.T) {
	t.Parallel()
	m := withRoutes(t, mapping.Route{Match: "x/{device}", Telemetry: values("a", "len(map(payload.list, # * 2))", "b", "count(1..50000, # > 5)")})
	res := callsOf(m, &mapping.Publication{Topic: "x/d", Payload: []byte(`{"list":[1` + strings.Repeat(",1", 9000) + `]}`)})
	if !strings.Contains(res, `{"a":9001,"b":49995,`) {
		t.Error(res)
	}
	m = withRoutes(t, mapping.Route{Match: "x/{device}", Telemetry: values("b", "count(1..2000000, # > 5)")})
	if res := callsOf(m, &mapping.Publication{Topic: "x/d", Payload: []byte(`{}`)}); !strings.HasPrefix(res, "expression: ") {
		t.Error(res)
	}
}

// TestFunctions is a tripwire: a function that a new version of the library brings must be looked at before expressions may call it.
func TestFunctions(t *testing.T) {
	t.Parallel()
	const allowed = "abs all any bitand bitnand bitnot bitor bitshl bitshr bitushr bitxor ceil concat count filter find findIndex findLast " +
		"findLastIndex first float floor fromBase64 fromJSON get hasPrefix hasSuffix indexOf int last lastIndexOf len lower map max mean " +
		"median min none one reverse round sort sortBy split string sum take toBase64 trim trimPrefix trimSuffix type upper"
	var got []string
	for _, name := range builtin.Names {
		refused := false
		for _, args := range []string{"", "payload.a", "payload.a, true", "payload.a, payload.b", "payload.a, 1, 2"} {
			cfg := mapping.DefaultConfig()
			cfg.Routes = []mapping.Route{{Match: "x/{device}", Telemetry: values("v", name+"("+args+")")}}
			_, err := mapping.New(cfg, mapping.Options{})
			refused = refused || err != nil && strings.Contains(err.Error(), "unknown name "+name)
		}
		if !refused {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	if strings.Join(got, " ") != allowed {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, " "), allowed)
	}
}

func TestBinaryRoute(t *testing.T) {
	t.Parallel()
	m := withRoutes(t, mapping.Route{
		Match: "modbus/{device}", Payload: "binary",
		Decode: payload.Options{Binary: payload.BinaryOptions{Fields: []payload.BinaryField{{Name: "t", Type: "i16", Scale: 0.1}, {Name: "n", Offset: 2, Type: "u16"}}}},
		Units:  map[string]string{"t": "C -> F"},
	})
	got := callsOf(m, &mapping.Publication{Topic: "modbus/d", Payload: []byte{0x00, 0xd5, 0x01, 0x00}})
	if want := `POST /devices/d/telemetry {"t":70.34,"n":256,"timestamp":"2026-11-22T12:00:00Z"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
