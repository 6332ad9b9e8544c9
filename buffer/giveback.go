package buffer

import (
	"time"

	"go.uber.org/zap"
)

// Badger keeps deleted records until it happens to compact their tables, and a deletion does nothing until its memtable
// has become a table. So when the files are much larger than what waits, space is given back: everything is compacted
// into one level. While hardly anything is stored, the memtable is written out for it first.
const (
	// flattenSize is how much more than twice its records the files may take.
	flattenSize = 12 << 20
	// flattenEvery is how often space is given back: in a steady flow nearly all of what is written is settled when it
	// would be written again.
	flattenEvery = 40 * time.Second
	// quietFlow is up to how many records a second a pause for compacting the newest tables delays hardly anybody.
	quietFlow = 100
)

// watchFlow looks how much is being stored. It is called about once a second.
func (s *Store) watchFlow() {
	var stored uint64
	for _, n := range s.stats.stored {
		stored += n
	}
	s.quiet = stored-s.storedThen < quietFlow
	s.storedThen = stored
}

// giveBack sees whether it is time to give space back.
func (s *Store) giveBack() {
	s.mu.Lock()
	var left int64
	for c := range numClasses {
		left += s.cur.bytes[c]
	}
	due := !s.flattening && !s.critical && !s.closing && s.failed == nil && time.Since(s.flatAt) > flattenEvery &&
		s.diskBytes > flattenSize+2*left && (s.diskBytes > s.flatSize+flattenSize/4 || left < s.flatLeft-flattenSize/4)
	if due {
		s.flatLeft = left
	}
	s.flattening = s.flattening || due
	s.writeOut = due && s.quiet
	quiet := s.quiet
	s.mu.Unlock()
	switch {
	case !due:
	case quiet:
		s.poke() // the committer does its part first
	default:
		s.others.Go(s.flatten)
	}
}

// writeOutDue has the memtable and the newest tables compacted when giveBack asked for it. It runs on the committer, so
// that nothing is written meanwhile; readers wait.
func (s *Store) writeOutDue() {
	s.mu.Lock()
	due := s.writeOut && !s.closing
	s.writeOut = false
	s.mu.Unlock()
	if !due {
		return
	}
	if err := s.kv.compactNewest(); err != nil {
		s.afterFailure(err)
	}
	s.others.Go(s.flatten)
}

func (s *Store) flatten() {
	start := time.Now()
	err := s.kv.flatten()
	size := s.sizeOnDisk()
	s.mu.Lock()
	before := s.diskBytes
	s.flattening = false
	s.diskBytes, s.flatSize, s.flatAt = size, size, time.Now()
	s.stats.flattens++
	s.mu.Unlock()
	s.log.Info("gave space back", zap.Duration("took", time.Since(start)), zap.Int64("before", before), zap.Int64("bytes", size),
		zap.Error(err))
}
