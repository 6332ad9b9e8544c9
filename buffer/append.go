package buffer

import (
	"errors"
	"fmt"

	"iotc-gateway/buffer/clock"
)

// The refusals of Append. None of them leaves anything behind.
var (
	ErrClosed          = errors.New("buffer: the store is closed")
	ErrFull            = errors.New("buffer: full")
	ErrDiskFull        = errors.New("buffer: the disk is full")
	ErrDeadLettersFull = errors.New("buffer: no room for dead letters")
	ErrTooLarge        = errors.New("buffer: too large for one transaction")
	ErrTooManyDevices  = errors.New("buffer: too many devices have records waiting")
	ErrInvalid         = errors.New("buffer: invalid record")
	ErrFailed          = errors.New("buffer: the disk does not take writes")
)

// op is one entry of the committer's queue.
type op struct {
	batch   *Batch
	done    func(error)
	err     error     // refused: the committer only says so, in its turn
	dev     *device   // of the only record
	devs    []*device // of several
	first   uint64    // sequence of the first record
	size    [numClasses]int64
	bytes   int64
	dlBytes int64
	dead    []DeadLetter
	lease   *Lease // a lease to compose, to split, or to move to the dead letters
	kind    opKind
}

type opKind uint8

const (
	opBatch opKind = iota
	opCompose
	opSplit
	opDead
)

// maxPending bounds what waits for the committer. The broker's windows are meant to be narrower than that.
const maxPending = 32 << 20

// Append stores a batch in one transaction. It never waits for the disk: done is called later, in the order of the
// calls, with nil after the batch was synced (see Config.Sync) or with the reason why it was not stored. done runs on
// the committer's goroutine and must be quick; nil is allowed. The batch must not be touched any more.
func (s *Store) Append(b *Batch, done func(err error)) {
	o := op{batch: b, done: done}
	o.err = s.measure(&o)
	s.mu.Lock()
	if o.err == nil {
		o.err = s.admit(&o)
	}
	if o.err != nil {
		s.stats.refused[refusal(o.err)]++
		o.batch = nil
	}
	if s.closed {
		s.mu.Unlock()
		if done != nil {
			done(ErrClosed)
		}
		return
	}
	s.pending = append(s.pending, o)
	enough := len(s.pending)-s.pendHead >= s.lingerTo
	s.mu.Unlock()
	if enough {
		s.poke()
	}
}

// measure checks and adds up a batch without the lock.
func (s *Store) measure(o *op) error {
	b := o.batch
	stamped := false
	var now clock.Stamp
	for i := range b.Records {
		r := &b.Records[i]
		size := r.size()
		if r.Class >= numClasses || r.Device == "" || len(r.Device) > 1024 {
			return fmt.Errorf("%w: class %d, device %.40q", ErrInvalid, r.Class, r.Device)
		}
		if size > maxRecord {
			return fmt.Errorf("%w: a record of %d bytes", ErrTooLarge, size)
		}
		if r.Stamp.IsZero() {
			if !stamped {
				now, stamped = s.clk.Stamp(), true
			}
			r.Stamp = now
		}
		o.size[r.Class] += size
		o.bytes += size
	}
	for i := range b.DeadLetters {
		l := &b.DeadLetters[i]
		if l.Stamp.IsZero() {
			if !stamped {
				now, stamped = s.clk.Stamp(), true
			}
			l.Stamp = now
		}
		if l.When == 0 {
			l.When = l.Stamp.Wall
		}
		o.dlBytes += l.size()
	}
	o.bytes += o.dlBytes
	for i := range b.Puts {
		o.bytes += int64(len(b.Puts[i].Space)+len(b.Puts[i].Key)+len(b.Puts[i].Value)) + recordOverhead
		if b.Puts[i].Space == "" || len(b.Puts[i].Space)+len(b.Puts[i].Key) > 32<<10 {
			return fmt.Errorf("%w: space %.40q", ErrInvalid, b.Puts[i].Space)
		}
	}
	if o.bytes > maxBatch || len(b.Puts)+len(b.Records)+len(b.DeadLetters) > maxPuts {
		return fmt.Errorf("%w: a batch of %d bytes, %d records", ErrTooLarge, o.bytes, len(b.Records))
	}
	return nil
}

