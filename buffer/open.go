package buffer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"iotc-gateway/buffer/clock"
)

// formatVersion is the version of everything on disk. An older one is brought up to date, a newer one refused.
const formatVersion = 1

const (
	databaseDir = "db"
	lockFile    = "lock"
	formatFile  = "format"
	asidePrefix = "corrupt-"
)

// ErrLocked is a store that another process has open.
var ErrLocked = errors.New("buffer: the store is in use")

// ErrNewerFormat is a store that a newer version of the program wrote.
var ErrNewerFormat = errors.New("buffer: the store was written by a newer version")

// Open opens the store in a directory or makes one. A store that cannot be read is set aside as a whole, with a line in
// the log and in Stats, and a fresh one takes its place; see Recover. On a disk without space it opens all the same,
// refuses to store anything (ErrDiskFull), and begins to work by itself when there is space.
func Open(cfg Config, opt Options) (*Store, error) {
	var faults []error
	cfg.Validate(func(path, message string) { faults = append(faults, fmt.Errorf("buffer.%s: %s", path, message)) })
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if opt.Log == nil {
		opt.Log = zap.NewNop()
	}
	if opt.Clock == nil {
		opt.Clock = clock.New(clock.Options{})
	}
	if opt.FreeSpace == nil {
		opt.FreeSpace = freeSpace
	}
	s := &Store{
		cfg: cfg, opt: opt, log: opt.Log, clk: opt.Clock, seed: maphash.MakeSeed(),
		kick: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}), quit: make(chan struct{}),
		overlay: map[string]cover{}, devices: map[string]*device{}, props: map[propKey]prop{}, perDevice: 1,
	}
	for i := range s.rings {
		s.rings[i].index = uint8(i)
	}
	for _, c := range Classes() {
		s.maxAge[c] = cfg.Classes.Of(c).MaxAge
	}
	s.budget = cfg.MemoryBytes
	if s.budget == 0 {
		s.budget = 8 << 20
		if bits.UintSize == 32 {
			s.budget = 4 << 20
		}
	}
	var off bool
	s.syncEvery, off, _ = parseSync(cfg.Sync)
	s.kv = &engine{
		opt:    badgerOptions(filepath.Join(opt.Dir, databaseDir), !off && s.syncEvery == 0, opt.Log),
		commit: opt.Commit,
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.kv.close(), s.unlock())
	}
	return s, nil
}

func (s *Store) start() error {
	if err := os.MkdirAll(s.opt.Dir, 0o750); err != nil {
		return fmt.Errorf("make store directory: %w", err)
	}
	if err := s.acquire(); err != nil {
		return err
	}
	if err := s.checkFormat(); err != nil {
		return err
	}
	s.delayTimer = time.AfterFunc(time.Hour, s.due)
	s.delayTimer.Stop()
	s.flushTimer = time.AfterFunc(time.Hour, s.flushDue)
	s.lingerTimer = time.NewTimer(time.Hour)
	s.flushTimer.Stop()
	s.checkSpace()
	s.setLimit()
	if !s.critical {
		if err := s.openDatabase(); err != nil {
			return err
		}
	} else {
		s.waiting = true
		s.log.Error("no space to open the store: waiting for it", zap.Int64("free", s.freeBytes))
	}
	go s.run()
	s.others.Go(s.keepHouse)
	return nil
}

// acquire takes the lock of the directory. The lock is the kernel's and ends with the process; the number in the file
// is for people.
func (s *Store) acquire() error {
	path := filepath.Join(s.opt.Dir, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640) //nolint:gosec // a name of ours in the configured directory
	if err != nil {
		return fmt.Errorf("lock store: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		var b [32]byte
		n, _ := f.ReadAt(b[:], 0)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%w: %s, by process %s", ErrLocked, s.opt.Dir, strings.TrimSpace(string(b[:n])))
		}
		return fmt.Errorf("lock store: %w", err)
	}
	s.lock = f
	// On a full disk the number may not fit; the lock holds all the same.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return nil
}

func (s *Store) unlock() error {
	if s.lock == nil {
		return nil
	}
	err := s.lock.Close()
	s.lock = nil
	return err
}

// checkFormat reads the version before anything else touches the files.
func (s *Store) checkFormat() error {
	path := filepath.Join(s.opt.Dir, formatFile)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("read store format: %w", err)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err == nil && v > formatVersion {
		return fmt.Errorf("%w: %s has format %d, this program knows up to %d", ErrNewerFormat, s.opt.Dir, v, formatVersion)
	}
	return nil
}

func (s *Store) writeFormat() error {
	path := filepath.Join(s.opt.Dir, formatFile)
	if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == strconv.Itoa(formatVersion) {
		return nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(formatVersion)+"\n"), 0o640); err != nil { //nolint:gosec // readable by the group, like the rest
		return fmt.Errorf("write store format: %w", err)
	}
	return nil
}

