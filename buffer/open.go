package buffer

import (
	"context"
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

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"iotc-gateway/buffer/clock"
)

// formatVersion is the version of everything on disk. An older one is brought up to date, a newer one refused.
//
//	1  the first one
//	2  chunks of records in telemetry lanes
//	3  a journal before the database
const (
	formatVersion = 3
	journalSince  = 3
)

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
// refuses to store anything (ErrDiskFull), and begins to work by itself when there is space: see Store.Ready.
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
		kick: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}), quit: make(chan struct{}), open: make(chan struct{}),
		pager:   pager{wake: make(chan struct{}, 1)},
		overlay: map[string]cover{}, chunks: map[uint64]*block{}, devices: map[string]*device{}, props: map[propKey]prop{}, perDevice: 1,
		flatAt: time.Now(),
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
		opt:       badgerOptions(filepath.Join(opt.Dir, databaseDir), opt.Log),
		commit:    opt.Commit,
		journaled: true,
		sync:      !off && s.syncEvery == 0,
		verify:    verifyBytes,
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.kv.close(true), s.unlock())
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
		close(s.open)
	} else {
		s.waiting = true
		s.log.Error("no space to open the store: waiting for it", zap.Int64("free", s.freeBytes))
	}
	go s.run()
	s.others.Go(s.keepHouse)
	s.others.Go(s.keepPaging)
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

// unlock gives the directory free. Closing the file alone would not while a process that is just being started still
// has a copy of the descriptor.
func (s *Store) unlock() error {
	if s.lock == nil {
		return nil
	}
	err := errors.Join(unix.Flock(int(s.lock.Fd()), unix.LOCK_UN), s.lock.Close())
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
	s.kv.expected = err == nil && v >= journalSince
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
			return errors.Join(err, s.kv.close(true)) // it is to be read anew
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
	s.pager.begin() // Badger may have much to compact
	s.torn = torn + s.kv.torn
	if s.torn > 0 {
		s.log.Warn("cut off an unfinished write at the end of the store", zap.Int64("bytes", s.torn))
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
	if err := s.kv.close(true); err != nil {
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
