package sparkplug_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"iotc-gateway/mapping/payload/sparkplug"
)

// memory is a sparkplug.Store.
type memory map[string][]byte

func (m memory) Get(key string) ([]byte, bool) {
	v, ok := m[key]
	return v, ok
}

func (m memory) Put(key string, value []byte) { m[key] = value }

// node plays an edge node against Step.
type node struct {
	t     *testing.T
	store memory
	now   time.Time
}

func newNode(t *testing.T) *node {
	t.Helper()
	return &node{t: t, store: memory{}, now: noon}
}

func (n *node) raw(kind, device string, p *sparkplug.Payload) sparkplug.Outcome {
	n.t.Helper()
	out, err := sparkplug.Step(n.store, sparkplug.Topic{Group: "g", Type: kind, Edge: "e", Device: device}, p, n.now)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// send sends a message; metrics are "name", "name@alias" or "@alias", with a value behind "=".
func (n *node) send(kind, device string, seq int, metrics ...string) sparkplug.Outcome {
	n.t.Helper()
	p := &sparkplug.Payload{Time: n.now}
	if seq >= 0 {
		p.Seq, p.HasSeq = uint8(seq), true
	}
	for _, text := range metrics {
		var m sparkplug.Metric
		var value int64
		name, number, _ := strings.Cut(text, "=")
		fmt.Sscan(number, &value)
		m.Name, number, m.HasAlias = strings.Cut(name, "@")
		if m.HasAlias {
			fmt.Sscan(number, &m.Alias)
		}
		if err := m.Set(sparkplug.Int32, value); err != nil {
			n.t.Fatal(err)
		}
		if strings.HasSuffix(kind, "DATA") {
			m.Type = sparkplug.Unknown
		}
		p.Metrics = append(p.Metrics, m)
	}
	return n.raw(kind, device, p)
}

// short writes an outcome in a line.
func short(o sparkplug.Outcome) string {
	var parts []string
	for _, a := range o.Availability {
		parts = append(parts, fmt.Sprintf("%s:%v", a.Device, a.Online))
	}
	for _, v := range o.Values {
		parts = append(parts, fmt.Sprintf("%s/%s=%v", v.Device, v.Name, v.Value))
	}
	if o.Unresolved > 0 {
		parts = append(parts, fmt.Sprintf("unresolved %d", o.Unresolved))
	}
	if o.Rebirth {
		parts = append(parts, "rebirth")
	}
	return strings.Join(parts, " ")
}

func expect(t *testing.T, o sparkplug.Outcome, want string) {
	t.Helper()
	if got := short(o); got != want {
		t.Errorf("got %q, want %q (%s)", got, want, o.Reason)
	}
}

func TestSessionFromBirthToDeath(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	expect(t, n.send("NBIRTH", "", 0, "bdSeq=7", "Node Control/Rebirth@1=0", "speed@2=10"), ":true /Node Control/Rebirth=0 /speed=10")
	expect(t, n.send("DBIRTH", "pump", 1, "flow@3=-5", "load=6"), "pump:true pump/flow=-5 pump/load=6")
	expect(t, n.send("NDATA", "", 2, "@2=-11"), "/speed=-11")
	expect(t, n.send("DDATA", "pump", 3, "@3=-6", "load=-7"), "pump/flow=-6 pump/load=-7")
	if !sparkplug.Online(n.store, "") || !sparkplug.Online(n.store, "pump") || sparkplug.Online(n.store, "other") {
		t.Error("online says otherwise")
	}
	expect(t, n.send("DDEATH", "pump", 4), "pump:false")
	expect(t, n.send("DDATA", "pump", 5, "@3=1"), "unresolved 1 rebirth")
	expect(t, n.send("DBIRTH", "pump", 6, "flow@4=1"), "pump:true pump/flow=1")
	expect(t, n.send("DDATA", "pump", 7, "@4=2"), "pump/flow=2")
	expect(t, n.send("NDEATH", "", -1, "bdSeq=7"), "pump:false :false")
	expect(t, n.send("DDATA", "pump", 8, "@4=2"), "unresolved 1")
}

func TestSequenceNumbers(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.send("NBIRTH", "", 0, "bdSeq=1", "a@1=0")
	for seq := 1; seq < 600; seq++ { // wraps twice
		expect(t, n.send("NDATA", "", seq%256, "@1=5"), "/a=5")
	}
	o := n.send("NDATA", "", 600%256+1, "@1=6")
	expect(t, o, "/a=6 rebirth")
	if o.Reason != "sequence number 89 where 88 was expected" {
		t.Error(o.Reason)
	}
	// The next one in order is taken, and the node asked again only after a while: 10 s, 20 s, 40 s ...
	expect(t, n.send("NDATA", "", 90, "@1=7"), "/a=7")
	n.now = n.now.Add(10 * time.Second)
	expect(t, n.send("NDATA", "", 91, "@1=8"), "/a=8 rebirth")
	n.now = n.now.Add(19 * time.Second)
	expect(t, n.send("NDATA", "", 92, "@1=9"), "/a=9")
	n.now = n.now.Add(time.Second)
	expect(t, n.send("NDATA", "", 93, "@1=10"), "/a=10 rebirth")
	// BIRTH mends it.
	expect(t, n.send("NBIRTH", "", 0, "bdSeq=1", "a@1=0"), ":true /a=0")
	n.now = n.now.Add(time.Hour)
	expect(t, n.send("NDATA", "", 1, "@1=1"), "/a=1")
}

func TestDataBeforeBirth(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	expect(t, n.send("NDATA", "", 17, "@1=5", "named=6"), "unresolved 2 rebirth")
	full := sparkplug.Metric{Name: "temperature"}
	if err := full.Set(sparkplug.Float, 20.6); err != nil {
		t.Fatal(err)
	}
	expect(t, n.raw("DDATA", "d", &sparkplug.Payload{Metrics: []sparkplug.Metric{full}}), "d/temperature=20.6")
	expect(t, n.send("DBIRTH", "d", 18, "x@1=3"), "d/x=3")
	expect(t, n.send("NDEATH", "", -1, "bdSeq=0"), ":false")
	expect(t, n.send("NBIRTH", "", 0, "bdSeq=1"), ":true")
	expect(t, n.send("DDATA", "d", 1, "@1=1"), "unresolved 1 rebirth")
}

func TestDeathOfAnEarlierSession(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.send("NBIRTH", "", 0, "bdSeq=3", "a@1=0")
	n.send("DBIRTH", "d", 1, "x@2=0")
	// The node comes back before the broker noticed that it was gone: birth 4, then the death of session 3.
	expect(t, n.send("NBIRTH", "", 0, "bdSeq=4", "a@5=1"), "d:false :true /a=1")
	o := n.send("NDEATH", "", -1, "bdSeq=3")
	expect(t, o, "")
	if o.Reason != "the death of session 3, session 4 is alive" {
		t.Error(o.Reason)
	}
	expect(t, n.send("NDATA", "", 1, "@5=2"), "/a=2")
	expect(t, n.send("NDATA", "", 2, "@1=2"), "unresolved 1 rebirth")
	expect(t, n.send("NDEATH", "", -1, "bdSeq=4"), ":false")
	// A death without bdSeq is believed.
	n.send("NBIRTH", "", 0, "bdSeq=5")
	expect(t, n.send("NDEATH", "", -1), ":false")
}

func TestRebirthWithinASession(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.send("NBIRTH", "", 0, "bdSeq=3", "a@1=0")
	n.send("DBIRTH", "d", 1, "x@2=0")
	expect(t, n.send("NBIRTH", "", 0, "bdSeq=3", "a@9=1"), ":true /a=1")
	expect(t, n.send("DBIRTH", "d", 1, "x@8=0"), "d:true d/x=0")
	expect(t, n.send("DDATA", "d", 2, "@8=4"), "d/x=4")
}

func TestStepIsPure(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.send("NBIRTH", "", 0, "bdSeq=3", "a@1=0")
	before := maps.Clone(n.store)
	bad := sparkplug.Metric{Name: "a"}
	if err := bad.Set(sparkplug.String, "x"); err != nil {
		t.Fatal(err)
	}
	bad.Type = sparkplug.Unknown
	topic := sparkplug.Topic{Group: "g", Type: "NDATA", Edge: "e"}
	if _, err := sparkplug.Step(n.store, topic, &sparkplug.Payload{Seq: 1, HasSeq: true, Metrics: []sparkplug.Metric{bad}}, noon); err == nil {
		t.Fatal("a string was taken for an Int32")
	}
	if !maps.EqualFunc(before, n.store, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Error("a refused message changed the state")
	}
	for _, kind := range []string{"NCMD", "DCMD"} {
		if out, err := sparkplug.Step(n.store, sparkplug.Topic{Type: kind}, &sparkplug.Payload{}, noon); err != nil || short(out) != "" {
			t.Errorf("%s: %v, %v", kind, out, err)
		}
	}
	// A state that was damaged is as good as none.
	for key := range n.store {
		n.store[key] = []byte{1, 0xff}
	}
	expect(t, n.send("NDATA", "", 1, "@1=1"), "unresolved 1 rebirth")
}

// TestSessionOfFixtures plays the messages of an independent encoder.
func TestSessionOfFixtures(t *testing.T) {
	t.Parallel()
	store := memory{}
	var lines []any
	for _, m := range []struct{ file, kind, device string }{
		{"nbirth", "NBIRTH", ""},
		{"dbirth", "DBIRTH", "tank"},
		{"ddata", "DDATA", "tank"},
		{"ndata", "NDATA", ""},
		{"ddata_untyped", "DDATA", "tank"},
		{"ddeath", "DDEATH", "tank"},
		{"ndeath", "NDEATH", ""},
	} {
		topic := sparkplug.Topic{Group: "g", Type: m.kind, Edge: "e", Device: m.device}
		out, err := sparkplug.Step(store, topic, decode(t, fixture(t, m.file)), noon)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m.file, out)
	}
	golden(t, "session", lines)
	if sparkplug.Online(store, "") || sparkplug.Online(store, "tank") {
		t.Error("online after death")
	}
	for name, want := range map[string]sparkplug.Definition{
		"temperature": {Name: "temperature", Alias: 101, HasAlias: true, Type: sparkplug.Float},
		"offset":      {Name: "offset", Alias: 102, HasAlias: true, Type: sparkplug.Int16}, "nothing": {},
	} {
		got, ok := sparkplug.FindMetric(store, "tank", func(s string) bool { return s == name })
		if got != want || ok != (want.Name != "") {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
	if got, ok := sparkplug.FindMetric(store, "", func(s string) bool { return s == "bdSeq" }); got != (sparkplug.Definition{Name: "bdSeq", Type: sparkplug.Int64}) || !ok {
		t.Error(got, ok)
	}
}

func FuzzStep(f *testing.F) {
	for _, name := range []string{"nbirth", "dbirth", "ddata_untyped", "ndeath"} {
		f.Add(fixture(f, name), fixture(f, "ndata"), fixture(f, "arrays"))
	}
	kinds := []string{"NBIRTH", "DBIRTH", "DDATA", "NDATA", "NDEATH", "DDEATH", "DDATA"}
	f.Fuzz(func(_ *testing.T, first, second, state []byte) {
		store := memory{"metrics": state, "metrics/d": state, "session": state, "devices": state}
		for i, kind := range kinds {
			data := first
			if i%2 == 1 {
				data = second
			}
			p, err := sparkplug.Decode(data, limits)
			if err != nil {
				return
			}
			topic := sparkplug.Topic{Group: "g", Type: kind, Edge: "e"}
			if kind[0] == 'D' {
				topic.Device = "d"
			}
			_, _ = sparkplug.Step(store, topic, p, noon)
			sparkplug.FindMetric(store, "d", func(string) bool { return false })
			sparkplug.Online(store, "d")
		}
	})
}

func BenchmarkStep(b *testing.B) {
	for _, size := range []int{10, 1000} {
		b.Run(fmt.Sprintf("metrics=%d", size), func(b *testing.B) {
			store := memory{}
			birth := &sparkplug.Payload{Time: noon, HasSeq: true}
			for i := range size {
				m := sparkplug.Metric{Name: fmt.Sprintf("area/line/machine/value-%d", i), Alias: uint64(i), HasAlias: true}
				if err := m.Set(sparkplug.Float, 1.5); err != nil {
					b.Fatal(err)
				}
				birth.Metrics = append(birth.Metrics, m)
			}
			topic := sparkplug.Topic{Group: "g", Type: sparkplug.NBirth, Edge: "e"}
			if _, err := sparkplug.Step(store, topic, birth, noon); err != nil {
				b.Fatal(err)
			}
			data := &sparkplug.Payload{Time: noon, HasSeq: true, Metrics: birth.Metrics[:3:3]}
			for i := range data.Metrics {
				data.Metrics[i].Name, data.Metrics[i].Type = "", sparkplug.Unknown
			}
			topic.Type = sparkplug.NData
			b.ReportAllocs()
			for b.Loop() {
				data.Seq++
				out, err := sparkplug.Step(store, topic, data, noon)
				if err != nil || out.Rebirth || len(out.Values) != 3 {
					b.Fatal(out, err)
				}
			}
			b.ReportMetric(float64(len(store["metrics"]))/float64(size), "B/metric")
		})
	}
}
