package bench_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"iotc-gateway/cmd/internal/bench"
)

func TestPercentiles(t *testing.T) {
	t.Parallel()
	var h bench.Histogram
	if h.Percentile(50) != 0 {
		t.Error("an empty histogram has no percentiles")
	}
	for i := 1; i <= 10_000; i++ {
		h.Record(time.Duration(i) * time.Microsecond)
	}
	for p, want := range map[float64]time.Duration{0: time.Microsecond, 50: 5 * time.Millisecond, 99: 9900 * time.Microsecond, 100: 10 * time.Millisecond} {
		got := h.Percentile(p)
		if got < want || got > want+want/100 {
			t.Errorf("p%v: got %s, want %s and at most one hundredth more", p, got, want)
		}
	}
	h.Record(time.Hour * 24)
	h.Record(-time.Second)
	if h.Percentile(100) < 30*time.Minute || h.Count() != 10_002 {
		t.Errorf("out of range: %s, %d", h.Percentile(100), h.Count())
	}
	h.Reset()
	if h.Count() != 0 || h.Percentile(100) != 0 {
		t.Error("not empty after Reset")
	}
}

func TestPayload(t *testing.T) {
	t.Parallel()
	for _, seq := range []int{0, 7, 123_456} {
		for _, variants := range []int{1, 5} {
			body := bench.Payload(nil, 3, seq, variants, 200)
			var object map[string]any
			if err := json.Unmarshal(body, &object); err != nil || len(body) != 200 {
				t.Fatalf("%s: %v, %d bytes", body, err, len(body))
			}
			if got := bench.Sequences(body, nil); !slices.Equal(got, []int{seq}) {
				t.Errorf("%s: read %d", body, got)
			}
			if _, plain := object["seq"]; plain != (variants == 1) {
				t.Errorf("%s: names are to differ between variants", body)
			}
		}
	}
}

func TestSequences(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]int{
		`{"seq": 12}`:                          {12},
		`{"temperature":1,"seq":0}`:            {0},
		`{"seq_0":5,"status_0":"x","seq_1":6}`: {5, 6},
		`{"temperature":1}`:                    nil,
		`{"seq":"twelve"}`:                     nil,
		`{"seq":99999999999999999999}`:         nil,
		`{"seq`:                                nil,
		`"seq":`:                               nil,
		``:                                     nil,
	} {
		if got := bench.Sequences([]byte(body), nil); !slices.Equal(got, want) {
			t.Errorf("%s: got %d, want %d", body, got, want)
		}
	}
}

func FuzzSequences(f *testing.F) {
	f.Add([]byte(`{"seq":1,"seq_2":`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, seq := range bench.Sequences(body, nil) {
			if seq < 0 || seq >= 1<<26 {
				t.Errorf("%q: %d", body, seq)
			}
		}
	})
}

