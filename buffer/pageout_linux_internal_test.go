package buffer

import (
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/dgraph-io/ristretto/v2/z"
	"golang.org/x/sys/unix"
)

func TestTableSpan(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]span{
		"7e8c0000-7e8c1000 rw-s 00000000 fe:00 123  /data/store/db/000001.sst":           {0x7e8c0000, 0x7e8c1000},
		"7e8c0000-7e8c1000 rw-s 00000000 fe:00 123  /data/store/db/000001.sst (deleted)": {},
		"7e8c0000-7e8c1000 rw-s 00000000 fe:00 123  /data/other/db/000001.sst":           {},
		"7e8c0000-7e8c1000 rw-s 00000000 fe:00 123  /data/store/db/00001.mem":            {},
		"7e8c0000-7e8c1000 rw-p 00000000 00:00 0":                                        {},
		"x-y /data/store/db/a.sst":                                                       {},
		"-/data/store/db/a.sst":                                                          {},
		"2-1 rw-s 0 0:0 1 /data/store/db/a.sst":                                          {},
		"":                                                                               {},
	} {
		got, ok := tableSpan([]byte(line), "/data/store/db")
		if ok != (want != span{}) || got != want {
			t.Errorf("%q: %x, %v", line, got, ok)
		}
	}
}

// TestPageOut: what is paged out is not in memory and is still there.
func TestPageOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const size = 1 << 20
	m, err := z.OpenMmapFile(filepath.Join(dir, "000001.sst"), unix.O_RDWR|unix.O_CREAT, size)
	if err != nil && m == nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close(-1) }()
	for i := range m.Data {
		m.Data[i] = byte(i >> 8)
	}
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
	if mapped, err := pageOut(dir, 2*size); err != nil || mapped != size {
		t.Fatalf("%d bytes mapped: %v", mapped, err)
	}
	before := resident(t, m.Data)
	if before != size/4096 {
		t.Errorf("%d pages are in memory though there is room", before)
	}
	if mapped, err := pageOut(dir, size-1); err != nil || mapped != size {
		t.Fatalf("%d bytes mapped: %v", mapped, err)
	}
	if after := resident(t, m.Data); after > before/2 {
		t.Errorf("%d of %d pages are still in memory", after, before)
	}
	for i := range m.Data {
		if m.Data[i] != byte(i>>8) {
			t.Fatalf("byte %d is %d", i, m.Data[i])
		}
	}
}

// resident counts the pages that are in memory.
func resident(t *testing.T, b []byte) (n int) {
	t.Helper()
	vec := make([]byte, (len(b)+4095)/4096)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&vec[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, v := range vec {
		n += int(v & 1)
	}
	return n
}
