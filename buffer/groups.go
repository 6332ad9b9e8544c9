package buffer

import (
	"errors"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
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
		items := make([]item, 0, len(g.seqs))
		err := s.kv.view(func(txn *badger.Txn) error {
			for _, seq := range g.seqs {
				e, err := txn.Get(queueKey(g.class, g.dev, seq))
				if errors.Is(err, badger.ErrKeyNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				v, err := e.ValueCopy(nil)
				if err != nil {
					return err
				}
				it := item{dev: d, lane: l, state: itemLeased}
				if err := decodeRecord(v, &it.Record); err != nil {
					return err
				}
				it.Seq, it.Class, it.Device = seq, g.class, d.name
				items = append(items, it)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read group: %w", err)
		}
		lease := &Lease{Device: d.name, Class: g.class, Composed: true, dev: d, lane: l, heap: -1}
		for i := range items {
			l.mark(items[i].Seq)
			lease.items = append(lease.items, &items[i])
		}
		if len(items) == len(g.seqs) {
			s.composing++
			s.toFront(lease)
			continue
		}
		for i := range items {
			s.settle(&items[i])
		}
		s.goneGroups = append(s.goneGroups, gone{keyGroup, g.class, g.dev, g.seqs[0], 0})
	}
	return nil
}
