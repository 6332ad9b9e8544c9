package buffer

import (
	"errors"
	"fmt"
	"math/bits"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"
)

// engine is Badger behind a journal, in a form that can be closed and opened again under the feet of its readers: after
// a failed write the only way to be sure of what is on disk is to close it, which writes the memtable out as a table of
// its own.
type engine struct {
	opt       badger.Options
	commit    func(commit func() error) error
	journaled bool  // there is a journal
	sync      bool  // transactions go there first, and are on disk when update returns
	expected  bool  // a database without a journal is damaged
	managed   bool  // the caller gives the versions
	verify    int64 // how much of the tables is read whole at an open

	mu sync.RWMutex // read: a transaction runs; write: Badger is being opened or closed
	db *badger.DB

	// What follows is the committer's, and of those who open and close.
	w       writes
	journal *journal
	kept    kept
	behind  atomic.Bool // the database misses transactions that the journal has: what it would tell is wrong
	tainted bool        // a write to the journal failed
	torn    int64       // bytes of an unfinished entry of the journal, at the first opening

	over *overlay // what the journal has, for those who only read

	isOpen   atomic.Bool
	unsynced atomic.Bool  // the database took something since it was synced
	taken    atomic.Int64 // bytes that it took, for the pager

	// At rest the database has no compactors: each of them looks twenty times a second whether there is something to
	// do, which is most of what an idle gateway does. looks counts the transactions since.
	atRest atomic.Bool
	looks  int
}

const (
	compactors = 2
	// restTables is from how many tables of level 0 on the database is not at rest, far below those that stall writers;
	// restAll is the same for all levels.
	restTables = 3
	restAll    = 64
	// compactRounds bounds how often the database is opened for compacting level 0: once a table that it may have.
	compactRounds = 16
	// restLooks is every how many transactions level 0 is looked at.
	restLooks = 4
)

// ErrUnavailable is the answer while the database is not open, which happens only on a full disk or after a fault.
var ErrUnavailable = errors.New("buffer: the store is not open")

// badgerOptions are the measured settings; see the package comment for what each one prevents.
func badgerOptions(dir string, log *zap.Logger) badger.Options {
	opt := badger.DefaultOptions(dir)
	opt.SyncWrites = false // the journal is what makes a transaction durable
	opt.DetectConflicts = false
	opt.MetricsEnabled = false
	opt.NumGoroutines = 1
	opt.NumVersionsToKeep = 1
	opt.MemTableSize = 4 << 20
	opt.NumMemtables = 2
	opt.BlockSize = 16 << 10
	// A compaction builds up to sixteen tables at the same time when the disk is slow, each in pieces of memory of which
	// every one is twice as large as the one before. The first is the power of two above twice this size, which holds a
	// table whole.
	opt.BaseTableSize = 640 << 10
	opt.TableSizeMultiplier = 1
	opt.BaseLevelSize = 4 << 20
	opt.NumLevelZeroTables = 5
	opt.NumLevelZeroTablesStall = 12
	opt.NumCompactors = compactors
	opt.ValueThreshold = 512 << 10
	opt.ValueLogFileSize = 8 << 20
	opt.Compression = options.None // blocks and chunks are compressed as such
	opt.BlockCacheSize = 2 << 20
	opt.IndexCacheSize = 0
	if bits.UintSize == 32 {
		opt.BlockCacheSize = 1 << 20
		opt.BaseTableSize = 320 << 10
	}
	// The store's own lock guards the directory. Badger's would outlive the database for as long as a process that is just
	// being started has a copy of its descriptor, and the database is closed and opened again while the store is in use.
	opt.BypassLockGuard = true
	opt.Logger = badgerLog{log.Named("badger").Sugar()}
	return opt
}

// badgerLog passes on what an operator could act on.
type badgerLog struct{ log *zap.SugaredLogger }

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Warnf(strings.TrimSpace(f), a...) }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Warnf(strings.TrimSpace(f), a...) }
func (l badgerLog) Infof(string, ...any)        {}
func (l badgerLog) Debugf(string, ...any)       {}

func (e *engine) open() (err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.openLocked()
}

// restart closes and opens the database; readers wait meanwhile.
func (e *engine) restart() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.closeLocked(); err != nil {
		return err
	}
	return e.openLocked()
}

// compactNewest turns the memtable into a table and compacts level 0, however few tables that has. Badger does the first
// when it is closed, and when it was opened for it the second too, for those tables that overlap the oldest one. The
// deletions that only the journal has belong to it.
func (e *engine) compactNewest() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.db != nil {
		if err := e.bring(e.journal.generation); err != nil {
			return err
		}
	}
	for range compactRounds {
		if err := e.closeLocked(); err != nil {
			return err
		}
		if newest, _, err := e.countTables(); err != nil || newest == 0 {
			break
		}
		e.opt.CompactL0OnClose = true
		err := e.openLocked()
		e.opt.CompactL0OnClose = false // it is meant for this time only
		if err != nil {
			return err
		}
	}
	if err := e.closeLocked(); err != nil {
		return err
	}
	return e.openLocked()
}

