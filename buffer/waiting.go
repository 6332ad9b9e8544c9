package buffer

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Selection says which waiting records are meant; the zero value means all of them.
type Selection struct {
	Classes ClassSet      // zero means all
	Device  string        // "" means every device
	MinAge  time.Duration // records that wait for at least so long
}

// Place is where a listing goes on: behind the record of that device, class and sequence. The zero value is its start.
type Place struct {
	Device string
	Class  Class
	Seq    uint64
}

// Waiting is a record that waits for the uplink.
type Waiting struct {
	Record
	Age      time.Duration
	Attempts int // how often it was sent and came back
}

// Place is where a listing that ended with w goes on.
func (w *Waiting) Place() Place { return Place{w.Device, w.Class, w.Seq} }

// Waiting lists up to limit records that wait, by device, class and sequence, from behind a place on. It leases
// nothing: what is on disk is read there and forgotten again. Records that are being sent are not among them. Between
// two calls the queue goes on, so that a listing of several pages is no snapshot.
func (s *Store) Waiting(sel Selection, after Place, limit int) (list []Waiting, err error) {
	for _, name := range s.waitingDevices(sel, after.Device) {
		for _, c := range Classes() {
			if name == after.Device && c < after.Class || sel.Classes != 0 && !sel.Classes.Has(c) {
				continue
			}
			from := uint64(0)
			if name == after.Device && c == after.Class {
				from = after.Seq + 1
			}
			if list, err = s.waitingOf(list, sel, name, c, from, limit); err != nil {
				return nil, err
			}
			if len(list) >= limit {
				return list[:limit], nil
			}
		}
	}
	return list, nil
}

// waitingDevices are the names of the devices with work, sorted, from one on.
func (s *Store) waitingDevices(sel Selection, from string) (names []string) {
	s.mu.Lock()
	for name, d := range s.devices {
		if strings.Compare(name, from) < 0 || sel.Device != "" && sel.Device != name {
			continue
		}
		if len(d.front) > 0 || slices.ContainsFunc(d.lanes, (*lane).work) {
			names = append(names, name)
		}
	}
	s.mu.Unlock()
	slices.Sort(names)
	return names
}

// coldPart is what a lane has on disk only, without what is on its way out.
type coldPart struct {
	stretch
	skip map[uint64]struct{}
}

// waitingOf adds what waits in one class of a device, in order.
func (s *Store) waitingOf(list []Waiting, sel Selection, name string, c Class, from uint64, limit int) ([]Waiting, error) {
	now := s.clk.Stamp()
	all, cold := s.waitingInMemory(name, c, from)
	for _, x := range cold {
		// As many as could be among the first: those in memory may all come later.
		want := limit - len(list)
		err := s.scanLane(x.stretch, func(f *found) bool {
			if _, gone := x.skip[f.seq]; gone || f.bad || s.settledChunk(f) {
				return true
			}
			r := Record{Seq: f.seq, Class: c, Device: name}
			if decodeRecord(bytes.Clone(f.body), &r) == nil {
				all = append(all, Waiting{Record: r})
				want--
			}
			return want > 0
		})
		if err != nil {
			return nil, fmt.Errorf("list waiting records: %w", err)
		}
	}
	slices.SortFunc(all, func(a, b Waiting) int { return cmp.Compare(a.Seq, b.Seq) })
	// What was read into memory meanwhile was found twice.
	all = slices.CompactFunc(all, func(a, b Waiting) bool { return a.Seq == b.Seq })
	for _, w := range all {
		if w.Age = s.clk.AgeAt(w.Stamp, now); w.Age >= sel.MinAge {
			list = append(list, w)
		}
	}
	return list, nil
}

// waitingInMemory takes what a class of a device has in memory, and tells what it has on disk beside that.
func (s *Store) waitingInMemory(name string, c Class, from uint64) (all []Waiting, cold []coldPart) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[name]
	if d == nil {
		return nil, nil
	}
	add := func(it *item) {
		if it.Seq >= from && it.state != itemSettled {
			r := it.Record
			r.Device = name
			all = append(all, Waiting{Record: r, Attempts: int(it.attempt)})
		}
	}
	for _, l := range d.front {
		if l.Class != c {
			continue
		}
		for _, it := range l.items {
			add(it)
			if n := len(all); n > 0 {
				all[n-1].Attempts = l.Attempt
			}
		}
	}
	for _, l := range d.lanes {
		if l.class != c {
			continue
		}
		for _, it := range l.win[l.head:] {
			add(it)
		}
		if first := max(l.pos, from); first <= l.last {
			x := coldPart{stretch: l.cold(first)}
			if len(l.skip) > 0 {
				x.skip = make(map[uint64]struct{}, len(l.skip))
				for seq := range l.skip {
					x.skip[seq] = struct{}{}
				}
			}
			cold = append(cold, x)
		}
	}
	return all, cold
}