// admit decides at once whether there is room, and reserves it.
func (s *Store) admit(o *op) error {
	switch {
	case s.closing:
		return ErrClosed
	case s.failed != nil:
		return fmt.Errorf("%w: %w", ErrFailed, s.failed)
	case s.diskFull:
		return ErrDiskFull
	case s.pendBytes+o.bytes > maxPending:
		return fmt.Errorf("%w: %d bytes wait for the disk", ErrFull, s.pendBytes)
	case o.dlBytes > 0 && s.dlBytes+s.dlPend+o.dlBytes > s.cfg.DeadLetters.MaxBytes:
		return ErrDeadLettersFull
	}
	for c := range o.size {
		if o.size[c] == 0 {
			continue
		}
		if err := s.admitClass(o, Class(c)); err != nil {
			return err
		}
	}
	b := o.batch
	if err := s.admitDevices(o); err != nil {
		return err
	}
	if n := len(b.Records); n > 0 {
		o.first = s.next
		for i := range b.Records {
			b.Records[i].Seq = s.next
			s.next++
		}
	}
	for c := range o.size {
		s.pend.bytes[c] += o.size[c]
	}
	for i := range b.Records {
		s.pend.count[b.Records[i].Class]++
	}
	s.pendBytes += o.bytes
	s.dlPend += o.dlBytes
	s.overlayPuts(b.Puts)
	return nil
}

// admitDevices finds or makes the devices of a batch.
func (s *Store) admitDevices(o *op) error {
	rs := o.batch.Records
	if len(rs) == 0 {
		return nil
	}
	if len(rs) == 1 {
		d, err := s.device(rs[0].Device)
		if err != nil {
			return err
		}
		d.pend++
		o.dev = d
		return nil
	}
	o.devs = make([]*device, len(rs))
	for i := range rs {
		if i > 0 && rs[i].Device == rs[i-1].Device {
			o.devs[i] = o.devs[i-1]
		} else {
			d, err := s.device(rs[i].Device)
			if err != nil {
				for _, d := range o.devs[:i] {
					d.pend--
				}
				return err
			}
			o.devs[i] = d
		}
		o.devs[i].pend++
	}
	return nil
}

func (o *op) device(i int) *device {
	if o.dev != nil {
		return o.dev
	}
	return o.devs[i]
}

// device finds the queue of a device or makes it; a device with nothing waiting gives its place to a new one.
func (s *Store) device(name string) (*device, error) {
	if d := s.devices[name]; d != nil {
		return d, nil
	}
	if len(s.devices) >= s.cfg.MaxDevices {
		tries := 0
		for _, d := range s.devices {
			if d.idle() {
				s.dropDevice(d)
				break
			}
			if tries++; tries == 256 {
				break
			}
		}
		if len(s.devices) >= s.cfg.MaxDevices {
			return nil, ErrTooManyDevices
		}
	}
	no, err := s.number()
	if err != nil {
		return nil, err
	}
	d := &device{name: string([]byte(name)), no: no}
	s.byNo[no], s.devices[d.name] = d, d
	return d, nil
}

// maxNumbers bounds the table of device numbers.
const maxNumbers = 1 << 20

// number takes a number for a device. Numbers are not used again while the store is open: the deletions of the device
// that had one before may still be under way, and after a crash its records would be taken for the new one's. What the
// next Open finds without records is free.
func (s *Store) number() (uint32, error) {
	if n := len(s.freeNos); n > 0 {
		no := s.freeNos[n-1]
		s.freeNos = s.freeNos[:n-1]
		return no, nil
	}
	if len(s.byNo) < maxNumbers {
		s.byNo = append(s.byNo, nil)
		return uint32(len(s.byNo) - 1), nil
	}
	if len(s.gone) > 0 || len(s.dirty) > 0 {
		return 0, ErrTooManyDevices
	}
	for no, d := range s.byNo {
		if d == nil {
			s.freeNos = append(s.freeNos, uint32(no))
		}
	}
	if len(s.freeNos) == 0 {
		return 0, ErrTooManyDevices
	}
	return s.number()
}

// dropDevice forgets a device that has nothing. It may come back under another number, see merge.
func (s *Store) dropDevice(d *device) {
	if d.ring != nil {
		s.unlink(d)
	}
	delete(s.devices, d.name)
	s.byNo[d.no] = nil
}
