package buffer_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"iotc-gateway/buffer"
)

// listing is everything that waits, in pages of so many.
func listing(t *testing.T, s *buffer.Store, sel buffer.Selection, page int) (all []string) {
	t.Helper()
	for after := (buffer.Place{}); ; {
		list, err := s.Waiting(sel, after, page)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > page {
			t.Fatalf("%d records in a page of %d", len(list), page)
		}
		for i := range list {
			all = append(all, fmt.Sprintf("%s/%s/%s", list[i].Device, list[i].Class, list[i].Value))
			after = list[i].Place()
		}
		if len(list) < page {
			return all
		}
	}
}

// fill stores n telemetry records of two devices in turn and two properties.
func fill(b *bundle, n int) (want []string) {
	for i := range n {
		b.add(telemetry("a", i), telemetry("b", i))
	}
	b.add(buffer.Record{Class: buffer.ClassProperty, Device: "a", Name: "p", Value: []byte("1"), Time: 1}, buffer.Record{Class: buffer.ClassProperty, Device: "a", Name: "q", Value: []byte("2"), Time: 1})
	for _, d := range []string{"a", "b"} {
		if d == "a" {
			want = append(want, "a/property/1", "a/property/2")
		}
		for i := range n {
			want = append(want, fmt.Sprintf("%s/telemetry/%s", d, telemetry(d, i).Value))
		}
	}
	return want
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	for name, memory := range map[string]int64{"in memory": 8 << 20, "on disk": 1, "both": 4 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(b *bundle) { b.cfg.MemoryBytes = memory })
			want := fill(b, 60)
			for _, page := range []int{1, 7, 1000} {
				if got := listing(t, b.Store, buffer.Selection{}, page); !slices.Equal(got, want) {
					t.Fatalf("pages of %d: %v\nwant %v", page, got, want)
				}
			}
			if got := listing(t, b.Store, buffer.Selection{Device: "b", Classes: buffer.Of(buffer.ClassTelemetry)}, 11); !slices.Equal(got, want[62:]) {
				t.Errorf("of b: %v", got)
			}
			if got := listing(t, b.Store, buffer.Selection{Device: "c"}, 11); len(got) > 0 {
				t.Errorf("of nobody: %v", got)
			}
			if got := listing(t, b.Store, buffer.Selection{MinAge: time.Hour}, 11); len(got) > 0 {
				t.Errorf("older than an hour: %v", got)
			}
			// What is being sent does not wait; what came back does, with its attempts.
			l, err := b.Next(t.Context(), buffer.LeaseOptions{Classes: buffer.Of(buffer.ClassTelemetry)})
			if err != nil {
				t.Fatal(err)
			}
			if got := listing(t, b.Store, buffer.Selection{}, 50); len(got) != len(want)-1 {
				t.Errorf("%d with one being sent, want %d", len(got), len(want)-1)
			}
			b.Retry(l, time.Hour)
			first, err := b.Waiting(buffer.Selection{Device: l.Device, Classes: buffer.Of(l.Class)}, buffer.Place{}, 1)
			if err != nil || len(first) != 1 || first[0].Attempts != 1 || first[0].Seq != l.Records[0].Seq {
				t.Errorf("what came back: %+v, %v", first, err)
			}
		})
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	for name, memory := range map[string]int64{"in memory": 8 << 20, "on disk": 1, "both": 4 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(b *bundle) { b.cfg.MemoryBytes = memory })
			want := fill(b, 600)
			purge := func(sel buffer.Selection, expect int) {
				t.Helper()
				n, err := b.Purge(t.Context(), sel)
				if err != nil || n != expect {
					t.Fatalf("purged %d, %v; want %d", n, err, expect)
				}
			}
			purge(buffer.Selection{MinAge: time.Hour}, 0)
			l, err := b.Next(t.Context(), buffer.LeaseOptions{Classes: buffer.Of(buffer.ClassProperty)})
			if err != nil {
				t.Fatal(err)
			}
			purge(buffer.Selection{Device: "a"}, 601) // one property is being sent
			purge(buffer.Selection{Device: "a"}, 0)
			b.Commit(l)
			if got := listing(t, b.Store, buffer.Selection{}, 100); !slices.Equal(got, want[602:]) {
				t.Fatalf("%d records left, want %d", len(got), len(want)-602)
			}
			// A property of the same name afterwards supersedes nothing.
			b.add(buffer.Record{Class: buffer.ClassProperty, Device: "a", Name: "q", Value: []byte("3"), Time: 1})
			st := b.Stats()
			tel, prop := st.Classes[buffer.ClassTelemetry], st.Classes[buffer.ClassProperty]
			if tel.Count != 600 || tel.Dropped["purged"] != 600 || prop.Count != 1 || prop.Dropped["purged"] != 1 || prop.Dropped["superseded"] != 0 {
				t.Errorf("%+v\n%+v", tel, prop)
			}
			// It is gone for good, and what is left comes in order.
			b.reopen()
			if got := listing(t, b.Store, buffer.Selection{Device: "a"}, 100); len(got) != 1 {
				t.Errorf("after a restart: %v", got)
			}
			for i := range 600 {
				l, err := b.Next(t.Context(), buffer.LeaseOptions{Classes: buffer.Of(buffer.ClassTelemetry)})
				if err != nil {
					t.Fatal(err)
				}
				if string(l.Records[0].Value) != string(telemetry("b", i).Value) {
					t.Fatalf("%s is record %d", l.Records[0].Value, i)
				}
				b.Commit(l)
			}
		})
	}
}

func TestPurgeWhatCameBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 10 {
		b.add(telemetry("a", i))
	}
	o := buffer.LeaseOptions{CoalesceWindow: time.Hour, Max: 4}
	l, err := b.Next(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b.Retry(l, time.Hour)
	n, err := b.Purge(t.Context(), buffer.Selection{})
	if err != nil || n != 10 {
		t.Fatalf("purged %d, %v", n, err)
	}
	b.add(telemetry("a", 99))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if l, err = b.Next(ctx, o); err != nil || string(l.Records[0].Value) != string(telemetry("a", 99).Value) {
		t.Fatalf("%+v, %v", l, err)
	}
	b.Commit(l)
	if st := b.Stats(); !st.Drained || st.Classes[buffer.ClassTelemetry].Bytes != 0 {
		t.Errorf("%+v", st)
	}
}