// What the sink writes down, and what Judge makes of it.
func TestAccount(t *testing.T) {
	t.Parallel()
	type call struct {
		id   string
		seqs []int
	}
	for name, test := range map[string]struct {
		calls     []call
		published bench.Published
		want      bench.Verdict
	}{
		"all well": {
			[]call{{"a", []int{0}}, {"b", []int{1}}},
			bench.Published{Next: 2, Acked: bench.BitsOf(0, 1)},
			bench.Verdict{Published: 2, Acked: 2, Arrived: 2},
		},
		"not acknowledged and not arrived is no loss": {
			[]call{{"a", []int{0}}},
			bench.Published{Next: 2, Acked: bench.BitsOf(0)},
			bench.Verdict{Published: 2, Acked: 1, Arrived: 1},
		},
		"lost": {
			[]call{{"a", []int{0}}},
			bench.Published{Next: 2, Acked: bench.BitsOf(0, 1)},
			bench.Verdict{Published: 2, Acked: 2, Arrived: 1, Lost: 1},
		},
		"repeated under its id": {
			[]call{{"a", []int{0}}, {"a", []int{0}}},
			bench.Published{Next: 1, Acked: bench.BitsOf(0)},
			bench.Verdict{Published: 1, Acked: 1, Arrived: 1, Repeated: 1},
		},
		"duplicated": {
			[]call{{"a", []int{0}}, {"b", []int{0}}, {"c", []int{0}}},
			bench.Published{Next: 1, Acked: bench.BitsOf(0)},
			bench.Verdict{Published: 1, Acked: 1, Arrived: 1, Duplicated: 2},
		},
		"a copy of a resent one, repeated under its own id": {
			[]call{{"a", []int{0}}, {"b", []int{0}}, {"b", []int{0}}, {"a", []int{0}}},
			bench.Published{Next: 1, Acked: bench.BitsOf(0), Resent: map[int]int{0: 1}},
			bench.Verdict{Published: 1, Acked: 1, Arrived: 1, ResentTwice: 1, Repeated: 2},
		},
		"duplicated without ids": {
			[]call{{"", []int{0}}, {"", []int{0}}},
			bench.Published{Next: 1, Acked: bench.BitsOf(0)},
			bench.Verdict{Published: 1, Acked: 1, Arrived: 1, Duplicated: 1},
		},
		"resent may come as often as it was sent": {
			[]call{{"a", []int{0}}, {"b", []int{1}}, {"c", []int{0}}, {"d", []int{1}}, {"e", []int{1}}, {"f", []int{0}}},
			bench.Published{Next: 2, Acked: bench.BitsOf(0, 1), Resent: map[int]int{0: 2, 1: 1}},
			bench.Verdict{Published: 2, Acked: 2, Arrived: 2, ResentTwice: 3, Duplicated: 1},
		},
		"overtaken": {
			[]call{{"a", []int{1}}, {"b", []int{0}}, {"c", []int{2}}},
			bench.Published{Next: 3, Acked: bench.BitsOf(0, 1, 2)},
			bench.Verdict{Published: 3, Acked: 3, Arrived: 3, OutOfOrder: 1},
		},
		"joined readings have no order among themselves": {
			[]call{{"a", []int{2, 0, 1}}, {"b", []int{3}}},
			bench.Published{Next: 4, Acked: bench.BitsOf(0, 1, 2, 3)},
			bench.Verdict{Published: 4, Acked: 4, Arrived: 4},
		},
		"an id for two bodies": {
			[]call{{"a", []int{0}}, {"a", []int{1}}},
			bench.Published{Next: 2, Acked: bench.BitsOf(0, 1)},
			bench.Verdict{Published: 2, Acked: 2, Arrived: 1, Lost: 1, Repeated: 1, IDsReused: 1},
		},
		"never published": {
			[]call{{"a", []int{0}}, {"b", []int{700}}},
			bench.Published{Next: 1, Acked: bench.BitsOf(0)},
			bench.Verdict{Published: 1, Acked: 1, Arrived: 2, Unexpected: 1},
		},
		"refused": {
			[]call{{"a", []int{0}}},
			bench.Published{Next: 2, Acked: bench.BitsOf(0), Refused: bench.BitsOf(1)},
			bench.Verdict{Published: 2, Acked: 1, Refused: 1, Arrived: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrivals := bench.NewArrivals()
			for _, c := range test.calls {
				arrivals.Take("device", c.id, c.seqs)
			}
			// The ledger crosses a connection as JSON.
			text, err := json.Marshal(arrivals.Ledger())
			if err != nil {
				t.Fatal(err)
			}
			var ledger bench.Ledger
			if err := json.Unmarshal(text, &ledger); err != nil {
				t.Fatal(err)
			}
			got := bench.Judge(map[string]*bench.Published{"device": &test.published}, ledger.Devices)
			got.IDsReused = ledger.IDsReused
			if got != test.want {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	cpu, err := bench.ParseStat([]byte("7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20"))
	if err != nil || cpu != 2*time.Second {
		t.Errorf("got %s, %v", cpu, err)
	}
	if _, err := bench.ParseStat([]byte("nonsense")); err == nil {
		t.Error("nonsense was read")
	}
	if n := bench.ParseField([]byte("cancelled_write_bytes: 5\nwrite_bytes: 12\nVmRSS:\t 3 kB\n"), "write_bytes:"); n != 12 {
		t.Errorf("got %d", n)
	}
	u, err := bench.ReadUsage(os.Getpid())
	if err != nil || u.RSS <= 0 || u.PeakRSS < u.RSS || u.Anonymous <= 0 {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value float64
		unit  string
		want  string
	}{
		{1234567, "", "1,234,567"},
		{8412.9, "/s", "8,412/s"},
		{0.5999, "", "0.59"}, // never rounded up to a target of 0.60
		{0.29, "", "0.29"},
		{44.99, "ms", "44.9 ms"},
		{0.4, "ms", "0.40 ms"},
		{0.042, "ms", "0.042 ms"},
		{0, "B", "0 B"},
		{-1500.5, "", "-1,500"},
		{100, "%", "100%"},
	} {
		if got := bench.Number(test.value, test.unit); got != test.want {
			t.Errorf("%v %s: got %q, want %q", test.value, test.unit, got, test.want)
		}
	}
}

func TestMedianAndTargets(t *testing.T) {
	t.Parallel()
	fine := bench.Verdict{Published: 10, Acked: 10, Arrived: 10}
	result := bench.Merge("steady", "about", []*bench.Outcome{
		bench.NewOutcome("CPU per 1,000", 50, 45, fine, true),
		bench.NewOutcome("CPU per 1,000", 30, 45, fine, true),
		bench.NewOutcome("CPU per 1,000", 44, 45, fine, true),
	})
	if f := result.Figures[0]; f.Value != 44 || f.Met == nil || !*f.Met || !result.Kept || result.Account.Published != 30 {
		t.Errorf("got %+v", result)
	}
	again := fine
	again.Repeated = 1
	if bench.Merge("flaky", "", []*bench.Outcome{bench.NewOutcome("x", 1, 1, again, false)}).Kept != true {
		t.Error("a call repeated under its id after a fault breaks no promise")
	}
	if bench.Merge("steady", "", []*bench.Outcome{bench.NewOutcome("x", 1, 1, again, true)}).Kept != false {
		t.Error("without a fault it does")
	}
	lost := fine
	lost.Lost = 1
	report := bench.Report{Runs: 1, Results: []bench.Result{
		result,
		bench.Merge("kill", "kill -9", []*bench.Outcome{bench.NewOutcome("restart", 2000.5, 1000, lost, true)}),
	}}
	if !report.Broken() || !report.Short() {
		t.Error("broken and short")
	}
	var table bytes.Buffer
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  CPU per 1,000                          44 ms  <= 45 ms     met\n",
		"  restart                             2,000 ms  <= 1,000 ms  SHORT\n",
		"  lost, duplicated, out of order       1, 0, 0  0, 0, 0      BROKEN\n",
		"1 of 2 targets met; 1 of 2 scenarios BROKE a promise",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
}
