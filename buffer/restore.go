package buffer

import (
	"encoding/binary"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"
	"go.uber.org/zap"
)

// restore reads the small keys, finds the lanes, and takes up what an unfinished process left.
func (s *Store) restore() error {
	if err := s.restoreMeta(); err != nil {
		return err
	}
	if err := s.unpackBlocks(); err != nil {
		return err
	}
	if err := s.restoreDevices(); err != nil {
		return err
	}
	if err := s.restoreLanes(); err != nil {
		return err
	}
	if err := s.restoreGroups(); err != nil {
		return err
	}
	if err := s.pruneDevices(); err != nil {
		return err
	}
	for _, d := range s.devices {
		s.update(d, false)
	}
	return nil
}

// clearQueue forgets what was read of a database that then turned out to be unreadable.
func (s *Store) clearQueue() {
	s.devices, s.byNo, s.freeNos = map[string]*device{}, nil, nil
	s.chunks, s.loose = map[uint64]*block{}, nil
	s.disk, s.cur, s.gone, s.goneHead, s.goneGroups = totals{}, tally{}, nil, 0, nil
	s.recovered, s.composing, s.txn, s.dlBytes, s.dlCount = 0, 0, 0, 0, 0
}

func (s *Store) restoreMeta() error {
	v, ok, err := s.kv.get(keyFormat)
	if err != nil {
		return fmt.Errorf("read format: %w", err)
	}
	format, _ := binary.Uvarint(v)
	if !ok {
		s.id = uuid.New()
		s.next, s.nextDL = 1, 1
	} else {
		if format > formatVersion {
			return fmt.Errorf("%w: %s has format %d, this program knows up to %d", ErrNewerFormat, s.opt.Dir, format, formatVersion)
		}
		id, _, err := s.kv.get(keyStore)
		if err != nil {
			return fmt.Errorf("read store id: %w", err)
		}
		if s.id, err = uuid.FromBytes(id); err != nil {
			return fmt.Errorf("read store id: %w", err)
		}
		if v, ok, err = s.kv.get(keyTotals); err != nil {
			return fmt.Errorf("read totals: %w", err)
		}
		if ok {
			if err := s.disk.decode(v); err != nil {
				return fmt.Errorf("read totals: %w", err)
			}
		}
		s.txn, s.next, s.nextDL = s.disk.txn, max(1, s.disk.next), max(1, s.disk.nextDL)
		s.cur = tally{count: s.disk.count, bytes: s.disk.bytes}
		s.dlCount, s.dlBytes = s.disk.dlCount, s.disk.dlBytes
	}
	boots, known, err := s.kv.get(keyBoots)
	if err != nil {
		return fmt.Errorf("read boots: %w", err)
	}
	if known {
		if err := s.clk.Restore(boots); err != nil {
			s.log.Warn("the table of boots is unreadable: ages begin anew", zap.Error(err))
		}
	}
	_, err = s.kv.update(func(w *writes) {
		if format < formatVersion {
			w.set(keyFormat, binary.AppendUvarint(nil, formatVersion))
		}
		if !ok {
			w.set(keyStore, s.id[:])
		}
		w.set(keyBoots, s.clk.Snapshot())
	})
	return err
}

// restoreLanes finds the lanes that have records by jumping from one to the next: a seek a lane, whatever they hold.
func (s *Store) restoreLanes() error {
	cursors := map[string]uint64{}
	err := s.kv.scan(keyCursor, nil, func(k, v []byte) (bool, error) {
		if len(v) == 8 {
			cursors[string(k)] = binary.BigEndian.Uint64(v)
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("read cursors: %w", err)
	}
	return s.kv.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		o.Prefix = []byte{keyQueue}
		it := txn.NewIterator(o)
		defer it.Close()
		for _, c := range Classes() {
			for _, d := range s.byNo {
				if d == nil {
					continue
				}
				it.Seek(queueKey(c, d.no, cursors[string(cursorKey(c, d.no))]))
				if !it.Valid() {
					return nil
				}
				kc, kd, seq, ok := splitQueueKey(it.Item().Key())
				if !ok {
					return fmt.Errorf("%w: key %x", errCodec, it.Item().Key())
				}
				if kc == c && kd == d.no {
					d.lanes = append(d.lanes, &lane{dev: d, class: c, first: seq, pos: seq, key: seq, last: s.next - 1})
				}
				if kc != c {
					break // the class has no more
				}
			}
		}
		return nil
	})
}