// settledChunk reports that a record which was found in a chunk has been settled since.
func (s *Store) settledChunk(f *found) bool {
	if f.chunk == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.chunks[f.chunk.first]
	return b != nil && b.has(f.idx)
}

// purgeBusy is how soon a device is looked at again that somebody is reading.
const purgeBusy = 5 * time.Millisecond

// Purge removes the records that are meant and wait, counted as purged, and returns how many. Those that are being sent
// stay, and so do those that come meanwhile. When it returns, the removal is on its way to the disk and follows within
// 250 ms, as with Commit.
func (s *Store) Purge(ctx context.Context, sel Selection) (n int, err error) {
	s.mu.Lock()
	last := s.next - 1
	s.mu.Unlock()
	now := s.clk.Stamp()
	old := func(r *Record) bool {
		return r.Seq <= last && (sel.MinAge == 0 || s.clk.AgeAt(r.Stamp, now) >= sel.MinAge)
	}
	for _, name := range s.waitingDevices(sel, "") {
		for _, c := range Classes() {
			if sel.Classes != 0 && !sel.Classes.Has(c) {
				continue
			}
			m, err := s.purgeClass(ctx, name, c, old)
			if n += m; err != nil {
				return n, fmt.Errorf("purge: %w", err)
			}
		}
	}
	return n, nil
}

// purgeClass removes what is meant of one class of a device.
func (s *Store) purgeClass(ctx context.Context, name string, c Class, meant func(*Record) bool) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if s.closing {
			return n, ErrClosed
		}
		d := s.devices[name]
		if d == nil {
			return n, nil
		}
		if !d.busy {
			n += s.purgeFront(d, c, meant)
			m, err := s.purgeLanes(d, c, meant)
			s.update(d, false)
			return n + m, err
		}
		// Somebody is reading or composing: nobody else touches its lanes.
		s.mu.Unlock()
		wait := time.NewTimer(purgeBusy)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
		s.mu.Lock()
	}
}

// purgeFront removes leases that were handed back or prepared: each as a whole, since its records go under one id.
func (s *Store) purgeFront(d *device, c Class, meant func(*Record) bool) (n int) {
	for _, l := range slices.Clone(d.front) {
		if l.Class != c || slices.ContainsFunc(l.items, func(it *item) bool { return !meant(&it.Record) }) {
			continue
		}
		d.front = slices.DeleteFunc(d.front, func(x *Lease) bool { return x == l })
		if d.ring != nil {
			s.unlink(d)
		}
		s.undelay(l)
		if l.prepared() {
			s.composing--
		}
		s.out(l)
		s.dropLease(l, dropPurged)
		n += len(l.items)
	}
	return n
}

// purgeLanes removes what is in the windows and on disk.
func (s *Store) purgeLanes(d *device, c Class, meant func(*Record) bool) (n int, err error) {
	for _, l := range slices.Clone(d.lanes) {
		if l.class != c {
			continue
		}
		for _, it := range l.win[l.head:] {
			if it.state != itemQueued || !meant(&it.Record) {
				continue
			}
			s.hot -= it.weight()
			s.unindex(it)
			s.drop(it, dropPurged)
			n++
		}
		l.trim()
		for from := l.pos; from <= l.last; {
			m, next, err := s.purgeCold(l, from, meant)
			if n += m; err != nil {
				return n, err
			}
			from = next
		}
	}
	return n, nil
}

// purgeCold does the same for the next records that are on disk only, without the lock while it reads.
func (s *Store) purgeCold(l *lane, from uint64, meant func(*Record) bool) (n int, next uint64, err error) {
	x := l.cold(from)
	l.dev.busy = true
	if l.dev.ring != nil {
		s.unlink(l.dev)
	}
	s.mu.Unlock()
	type stored struct {
		found
		Record
	}
	list := make([]stored, 0, readRecords)
	next = x.to + 1
	err = s.scanLane(x, func(f *found) bool {
		r := Record{Class: l.class}
		if !f.bad && decodeRecord(bytes.Clone(f.body), &r) == nil {
			r.Seq = f.seq
			list = append(list, stored{*f, r})
		}
		if len(list) == cap(list) {
			next = f.seq + 1
			return false
		}
		return true
	})
	s.mu.Lock()
	l.dev.busy = false
	if err != nil {
		s.stats.readErrors++
		return 0, next, err
	}
	for i := range list {
		r := &list[i]
		if s.isGone(l, &r.found) || !meant(&r.Record) {
			continue
		}
		s.unindex(&item{Record: r.Record, dev: l.dev, lane: l})
		s.dropFound(l, &r.found, r.size(), dropPurged)
		n++
	}
	return n, next, nil
}
