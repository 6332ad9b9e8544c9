package buffer

import (
	"encoding/binary"
	"fmt"
	"time"

	badger "github.com/dgraph-io/badger/v4"
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
			err := s.kv.update(func(txn *badger.Txn) error {
				for _, m := range moved {
					if err := txn.Set(m.k, m.v); err != nil {
						return err
					}
				}
				return nil
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
		err = s.kv.update(func(txn *badger.Txn) error {
			if err := txn.Delete(numberKey(keyBits, b.first)); err != nil {
				return err
			}
			return txn.Delete(numberKey(keyBlock, b.first))
		})
		if err != nil {
			return fmt.Errorf("unpack block %d: %w", b.first, err)
		}
	}
	return nil
}

const (
	sparseAfter = 10 * time.Second
	maxMoved    = 200
)

// sparse finds a block that is old and mostly settled: what is left of it is better kept under keys of its own.
func (s *Store) sparse(p *plan) {
	if len(p.recs) > txnRecords/2 {
		return
	}
	now := time.Now()
	kept := s.blocks[:0]
	for _, b := range s.blocks {
		if b.live == 0 || b.dead {
			continue
		}
		kept = append(kept, b)
		if len(p.moved) < maxMoved && now.Sub(b.born) > sparseAfter && b.live*2 <= len(b.items) {
			b.moving = true
			p.spread = append(p.spread, b)
			p.spreadGone = append(p.spreadGone, b.gone)
			for i := range b.items {
				if it := &b.items[i]; it.state != itemSettled {
					p.moved = append(p.moved, moved{it, it.Record})
				}
			}
		}
	}
	clear(s.blocks[len(kept):])
	s.blocks = kept
}

// moved is a record on its way out of a block.
type moved struct {
	it  *item
	rec Record
}

func (s *Store) writeMoved(p *plan, txn *badger.Txn) error {
	for i := range p.moved {
		m := &p.moved[i]
		if err := txn.Set(queueKey(m.rec.Class, m.it.dev.no, m.rec.Seq), appendRecord(nil, &m.rec)); err != nil {
			return err
		}
	}
	for _, b := range p.spread {
		if err := txn.Delete(numberKey(keyBlock, b.first)); err != nil {
			return err
		}
		if err := txn.Delete(numberKey(keyBits, b.first)); err != nil {
			return err
		}
	}
	return nil
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
