package buffer

import (
	"slices"
	"time"
)

// item is a record in memory. It is in the window of its lane, in a lease, or settled.
type item struct {
	Record
	blk     *block // the block or chunk in which it lies on disk; nil: it is under its own key
	idx     uint16 // its place in the block
	attempt uint16
	state   uint8
	dev     *device
	lane    *lane
}

const (
	itemQueued uint8 = iota
	itemLeased
	itemSettled
)

// weight is what an item costs in memory, roughly.
func (it *item) weight() int64 { return 224 + int64(len(it.Value)) + int64(len(it.Meta)) }

// key is the sequence in the key under which the record lies, as far as its lane has to know.
func (it *item) key() uint64 {
	if it.blk != nil && it.blk.of != nil {
		return it.blk.first
	}
	return it.Seq
}

// block is a group of records under one key: the fresh records of one transaction, all of which are in memory, or a
// chunk of a lane. Settling them costs a bit each instead of a deletion each.
type block struct {
	first    uint64
	n        int
	of       *lane    // whose chunk it is; nil: a block of fresh records
	items    []item   // of a block of fresh records
	bits     []uint64 // settled
	live     int      // not settled
	inMemory int      // of a chunk: those that are in a window or a lease
	dirty    bool     // in Store.dirty
	saved    bool     // bits were written
	moving   bool     // its records are being moved to keys of their own
	dead     bool     // they were
	born     time.Time
	gone     tally // settled since the totals were last written
}

// key is where the group lies on disk.
func (b *block) key() []byte {
	if b.of != nil {
		return queueKey(b.of.class, b.of.dev.no, b.first)
	}
	return numberKey(keyBlock, b.first)
}

func (b *block) has(i int) bool { return b.bits[i/64]&(1<<(i%64)) != 0 }

// tally counts records and bytes by class.
type tally struct {
	count [numClasses]int64
	bytes [numClasses]int64
}

func (t *tally) add(c Class, size int64) {
	t.count[c]++
	t.bytes[c] += size
}

func (t *tally) sum(o *tally, sign int64) {
	for c := range t.count {
		t.count[c] += sign * o.count[c]
		t.bytes[c] += sign * o.bytes[c]
	}
}

// lane is the FIFO of one class of one device, or a stretch of it. The window holds its first records in memory; from
// pos to last there may be more on disk. With pos > last the window is all there is, and a fresh record joins it.
type lane struct {
	dev     *device
	class   Class
	live    bool   // records since MarkLive
	first   uint64 // records of the stretch are not below
	win     []*item
	head    int
	pos     uint64
	key     uint64 // of the record or chunk on disk that pos is in, or pos itself; a reader begins there
	last    uint64
	end     uint64 // records of the stretch are below; 0 = it is open
	coldTxn uint64 // the transaction that put a record behind the window
	packing int    // the chunk of that transaction that takes the next record, below 0: none
	loose   loose
	hot     int // records of this lane in a transaction under way that will join the window
	skip    map[uint64]struct{}
	deleted int // records deleted since the cursor was last stored

	thinned   uint64 // thinned out below, in this pass
	pass      int
	thinCount int
}

func (l *lane) contiguous() bool { return l.pos > l.last }

// trim drops settled records from the front of the window.
func (l *lane) trim() {
	for l.head < len(l.win) && l.win[l.head].state == itemSettled {
		l.win[l.head] = nil
		l.head++
	}
	if l.head == len(l.win) && l.head > 0 {
		l.win, l.head = l.win[:0], 0
		if cap(l.win) > 512 {
			l.win = nil
		}
	}
}

func (l *lane) empty() bool {
	l.trim()
	return l.head == len(l.win)
}

func (l *lane) work() bool { return !l.empty() || l.pos <= l.last }

// headSeq is the sequence of the first record, or a lower bound of it when that is on disk.
func (l *lane) headSeq() uint64 {
	if !l.empty() {
		return l.win[l.head].Seq
	}
	return l.pos
}

// headKey is the sequence in the key under which that record lies.
func (l *lane) headKey() uint64 {
	if !l.empty() {
		return l.win[l.head].key()
	}
	return l.key
}

// cold is what the lane has on disk only, from a sequence on.
func (l *lane) cold(from uint64) stretch {
	x := stretch{class: l.class, dev: l.dev.no, from: from, to: l.last}
	if from == l.pos {
		x.key = l.key
	}
	return x
}

func (l *lane) push(it *item) {
	if l.head > 64 && l.head*2 > len(l.win) {
		n := copy(l.win, l.win[l.head:])
		clear(l.win[n:])
		l.win, l.head = l.win[:n], 0
	}
	l.win = append(l.win, it)
}

func (l *lane) pop() *item {
	it := l.win[l.head]
	l.win[l.head] = nil
	l.head++
	l.trim()
	return it
}

// unpop puts a record back at the front.
func (l *lane) unpop(it *item) {
	if l.head > 0 {
		l.head--
		l.win[l.head] = it
		return
	}
	l.win = append(l.win, nil)
	copy(l.win[1:], l.win)
	l.win[0] = it
}

// device is everything that waits for one device.
type device struct {
	no       uint32
	name     string
	saved    bool // the dictionary has it
	pend     int  // records that were admitted and are not stored yet
	lanes    []*lane
	front    []*Lease // leases that were handed back or are prepared, in order; they go before the lanes
	inflight int
	barrier  int // leased records of the device class
	busy     bool

	ring       *ring
	prev, next *device
	ticket     uint64
}

// tail is the lane that takes new records of the class.
func (d *device) tail(c Class) *lane {
	for _, v := range slices.Backward(d.lanes) {
		if l := v; l.class == c && l.end == 0 {
			return l
		}
	}
	return nil
}

// oldest is a lower bound of the sequences in the keys that the device still has in a class.
func (d *device) oldest(c Class) uint64 {
	seq := ^uint64(0)
	for _, l := range d.lanes {
		if l.class == c {
			seq = min(seq, l.headKey())
		}
	}
	for _, l := range d.front {
		if l.Class == c {
			seq = min(seq, l.items[0].key())
		}
	}
	if d.inflight > 0 || d.busy {
		return 0 // somewhere below: the cursor is not moved
	}
	return seq
}

// idle reports that nothing refers to the device.
func (d *device) idle() bool {
	if d.pend > 0 || d.busy || d.inflight > 0 || len(d.front) > 0 {
		return false
	}
	for _, l := range d.lanes {
		if l.work() || l.hot > 0 || len(l.skip) > 0 {
			return false
		}
	}
	return true
}

// ring is a round-robin list of devices that have the same kinds of work.
type ring struct {
	index      uint8
	head, tail *device
}

func (r *ring) pushBack(d *device) {
	d.ring, d.prev, d.next = r, r.tail, nil
	if r.tail != nil {
		r.tail.next = d
	} else {
		r.head = d
	}
	r.tail = d
}

func (r *ring) pushFront(d *device) {
	d.ring, d.next, d.prev = r, r.head, nil
	if r.head != nil {
		r.head.prev = d
	} else {
		r.tail = d
	}
	r.head = d
}

func (r *ring) remove(d *device) {
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		r.head = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	} else {
		r.tail = d.prev
	}
	d.ring, d.prev, d.next = nil, nil, nil
}
