package buffer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"iotc-gateway/buffer"
)

var errInjected = errors.New("injected")

// machine runs the store beside a model of it. What the model knows of a record is whether it was acknowledged and
// whether it was settled; an unacknowledged one may be there or not, and a settled one may come again after a crash,
// under the same request id.
type machine struct {
	journal int64 // what fits into the journal; 0: what always does
	t       *rapid.T
	dir     string
	cfg     buffer.Config
	s       *buffer.Store
	coal    bool
	fail    atomic.Int32 // 0: commit, 1: fail without, 2: commit and fail
	n       int
	devices map[string][]*modelRecord // in order of Append
	leases  []*buffer.Lease
	ids     map[string]string // request id -> records
	crashes int
}

type modelRecord struct {
	value   string
	acked   bool
	settled bool
	again   bool // settled before a crash: may come again
	leased  bool
	seen    bool
}

func (m *machine) open(t *rapid.T) {
	core, logged := observer.New(zap.ErrorLevel)
	s, err := buffer.Open(m.cfg, buffer.Options{
		Dir:       m.dir,
		Log:       zap.New(core),
		FreeSpace: func(string) (int64, int64, error) { return 1 << 40, 1 << 41, nil },
		Commit: func(commit func() error) error {
			switch m.fail.Load() {
			case 1:
				return errInjected
			case 2:
				return errors.Join(commit(), errInjected)
			}
			return commit()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if aside := s.Stats().SetAside; aside != "" {
		t.Fatalf("set aside as %s: %v", aside, logged.All())
	}
	if m.journal > 0 {
		buffer.LimitJournal(s, m.journal)
	}
	m.s = s
}

func (m *machine) append(t *rapid.T) { m.appendSome(t, rapid.IntRange(1, 12).Draw(t, "records")) }

// burst makes chunks, if the memory is small: of some hundred records of four devices.
func (m *machine) burst(t *rapid.T) { m.appendSome(t, rapid.IntRange(50, 400).Draw(t, "records")) }

func (m *machine) appendSome(t *rapid.T, n int) {
	b := &buffer.Batch{}
	var recs []*modelRecord
	for range n {
		d := fmt.Sprint("d", rapid.IntRange(0, 3).Draw(t, "device"))
		c := buffer.ClassTelemetry
		if rapid.IntRange(0, 3).Draw(t, "class") == 0 {
			c = buffer.ClassProperty
		}
		m.n++
		r := &modelRecord{value: fmt.Sprint(m.n)}
		b.Records = append(b.Records, buffer.Record{
			Class: c, Device: d, Name: "p", Value: []byte(r.value), Time: int64(m.n), Meta: make([]byte, rapid.IntRange(0, 300).Draw(t, "meta")),
		})
		m.devices[d] = append(m.devices[d], r)
		recs = append(recs, r)
	}
	err := m.s.AppendSync(context.Background(), b)
	if fail := m.fail.Load(); (fail != 0) != (err != nil) {
		t.Fatalf("append with fault %d: %v", fail, err)
	}
	for _, r := range recs {
		r.acked = err == nil
	}
}

// take leases what is there within a moment; nil when there is nothing.
func (m *machine) take(t *rapid.T) *buffer.Lease {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if !m.expects() {
		ctx, cancel = context.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
	}
	o := buffer.LeaseOptions{}
	if m.coal {
		o.CoalesceWindow, o.Max = 10, 4
	}
	l, err := m.s.Next(ctx, o)
	if err != nil {
		if m.expects() {
			t.Fatalf("nothing to lease: %v\n%+v", err, m.s.Stats())
		}
		return nil
	}
	var values string
	for i := range l.Records {
		r := m.first(t, l.Device, string(l.Records[i].Value))
		if r.leased {
			t.Fatalf("%s leased twice", r.value)
		}
		r.leased, r.seen = true, true
		values += r.value + " "
	}
	if was, ok := m.ids[l.RequestID]; ok && was != values {
		t.Fatalf("request id %s was for %q and is for %q", l.RequestID, was, values)
	}
	m.ids[l.RequestID] = values
	m.leases = append(m.leases, l)
	return l
}

// expects says whether a device that is not leased has an acknowledged record.
func (m *machine) expects() bool {
	if m.fail.Load() != 0 {
		return false
	}
	for d, rs := range m.devices {
		if m.busy(d) {
			continue
		}
		for _, r := range rs {
			if r.acked && !r.settled {
				return true
			}
		}
	}
	return false
}

func (m *machine) busy(d string) bool {
	return slices.ContainsFunc(m.leases, func(l *buffer.Lease) bool { return l.Device == d })
}

// first finds the record that was handed out and checks that nothing acknowledged was passed over.
func (m *machine) first(t *rapid.T, device, value string) *modelRecord {
	for _, r := range m.devices[device] {
		if r.value == value {
			if r.settled && !r.again {
				t.Fatalf("%s: %s came again after it was settled", device, value)
			}
			return r
		}
		if r.acked && !r.settled && !r.leased {
			t.Fatalf("%s: %s came before %s", device, value, r.value)
		}
	}
	t.Fatalf("%s: %s was never appended", device, value)
	return nil
}

// record finds a record that was leased, and so is there.
func (m *machine) record(device, value string) *modelRecord {
	i := slices.IndexFunc(m.devices[device], func(r *modelRecord) bool { return r.value == value })
	return m.devices[device][i]
}

func (m *machine) settle(t *rapid.T) {
	if len(m.leases) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.leases)-1).Draw(t, "lease")
	l := m.leases[i]
	m.leases = slices.Delete(m.leases, i, i+1)
	done := func(settled bool) {
		for i := range l.Records {
			// Looked up without regard to order: of a joined lease that comes back, the first record is free already.
			r := m.record(l.Device, string(l.Records[i].Value))
			r.leased = false
			r.settled = r.settled || settled
			r.again = r.again && !settled
		}
	}
	switch rapid.SampledFrom([]string{"commit", "commit", "commit", "retry", "release", "dead", "split"}).Draw(t, "how") {
	case "commit":
		done(true)
		m.s.Commit(l)
	case "retry":
		m.s.Retry(l, 0)
		done(false)
	case "release":
		m.s.Release(l)
		done(false)
	case "split":
		defer m.flush(t)
		if len(l.Records) > 1 && m.fail.Load() == 0 {
			delete(m.ids, l.RequestID)
			m.s.Split(l)
		} else {
			m.s.Release(l)
		}
		done(false)
	case "dead":
		if m.fail.Load() != 0 {
			m.s.Commit(l)
		} else {
			m.s.DeadLetter(l, "rejected", "no", 400)
			m.flush(t)
		}
		done(true)
	}
}

// flush waits until what was asked of the committer is on disk: a fault that is injected before that would rightly undo it.
func (m *machine) flush(t *rapid.T) {
	if m.fail.Load() != 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.s.AppendSync(ctx, &buffer.Batch{}); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

// crash copies the files as they are and goes on with the copy, as after a kill.
func (m *machine) crash(t *rapid.T) {
	m.crashes++
	next := fmt.Sprintf("%s-%d", m.dir, m.crashes)
	copyDir(t, m.dir, next)
	m.fail.Store(0)
	m.close(t)
	m.dir = next
	m.forget(true)
	m.open(t)
}

func (m *machine) forget(crashed bool) {
	m.leases = nil
	for _, rs := range m.devices {
		for _, r := range rs {
			r.leased = false
			r.again = r.again || crashed && r.settled
		}
	}
	// A split is undone by a crash that comes before it is on disk, and a group that was not is made anew.
	if crashed {
		clear(m.ids)
	}
}

func (m *machine) reopen(t *rapid.T) {
	m.fail.Store(0)
	m.close(t)
	m.forget(false)
	m.open(t)
}

func (m *machine) close(t *rapid.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.s.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

type fataler interface{ Fatal(args ...any) }

// copyDir copies the files of a running store as they are at one moment: while a table is being written, a log removed or
// the journal begins anew it begins again. The journal comes last: the database never has what the journal has not.
func copyDir(t fataler, from, to string) {
	for before := ""; ; {
		now := listDir(from)
		if now == before {
			return
		}
		before = now
		_ = os.RemoveAll(to)
		err := filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // a file that was deleted meanwhile
			}
			rel, _ := filepath.Rel(from, path)
			if e.IsDir() {
				return os.MkdirAll(filepath.Join(to, rel), 0o750)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return nil //nolint:nilerr // a file that was deleted meanwhile
			}
			return os.WriteFile(filepath.Join(to, rel), b, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func listDir(dir string) (list string) {
	_ = filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err != nil {
			return nil //nolint:nilerr // a file that was deleted meanwhile
		}
		list += fmt.Sprintln(path, fi.Size())
		if strings.HasPrefix(filepath.Base(path), "journal-") {
			b, _ := os.ReadFile(path)
			list += fmt.Sprintf("%x\n", b[:min(len(b), 24)]) // its epoch
		}
		return nil
	})
	return list
}

// drain takes everything and checks that nothing acknowledged is missing.
func (m *machine) drain(t *rapid.T) {
	m.fail.Store(0)
	for _, l := range m.leases {
		m.s.Release(l)
	}
	m.forget(false)
	m.s.Wake()
	for m.expects() {
		l := m.take(t)
		for i := range l.Records {
			r := m.first(t, l.Device, string(l.Records[i].Value))
			r.settled, r.leased = true, false
		}
		m.leases = nil
		m.s.Commit(l)
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var runs atomic.Int32
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{
			t: t, dir: filepath.Join(root, fmt.Sprint("run", runs.Add(1))), cfg: buffer.DefaultConfig(),
			devices: map[string][]*modelRecord{}, ids: map[string]string{},
			coal: rapid.Bool().Draw(t, "coalesce"),
		}
		m.cfg.MaxBytes = 256 << 20
		m.cfg.Classes.Property.KeepLast = false
		m.cfg.MemoryBytes = rapid.SampledFrom([]int64{1, 4 << 10, 8 << 20}).Draw(t, "memory")
		m.journal = rapid.SampledFrom([]int64{0, 1 << 10, 64 << 10}).Draw(t, "journal")
		m.open(t)
		t.Repeat(map[string]func(*rapid.T){
			"append":  m.append,
			"append2": m.append,
			"burst":   m.burst,
			"next":    func(t *rapid.T) { m.take(t) },
			"next2":   func(t *rapid.T) { m.take(t) },
			"settle":  m.settle,
			"settle2": m.settle,
			"crash":   m.crash,
			"reopen":  m.reopen,
			"fault":   func(t *rapid.T) { m.fail.Store(rapid.Int32Range(0, 2).Draw(t, "fault")) },
			"mend":    func(*rapid.T) { m.fail.Store(0) },
		})
		m.drain(t)
		m.reopen(t)
		st := m.s.Stats()
		for _, c := range buffer.Classes() {
			if st.Classes[c].Count < 0 || st.Classes[c].Bytes < 0 {
				t.Fatalf("%+v", st)
			}
		}
		m.close(t)
		if old, err := filepath.Glob(m.dir + "*"); err == nil {
			for _, dir := range old {
				_ = os.RemoveAll(dir)
			}
		}
	})
}
