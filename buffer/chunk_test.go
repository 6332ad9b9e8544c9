package buffer_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iotc-gateway/buffer"
)

// onDisk is a store whose memory holds next to nothing, so that every batch becomes chunks.
func onDisk(t *testing.T, change ...func(*bundle)) *bundle {
	t.Helper()
	return setup(t, append(change, func(b *bundle) { b.cfg.MemoryBytes = 1 })...)
}

// backlog adds n records of each device in batches of several, and says what they are.
func (b *bundle) backlog(batch, n int, devices ...string) (want map[string][]string) {
	want = map[string][]string{}
	for from := 0; from < n; from += batch {
		var records []buffer.Record
		for i := from; i < min(n, from+batch); i++ {
			for _, d := range devices {
				r := telemetry(d, i)
				records = append(records, r)
				want[d] = append(want[d], string(r.Value))
			}
		}
		b.add(records...)
	}
	return want
}

// deliver leases and commits up to n records.
func (b *bundle) deliver(n int) map[string][]string {
	b.t.Helper()
	got := map[string][]string{}
	for range n {
		l := b.next(buffer.LeaseOptions{})
		got[l.Device] = append(got[l.Device], string(l.Records[0].Value))
		b.Commit(l)
	}
	return got
}

func (b *bundle) same(got, want map[string][]string) {
	b.t.Helper()
	for d, values := range want {
		if !slices.Equal(got[d], values) {
			b.t.Errorf("%s: got %d: %v\nwant %d: %v", d, len(got[d]), got[d], len(values), values)
		}
	}
}

// empty checks that nothing is counted as waiting, also after the next start.
func (b *bundle) empty() {
	b.t.Helper()
	for range 2 {
		if st := b.Stats().Classes[buffer.ClassTelemetry]; st.Count != 0 || st.Bytes != 0 {
			b.t.Errorf("%d records, %d bytes", st.Count, st.Bytes)
		}
		b.none(buffer.LeaseOptions{})
		b.reopen()
	}
}

// TestBacklogInChunks: each device in order and complete, over several starts in the middle of chunks.
func TestBacklogInChunks(t *testing.T) {
	t.Parallel()
	for _, batch := range []int{2, 30, 150} {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			t.Parallel()
			b := onDisk(t)
			want := b.backlog(batch, 300, "a", "b", "c")
			got := map[string][]string{}
			for range 9 {
				for d, values := range b.deliver(100) {
					got[d] = append(got[d], values...)
				}
				b.reopen()
			}
			b.same(got, want)
			b.empty()
		})
	}
}

// TestLargeRecordsAmongSmall: records that are too large for a chunk keep their place between those in chunks.
func TestLargeRecordsAmongSmall(t *testing.T) {
	t.Parallel()
	b := onDisk(t)
	want := map[string][]string{}
	for range 3 {
		var records []buffer.Record
		for i := range 60 {
			r := telemetry("a", len(want["a"]))
			if i%7 == 3 {
				r.Value = []byte(strings.Repeat("x", 5000+i))
			}
			want["a"] = append(want["a"], string(r.Value))
			records = append(records, r)
		}
		b.add(records...)
	}
	b.reopen()
	b.same(b.deliver(180), want)
	b.empty()
}

func TestChunksComeBackAfterRetry(t *testing.T) {
	t.Parallel()
	b := onDisk(t)
	want := b.backlog(100, 200, "a")
	ids := map[string]string{}
	got := map[string][]string{}
	for i := 0; len(got["a"]) < 200; i++ {
		l := b.next(buffer.LeaseOptions{})
		value := string(l.Records[0].Value)
		if id, ok := ids[value]; ok && id != l.RequestID {
			t.Fatalf("%s: request id %s, then %s", value, id, l.RequestID)
		}
		ids[value] = l.RequestID
		if i%3 == 0 {
			b.Retry(l, 0)
			continue
		}
		got["a"] = append(got["a"], value)
		b.Commit(l)
		if i%50 == 49 {
			b.reopen()
		}
	}
	b.same(got, want)
	b.empty()
}

