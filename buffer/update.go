package buffer

import (
	"errors"
	"fmt"
)

// update runs fn and commits what it wrote as one transaction. It is stored when it is in the journal, even if an error
// says that something else failed. Only the committer calls it.
func (e *engine) update(fn func(w *writes)) (stored bool, err error) {
	if e.restIsOver() {
		if err := e.restart(); err != nil {
			return false, err
		}
	}
	e.w.reset()
	fn(&e.w)
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil || e.behind.Load() || e.tainted {
		return false, ErrUnavailable
	}
	if !e.sync {
		return e.updateUnsynced()
	}
	if !e.journal.active().fits(len(e.w.body)) {
		if err := e.turn(); err != nil {
			return false, err
		}
	}
	if !e.journal.active().fits(len(e.w.body)) {
		return false, fmt.Errorf("%w: a transaction of %d bytes", ErrTooLarge, len(e.w.body))
	}
	err = e.surrounded(func() error {
		err := e.journal.active().append(e.w.body)
		stored, e.tainted = err == nil, err != nil && !errors.Is(err, errGrow)
		return err
	})
	if !stored {
		return false, err
	}
	direct := e.w.list[:0]
	for i := range e.w.list {
		if l := &e.w.list[i]; l.kept {
			e.kept.note(l, e.journal.generation)
		} else {
			direct = append(direct, *l)
		}
	}
	if len(direct) == 0 {
		return true, err
	}
	if fault := e.apply(direct); fault != nil {
		e.behind.Store(true)
		err = errors.Join(err, fault)
	}
	return true, err
}

// updateUnsynced leaves out the journal: where nobody waits for the disk there is nothing to be gained by it, and the
// database's own log loses only what was last when the power fails.
func (e *engine) updateUnsynced() (stored bool, err error) {
	err = e.surrounded(func() error {
		err := e.applyWhole(e.w.list)
		stored = err == nil
		return err
	})
	return stored, err
}

// surrounded commits within what the caller of Open wanted around every commit.
func (e *engine) surrounded(commit func() error) error {
	if e.commit == nil {
		return commit()
	}
	return e.commit(commit)
}
