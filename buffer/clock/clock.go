package clock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Stamp says when something was recorded, in a way that survives a wrong wall clock.
type Stamp struct {
	Boot   uint32 // the number of the boot, 0 = never stamped
	Up     int64  // nanoseconds of CLOCK_BOOTTIME
	Wall   int64  // Unix nanoseconds of the wall clock at that moment
	Synced bool   // the wall clock was known to be right
}

// IsZero reports that nothing was stamped.
func (s Stamp) IsZero() bool { return s.Boot == 0 && s.Up == 0 && s.Wall == 0 }

// Policy says what to believe when the system cannot tell whether its clock is synchronised.
type Policy string

// The policies of the configuration key gateway.clock.
const (
	Auto    Policy = "auto"    // trust a wall clock that is not behind the last one persisted
	Trusted Policy = "trusted" // always trust the wall clock
	Wait    Policy = "wait"    // trust it only when the system says that it is synchronised
)

// Status says what [Clock.Correct] knew about a time.
type Status uint8

// What became of a time.
const (
	Exact      Status = iota // taken from a synchronised clock
	Corrected                // taken from a wrong clock and moved by what that boot's anchor says
	Unanchored               // taken from a clock that was never synchronised during its boot: as it was
)

// Sync is what the system knows about its own clock.
type Sync uint8

// The answers of a [Source].
const (
	Unknown Sync = iota
	Unsynchronised
	Synchronised
)

// Source is the machine below the clock; the zero Options take the real one.
type Source struct {
	BootID func() string    // differs after each boot
	Up     func() int64     // nanoseconds since boot, suspended time included
	Wall   func() time.Time // the wall clock
	Sync   func() Sync      // what the system says about the wall clock
}

// Options of New. Fields of Source that are nil are taken from the running system.
type Options struct {
	Policy Policy
	Source Source
}

// Clock numbers boots, stamps, and tells ages. It is safe for concurrent use.
type Clock struct {
	policy Policy
	src    Source

	boot   atomic.Uint32
	synced atomic.Bool
	base   atomic.Pointer[reading]

	mu       sync.Mutex // guards what follows; held for nanoseconds
	bootID   string
	boots    []bootEntry // ascending by number; the last one is the present boot
	lastWall int64       // the latest trusted wall time that was ever persisted
	dirty    bool
}

// reading ties Go's monotonic clock to CLOCK_BOOTTIME, so that a stamp costs no system call.
type reading struct {
	at time.Time
	up int64
}

// bootEntry is what is known of one boot.
type bootEntry struct {
	number   uint32
	id       string
	lastUp   int64 // the latest uptime that was seen
	anchor   int64 // Unix nanoseconds at which the boot began
	anchored bool
}

// keepBoots bounds the table. A record older than that many boots gets the age of the oldest boot that is known.
const keepBoots = 256

// refresh is how long a tie between the monotonic clock and CLOCK_BOOTTIME is used; suspension is noticed that late.
const refresh = time.Second

// New starts a clock for the present boot. It never fails: without a boot id every start counts as a boot.
func New(o Options) *Clock {
	o.Source.fill()
	if o.Policy == "" {
		o.Policy = Auto
	}
	c := &Clock{policy: o.Policy, src: o.Source, bootID: o.Source.BootID()}
	c.boots = []bootEntry{{number: 1, id: c.bootID}}
	c.boot.Store(1)
	c.Observe()
	return c
}

// Validate reports a policy that does not exist.
func (p Policy) Validate() error {
	switch p {
	case Auto, Trusted, Wait, "":
		return nil
	}
	return fmt.Errorf("clock policy %q: want auto, trusted or wait", string(p))
}

// Stamp is the present moment. It costs one time.Now.
func (c *Clock) Stamp() Stamp {
	now := c.src.Wall()
	return Stamp{Boot: c.boot.Load(), Up: c.upAt(now), Wall: now.UnixNano(), Synced: c.synced.Load()}
}

// Up is the time since boot.
func (c *Clock) Up() time.Duration { return time.Duration(c.upAt(c.src.Wall())) }

// Synced reports whether the wall clock is known to be right.
func (c *Clock) Synced() bool { return c.synced.Load() }

// Boot is the number of the present boot.
func (c *Clock) Boot() uint32 { return c.boot.Load() }

func (c *Clock) upAt(now time.Time) int64 {
	r := c.base.Load()
	if r != nil {
		if d := now.Sub(r.at); d >= 0 && d < refresh {
			return r.up + int64(d)
		}
	}
	up := c.src.Up()
	c.base.Store(&reading{at: now, up: up})
	return up
}

// Observe asks the system whether its clock is synchronised and anchors the present boot if it is. The owner calls it
// every few seconds; it returns true when the boot became anchored or synchronised just now.
func (c *Clock) Observe() (changed bool) {
	sync := c.src.Sync()
	now := c.src.Wall()
	up := c.upAt(now)
	wall := now.UnixNano()
	c.mu.Lock()
	defer c.mu.Unlock()
	ok := sync == Synchronised
	if sync == Unknown && c.policy == Auto {
		ok = wall >= c.lastWall && wall >= earliest
	}
	if c.policy == Trusted {
		ok = true
	}
	was := c.synced.Swap(ok)
	present := &c.boots[len(c.boots)-1]
	if up > present.lastUp {
		present.lastUp = up
	}
	if ok {
		if !present.anchored {
			c.dirty = true
		}
		present.anchor, present.anchored = wall-up, true
		if wall > c.lastWall {
			c.lastWall = wall
		}
	}
	return ok != was
}

