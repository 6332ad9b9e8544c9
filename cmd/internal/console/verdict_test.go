package console_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"iotc-gateway/cmd/internal/console"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	now := func() time.Time { return time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC) }
	tests := []struct {
		name             string
		change           func(o *console.Overview)
		level            console.Level
		headline, detail string
	}{
		{"well", func(*console.Overview) {}, console.LevelOK, "All is well.", "Everything that devices sent has gone up."},
		{"just started", func(o *console.Overview) { o.Uplink.State = "starting" }, console.LevelOK, "The gateway is ready.", ""},
		{"a moment's backlog", func(o *console.Overview) { o.Backlog.Records, o.Backlog.OldestSeconds = 3, 1 }, console.LevelOK, "All is well.", ""},
		{"store failed", func(o *console.Overview) { o.Store.Failed = "input/output error" }, console.LevelFault, "Nothing can be stored: devices are refused.", "(input/output error)"},
		{"disk full", func(o *console.Overview) { o.Store.DiskFull, o.Store.FreeBytes = true, 11<<20 }, console.LevelFault, "The disk is full: devices are refused.", "11 MiB are free."},
		{"another check", func(o *console.Overview) {
			o.Checks = append(o.Checks, console.Check{Name: "broker", Message: "no listener"})
		}, console.LevelFault, "Something is wrong: broker.", "no listener."},
		{"no uplink", func(o *console.Overview) { o.Uplink.State, o.Uplink.Delivers = "none", false }, console.LevelNote, "No uplink is set up; what devices send is kept.", "Set central.url"},
		{"token refused", func(o *console.Overview) { o.Uplink.State, o.Uplink.Delivers = "unauthorised", false }, console.LevelWarn, "The application refuses the gateway's token.", "Give it a new token"},
		{"offline", func(o *console.Overview) {
			o.Uplink.State, o.Uplink.Delivers, o.Uplink.Reason = "offline", false, "no route to host"
			o.Backlog.Records, o.Backlog.Bytes, o.Backlog.OldestSeconds, o.Backlog.HoursLeft = 114020, 31<<20, 5700, 102
		}, console.LevelWarn, "The uplink is down; what devices send is kept.", "114,020 records (31 MiB) wait, the oldest for 95 minutes; there is room for another 4 days. Last answer: no route to host."},
		{"offline and nearly full", func(o *console.Overview) {
			o.Uplink.State, o.Uplink.Delivers, o.Backlog.Records, o.Backlog.HoursLeft = "offline", false, 9, 0.5
		}, console.LevelFault, "The uplink is down, and the store is nearly full.", "room for another 30 minutes"},
		{"catching up", func(o *console.Overview) {
			o.Backlog.Records, o.Backlog.OldestSeconds, o.Backlog.DrainSeconds = 1, 3600, 240
		}, console.LevelNote, "The uplink works and catches up.", "1 record (0 B) waits, the oldest for 60 minutes; all will have gone up in about 4 minutes."},
		{"falling behind", func(o *console.Overview) { o.Backlog.Records, o.Backlog.HoursLeft = 9, 5 }, console.LevelWarn, "More comes in than goes up; the store will be full in 5 hours.", ""},
		{"a right is missing", func(o *console.Overview) { o.Uplink.PausedKinds = []string{"command"} }, console.LevelWarn, "The application refuses some of the records: command.", ""},
		{"one dead letter", func(o *console.Overview) { o.DeadLetters = 1 }, console.LevelNote, "All goes up, but 1 message could not be used.", ""},
		{"approval", func(o *console.Overview) { o.Waiting = 2 }, console.LevelNote, "2 devices wait to be approved.", ""},
		{"clock", func(o *console.Overview) { o.ClockSynced = false }, console.LevelNote, "All goes up, but the clock is not synchronised.", ""},
		{"the worst comes first", func(o *console.Overview) { o.DeadLetters, o.Store.DiskFull = 4, true }, console.LevelFault, "The disk is full: devices are refused.", ""},
	}
	for _, tc := range tests {
		o := healthy(now).Overview()
		o.Backlog.DrainSeconds = -1
		tc.change(&o)
		v := console.Judge(&o)
		if v.Level != tc.level || v.Headline != tc.headline || !strings.Contains(v.Detail, tc.detail) {
			t.Errorf("%s: the verdict is %q, want %s %q with %q", tc.name, v, tc.level, tc.headline, tc.detail)
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	var h console.History
	begin := time.Date(2026, 11, 25, 4, 0, 0, 0, time.UTC)
	// A sample more than fits: 10 records a second come in, 8 go out, but for
	// ten minutes in the middle, when nothing does.
	const n = console.HistorySamples + 1
	out, backlog := uint64(0), int64(0)
	for i := range n {
		up := i < 2000 || i >= 2120
		if up {
			out += 40
		}
		backlog = int64(i)*50 - int64(out)
		h.Add(console.Sample{Time: begin.Add(time.Duration(i) * 5 * time.Second), In: uint64(i) * 50, Out: out, Backlog: backlog, Delivers: up})
	}
	all := h.Since(time.Time{})
	if len(all) != n-1 || all[0].In != 50 {
		t.Fatalf("%d samples are kept, the first %v", len(all), all[0])
	}
	s := console.Columns(all, 360)
	if len(s.Time) < 350 || len(s.Time) > 361 || len(s.In) != len(s.Time) || len(s.Up) != len(s.Time) {
		t.Fatalf("%d points", len(s.Time))
	}
	down := 0
	for i := range s.Time {
		if math.Abs(s.In[i]-10) > 1e-9 {
			t.Fatalf("point %d: %v come in a second, want 10", i, s.In[i])
		}
		if !s.Up[i] {
			down++
		}
	}
	if s.StepSeconds < 59 || s.StepSeconds > 61 || down < 10 || down > 12 {
		t.Errorf("a point stands for %v s, and %d of them for the outage", s.StepSeconds, down)
	}
	if last := s.Backlog[len(s.Backlog)-1]; last != float64(backlog) {
		t.Errorf("the chart ends at %v, the backlog is %d", last, backlog)
	}
	if few := console.Columns(all[:1], 360); len(few.Time) != 0 || few.Time == nil {
		t.Errorf("one sample makes the points %v", few.Time)
	}
}
