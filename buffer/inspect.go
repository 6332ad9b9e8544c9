package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Inspection is what Inspect found in a store that nobody has open.
type Inspection struct {
	Format      int
	Records     [numClasses]int64 // indexed by Class
	Bytes       [numClasses]int64
	DeadLetters int64
	DeadBytes   int64 // of the dead letters
	Devices     int   // known to the queue
	Unreadable  int64 // values that could not be decoded
	Torn        int64 // bytes of an unfinished write, which the next Open cuts off
	DiskBytes   int64
	FreeBytes   int64    // on the file system
	SetAside    []string // databases that could not be opened once and were kept
}

// Stats are the figures in the form in which an open store gives them. What only a running store counts is zero.
func (i *Inspection) Stats(cfg Config) Stats {
	st := Stats{
		DeadLetters: i.DeadLetters, DeadLetterBytes: i.DeadBytes, Devices: i.Devices, DiskBytes: i.DiskBytes, FreeBytes: i.FreeBytes,
		HoursLeft: -1, DiskFull: i.FreeBytes < cfg.MinFreeBytes+headroom, Torn: i.Torn, Drained: true,
	}
	if n := len(i.SetAside); n > 0 {
		st.SetAside = i.SetAside[n-1]
	}
	_, st.LimitBytes = room(cfg, i.FreeBytes+i.DiskBytes)
	for c := range numClasses {
		st.Classes[c].Count, st.Classes[c].Bytes = i.Records[c], i.Bytes[c]
		st.Drained = st.Drained && i.Records[c] == 0
	}
	return st
}

// Inspect reads a whole store without changing a file of it, and without setting anything aside. The error is
// fs.ErrNotExist where there is no store, ErrLocked while a gateway has it open, ErrNewerFormat, or says why the
// database cannot be read; what was found until then stands beside it.
func Inspect(dir string, log *zap.Logger) (Inspection, error) {
	var out Inspection
	if log == nil {
		log = zap.NewNop()
	}
	unlock, err := lockReading(dir)
	if err != nil {
		return out, err
	}
	defer unlock()
	if out.SetAside, err = SetAside(dir); err != nil {
		return out, err
	}
	if err := out.readFormat(dir); err != nil {
		return out, err
	}
	db := filepath.Join(dir, databaseDir)
	if _, err := os.Stat(db); err != nil {
		return out, fmt.Errorf("inspect store: %w", err)
	}
	journal, err := loadJournal(db)
	if err == nil && journal.generation == 0 && out.Format >= journalSince {
		err = fmt.Errorf("%w: no journal in %s", ErrDamaged, db)
	}
	if err != nil {
		return out, fmt.Errorf("inspect store: %w", err)
	}
	out.Torn = tornBytes(db) + journal.torn
	if out.FreeBytes, _, err = freeSpace(db); err != nil {
		return out, fmt.Errorf("inspect store: %w", err)
	}
	out.DiskBytes = (&Store{kv: &engine{opt: badgerOptions(db, log)}}).sizeOnDisk()
	scratch, err := os.MkdirTemp("", "iotc-gateway-inspect-")
	if err != nil {
		return out, fmt.Errorf("inspect store: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	if err := mirror(db, scratch); err != nil {
		return out, fmt.Errorf("inspect store: %w", err)
	}
	kv := &engine{opt: badgerOptions(scratch, log), verify: verifyAll}
	kv.opt.ReadOnly = true
	kv.over = newOverlay(journal.writes)
	if err := kv.open(); err != nil {
		return out, fmt.Errorf("inspect store: %w", err)
	}
	var found Salvage
	err = salvage(kv, &found, func(r Record) error {
		out.Records[r.Class]++
		out.Bytes[r.Class] += r.size()
		return nil
	}, func(l DeadLetter) error {
		out.DeadLetters++
		out.DeadBytes += l.size()
		return nil
	})
	out.Unreadable = int64(found.Unreadable)
	if err == nil {
		err = kv.scan([]byte{keyDevice}, nil, func([]byte, []byte) (bool, error) { out.Devices++; return true, nil })
	}
	return out, errors.Join(err, kv.close(true))
}

// mirror lays out a database so that Badger opens it for reading alone: links to the tables, which are most of it, and
// copies of the logs without what an open would cut off, for which a reader would otherwise be refused.
func mirror(db, scratch string) error {
	entries, err := os.ReadDir(db)
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(db, e.Name()), filepath.Join(scratch, e.Name())
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			continue // what a kill left of a file that was just being made
		}
		switch filepath.Ext(e.Name()) {
		case ".mem":
			var b []byte
			if b, err = os.ReadFile(from); err == nil {
				err = os.WriteFile(to, b[:logEnd(b)], 0o600)
			}
		case ".sst", ".vlog":
			if from, err = filepath.Abs(from); err == nil {
				err = os.Symlink(from, to)
			}
		default:
			if e.Name() == "LOCK" || slices.Contains(journalFiles[:], e.Name()) || !e.Type().IsRegular() {
				continue
			}
			var b []byte
			if b, err = os.ReadFile(from); err == nil {
				err = os.WriteFile(to, b, 0o600)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// logEnd is where the last whole transaction of a log ends.
func logEnd(b []byte) int {
	if len(b) <= logHeader {
		return len(b)
	}
	return logHeader + wholeTransactions(b[logHeader:])
}

func (i *Inspection) readFormat(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, formatFile))
	if err != nil {
		return fmt.Errorf("inspect store: %w", err)
	}
	i.Format, err = strconv.Atoi(strings.TrimSpace(string(b)))
	switch {
	case err != nil:
		return fmt.Errorf("inspect store: %s: %w", formatFile, err)
	case i.Format > formatVersion:
		return fmt.Errorf("%w: %s has format %d, this program knows up to %d", ErrNewerFormat, dir, i.Format, formatVersion)
	}
	return nil
}

// SetAside lists the databases in a store's directory that could not be opened and were kept, oldest first.
func SetAside(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list set-aside stores: %w", err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), asidePrefix) {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}

// lockReading keeps a gateway from opening the store meanwhile. It leaves the lock file as it is: what a reader who is
// root made there would be out of the gateway's reach.
func lockReading(dir string) (unlock func(), err error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock store: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		_ = f.Close() // it was only read
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
		}
		return nil, fmt.Errorf("lock store: %w", err)
	}
	return func() {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN) // as in unlock
		_ = f.Close()
	}, nil
}

// InUse reports whether a process has the store in a directory open.
func InUse(dir string) bool {
	unlock, err := lockReading(dir)
	if err == nil {
		unlock()
	}
	return errors.Is(err, ErrLocked)
}
