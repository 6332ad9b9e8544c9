package preset_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping"
	"iotc-gateway/mapping/payload/sparkplug"
	"iotc-gateway/mapping/preset"
)

func newSparkplugStage(t *testing.T, group string) *stage {
	t.Helper()
	family, err := preset.Sparkplug(mapping.Preset{Name: "sparkplug", Prefix: group})
	return newStage(t, family, err)
}

// recorded returns a payload that an independent encoder wrote; see the README beside the files.
func recorded(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "payload", "sparkplug", "testdata", name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// spb encodes a payload: seq -1 is none; metrics are name, value pairs of type Double.
func spb(t *testing.T, seq int, at time.Time, metrics ...any) string {
	t.Helper()
	p := sparkplug.Payload{Time: at}
	if seq >= 0 {
		p.Seq, p.HasSeq = uint8(seq), true
	}
	for i := 0; i+1 < len(metrics); i += 2 {
		m := sparkplug.Metric{Name: metrics[i].(string)}
		kind := sparkplug.Double
		switch metrics[i+1].(type) {
		case bool:
			kind = sparkplug.Boolean
		case int64:
			kind = sparkplug.Int64
		}
		if err := m.Set(kind, metrics[i+1]); err != nil {
			t.Fatal(err)
		}
		p.Metrics = append(p.Metrics, m)
	}
	return string(sparkplug.Encode(&p))
}

// TestSparkplugFromBirthToDeath plays messages that an independent encoder wrote: values of every type, a command and its
// reply, death.
func TestSparkplugFromBirthToDeath(t *testing.T) {
	t.Parallel()
	s := newSparkplugStage(t, "")
	s.publish("spBv1.0/plant/NBIRTH/edge1", recorded(t, "nbirth"),
		`property edge1 online true @2026-03-01T12:00:00Z`,
		`telemetry edge1 {"int16":-30000,"int32":-1,"int8":-23} @2026-03-01T12:00:00.001Z`,
		`telemetry edge1 {"boolean":true,"bytes":"AAH+/w==","dataset":[{"b":true,"d":1.5,"f":0.1,"n":1,"s":"one"},{"b":false,"d":-2.5,"f":20.6,"n":-2,"s":"two"}],`+
			`"datetime":"2009-10-21T05:27:55.335Z","double":1022.9123213,"file":"AQID","float":20.6,"int64":-4270929666821191986,`+
			`"motor1":{"metrics":{"amps":3.2,"rotor":{"metrics":{"temp":60.25},"ref":"Rotor"},"rpm":-1450},"parameters":{"poles":4,"serial":"A-17"},"ref":"Motor","version":"1.0"},`+
			`"string":"größer","text":"a long text","uint16":52360,"uint32":3293969225,"uint64":16444743074749521625,"uint8":250,"uuid":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"} @2026-03-01T12:00:00Z`,
		`empty 1`)
	s.publish("spBv1.0/plant/DBIRTH/edge1/tank 7", recorded(t, "dbirth"),
		`property edge1:tank-7 online true @2026-03-01T12:00:00.01Z`,
		`telemetry edge1:tank-7 {"offset":-4,"open":false,"temperature":21.5} @2026-03-01T12:00:00.01Z`)
	// The reply to a command is the next message with the metric; here under its alias.
	s.command("edge1:tank-7", "temperature", "c1", `22.75`, "publish spBv1.0/plant/DCMD/edge1/tank 7 "+hexOf(t, s, "@101", sparkplug.Float, 22.75))
	s.publish("spBv1.0/plant/DDATA/edge1/tank 7", recorded(t, "ddata"),
		`telemetry edge1:tank-7 {"temperature":22.75} @2026-03-01T12:00:00.9Z`,
		`telemetry edge1:tank-7 {"open":true} @2026-03-01T12:00:00.95Z`,
		`response edge1:tank-7 temperature c1 Completed 22.75`)
	s.publish("spBv1.0/plant/NDATA/edge1", recorded(t, "ndata"),
		`telemetry edge1 {"int32":-12345} @2026-03-01T12:00:01.9Z`,
		`telemetry edge1 {"double":99.5} @2026-03-01T11:00:00Z historical`,
		`telemetry edge1 {"string":"now"} @2026-03-01T12:00:02Z`,
		`empty 1`)
	s.publish("spBv1.0/plant/DDATA/edge1/tank 7", recorded(t, "ddata_untyped"),
		`telemetry edge1:tank-7 {"offset":-10} @2026-03-01T12:00:03Z`,
		`telemetry edge1:tank-7 {"offset":-10,"temperature":23.25} @2026-03-01T12:00:03Z`,
		"publish spBv1.0/plant/NCMD/edge1 "+hex.EncodeToString([]byte(recorded(t, "ncmd_rebirth"))),
		`unresolved 1`)
	s.publish("spBv1.0/plant/DDEATH/edge1/tank 7", recorded(t, "ddeath"),
		`property edge1:tank-7 online false @2026-03-01T12:00:04Z`)
	s.command("edge1:tank-7", "temperature", "c2", `20`, `state: sparkplug: the device is offline`)
	s.publish("spBv1.0/plant/NDEATH/edge1", recorded(t, "ndeath"), `property edge1 online false`)
	s.command("edge1", "rebirth", "c3", "", `state: sparkplug: the device is offline`)
}

// hexOf is the payload that writes one metric now; "@12" is an alias.
func hexOf(t *testing.T, s *stage, name string, kind sparkplug.DataType, value any) string {
	t.Helper()
	m := sparkplug.Metric{Name: name, Time: s.now}
	if number, isAlias := strings.CutPrefix(name, "@"); isAlias {
		alias, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		m.Name, m.Alias, m.HasAlias = "", alias, true
	}
	if err := m.Set(kind, value); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sparkplug.Encode(&sparkplug.Payload{Time: s.now, Metrics: []sparkplug.Metric{m}}))
}

