package buffer

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// restoreGroups takes up the compositions that were stored and not settled: they become leases again as they were. A
// group of which a record is missing was settled, so the rest of it goes too.
func (s *Store) restoreGroups() error {
	type group struct {
		class Class
		dev   uint32
		seqs  []uint64
	}
	var groups []group
	err := s.kv.scan([]byte{keyGroup}, nil, func(k, v []byte) (bool, error) {
		c, dev, _, ok := splitQueueKey(k)
		seqs, err := decodeGroup(v)
		if ok && err == nil && int(dev) < len(s.byNo) && s.byNo[dev] != nil {
			groups = append(groups, group{c, dev, seqs})
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("read groups: %w", err)
	}
	for _, g := range groups {
		d := s.byNo[g.dev]
		l := d.tail(g.class)
		if l == nil {
			s.goneGroups = append(s.goneGroups, gone{keyGroup, g.class, g.dev, g.seqs[0], 0})
			continue
		}
		items, err := s.groupItems(l, g.seqs)
		if err != nil {
			return fmt.Errorf("read group: %w", err)
		}
		lease := &Lease{Device: d.name, Class: g.class, Composed: true, restored: true, dev: d, lane: l, heap: -1}
		for _, it := range items {
			l.mark(it.Seq)
			lease.items = append(lease.items, it)
		}
		if len(items) == len(g.seqs) {
			s.toFront(lease)
			continue
		}
		for _, it := range items {
			s.settle(it)
		}
		s.goneGroups = append(s.goneGroups, gone{keyGroup, g.class, g.dev, g.seqs[0], 0})
	}
	return nil
}

// groupItems reads the records of a composition that are still there.
func (s *Store) groupItems(l *lane, seqs []uint64) (items []*item, err error) {
	x := stretch{class: l.class, dev: l.dev.no, from: seqs[0], to: seqs[len(seqs)-1]}
	var bad error
	err = s.scanLane(x, func(f *found) bool {
		if _, member := slices.BinarySearch(seqs, f.seq); !member || f.bad {
			return true
		}
		it := &item{dev: l.dev, lane: l, state: itemLeased}
		if bad = decodeRecord(bytes.Clone(f.body), &it.Record); bad != nil {
			return false
		}
		it.Seq, it.Class, it.Device = f.seq, l.class, l.dev.name
		if f.chunk != nil {
			it.blk, it.idx = s.chunkOf(l, f.chunk), uint16(f.idx)
			it.blk.inMemory++
		}
		items = append(items, it)
		return true
	})
	return items, errors.Join(err, bad)
}
