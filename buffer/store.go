package buffer

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// Options are what the store needs beside its configuration.
type Options struct {
	Dir   string      // made if missing; the store is the only one to use it
	Log   *zap.Logger // nil: silent
	Clock Clock       // nil: the system's, with policy auto

	// FreeSpace tells how many bytes an unprivileged process may still write to the file system of a directory, and its
	// size. nil: statfs(2).
	FreeSpace func(dir string) (free, total int64, err error)
	// Commit surrounds every commit of a transaction: for those who measure it, and for tests of writes that fail,
	// without having reached the disk (an error and no call), or after they did (a call and an error).
	Commit func(commit func() error) error
}

// Store is the durable queue with its key spaces. Its methods may be called from any goroutine.
type Store struct {
	cfg    Config
	opt    Options
	log    *zap.Logger
	clk    Clock
	kv     *engine
	lock   *os.File
	id     uuid.UUID
	seed   maphash.Seed
	budget int64 // bytes of records in memory
	maxAge [numClasses]time.Duration

	syncEvery time.Duration // Config.Sync as an interval

	bootsAt    time.Time // when the committer last wrote the table of boots
	sinceCheck int64     // bytes since the committer looked at the free space; its own

	kick    chan struct{}
	stop    chan struct{}
	stopped chan struct{} // the committer has ended
	quit    chan struct{} // ends the housekeeper
	open    chan struct{} // closed when the database was opened for the first time
	others  sync.WaitGroup

	pager pager

	// mu guards everything below. It is never held during a read or write of the disk.
	mu        sync.Mutex
	closing   bool // no more appends and leases
	closed    bool // the database is closed
	failed    error
	diskFull  bool // appends are refused
	waiting   bool // for space to open the database
	critical  bool // nothing is written at all
	unsynced  bool // something was written that no sync covers (Config.Sync is not always)
	limit     int64
	fullLimit int64 // limit, when the files take no more than they should
	reserve   [numClasses]int64

	pending   []op
	pendHead  int
	pend      tally // admitted, not stored
	pendBytes int64
	dlPend    int64
	overlay   map[string]cover

	began       time.Time   // of the last transaction
	before      int         // appends that it and those before it had, see linger
	lingerTo    int         // appends for which the committer is woken; 0: the first
	lingerTimer *time.Timer // the committer's own

	txn     uint64
	next    uint64
	nextDL  uint64
	disk    totals // as of the last transaction
	cur     tally  // stored and not settled
	dlBytes int64
	dlCount int64

	devices map[string]*device
	byNo    []*device
	freeNos []uint32
	props   map[propKey]prop
	hot     int64 // bytes of records in windows

	rings     [numRings]ring
	nonEmpty  uint64
	ticket    uint64
	waiters   *waiter
	perDevice int
	paused    ClassSet
	liveFrom  uint64
	liveTurn  int
	composing int // groups that are being stored or wait to be handed out
	storing   int // those that are being stored
	leasedOf  [numClasses]int64

	delayed    delays
	delayTimer *time.Timer

	gone       []gone
	goneHead   int
	goneGroups []gone
	dirty      []*block
	blocks     []*block // that were stored with live records
	chunks     map[uint64]*block
	loose      []*lane // with a run that is long enough for a chunk
	bitsAt     time.Time
	sparseAt   time.Time // of the last look for blocks that are mostly settled
	flushArmed bool
	flushNow   bool
	flushTimer *time.Timer

	stats      counters
	rate       rates
	flattening bool
	maxDisk    int64     // what the files may take
	quiet      bool      // hardly anything is being stored
	storedThen uint64    // by the last look at that
	writeOut   bool      // the committer is to write the memtable out
	flatSize   int64     // of the files after the last time that space was given back
	flatLeft   int64     // of the records then
	flatAt     time.Time // when that was, or when the store was opened
	diskBytes  int64
	freeBytes  int64
	setAside   string
	torn       int64
	recovered  int64
}

// Close stops the store: appends are refused, Next returns ErrClosed, and what was appended and settled before is on
// disk when it returns. Leases that are still out come again after the next Open. It is safe to call it again.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	s.wakeAll()
	s.mu.Unlock()
	if first {
		close(s.quit)
		close(s.stop)
	}
	done := make(chan struct{})
	go func() {
		<-s.stopped
		s.others.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("close store: %w", ctx.Err())
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	critical := s.critical
	s.delayTimer.Stop()
	s.flushTimer.Stop()
	s.lingerTimer.Stop()
	left := s.pending[s.pendHead:]
	s.pending, s.pendHead = nil, 0
	s.mu.Unlock()
	for i := range left {
		if left[i].done != nil {
			left[i].done(ErrClosed)
		}
	}
	err := s.kv.close(critical)
	return errors.Join(err, s.unlock())
}

// Ready is closed when what the store holds can be read: at once, or on a disk without space when there is space. Until
// then spaces and lists are empty or answer ErrUnavailable, so whoever remembers something here must not conclude that
// there was nothing.
func (s *Store) Ready() <-chan struct{} { return s.open }

// ID is the store's own identity, from which request ids are made; empty before Ready.
func (s *Store) ID() string {
	select {
	case <-s.open:
		return s.id.String()
	default:
		return ""
	}
}