func TestSparkplugDeathTakesDevicesAlong(t *testing.T) {
	t.Parallel()
	s := newSparkplugStage(t, "")
	s.publish("spBv1.0/g/NBIRTH/e", spb(t, 0, onStage, "bdSeq", int64(4)), `property e online true @2026-03-01T12:00:00Z`)
	s.publish("spBv1.0/g/DBIRTH/e/d", spb(t, 1, onStage, "x", 1.0), `property e:d online true @2026-03-01T12:00:00Z`, `telemetry e:d {"x":1} @2026-03-01T12:00:00Z`)
	s.publish("spBv1.0/g/NDEATH/e", spb(t, -1, onStage, "bdSeq", int64(3)))
	s.publish("spBv1.0/g/NDEATH/e", spb(t, -1, onStage, "bdSeq", int64(4)), `property e:d online false`, `property e online false`)
	s.publish("spBv1.0/g/DDATA/e/d", spb(t, 2, onStage, "x", 2.0),
		`telemetry e:d {"x":2} @2026-03-01T12:00:00Z`, "publish spBv1.0/g/NCMD/e "+hex.EncodeToString(sparkplug.Rebirth(onStage)))
}

func TestSparkplugCommands(t *testing.T) {
	t.Parallel()
	s := newSparkplugStage(t, "")
	s.publish("spBv1.0/g/NBIRTH/e", spb(t, 0, onStage, "bdSeq", int64(1), "Outputs/Valve 1", false, "level", 1.5),
		`property e online true @2026-03-01T12:00:00Z`, `telemetry e {"Outputs_Valve_1":false,"level":1.5} @2026-03-01T12:00:00Z`)
	s.command("e", "Outputs_Valve_1", "c1", "", "publish spBv1.0/g/NCMD/e "+hexOf(t, s, "Outputs/Valve 1", sparkplug.Boolean, true))
	s.command("e", "level", "c2", `{"value":2}`, "publish spBv1.0/g/NCMD/e "+hexOf(t, s, "level", sparkplug.Double, 2.0))
	s.command("e", "rebirth", "c3", "", "publish spBv1.0/g/NCMD/e "+hex.EncodeToString(sparkplug.Rebirth(onStage)))
	s.command("e", "level", "c4", `"high"`, `undecodable: sparkplug: metric level: the value does not fit the type: high (string) as Double`)
	s.command("e", "unknown", "c5", `1`, `bad_name: sparkplug: the BIRTH has no metric named unknown`)
	s.desired("e", "level", `3.5`, "publish spBv1.0/g/NCMD/e "+hexOf(t, s, "level", sparkplug.Double, 3.5))
	s.publish("spBv1.0/g/NDATA/e", spb(t, 1, onStage, "level", 2.0), `telemetry e {"level":2} @2026-03-01T12:00:00Z`, `response e level c2 Completed 2`)
	s.publish("spBv1.0/g/NBIRTH/e", spb(t, 0, onStage, "bdSeq", int64(1), "Outputs/Valve 1", true),
		`property e online true @2026-03-01T12:00:00Z`, `telemetry e {"Outputs_Valve_1":true} @2026-03-01T12:00:00Z`,
		`response e Outputs_Valve_1 c1 Completed true`, `response e rebirth c3 Completed`)
}