// flatten compacts all tables into one level.
func (e *engine) flatten() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return nil
	}
	return e.db.Flatten(1)
}

func (e *engine) openLocked() (err error) {
	if e.db != nil {
		return nil
	}
	// Badger panics on some kinds of damage instead of returning an error.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("open database: panic: %v\n%s", p, debug.Stack())
		}
	}()
	if !e.opt.ReadOnly {
		known, err := checkFiles(e.opt.Dir)
		if err != nil {
			return err
		}
		e.expected = e.expected && known
	}
	if err := checkTables(e.opt, e.verify); err != nil {
		return err
	}
	e.atRest.Store(e.mayRest())
	if e.opt.NumCompactors = compactors; e.atRest.Load() {
		e.opt.NumCompactors = 0
	}
	open := badger.Open
	if e.managed {
		open = badger.OpenManaged
	}
	db, err := open(e.opt)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	e.db = db
	if err := e.readyJournal(); err != nil {
		err = errors.Join(err, db.Close())
		e.db = nil
		return err
	}
	e.verify = 0 // what this process wrote since need not be read whole when it opens the database again
	e.isOpen.Store(true)
	return nil
}

// close closes the database for good. What the journal has is brought into it, unless the disk is too full for that.
func (e *engine) close(full bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var err error
	if e.db != nil && e.journal != nil && !full && !e.behind.Load() {
		// With two generations that have nothing, the next opening has nothing to do again.
		if err = e.checkpoint(e.journal.generation); err == nil {
			err = e.journal.begin()
		}
	}
	return errors.Join(err, e.closeLocked(), e.dropJournal())
}

func (e *engine) closeLocked() error {
	if e.db == nil {
		return nil
	}
	e.isOpen.Store(false)
	err := e.db.Close()
	e.db = nil
	return err
}

// mayRest tells by the manifest whether there is little to compact.
func (e *engine) mayRest() bool {
	if e.managed || e.opt.ReadOnly {
		return false
	}
	newest, all, err := e.countTables()
	return err != nil || newest < restTables && all < restAll // without a manifest it is new
}

// countTables tells by the manifest how many tables there are in level 0 and in all levels.
func (e *engine) countTables() (newest, all int, err error) {
	listed, err := listedTables(e.opt)
	for _, t := range listed {
		if t.Level == 0 {
			newest++
		}
	}
	return newest, len(listed), err
}

// restIsOver reports that tables have gathered while the database was at rest: it is to be opened anew.
func (e *engine) restIsOver() bool {
	if !e.atRest.Load() {
		return false
	}
	if e.looks++; e.looks%restLooks != 0 {
		return false
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.db != nil && e.db.Levels()[0].NumTables >= restTables
}

func (e *engine) ready() bool { return e.isOpen.Load() }

func (e *engine) view(fn func(txn *badger.Txn) error) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil || e.behind.Load() {
		return ErrUnavailable
	}
	return e.db.View(fn)
}

func (e *engine) get(key []byte) (value []byte, ok bool, err error) {
	if w, known := e.over.get(key); known {
		return w.value, w.value != nil, nil
	}
	err = e.view(func(txn *badger.Txn) error {
		value, ok, err = getIn(txn, key)
		return err
	})
	return value, ok, err
}

func getIn(txn *badger.Txn, key []byte) (value []byte, ok bool, err error) {
	it, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value, err = it.ValueCopy(nil)
	return value, err == nil, err
}

// scan calls fn for every key with the prefix, from start on. The slices are valid during the call.
func (e *engine) scan(prefix, start []byte, fn func(k, v []byte) (more bool, err error)) error {
	if e.over != nil {
		return e.over.scan(e, prefix, start, fn)
	}
	return e.scanDatabase(prefix, start, fn)
}

func (e *engine) scanDatabase(prefix, start []byte, fn func(k, v []byte) (more bool, err error)) error {
	return e.view(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = prefix
		o.PrefetchSize = 64
		it := txn.NewIterator(o)
		defer it.Close()
		if len(start) == 0 {
			start = prefix
		}
		for it.Seek(start); it.Valid(); it.Next() {
			item := it.Item()
			more := true
			err := item.Value(func(v []byte) (err error) {
				more, err = fn(item.Key(), v)
				return err
			})
			if err != nil || !more {
				return err
			}
		}
		return nil
	})
}
