package buffer

import (
	"errors"
	"io/fs"
	"math/bits"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	// headroom is what Badger may still write after the last record was accepted: memtables on their way out and
	// compactions. Its files are mapped, so running out of space is no error but a SIGBUS that ends the process.
	headroom = 48 << 20
	// lastRoom is the free space below which not even deletions are written.
	lastRoom = 24 << 20
	// checkBytes is how much is written at most between two looks at the free space.
	checkBytes = 8 << 20
)

// freeSpace asks the file system.
func freeSpace(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	size := int64(st.Bsize) //nolint:unconvert // 32 bits wide on some systems
	return int64(min(st.Bavail, 1<<40)) * size, int64(min(st.Blocks, 1<<40)) * size, nil
}

// checkSpace looks at the free space. The thresholds have some play, so that the store does not flap.
func (s *Store) checkSpace() {
	free, _, err := s.opt.FreeSpace(s.opt.Dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.log.Warn("read free space", zap.Error(err))
		return
	}
	s.freeBytes = free
	floor, last := s.cfg.MinFreeBytes+headroom, int64(lastRoom)
	if s.diskFull {
		floor += 4 << 20
	}
	if s.critical {
		last += 8 << 20
	}
	full, critical := free < floor, free < last
	if full != s.diskFull {
		if full {
			s.log.Error("the disk is full: publications are refused", zap.Int64("free", free), zap.Int64("floor", floor))
		} else {
			s.log.Info("the disk has space again", zap.Int64("free", free))
		}
	}
	s.diskFull, s.critical = full, critical
	if s.waiting {
		s.diskFull = true // until the database is open
	}
}

// writable reports whether a transaction may be written now.
func (s *Store) writable() bool { return !s.critical && s.failed == nil && s.kv.ready() }

// setLimit computes what records may take from the size of the disk and the configuration.
func (s *Store) setLimit() {
	files, limit := room(s.cfg, s.freeBytes+s.sizeOnDisk())
	s.maxDisk, s.limit, s.fullLimit = files, limit, limit
	for c := range numClasses {
		s.reserve[c] = s.cfg.Classes.Of(c).Reserve
		if s.reserve[c] == 0 && c != ClassTelemetry {
			s.reserve[c] = limit / 16
		}
	}
}

// room is what the files and the records may take where so much space is free or the store's own.
func room(cfg Config, space int64) (files, records int64) {
	files = cfg.MaxBytes
	if files == 0 {
		files = 2 << 30
		if bits.UintSize == 32 {
			files = 512 << 20
		}
		files = max(minStore, min(files, space/2))
	}
	// Memtables, value log and compactions need their part of it.
	return files, files - min(48<<20, files/2)
}

// sizeOnDisk adds up the blocks that the files take.
func (s *Store) sizeOnDisk() (n int64) {
	_ = filepath.WalkDir(s.kv.opt.Dir, func(path string, e fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && e.Type().IsRegular() && unix.Lstat(path, &st) == nil {
			n += st.Blocks * 512
		}
		return nil
	})
	return n
}

const (
	houseEvery  = time.Second
	expireEvery = 10
	deadEvery   = 60
)

// keepHouse does what is to be done now and then: free space, time, ages, and giving space back.
func (s *Store) keepHouse() {
	t := time.NewTicker(houseEvery)
	defer t.Stop()
	var syncer <-chan time.Time
	if s.syncEvery > 0 {
		st := time.NewTicker(s.syncEvery)
		defer st.Stop()
		syncer = st.C
	}
	for n := 1; ; n++ {
		select {
		case <-s.quit:
			return
		case <-syncer:
			s.syncNow()
			n--
			continue
		case <-t.C:
		}
		s.checkSpace()
		s.reopen()
		if s.clk.Observe(); s.clk.Dirty() {
			s.Append(&Batch{}, nil) // the table of boots goes with any transaction
		}
		s.measureDisk(n)
		if n%expireEvery == 0 {
			for _, c := range Classes() {
				s.expireSome(c)
			}
		}
		if n%deadEvery == 1 {
			s.trimDead(false)
		}
		s.giveBack()
		s.poke()
	}
}

// syncNow makes durable what was written since the last time, with an interval as Config.Sync.
func (s *Store) syncNow() {
	s.mu.Lock()
	need := s.unsynced
	s.unsynced = false
	s.mu.Unlock()
	if !need {
		return
	}
	if err := s.kv.syncNow(); err != nil {
		s.log.Error("sync", zap.Error(err))
		s.mu.Lock()
		s.unsynced = true
		s.mu.Unlock()
	}
}

// measureDisk keeps an eye on the files and the rates. When deleted records make the files larger than they should be,
// the queue gets less room until they are compacted away.
func (s *Store) measureDisk(n int) {
	size := int64(-1)
	if n%5 == 0 {
		size = s.sizeOnDisk()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate.tick(time.Now(), s.cur.bytes)
	s.watchFlow()
	if size < 0 {
		return
	}
	s.diskBytes = size
	switch {
	case size > s.maxDisk:
		s.limit = max(s.fullLimit/2, s.limit-s.fullLimit/20)
	case size < s.maxDisk-s.maxDisk/10:
		s.limit = min(s.fullLimit, s.limit+s.fullLimit/20)
	}
}

// reopen opens the database when it is closed for good: because the disk was full at Open, or because it could not be
// opened again after a failed write. While the committer closes and opens it, it is left alone: what is on disk was read
// long ago, and reading it again would find a store that contradicts itself and set it aside.
func (s *Store) reopen() {
	s.mu.Lock()
	critical, failed, waiting := s.critical, s.failed, s.waiting
	s.mu.Unlock()
	if critical || failed == nil && (!waiting || s.kv.ready()) {
		return
	}
	if waiting {
		s.mu.Lock()
		err := s.openDatabase() // nobody has used the store yet: holding the lock delays refusals only
		if err == nil {
			s.waiting, s.diskFull = false, false
			s.setLimit() // that of a full disk was next to nothing
			close(s.open)
		}
		s.mu.Unlock()
		if err != nil {
			s.log.Error("open store", zap.Error(err))
			return
		}
		s.checkSpace()
		return
	}
	if err := s.kv.open(); err != nil {
		s.log.Error("open store again", zap.Error(err))
		return
	}
	s.mu.Lock()
	s.failed = nil
	s.mu.Unlock()
	s.log.Info("the store takes writes again")
}

// afterFailure closes and opens the database after a transaction failed: Badger then writes its memtable out as a
// table and gets what the journal has, and the journal gets new files, so that later transactions do not depend on what
// could not be written.
func (s *Store) afterFailure(cause error) {
	if errors.Is(cause, errGrow) {
		s.checkSpace() // nothing was harmed, and closing the database would want space, too
		return
	}
	err := s.kv.restart()
	if err == nil {
		return
	}
	s.log.Error("the store does not take writes", zap.Error(err), zap.NamedError("first", cause))
	s.mu.Lock()
	s.failed = err
	s.mu.Unlock()
}