func TestSparkplugTimes(t *testing.T) {
	t.Parallel()
	s := newSparkplugStage(t, "")
	s.publish("spBv1.0/g/NBIRTH/e", spb(t, 0, time.Time{}, "v", 1.0), `property e online true`, `telemetry e {"v":1}`)
	s.publish("spBv1.0/g/NDATA/e", spb(t, 1, time.UnixMilli(86400000), "v", 2.0), `telemetry e {"v":2}`, `implausible 1`)
	s.publish("spBv1.0/g/NDATA/e", spb(t, 2, onStage.Add(48*time.Hour), "v", 3.0), `telemetry e {"v":3}`, `implausible 1`)
}

func TestSparkplugFaults(t *testing.T) {
	t.Parallel()
	s := newSparkplugStage(t, "")
	s.publish("spBv1.0/g/NBIRTH/e", `{"not":"protobuf"}`, `undecodable: sparkplug: byte 0: field 15 is damaged or cut off`)
	s.publish("spBv1.0/g/NDATA/e", recorded(t, "ndata")[:40], `undecodable: sparkplug: byte 26: field 2 is damaged or cut off`)
	// A retained replay is left out: it would break the sequence.
	s.replay("spBv1.0/g/NBIRTH/e", recorded(t, "nbirth"), `replayed 1`)
	s.publish("spBv1.0/STATE/scada", `{"online":true,"timestamp":1}`)
	s.publish("spBv1.0/g/NCMD/e", recorded(t, "ncmd_rebirth"))
	s.publish("spBv1.0/g/WHAT/e", "")
}

// TestSparkplugGroups keeps nodes of two groups apart.
func TestSparkplugGroups(t *testing.T) {
	t.Parallel()
	s := newSparkplugStage(t, "")
	s.publish("spBv1.0/g1/NBIRTH/e", spb(t, 0, time.Time{}), `property e online true`)
	s.publish("spBv1.0/g2/NBIRTH/e", spb(t, 0, time.Time{}),
		`bad_device: sparkplug: g2/e would be the same device as g1/e (take the preset once a group: {name: sparkplug, prefix: g2})`)
	s = newSparkplugStage(t, "g2")
	s.publish("spBv1.0/g2/NBIRTH/e", spb(t, 0, time.Time{}), `property g2:e online true`)
	s.publish("spBv1.0/g1/NBIRTH/e", spb(t, 0, time.Time{}), `unmapped: nothing maps the topic spBv1.0/g1/NBIRTH/e`)
	if _, err := preset.Sparkplug(mapping.Preset{Prefix: "a/b"}); err == nil {
		t.Error("two levels were taken for a group")
	}
}

func TestSparkplugLargeBirth(t *testing.T) {
	t.Parallel()
	s := newSparkplugStage(t, "")
	metrics := []any{}
	for i := range 1000 {
		metrics = append(metrics, "m/"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+time.Duration(i).String(), float64(i))
	}
	res, err := s.m.Map(&mapping.Publication{Topic: "spBv1.0/g/NBIRTH/e", Payload: []byte(spb(t, 0, onStage, metrics...))}, onStage, s.state)
	if err != nil || len(res.Records) != 1+4 {
		t.Fatalf("%d records, %v", len(res.Records), err)
	}
}

func TestSparkplugHost(t *testing.T) {
	t.Parallel()
	s := newSparkplugStage(t, "")
	started, stopped := s.m.Start(onStage), s.m.Stop(onStage.Add(time.Second))
	s.check("start", mapping.Result{Publish: started}, nil, []string{`publish spBv1.0/STATE/iotc-gateway {"online":true,"timestamp":1772366400000} retained`})
	s.check("stop", mapping.Result{Publish: stopped}, nil, []string{`publish spBv1.0/STATE/iotc-gateway {"online":false,"timestamp":1772366401000} retained`})
}

func FuzzSparkplug(f *testing.F) {
	born := map[string][]byte{}
	for topic, name := range map[string]string{
		"NBIRTH/edge1": "nbirth", "DBIRTH/edge1/tank 7": "dbirth", "NDATA/edge1": "ndata", "DDATA/edge1/tank 7": "ddata", "NDEATH/edge1": "ndeath",
		"DDEATH/edge1/tank 7": "ddeath", "DATA/edge1": "arrays",
	} {
		data, err := os.ReadFile(filepath.Join("..", "payload", "sparkplug", "testdata", name+".bin"))
		if err != nil {
			f.Fatal(err)
		}
		born[name] = data
		f.Add("spBv1.0/plant/"+topic, string(data))
	}
	family, err := preset.Sparkplug(mapping.Preset{})
	fuzzFamily(f, family, err, func(state mapping.MemoryState, m *mapping.Mapper) {
		if res, err := m.Map(&mapping.Publication{Topic: "spBv1.0/plant/NBIRTH/edge1", Payload: born["nbirth"]}, onStage, state); err == nil {
			state.Apply(res.Changes)
		}
	})
}