// TestCompositionsOfChunks: what was put together is handed out the same again after a start.
func TestCompositionsOfChunks(t *testing.T) {
	t.Parallel()
	b := onDisk(t)
	b.backlog(50, 100, "a")
	o := buffer.LeaseOptions{Max: 7, CoalesceWindow: time.Minute}
	l := b.next(o)
	before := len(l.Records)
	b.Commit(l)
	l = b.next(o)
	id, n, first := l.RequestID, len(l.Records), string(l.Records[0].Value)
	if n < 2 {
		t.Fatalf("%d records", n)
	}
	b.reopen()
	l = b.next(o)
	if l.RequestID != id || len(l.Records) != n || string(l.Records[0].Value) != first {
		t.Fatalf("%d records from %s under %s; were %d from %s under %s", len(l.Records), l.Records[0].Value, l.RequestID, n, first, id)
	}
	total := before + len(l.Records)
	b.Commit(l)
	for total < 100 {
		l := b.next(o)
		if want := fmt.Sprintf(`{"n":%d}`, total); string(l.Records[0].Value) != want {
			t.Fatalf("got %s, want %s", l.Records[0].Value, want)
		}
		total += len(l.Records)
		b.Commit(l)
	}
	b.empty()
}

func TestWaitingInChunks(t *testing.T) {
	t.Parallel()
	b := onDisk(t)
	want := b.backlog(40, 100, "a", "b")
	b.deliver(50)
	var all []string
	for _, d := range []string{"a", "b"} {
		for _, v := range want[d][25:] {
			all = append(all, d+"/telemetry/"+v)
		}
	}
	for _, page := range []int{1, 9, 1000} {
		if got := listing(t, b.Store, buffer.Selection{}, page); !slices.Equal(got, all) {
			t.Fatalf("pages of %d: %v\nwant %v", page, got, all)
		}
	}
	b.reopen()
	if got := listing(t, b.Store, buffer.Selection{}, 9); !slices.Equal(got, all) {
		t.Fatalf("after a start: %v\nwant %v", got, all)
	}
}

func TestPurgeChunks(t *testing.T) {
	t.Parallel()
	b := onDisk(t)
	want := b.backlog(60, 180, "a", "b")
	b.deliver(20)
	n, err := b.Purge(t.Context(), buffer.Selection{Device: "a"})
	if err != nil || n != 170 {
		t.Fatalf("%d purged: %v", n, err)
	}
	b.reopen()
	b.same(b.deliver(170), map[string][]string{"a": nil, "b": want["b"][10:]})
	b.empty()
}

// TestThinOutChunks: what is kept is delivered once and in order, and the counts agree, also after a start.
func TestThinOutChunks(t *testing.T) {
	t.Parallel()
	for _, rule := range []buffer.Overflow{buffer.ThinOut, buffer.DropOldest} {
		t.Run(fmt.Sprint(rule), func(t *testing.T) {
			t.Parallel()
			b := onDisk(t, func(b *bundle) {
				b.cfg.Classes.Telemetry.Overflow = rule
				b.cfg.Classes.Telemetry.MaxBytes = 30 << 10
			})
			b.backlog(50, 1500, "a", "b")
			b.deliver(11)
			b.reopen()
			st := b.Stats().Classes[buffer.ClassTelemetry]
			if st.Bytes > 32<<10 || st.Count < 100 {
				t.Fatalf("%d records, %d bytes", st.Count, st.Bytes)
			}
			last := map[string]int64{}
			for i := range st.Count {
				l := b.next(buffer.LeaseOptions{})
				if l.Records[0].Time <= last[l.Device] {
					t.Fatalf("%s: %d after %d", l.Device, l.Records[0].Time, last[l.Device])
				}
				last[l.Device] = l.Records[0].Time
				b.Commit(l)
				if i == st.Count/2 {
					b.reopen()
				}
			}
			if last["a"] != 1500*int64(time.Second) || last["b"] != last["a"] {
				t.Errorf("the newest are gone: %v", last)
			}
			b.empty()
		})
	}
}

