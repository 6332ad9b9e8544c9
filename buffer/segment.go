package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A segment is a file of the journal. An entry begins at a multiple of 8 with a header of 24 bytes, little-endian:
//
//	magic u32, CRC-32C of all that follows u32, length of the body u32, number u32, epoch u64
//
// The first block of 4 KiB holds entry 0, which says which generation this is, and the epoch and the number of entries of
// the one before; the transactions follow in the blocks behind it. One that begins anew gets an epoch by chance, so that
// the old entries behind its end, and bytes within a payload that look like an entry, are never taken for one. As the
// blocks of the others stay, a beginning that a power failure tears takes nothing with it.
const (
	segmentMagic = 0x4a637469
	segmentHead  = 24
	segmentAlign = 8
	// segmentSize is what fits into a segment: an opening store reads all of it.
	segmentSize = 2 << 20
	// segmentStep is by how much the file grows until it has that size.
	segmentStep = 128 << 10
	// segmentBlock is what is written at a time, from a multiple of it on.
	segmentBlock   = 4 << 10
	segmentVersion = 1
)

// errGrow is a file that could not be made larger. What was in it is not touched.
var errGrow = errors.New("grow journal")

// segment is an open one. Only the committer appends.
type segment struct {
	path  string
	f     *os.File
	limit int64 // of the entries, up to segmentSize
	size  int64 // of the file: zeros or entries
	end   int64 // of the entries
	epoch uint64
	next  uint32

	// Blocks are written past the page cache where the file system can do that: less work, and no large page of which
	// all would count as written for a few bytes of it.
	direct bool
	buf    []byte // from the beginning of the block that end lies in
}

// tallied tells the entries of one segment from those of others, and how many there are.
type tallied struct {
	epoch uint64
	count uint32
}

func (s *segment) total() tallied { return tallied{s.epoch, max(s.next, 1) - 1} }

// openSegment opens a segment or makes one. It still has to begin.
func openSegment(path string) (*segment, error) {
	s := &segment{path: path, direct: true, limit: segmentSize}
	f, err := s.open(path, os.O_CREATE)
	if err != nil {
		return nil, err
	}
	return s, s.use(f)
}

// open opens a file so that what was written to it is on disk when the write returns.
func (s *segment) open(path string, flag int) (*os.File, error) {
	flag |= os.O_RDWR | unix.O_DSYNC
	if s.direct {
		f, err := os.OpenFile(path, flag|unix.O_DIRECT, 0o600)
		if err == nil {
			return f, nil
		}
		s.direct = false
	}
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return f, nil
}

func (s *segment) use(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open journal: %w", err), f.Close())
	}
	s.f, s.size = f, st.Size()&^(segmentBlock-1)
	return nil
}

// begin begins anew: what was in the segment counts no more. It is on disk when begin returns.
func (s *segment) begin(generation uint64, before tallied) error {
	body := binary.LittleEndian.AppendUint64([]byte{segmentVersion}, generation)
	body = binary.LittleEndian.AppendUint64(body, before.epoch)
	body = binary.LittleEndian.AppendUint32(body, before.count)
	s.end, s.next, s.epoch = 0, 0, rand.Uint64()
	err := s.append(body)
	if s.direct && errors.Is(err, unix.EINVAL) {
		// The file system opens a file for that and does not do it.
		s.direct = false
		f, fault := s.open(s.path, 0)
		if fault != nil {
			return fault
		}
		_ = s.f.Close() // nothing was written to it
		s.f = f
		err = s.append(body)
	}
	s.end = segmentBlock
	return err
}

