package buffer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// journal is where transactions go before they are acknowledged: one write into a place that a file already has, and
// nothing that the file system would have to note beside it. It is short, and used again and again. Of its two segments
// one takes the transactions, until it is full; then what the other one has, and the database has not, is brought into
// the database, and the other one begins anew; see engine.turn. So what is settled within the length of a segment never
// gets into the database.
type journal struct {
	segments   [2]*segment
	generation uint64 // of the segment in use
}

// journalFiles are the names of the segments of even and of odd generations.
var journalFiles = [2]string{"journal-0", "journal-1"}

// openJournal opens the segments in the directory of a database or makes them. One of them still has to begin.
func openJournal(dir string, found *journalFound) (*journal, error) {
	j := &journal{generation: found.generation}
	for i, name := range journalFiles {
		var err error
		if j.segments[i], err = openSegment(filepath.Join(dir, name)); err != nil {
			return nil, errors.Join(err, j.close())
		}
	}
	j.active().epoch, j.active().next = found.last.epoch, found.last.count+1
	return j, nil
}

func (j *journal) active() *segment { return j.segments[j.generation%2] }

// begin has the next generation begin. The one before the last is lost with that.
func (j *journal) begin() error {
	next := j.generation + 1
	if err := j.segments[next%2].begin(next, j.active().total()); err != nil {
		return err
	}
	j.generation = next
	return nil
}

// renew replaces the files after a write to one of them failed: the fault may be in the place. What they hold counts no
// more. Each file is replaced by one that has begun, so that there is a journal at any moment.
func (j *journal) renew() error {
	for range j.segments {
		next := j.generation + 1
		if err := j.segments[next%2].replace(next, j.active().total()); err != nil {
			return err
		}
		j.generation = next
		if err := syncDir(filepath.Dir(j.active().path)); err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) close() (err error) {
	for _, s := range j.segments {
		if s != nil {
			err = errors.Join(err, s.f.Close())
		}
	}
	return err
}

// journalFound is what the files of a journal hold.
type journalFound struct {
	writes     map[string]write // what the last transaction that touched a key made of it
	generation uint64           // the latest; 0: there is no journal
	last       tallied          // of that one
	torn       int64            // bytes of an entry that was not finished
}

// loadJournal reads the journal in the directory of a database; one that is not there holds nothing. With an error it
// gives what can be read all the same.
func loadJournal(dir string) (journalFound, error) {
	found := journalFound{writes: map[string]write{}}
	var parts [2]segmentFound
	var faults []error
	for i, name := range journalFiles {
		b, err := readLimited(filepath.Join(dir, name), segmentSize)
		if err != nil {
			return found, err
		}
		if parts[i], err = readSegment(b); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
		if g := parts[i].generation; g > 0 && g%2 != uint64(i) {
			faults = append(faults, fmt.Errorf("%w: %s is of generation %d", ErrDamaged, name, g))
		}
	}
	older, newer := &parts[0], &parts[1]
	if older.generation > newer.generation {
		older, newer = newer, older
	}
	if err := older.complete(newer); err != nil {
		faults = append(faults, err)
	}
	maps.Copy(found.writes, older.writes)
	maps.Copy(found.writes, newer.writes)
	found.generation, found.last, found.torn = newer.generation, newer.tallied, newer.torn
	return found, errors.Join(faults...)
}

// complete sees whether an older segment is the one that the newer one follows, and whole. A segment of which the
// beginning cannot be read is known by what follows it: a power failure amid the beginning of the next generation must not
// cost the one that it was to replace.
func (f *segmentFound) complete(newer *segmentFound) error {
	before := newer.before
	switch {
	case newer.generation == 0 && !(f.blank && newer.blank):
		return fmt.Errorf("%w: no segment of the journal has a beginning", ErrDamaged)
	case f.generation == 0 && before.count > 0:
		if err := f.readEntries(before.epoch, before.count); err != nil {
			return fmt.Errorf("generation %d of the journal: %w", newer.generation-1, err)
		}
	case f.generation == 0 && !f.blank:
		return fmt.Errorf("%w: a segment of the journal has no beginning", ErrDamaged)
	case f.generation > 0 && f.generation+1 != newer.generation:
		return fmt.Errorf("%w: generations %d and %d of the journal", ErrDamaged, f.generation, newer.generation)
	}
	if f.count > before.count && f.epoch == before.epoch {
		// What comes behind was reported as failed, and the records in it have nothing to do with those of the newer one.
		if err := f.readEntries(f.epoch, before.count); err != nil {
			return fmt.Errorf("generation %d of the journal: %w", f.generation, err)
		}
	}
	if f.count != before.count || before.count > 0 && f.epoch != before.epoch {
		return fmt.Errorf("%w: %d of %d entries of generation %d of the journal", ErrDamaged, f.count, before.count, newer.generation-1)
	}
	return nil
}

func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // the large pages that were read are no good for short writes
	return b, nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
