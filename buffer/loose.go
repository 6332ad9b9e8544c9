package buffer

import (
	"encoding/binary"
	"fmt"
	"slices"

	"go.uber.org/zap"
)

// In a slow flow a transaction stores one record of a lane, and what makes a backlog large is then single records. When
// there are as many of them one behind the other as a chunk holds, they are made one.

// loose is a run of single records at the end of a lane, all of them on disk only.
type loose struct {
	first, last uint64
	n           int
	bytes       int64
	due         bool // in Store.loose
}

// follow notes a record that was stored behind the window of its lane.
func (s *Store) follow(p *plan, x *planned) {
	l, size := x.lane, x.rec.size()
	alone := x.packed && p.chunks[x.chunk].n == 1
	if !alone || l.loose.due {
		if !l.loose.due {
			l.loose = loose{}
		}
		return
	}
	r := &l.loose
	if r.n == 0 {
		r.first = x.rec.Seq
	}
	r.last, r.n, r.bytes = x.rec.Seq, r.n+1, r.bytes+size
	if r.n == chunkRecords || r.bytes > chunkBytes-chunkRecord {
		r.due = true
		s.loose = append(s.loose, l)
	}
}

// gatherLoose makes chunks of the runs that are long enough. It runs on the committer, one at a time when somebody waits
// for that: many devices at the same pace have their runs in the same moment.
func (s *Store) gatherLoose() {
	for did := 0; ; did++ {
		s.mu.Lock()
		if len(s.loose) == 0 || did > 0 && s.pendHead < len(s.pending) {
			s.mu.Unlock()
			return
		}
		l := s.loose[len(s.loose)-1]
		s.loose = s.loose[:len(s.loose)-1]
		run := l.loose
		l.loose = loose{}
		// A run that is being read is left as it is.
		if s.critical || s.failed != nil || l.dev.busy || l.pos > run.first {
			s.mu.Unlock()
			continue
		}
		x := stretch{class: l.class, dev: l.dev.no, key: run.first, from: run.first, to: run.last}
		gone := make([]uint64, 0, len(l.skip))
		for seq := range l.skip {
			gone = append(gone, seq)
		}
		l.dev.busy = true
		if l.dev.ring != nil {
			s.unlink(l.dev)
		}
		s.mu.Unlock()
		err := s.gatherRun(x, gone)
		s.mu.Lock()
		l.dev.busy = false
		s.update(l.dev, true)
		s.mu.Unlock()
		if err != nil {
			s.log.Error("gather single records", zap.Error(err))
			s.afterFailure(err)
			return
		}
	}
}

// gatherRun replaces single records by a chunk. Those that are gone are about to be deleted, and stay out of it.
func (s *Store) gatherRun(x stretch, gone []uint64) error {
	var seqs []uint64
	var entries []byte
	size := int64(0)
	err := s.scanLane(x, func(f *found) bool {
		r := Record{Class: x.class}
		switch {
		case f.chunk != nil || f.bad || decodeRecord(f.body, &r) != nil:
			return false
		case slices.Contains(gone, f.seq):
			return true
		}
		if len(seqs) == 0 {
			x.from = f.seq
		}
		seqs = append(seqs, f.seq)
		size += r.size()
		entries = appendString(binary.AppendUvarint(entries, f.seq-x.from), f.body)
		return len(seqs) < chunkRecords
	})
	if err != nil || len(seqs) < 2 {
		return err
	}
	value := appendChunk(make([]byte, 0, len(entries)+len(entries)/4+64), len(seqs), size, entries)
	_, err = s.kv.update(func(w *writes) {
		w.set(queueKey(x.class, x.dev, seqs[0]), value)
		for _, seq := range seqs[1:] {
			w.delete(queueKey(x.class, x.dev, seq))
		}
	})
	if err != nil {
		return fmt.Errorf("store a chunk: %w", err)
	}
	return nil
}
