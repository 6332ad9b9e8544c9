package buffer

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Blocks on disk are read only here: after a process ended without Close, their records that were not settled are
// moved to keys of their own. There are never more of them than fitted into the memory of that process.

// found is a block on disk.
type foundBlock struct {
	first uint64
	value []byte
	bits  []byte
	saved bool
}

func (s *Store) unpackBlocks() error {
	var list []foundBlock
	for {
		list = list[:0]
		size := 0
		err := s.kv.scan([]byte{keyBlock}, nil, func(k, v []byte) (bool, error) {
			if len(k) == 9 {
				list = append(list, foundBlock{first: binary.BigEndian.Uint64(k[1:]), value: append([]byte(nil), v...)})
			}
			size += len(v)
			return size < txnBytes && len(list) < 500, nil
		})
		if err != nil {
			return fmt.Errorf("read blocks: %w", err)
		}
		if len(list) == 0 {
			return nil
		}
		for i := range list {
			b := &list[i]
			if b.bits, b.saved, err = s.kv.get(numberKey(keyBits, b.first)); err != nil {
				return fmt.Errorf("read block %d: %w", b.first, err)
			}
		}
		if err := s.unpack(list); err != nil {
			return err
		}
	}
}

// unpack moves the records of some blocks. Several transactions may be needed; until the last one the block stays, so
// that doing it again changes nothing.
func (s *Store) unpack(list []foundBlock) error {
	for _, b := range list {
		type kv struct{ k, v []byte }
		var moved []kv
		size := 0
		flush := func() error {
			_, err := s.kv.update(func(w *writes) {
				for _, m := range moved {
					w.set(m.k, m.v)
				}
			})
			moved, size = moved[:0], 0
			return err
		}
		err := decodeBlock(b.value, func(i int, e blockEntry) error {
			if settledAt(b.bits, i) {
				return nil
			}
			s.recovered++
			moved = append(moved, kv{queueKey(e.class, e.dev, e.seq), e.body})
			if size += len(e.body) + 64; size > txnBytes {
				return flush()
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("unpack block %d: %w", b.first, err)
		}
		if err := flush(); err != nil {
			return fmt.Errorf("unpack block %d: %w", b.first, err)
		}
		_, err = s.kv.update(func(w *writes) {
			w.delete(numberKey(keyBits, b.first))
			w.delete(numberKey(keyBlock, b.first))
		})
		if err != nil {
			return fmt.Errorf("unpack block %d: %w", b.first, err)
		}
	}
	return nil
}

const (
	sparseAfter = 10 * time.Second
	sparseEvery = 100 * time.Millisecond
	maxMoved    = 200
)

// sparse finds blocks that are old and mostly settled, or of one record: what is left of them is better kept under keys
// of its own, from where it can be read again.
func (s *Store) sparse(p *plan) {
	now := time.Now()
	if len(p.recs) > txnRecords/2 || now.Sub(s.sparseAt) < sparseEvery {
		return
	}
	s.sparseAt = now
	moved := int64(0)
	kept := s.blocks[:0]
	for _, b := range s.blocks {
		if b.live == 0 || b.dead {
			continue
		}
		kept = append(kept, b)
		few := b.live*2 <= len(b.items) || len(b.items) == 1
		if few && len(p.moved) < maxMoved && moved < txnBytes && now.Sub(b.born) > sparseAfter {
			b.moving = true
			p.spread = append(p.spread, b)
			p.spreadGone = append(p.spreadGone, b.gone)
			for i := range b.items {
				if it := &b.items[i]; it.state != itemSettled {
					p.moved = append(p.moved, movedRecord{it, it.Record})
					moved += it.size()
				}
			}
		}
	}
	clear(s.blocks[len(kept):])
	s.blocks = kept
}

// movedRecord is a record on its way out of a block.
type movedRecord struct {
	it  *item
	rec Record
}

func (s *Store) writeMoved(p *plan, w *writes) {
	for i := range p.moved {
		m := &p.moved[i]
		w.set(queueKey(m.rec.Class, m.it.dev.no, m.rec.Seq), appendRecord(nil, &m.rec))
	}
	for _, b := range p.spread {
		w.forget(numberKey(keyBlock, b.first))
		w.forget(numberKey(keyBits, b.first))
	}
}

// spreadDone turns the records of written-off blocks into single ones. What was settled meanwhile is deleted there.
func (s *Store) spreadDone(p *plan, wrote bool) {
	for _, b := range p.spread {
		b.moving = false
		b.dead = wrote
	}
	if !wrote {
		return
	}
	for i := range p.moved {
		m := &p.moved[i]
		m.it.blk = nil
		if m.it.state == itemSettled {
			s.gone = append(s.gone, gone{keyQueue, m.rec.Class, m.it.dev.no, m.rec.Seq, m.rec.size()})
			s.arm()
		}
	}
}
