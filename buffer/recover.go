package buffer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"go.uber.org/zap"
)

// Salvage is what Recover found.
type Salvage struct {
	Records     int
	DeadLetters int
	Unreadable  int // values that could not be decoded
	// Damaged names the files of which not everything could be read.
	Damaged []string
}

// Recover reads what is readable of a store that was set aside, and calls records for the records of each device in
// order, lanes of one class after the other, and letters for the dead letters; either may be nil. It works on a copy
// of the files in scratch, which must be empty or missing and have room for them, so the original stays as it is.
// Settled records that were still on disk are among them, so that a delivered one may come again.
func Recover(dir, scratch string, log *zap.Logger, record func(r Record) error, letter func(l DeadLetter) error) (Salvage, error) {
	var out Salvage
	if log == nil {
		log = zap.NewNop()
	}
	kv, err := openDamaged(dir, scratch, log, &out)
	if err != nil {
		return out, err
	}
	journal, err := loadJournal(dir)
	if err != nil {
		log.Warn("damaged journal", zap.Error(err))
		out.Damaged = append(out.Damaged, filepath.Join(dir, "journal"))
	}
	kv.over = newOverlay(journal.writes)
	defer func() { _ = kv.close(true) }() // a copy
	err = salvage(kv, &out, record, letter)
	return out, err
}

// salvage reads everything that a database holds for people: records, those in blocks too, and dead letters. What
// cannot be decoded is counted.
func salvage(kv *engine, out *Salvage, record func(r Record) error, letter func(l DeadLetter) error) error {
	names := map[uint32]string{}
	err := kv.scan([]byte{keyDevice}, nil, func(k, v []byte) (bool, error) {
		if len(k) == 5 {
			names[binary.BigEndian.Uint32(k[1:])] = string(v)
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("recover devices: %w", err)
	}
	give := func(c Class, dev uint32, seq uint64, v []byte) error {
		r := Record{Seq: seq, Class: c, Device: names[dev]}
		if r.Device == "" || decodeRecord(bytes.Clone(v), &r) != nil {
			out.Unreadable++
			return nil //nolint:nilerr // counted; the next one may be readable
		}
		out.Records++
		if record == nil {
			return nil
		}
		return record(r)
	}
	err = kv.scan([]byte{keyQueue}, nil, func(k, v []byte) (bool, error) {
		c, dev, seq, ok := splitQueueKey(k)
		if !ok {
			out.Unreadable++
			return true, nil
		}
		if !isChunk(v) {
			return true, give(c, dev, seq, v)
		}
		bits, _, err := kv.get(numberKey(keyBits, seq))
		if err != nil {
			return false, err
		}
		read := 0
		head, err := decodeChunk(v, seq, func(i int, seq uint64, body []byte) error {
			if read++; settledAt(bits, i) {
				return nil
			}
			return give(c, dev, seq, body)
		})
		if errors.Is(err, errCodec) {
			out.Unreadable += max(1, head.n-read)
			err = nil
		}
		return true, err
	})
	if err != nil {
		return fmt.Errorf("recover records: %w", err)
	}
	err = kv.scan([]byte{keyBlock}, nil, func(k, v []byte) (bool, error) {
		if len(k) != 9 {
			return true, nil
		}
		bits, _, err := kv.get(numberKey(keyBits, binary.BigEndian.Uint64(k[1:])))
		if err != nil {
			return false, err
		}
		err = decodeBlock(v, func(i int, e blockEntry) error {
			if settledAt(bits, i) {
				return nil
			}
			return give(e.class, e.dev, e.seq, e.body)
		})
		if errors.Is(err, errCodec) {
			out.Unreadable++
			err = nil
		}
		return true, err
	})
	if err != nil {
		return fmt.Errorf("recover blocks: %w", err)
	}
	err = kv.scan([]byte{keyDead}, nil, func(k, v []byte) (bool, error) {
		l := DeadLetter{ID: binary.BigEndian.Uint64(k[1:])}
		if decodeDeadLetter(bytes.Clone(v), &l) != nil {
			out.Unreadable++
			return true, nil //nolint:nilerr // counted; the next one may be readable
		}
		out.DeadLetters++
		if letter == nil {
			return true, nil
		}
		return true, letter(l)
	})
	if err != nil {
		return fmt.Errorf("recover dead letters: %w", err)
	}
	return nil
}
