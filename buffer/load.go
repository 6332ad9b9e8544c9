package buffer

import (
	"errors"
	"fmt"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
)

// readRecords is the most that one read transaction takes from a lane: longer ones would pin deleted records.
const readRecords = 256

// quantum is how much a lane may read now: a share of the free memory, and always a little, so that no lane starves.
func (s *Store) quantum() (records int, bytes int64) {
	free := max(0, s.budget-s.hot)
	return int(min(readRecords, max(4, free/16/400))), max(16<<10, free/8)
}

// load reads the next records of a lane whose window is empty. The device is busy meanwhile, so nobody else touches
// the lane; fresh records may be added behind what is read.
func (s *Store) load(l *lane) {
	s.mu.Lock()
	from, to := l.pos, l.last
	records, bytes := s.quantum()
	s.mu.Unlock()

	items := make([]item, 0, min(uint64(records), to-from+1))
	var bad []uint64
	next, exhausted := from, true
	err := s.scanLane(l.class, l.dev.no, from, to, func(seq uint64, v []byte) bool {
		if len(items) == cap(items) || bytes <= 0 {
			exhausted = false
			return false
		}
		next = seq + 1
		bytes -= int64(len(v)) + 224
		it := item{dev: l.dev, lane: l}
		if decodeRecord(append([]byte(nil), v...), &it.Record) != nil {
			bad = append(bad, seq)
			return true
		}
		it.Seq, it.Class, it.Device = seq, l.class, l.dev.name
		items = append(items, it)
		return true
	})

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if !errors.Is(err, ErrUnavailable) {
			s.log.Error("read queue", zap.String("class", l.class.String()), zap.Error(err))
		}
		s.stats.readErrors++
		time.AfterFunc(time.Second, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			l.dev.busy = false
			s.update(l.dev, false)
		})
		return
	}
	for _, seq := range bad {
		// Its size is not known any more; the totals are put right by counting it as empty.
		s.stats.drops[l.class][dropUnreadable]++
		s.gone = append(s.gone, gone{keyQueue, l.class, l.dev.no, seq, recordOverhead})
		s.cur.count[l.class]--
		s.cur.bytes[l.class] -= recordOverhead
	}
	for i := range items {
		it := &items[i]
		if _, dead := l.skip[it.Seq]; dead {
			delete(l.skip, it.Seq)
			continue
		}
		if s.indexLoaded(it) {
			l.push(it)
			s.hot += it.weight()
		}
	}
	if exhausted {
		next = to + 1
	}
	l.pos = next
	for seq := range l.skip {
		if seq < next {
			delete(l.skip, seq)
		}
	}
	s.stats.loads++
	s.stats.loaded += uint64(len(items))
	l.dev.busy = false
	s.update(l.dev, true)
}

// scanLane calls fn for the records of a lane on disk with from <= seq <= to. v is valid during the call.
func (s *Store) scanLane(c Class, dev uint32, from, to uint64, fn func(seq uint64, v []byte) (more bool)) error {
	return s.kv.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		o.Prefix = lanePrefix(c, dev)
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(queueKey(c, dev, from)); it.Valid(); it.Next() {
			item := it.Item()
			_, _, seq, ok := splitQueueKey(item.Key())
			if !ok {
				return fmt.Errorf("%w: key %x", errCodec, item.Key())
			}
			if seq > to {
				return nil
			}
			more := true
			if err := item.Value(func(v []byte) error { more = fn(seq, v); return nil }); err != nil {
				return fmt.Errorf("read record %d: %w", seq, err)
			}
			if !more {
				return nil
			}
		}
		return nil
	})
}

// forget gives back the memory of a device that is not getting on, when others need it. What can be read again from
// disk is read again later.
func (s *Store) forget(d *device) {
	if d.busy || s.hot < s.budget/2 {
		return
	}
	for _, l := range d.lanes {
		if l.hot > 0 || l.empty() {
			continue
		}
		again := true
		for _, it := range l.win[l.head:] {
			again = again && it.blk == nil
		}
		if !again {
			continue
		}
		l.pos = l.win[l.head].Seq
		for _, it := range l.win[l.head:] {
			if it.state == itemSettled {
				// Its deletion may not be on disk yet.
				l.mark(it.Seq)
				continue
			}
			s.hot -= it.weight()
			s.cold(it)
		}
		l.win, l.head = nil, 0
	}
}

// mark has the reader skip a record whose deletion is under way.
func (l *lane) mark(seq uint64) {
	if l.skip == nil {
		l.skip = make(map[uint64]struct{})
	}
	l.skip[seq] = struct{}{}
}

// unskip forgets a mark when the deletion is on disk and nobody is reading.
func (s *Store) unskip(g gone) {
	if int(g.dev) >= len(s.byNo) || s.byNo[g.dev] == nil || s.byNo[g.dev].busy {
		return
	}
	for _, l := range s.byNo[g.dev].lanes {
		if len(l.skip) > 0 && l.class == g.class {
			delete(l.skip, g.seq)
		}
	}
}