// earliest is 2015-01-01: a wall clock before it is wrong whatever anyone says.
const earliest = 1420070400 * int64(time.Second)

// Age is how long ago s was taken, never negative. A stamp that was never taken has no age.
func (c *Clock) Age(s Stamp) time.Duration { return c.AgeAt(s, c.Stamp()) }

// AgeAt is [Clock.Age] against a moment that the caller has already read, for loops over many records.
func (c *Clock) AgeAt(s, now Stamp) time.Duration {
	if s.IsZero() {
		return 0
	}
	if s.Boot == now.Boot {
		return max(0, time.Duration(now.Up-s.Up))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var age int64
	from := -1
	for i := range c.boots {
		if c.boots[i].number == s.Boot {
			from = i
		}
	}
	present := &c.boots[len(c.boots)-1]
	if from >= 0 && c.boots[from].anchored && present.anchored {
		return max(0, time.Duration(present.anchor+now.Up-(c.boots[from].anchor+s.Up)))
	}
	if s.Synced && present.anchored {
		return max(0, time.Duration(present.anchor+now.Up-s.Wall))
	}
	for i := range c.boots {
		b := &c.boots[i]
		switch {
		case b.number < s.Boot || b.number == now.Boot:
		case i == from:
			age += max(0, b.lastUp-s.Up)
		default:
			age += b.lastUp
		}
	}
	return time.Duration(age + now.Up)
}

// Correct gives the time (Unix nanoseconds) that was read from the wall clock at s its right value, as far as it is
// known by now.
func (c *Clock) Correct(s Stamp, t int64) (int64, Status) {
	if s.Synced || s.IsZero() {
		return t, Exact
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.boots {
		if b := &c.boots[i]; b.number == s.Boot && b.anchored {
			return t + b.anchor + s.Up - s.Wall, Corrected
		}
	}
	return t, Unanchored
}

// Anchored reports whether the boot of s has an anchor, so that Correct would not answer Unanchored.
func (c *Clock) Anchored(s Stamp) bool {
	_, st := c.Correct(s, 0)
	return st != Unanchored
}

const snapshotVersion = 1

// ErrSnapshot is a table of boots that cannot be read.
var ErrSnapshot = errors.New("clock: unreadable table of boots")

// Dirty reports that the table changed in a way that must not wait for the next occasion to be saved.
func (c *Clock) Dirty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dirty
}

// Snapshot is the table of boots for the owner's store.
func (c *Clock) Snapshot() []byte {
	up := c.upAt(c.src.Wall())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = false
	c.boots[len(c.boots)-1].lastUp = max(up, c.boots[len(c.boots)-1].lastUp)
	b := []byte{snapshotVersion}
	b = binary.AppendVarint(b, c.lastWall)
	b = binary.AppendUvarint(b, uint64(len(c.boots)))
	for _, e := range c.boots {
		b = binary.AppendUvarint(b, uint64(e.number))
		b = binary.AppendUvarint(b, uint64(len(e.id)))
		b = append(b, e.id...)
		b = binary.AppendVarint(b, e.lastUp)
		if e.anchored {
			b = binary.AppendVarint(append(b, 1), e.anchor)
		} else {
			b = append(b, 0)
		}
	}
	return b
}

// Restore takes a table that Snapshot made, in this boot or in an earlier one, and numbers the present boot after it.
// It is called once, before anything was stamped that will be kept.
func (c *Clock) Restore(b []byte) error {
	boots, lastWall, err := decode(b)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.lastWall = max(c.lastWall*boolInt(c.policy == Trusted), lastWall)
	present := c.boots[len(c.boots)-1]
	if n := len(boots); n > 0 && boots[n-1].id == c.bootID {
		c.boots = boots
	} else {
		if n > 0 {
			present.number = boots[n-1].number + 1
		}
		// What New believed of the wall clock was believed without knowing the last one persisted.
		present.anchored = false
		boots = append(boots, present)
		c.boots = boots[max(0, len(boots)-keepBoots):]
	}
	c.boot.Store(c.boots[len(c.boots)-1].number)
	c.dirty = true
	c.mu.Unlock()
	c.Observe()
	return nil
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func decode(b []byte) ([]bootEntry, int64, error) {
	if len(b) == 0 || b[0] != snapshotVersion {
		return nil, 0, ErrSnapshot
	}
	b = b[1:]
	bad := false
	uvarint := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return v
	}
	varint := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return v
	}
	wall := varint()
	count := uvarint()
	if bad || count > keepBoots {
		return nil, 0, ErrSnapshot
	}
	boots := make([]bootEntry, 0, count+1)
	for range count {
		var e bootEntry
		number, size := uvarint(), uvarint()
		if bad || number > 1<<32-1 || size > uint64(len(b)) {
			return nil, 0, ErrSnapshot
		}
		e.number, e.id, b = uint32(number), string(b[:size]), b[size:]
		e.lastUp = varint()
		if bad || len(b) == 0 {
			return nil, 0, ErrSnapshot
		}
		e.anchored = b[0] == 1
		b = b[1:]
		if e.anchored {
			e.anchor = varint()
		}
		if bad {
			return nil, 0, ErrSnapshot
		}
		boots = append(boots, e)
	}
	return boots, wall, nil
}