// openDatabase opens Badger and reads what is in it; it sets an unreadable database aside.
func (s *Store) openDatabase() error {
	torn := tornBytes(s.kv.opt.Dir)
	err := s.kv.open()
	if err == nil {
		err = s.restore()
	}
	if err != nil {
		if !unreadable(err) {
			return err
		}
		if err := s.putAside(err); err != nil {
			return err
		}
		torn = 0
		s.clearQueue()
		if err := s.kv.open(); err != nil {
			return err
		}
		if err := s.restore(); err != nil {
			return err
		}
	}
	s.torn = torn
	if torn > 0 {
		s.log.Warn("cut off an unfinished write at the end of the store", zap.Int64("bytes", torn))
	}
	return s.writeFormat()
}

// unreadable tells damage from faults that another attempt or another setting would cure.
func unreadable(err error) bool {
	for _, e := range []error{
		ErrLocked, ErrNewerFormat, fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE,
		syscall.EROFS, syscall.EIO, context.Canceled,
	} {
		if errors.Is(err, e) {
			return false
		}
	}
	text := err.Error()
	for _, part := range []string{
		"Cannot acquire directory lock", "unsupported version", "cannot allocate memory", "no space left", "permission denied",
		"too many open files", "read-only file system", "input/output error",
	} {
		if strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// putAside renames the database, so that nothing of it is lost, and leaves room for a fresh one.
func (s *Store) putAside(cause error) error {
	if err := s.kv.close(); err != nil {
		s.log.Warn("close unreadable store", zap.Error(err))
	}
	name := asidePrefix + time.Now().UTC().Format("20060102T150405.000000000Z")
	aside := filepath.Join(s.opt.Dir, name)
	if err := os.Rename(s.kv.opt.Dir, aside); err != nil {
		return fmt.Errorf("set unreadable store aside: %w (it could not be opened: %w)", err, cause)
	}
	s.setAside = aside
	s.log.Error("the store could not be opened and was set aside; a fresh one takes its place",
		zap.String("directory", aside), zap.Error(cause))
	return nil
}

// restore reads the small keys, finds the lanes, and takes up what an unfinished process left.
func (s *Store) restore() error {
	if err := s.restoreMeta(); err != nil {
		return err
	}
	if err := s.restoreDevices(); err != nil {
		return err
	}
	if err := s.unpackBlocks(); err != nil {
		return err
	}
	if err := s.restoreLanes(); err != nil {
		return err
	}
	if err := s.restoreGroups(); err != nil {
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
	s.disk, s.cur, s.gone, s.goneHead, s.goneGroups = totals{}, tally{}, nil, 0, nil
	s.recovered, s.composing, s.txn, s.dlBytes, s.dlCount = 0, 0, 0, 0, 0
}

func (s *Store) restoreMeta() error {
	v, ok, err := s.kv.get(keyFormat)
	if err != nil {
		return fmt.Errorf("read format: %w", err)
	}
	if !ok {
		s.id = uuid.New()
		s.next, s.nextDL = 1, 1
	} else {
		if n, _ := binary.Uvarint(v); n > formatVersion {
			return fmt.Errorf("%w: %s has format %d, this program knows up to %d", ErrNewerFormat, s.opt.Dir, n, formatVersion)
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
	return s.kv.update(func(txn *badger.Txn) error {
		if !ok {
			if err := txn.Set(keyFormat, binary.AppendUvarint(nil, formatVersion)); err != nil {
				return err
			}
			if err := txn.Set(keyStore, s.id[:]); err != nil {
				return err
			}
		}
		return txn.Set(keyBoots, s.clk.Snapshot())
	})
}

func (s *Store) restoreDevices() error {
	err := s.kv.scan([]byte{keyDevice}, nil, func(k, v []byte) (bool, error) {
		if len(k) != 5 {
			return true, nil
		}
		no := binary.BigEndian.Uint32(k[1:])
		if no > 1<<21 {
			return false, fmt.Errorf("%w: device number %d", errCodec, no)
		}
		for uint32(len(s.byNo)) <= no {
			s.byNo = append(s.byNo, nil)
		}
		d := &device{no: no, name: string(v), saved: true}
		if old := s.devices[d.name]; old != nil {
			// The device was forgotten and came back under another number. Both may have records.
			return true, s.merge(old, d)
		}
		s.byNo[no], s.devices[d.name] = d, d
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("read devices: %w", err)
	}
	for no, d := range s.byNo {
		if d == nil {
			s.freeNos = append(s.freeNos, uint32(no))
		}
	}
	return nil
}

// merge keeps the number of a device that has records. A device is forgotten only when it has none, so at most one has.
func (s *Store) merge(old, d *device) error {
	has := false
	for _, c := range Classes() {
		err := s.scanLane(c, old.no, 0, ^uint64(0), func(uint64, []byte) bool { has = true; return false })
		if err != nil {
			return err
		}
	}
	if has {
		return nil
	}
	s.byNo[old.no] = nil
	s.byNo[d.no], s.devices[d.name] = d, d
	return nil
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
					d.lanes = append(d.lanes, &lane{dev: d, class: c, first: seq, pos: seq, last: s.next - 1})
				}
				if kc != c {
					break // the class has no more
				}
			}
		}
		return nil
	})
}