// replace puts a new file in the place of the segment, which has begun when it gets there.
func (s *segment) replace(generation uint64, before tallied) error {
	fresh := &segment{path: s.path + ".new", direct: s.direct, limit: s.limit}
	f, err := fresh.open(fresh.path, os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	fresh.f = f
	if err := fresh.begin(generation, before); err != nil {
		return errors.Join(err, fresh.f.Close())
	}
	if err := os.Rename(fresh.path, s.path); err != nil {
		return errors.Join(fmt.Errorf("renew journal: %w", err), fresh.f.Close())
	}
	_ = s.f.Close() // what it says does not matter any more
	fresh.path = s.path
	*s = *fresh
	return nil
}

// fits reports whether there is room for a body of that length. One that just began takes whatever it can hold.
func (s *segment) fits(n int) bool {
	limit := s.limit
	if s.next == 1 {
		limit = segmentSize
	}
	return s.end+segmentHead+int64(n)+segmentAlign <= limit
}

// append writes an entry behind the others. When that fails, it is not known what is there.
func (s *segment) append(body []byte) error {
	base := s.end &^ (segmentBlock - 1)
	head := int(s.end - base)
	end := head + segmentHead + len(body)
	next := (end + segmentAlign - 1) &^ (segmentAlign - 1)
	blocks := (end + segmentBlock - 1) &^ (segmentBlock - 1)
	b := s.room(head, blocks)
	copy(b[head+segmentHead:], body)
	clear(b[end:])
	e := b[head:end]
	binary.LittleEndian.PutUint32(e, segmentMagic)
	binary.LittleEndian.PutUint32(e[8:], uint32(len(body)))
	binary.LittleEndian.PutUint32(e[12:], s.next)
	binary.LittleEndian.PutUint64(e[16:], s.epoch)
	binary.LittleEndian.PutUint32(e[4:], checksum(e[8:]))
	for base+int64(blocks) > s.size {
		if err := s.grow(); err != nil {
			return err
		}
	}
	if _, err := s.f.WriteAt(b, base); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	s.end = base + int64(next)
	s.next++
	copy(b, b[next&^(segmentBlock-1):])
	return nil
}

// room gives n bytes of the buffer, of which the first stay as they are.
func (s *segment) room(stay, n int) []byte {
	if cap(s.buf) < n || cap(s.buf) > segmentSize/4 && n < segmentSize/8 {
		b := alignedBytes(n)
		copy(b, s.buf[:stay])
		s.buf = b
	}
	return s.buf[:n]
}

// alignedBytes begin where a block of the disk may be copied from.
func alignedBytes(n int) []byte {
	b := make([]byte, n+segmentBlock)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (segmentBlock - 1) //nolint:gosec // the address is looked at, not used
	return b[skip : skip+n : skip+n]
}

// grow writes zeros, so that the entries that come there need no room that is still to be found.
func (s *segment) grow() error {
	n := segmentStep
	if !s.direct {
		n = segmentBlock // in the page cache, it must not become a part of a large page
	}
	zeros := alignedBytes(n)
	for end := s.size + segmentStep; s.size < end; s.size += int64(n) {
		if _, err := s.f.WriteAt(zeros, s.size); err != nil {
			return fmt.Errorf("%w: %w", errGrow, err)
		}
	}
	return nil
}

// segmentFound is what a segment holds.
type segmentFound struct {
	tallied
	generation uint64           // 0: the beginning cannot be read
	before     tallied          // of the generation before
	writes     map[string]write // what the last transaction that touched a key made of it
	torn       int64            // bytes of an entry that was not finished
	blank      bool             // there is nothing

	entries []byte
}

// readSegment reads a segment; with an error it gives what can be read all the same. What it returns points into b.
func readSegment(b []byte) (found segmentFound, err error) {
	if len(b) > segmentBlock {
		found.entries = b[segmentBlock:]
	}
	first, size := segmentEntry(b, 0, 0)
	if size == 0 {
		found.blank = allZero(b)
		return found, nil
	}
	d := decoder{b: first}
	version, rest := d.byte(), d.b
	if version != segmentVersion || len(rest) != 20 {
		return found, fmt.Errorf("%w: a beginning of %x", ErrDamaged, first)
	}
	found.generation = binary.LittleEndian.Uint64(rest)
	found.before = tallied{binary.LittleEndian.Uint64(rest[8:]), binary.LittleEndian.Uint32(rest[16:])}
	return found, found.readEntries(binary.LittleEndian.Uint64(b[16:]), math.MaxUint32)
}

// readEntries reads the transactions of an epoch, up to a number.
func (f *segmentFound) readEntries(epoch uint64, last uint32) error {
	f.epoch, f.count, f.writes, f.torn = epoch, 0, map[string]write{}, 0
	next, lost := uint32(1), 0
	for at := 0; at < len(f.entries) && f.count < last; {
		if body, size := segmentEntry(f.entries[at:], epoch, next); size > 0 {
			if err := decodeWrites(body, f.writes); err != nil {
				return fmt.Errorf("%w: entry %d: %w", ErrDamaged, next, err)
			}
			f.count = next
			next++
			at += size
			continue
		}
		// What is not finished has nothing behind it: the next one is written when it is on disk.
		more, number := resume(f.entries[at:], epoch, next)
		if more < 0 {
			f.torn = unfinished(f.entries[at:], epoch, next)
			break
		}
		lost += more
		at, next = at+more, number
	}
	if lost > 0 {
		return fmt.Errorf("%w: %d bytes amid the entries", ErrDamaged, lost)
	}
	return nil
}

// segmentEntry reads the entry at the beginning of b. The size is 0 when it is none, or not the wanted one.
func segmentEntry(b []byte, epoch uint64, number uint32) (body []byte, size int) {
	if len(b) < segmentHead || binary.LittleEndian.Uint32(b) != segmentMagic {
		return nil, 0
	}
	n := binary.LittleEndian.Uint32(b[8:])
	if n > segmentSize || len(b)-segmentHead < int(n) || binary.LittleEndian.Uint32(b[12:]) != number ||
		number > 0 && binary.LittleEndian.Uint64(b[16:]) != epoch {
		return nil, 0
	}
	end := segmentHead + int(n)
	if checksum(b[8:end]) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, 0
	}
	return b[segmentHead:end], (end + segmentAlign - 1) &^ (segmentAlign - 1)
}

// resume finds the next entry of an epoch behind bytes that are none; -1 when there is none.
func resume(b []byte, epoch uint64, next uint32) (at int, number uint32) {
	for at := segmentAlign; at+segmentHead <= len(b); at += segmentAlign {
		if binary.LittleEndian.Uint32(b[at:]) != segmentMagic || binary.LittleEndian.Uint64(b[at+16:]) != epoch {
			continue
		}
		number := binary.LittleEndian.Uint32(b[at+12:])
		if _, size := segmentEntry(b[at:], epoch, number); size > 0 && number > next {
			return at, number
		}
	}
	return -1, 0
}

// unfinished is how much there is of an entry that was not written to its end.
func unfinished(b []byte, epoch uint64, number uint32) int64 {
	if len(b) < segmentHead || binary.LittleEndian.Uint32(b) != segmentMagic || binary.LittleEndian.Uint32(b[12:]) != number ||
		binary.LittleEndian.Uint64(b[16:]) != epoch {
		return 0
	}
	return min(int64(len(b)), segmentHead+int64(binary.LittleEndian.Uint32(b[8:])))
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