func TestLiveFirstWithChunks(t *testing.T) {
	t.Parallel()
	b := onDisk(t)
	want := b.backlog(50, 100, "a")
	b.MarkLive()
	b.backlog(50, 120, "live")
	var live []buffer.Record
	for i := range 50 {
		live = append(live, telemetry("a", 1000+i))
	}
	b.add(live...)
	var old, fresh []string
	for range 270 {
		l := b.next(buffer.LeaseOptions{LiveFirst: true})
		if l.Device == "a" {
			if v := string(l.Records[0].Value); l.Records[0].Time > 1000*int64(time.Second) {
				fresh = append(fresh, v)
			} else {
				old = append(old, v)
			}
		}
		b.Commit(l)
	}
	if !slices.Equal(old, want["a"]) || len(fresh) != 50 {
		t.Errorf("backlog %v\nlive %v", old, fresh)
	}
	b.empty()
}

func TestRecoverChunks(t *testing.T) {
	t.Parallel()
	b := onDisk(t)
	want := b.backlog(50, 100, "a", "b")
	b.deliver(60)
	b.close()
	got := map[string][]string{}
	out, err := buffer.Recover(filepath.Join(b.dir, "db"), t.TempDir(), nil, func(r buffer.Record) error {
		got[r.Device] = append(got[r.Device], string(r.Value))
		return nil
	}, nil)
	if err != nil || out.Records != 140 || out.Unreadable > 0 {
		t.Fatalf("%+v: %v", out, err)
	}
	b.same(got, map[string][]string{"a": want["a"][30:], "b": want["b"][30:]})
	seen, err := buffer.Inspect(b.dir, nil)
	if err != nil || seen.Records[buffer.ClassTelemetry] != 140 {
		t.Fatalf("%+v: %v", seen, err)
	}
	b.open()
}

// TestRecoverAroundDamage: a damaged block of a table takes with it what it held, and nothing behind it.
func TestRecoverAroundDamage(t *testing.T) {
	t.Parallel()
	b := onDisk(t)
	const batches, records = 40, 50
	for i := range batches {
		var batch buffer.Batch
		for j := range records {
			r := telemetry("a", i*records+j)
			r.Value = fmt.Appendf(nil, `{"n":%d,"noise":"%x"}`, i*records+j, sha256.Sum256(r.Value))
			batch.Records = append(batch.Records, r)
		}
		if err := b.AppendSync(t.Context(), &batch); err != nil {
			t.Fatal(err)
		}
	}
	b.close()
	db := filepath.Join(b.dir, "db")
	for _, journal := range glob(t, db, "journal-*") { // it still has all of them
		if err := os.Remove(journal); err != nil {
			t.Fatal(err)
		}
	}
	path := glob(t, db, "*.sst")[0]
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4096 {
		content[len(content)/3+i] ^= 0xa5
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	last, n := -1, 0
	out, err := buffer.Recover(db, t.TempDir(), nil, func(r buffer.Record) error {
		var v struct{ N int }
		if err := json.Unmarshal(r.Value, &v); err != nil || v.N <= last {
			t.Errorf("%s after %d: %v", r.Value, last, err)
		}
		last = v.N
		n++
		return nil
	}, nil)
	if err != nil || n < batches*records*8/10 || n == batches*records || last != batches*records-1 || len(out.Damaged) != 1 {
		t.Errorf("%d records up to %d, %+v, %v", n, last, out, err)
	}
	b.dir = t.TempDir()
	b.opt.Dir = b.dir
	b.open()
}

// TestOlderFormat: a store of the format before is taken over, and told as the new one from then on.
func TestOlderFormat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.add(telemetry("a", 1))
	b.close()
	path := filepath.Join(b.dir, "format")
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.open()
	if got, err := os.ReadFile(path); err != nil || string(got) != "3\n" {
		t.Errorf("format %q, %v", got, err)
	}
	b.deliver(1)
	b.empty()
}
