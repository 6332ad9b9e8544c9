package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// How the journal and the database go together. A transaction is durable when it is in the journal. What can be read while
// the store is open goes on into the database at once, without a sync; the rest is kept in memory. Before a segment of the
// journal is used again, what only it has is brought into the database, and that is synced. So the database always has
// everything that the two segments have not, and any part of what they have; doing that again, key by key, makes it whole.

// turn has the next segment of the journal begin.
func (e *engine) turn() error { return e.checkpoint(e.journal.generation - 1) }

// checkpoint brings what segments up to a generation have into the database, and has the next one begin.
func (e *engine) checkpoint(generation uint64) error {
	if err := e.bring(generation); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := e.journal.begin(); err != nil {
		e.tainted = !errors.Is(err, errGrow)
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// bring has the database hold what segments up to a generation have.
func (e *engine) bring(generation uint64) error {
	list := e.kept.until(generation)
	e.kept.applying(list)
	if err := e.apply(list); err != nil {
		return err
	}
	if err := e.syncDatabase(); err != nil {
		return err
	}
	e.kept.applied(list)
	return nil
}

const (
	// applyBytes and applyWrites bound what goes into one transaction of the database, which takes 15 % of a memtable. A
	// value alone may be larger than that: from a size below it on, it has a place outside of the memtable.
	applyBytes  = 256 << 10
	applyWrites = 1000
)

// apply brings writes into the database. Where one transaction is not enough, the journal has them all.
func (e *engine) apply(list []listed) error {
	for len(list) > 0 {
		size, n := 0, 0
		for ; n < len(list) && n < applyWrites; n++ {
			if size += len(list[n].key) + len(list[n].value); n > 0 && size > applyBytes {
				break
			}
		}
		if err := e.applyWhole(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// applyWhole brings writes into the database in one transaction.
func (e *engine) applyWhole(list []listed) error {
	txn := e.db.NewTransaction(true)
	defer txn.Discard()
	size := 0
	for i := range list {
		l := &list[i]
		var err error
		if l.value == nil {
			err = txn.Delete(l.key)
		} else {
			err = txn.Set(l.key, l.value)
		}
		if err != nil {
			return fmt.Errorf("write to the database: %w", err)
		}
		size += len(l.key) + len(l.value)
	}
	err := txn.Commit()
	e.unsynced.Store(true) // not before: a sync in between would be taken for one of these
	e.taken.Add(int64(size))
	if err != nil {
		return fmt.Errorf("write to the database: %w", err)
	}
	return nil
}

// syncDatabase makes durable what the database took. Badger syncs the log of the memtable in use only, not those of the
// ones that are on their way to become tables.
func (e *engine) syncDatabase() error {
	if !e.unsynced.Swap(false) {
		return nil
	}
	err := e.syncFiles()
	if err != nil {
		e.unsynced.Store(true)
		return fmt.Errorf("sync database: %w", err)
	}
	return nil
}

func (e *engine) syncFiles() error {
	if err := e.db.Sync(); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(e.opt.Dir, "*.mem"))
	if err != nil {
		return err
	}
	for _, path := range logs {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has become a table
		}
		if err == nil {
			err = errors.Join(unix.Fdatasync(int(f.Fd())), f.Close())
		}
		if err != nil {
			return err
		}
	}
	return syncDir(e.opt.Dir)
}

// syncNow makes durable what was committed, for those who do not sync every transaction.
func (e *engine) syncNow() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return nil
	}
	return e.syncDatabase()
}

// readyJournal makes the journal fit for use when the database has been opened.
func (e *engine) readyJournal() error {
	if !e.journaled {
		return nil
	}
	if e.journal == nil || e.behind.Load() {
		return e.replay()
	}
	if !e.tainted {
		return nil
	}
	if err := e.bring(e.journal.generation); err != nil {
		return err
	}
	if err := e.journal.renew(); err != nil {
		return err
	}
	e.tainted = false
	return nil
}

// replay does again what the journal has, and has its next segment begin.
func (e *engine) replay() error {
	found, err := loadJournal(e.opt.Dir)
	if err == nil && e.expected && found.generation == 0 {
		err = fmt.Errorf("%w: no journal in %s", ErrDamaged, e.opt.Dir)
	}
	if err != nil {
		return err
	}
	list := make([]listed, 0, len(found.writes))
	for _, k := range slices.Sorted(maps.Keys(found.writes)) {
		list = append(list, listed{key: []byte(k), value: found.writes[k].value})
	}
	if err := e.apply(list); err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	if e.journal == nil {
		if e.journal, err = openJournal(e.opt.Dir, &found); err != nil {
			return err
		}
		e.kept, e.torn = newKept(), found.torn
		e.behind.Store(true) // until it has begun
	}
	e.unsynced.Store(true) // the names of the segments, too
	if err := e.syncDatabase(); err != nil {
		return err
	}
	e.kept.applied(e.kept.until(e.journal.generation)) // all of it came from the journal, which has just been read
	begin := e.journal.begin
	if e.tainted {
		begin = e.journal.renew
	}
	if err := begin(); err != nil {
		e.tainted = true
		return err
	}
	if !e.sync {
		// What the database gets from now on no segment has: none may be there that a later start would do again.
		if err := e.journal.begin(); err != nil {
			e.tainted = true
			return err
		}
	}
	e.expected = false
	e.tainted = false
	e.behind.Store(false)
	return nil
}

func (e *engine) dropJournal() error {
	if e.journal == nil {
		return nil
	}
	err := e.journal.close()
	e.journal, e.tainted = nil, false
	e.behind.Store(false)
	return err
}
