package buffer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func setupSegment(t testing.TB) *segment {
	t.Helper()
	s, err := openSegment(filepath.Join(t.TempDir(), "segment"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.f.Close() })
	if err := s.begin(1, tallied{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *segment) read(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fill appends n transactions that set a key of their own each.
func (s *segment) fill(t testing.TB, prefix string, n int) {
	t.Helper()
	for i := range n {
		if err := s.append(appendWrite(nil, fmt.Append(nil, prefix, i), bytes.Repeat([]byte{byte(i)}, i*7))); err != nil {
			t.Fatal(err)
		}
	}
}

func keysOf(f segmentFound) []string { return slices.Sorted(maps.Keys(f.writes)) }

func TestSegmentRead(t *testing.T) {
	t.Parallel()
	s := setupSegment(t)
	s.fill(t, "a", 9)
	if err := s.append(appendWrite(appendWrite(nil, []byte("a3"), nil), []byte("a4"), []byte{})); err != nil {
		t.Fatal(err)
	}
	found, err := readSegment(s.read(t))
	if err != nil || len(found.writes) != 9 || found.torn != 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	if found.writes["a3"].value != nil || found.writes["a4"].value == nil || len(found.writes["a5"].value) != 35 {
		t.Errorf("%v", found.writes)
	}
	// The entries of the time before are still behind the new ones.
	if err := s.begin(1, tallied{}); err != nil {
		t.Fatal(err)
	}
	s.fill(t, "b", 2)
	found, err = readSegment(s.read(t))
	if err != nil || !slices.Equal(keysOf(found), []string{"b0", "b1"}) || found.torn != 0 {
		t.Errorf("%v %+v, %v", keysOf(found), found, err)
	}
}

// TestSegmentTorn cuts a journal at every byte: what was whole before is read.
func TestSegmentTorn(t *testing.T) {
	t.Parallel()
	s := setupSegment(t)
	ends := []int64{}
	for i := range 6 {
		ends = append(ends, s.end)
		s.fill(t, fmt.Sprint(i, "-"), 1)
	}
	whole := s.read(t)
	for cut := ends[0]; cut < s.end; cut++ {
		b := bytes.Clone(whole)
		clear(b[cut:])
		found, err := readSegment(b)
		want := 0
		for _, end := range ends[1:] {
			if end <= cut {
				want++
			}
		}
		// Zeros that are the end of an entry make it whole.
		if n := len(found.writes); err != nil || n != want && n != want+1 {
			t.Fatalf("cut at %d: %d entries of %d, %v", cut, n, want, err)
		}
		if found.torn == 0 && len(found.writes) == want && cut-ends[want] >= segmentHead {
			t.Fatalf("cut at %d: nothing is torn", cut)
		}
	}
}

// TestSegmentDamage: bytes that changed amid the entries are no torn end.
func TestSegmentDamage(t *testing.T) {
	t.Parallel()
	s := setupSegment(t)
	s.fill(t, "a", 10)
	b := s.read(t)
	b[segmentBlock+200] ^= 1
	found, err := readSegment(b)
	if !errors.Is(err, ErrDamaged) || found.torn != 0 || len(found.writes) != 9 {
		t.Errorf("%+v, %v", found, err)
	}
	b[20] ^= 1
	if found, err := readSegment(b); err != nil || found.generation != 0 || found.blank {
		t.Errorf("no beginning: %+v, %v", found, err)
	}
	if found, err := readSegment(make([]byte, 4096)); err != nil || found.generation != 0 || !found.blank {
		t.Errorf("zeros: %+v, %v", found, err)
	}
}

// TestSegmentPayloadIsNoEntry: bytes of a device that look like an entry are not taken for one, not even where the end of
// an older one lies open.
func TestSegmentPayloadIsNoEntry(t *testing.T) {
	t.Parallel()
	s := setupSegment(t)
	forged := &segment{path: filepath.Join(t.TempDir(), "segment"), limit: segmentSize}
	f, err := forged.open(forged.path, os.O_CREATE)
	if err == nil {
		err = forged.use(f)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer forged.f.Close()
	forged.epoch, forged.next = 1234, 2
	if err := forged.append(appendWrite(nil, []byte("forged"), []byte("x"))); err != nil {
		t.Fatal(err)
	}
	fake := forged.read(t)[:forged.end]
	if err := s.append(appendWrite(nil, []byte("k"), bytes.Repeat(fake, 20))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		found, err := readSegment(s.read(t))
		if _, taken := found.writes["forged"]; err != nil || taken {
			t.Fatalf("%+v, %v", found, err)
		}
		if err := s.begin(1, tallied{}); err != nil {
			t.Fatal(err)
		}
		s.fill(t, "a", 1)
	}
}

// TestSegmentLimits: one that just began takes what it can hold, and grows to that and no further.
func TestSegmentLimits(t *testing.T) {
	t.Parallel()
	s := setupSegment(t)
	most := segmentSize - int(s.end) - segmentHead - segmentAlign
	if !s.fits(most) || s.fits(most+1) {
		t.Errorf("fits %v, and one more %v", s.fits(most), s.fits(most+1))
	}
	s.limit = 100
	if !s.fits(most) {
		t.Error("one that just began takes no more than its limit")
	}
	if s.size != segmentStep {
		t.Errorf("a journal of %d bytes at the beginning", s.size)
	}
	if err := s.append(appendWrite(nil, []byte("k"), make([]byte, most-5))); err != nil {
		t.Fatal(err)
	}
	if s.fits(1) || s.size != segmentSize || len(s.read(t)) != segmentSize {
		t.Errorf("%d of %d bytes, takes more: %v", s.end, s.size, s.fits(1))
	}
	if found, err := readSegment(s.read(t)); err != nil || len(found.writes) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

func FuzzReadSegment(f *testing.F) {
	s := setupSegment(f)
	s.fill(f, "a", 5)
	b := s.read(f)[:s.end]
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add(append(bytes.Clone(b[:40]), b...))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Checksums would stop the fuzzer: they are made right.
		for at := 0; at+segmentHead <= len(b); {
			n := int(binary.LittleEndian.Uint32(b[at+8:]))
			if binary.LittleEndian.Uint32(b[at:]) != segmentMagic || n < 0 || n > len(b)-at-segmentHead {
				break
			}
			end := at + segmentHead + n
			binary.LittleEndian.PutUint32(b[at+4:], checksum(b[at+8:end]))
			at = (end + segmentAlign - 1) &^ (segmentAlign - 1)
		}
		found, err := readSegment(b)
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		if found.torn < 0 || found.torn > int64(len(b)) {
			t.Fatalf("%+v of %d bytes", found, len(b))
		}
		list := newOverlay(found.writes)
		if !slices.IsSorted(list.keys) {
			t.Fatal("the keys are in no order")
		}
	})
}
