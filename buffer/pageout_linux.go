package buffer

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// pageOut asks the kernel to take the tables in a directory out of the memory of this process when they take more than
// keep bytes of address space together. Badger maps its tables, so that a backlog counts as resident memory from the
// moment it is written, though it is read once, and later. It returns what was mapped.
//
// The advice never changes what a mapping holds: should an address belong to something else by now, that is paged in
// again. Kernels before 5.4 do not know it.
func pageOut(dir string, keep int64) (mapped int64, err error) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return 0, fmt.Errorf("page out tables: %w", err)
	}
	defer f.Close()
	var tables []span
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if s, ok := tableSpan(lines.Bytes(), dir); ok {
			tables = append(tables, s)
			mapped += int64(s.end - s.start)
		}
	}
	if mapped <= keep {
		return mapped, nil
	}
	for _, s := range tables {
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, s.start, s.end-s.start, unix.MADV_PAGEOUT)
		// A table that was deleted meanwhile is not mapped any more.
		if errno != 0 && errno != unix.ENOMEM {
			err = fmt.Errorf("page out tables: %w", errno)
		}
	}
	return mapped, err
}

// span is a range of addresses.
type span struct{ start, end uintptr }

// tableSpan reads a line of /proc/self/maps and tells whether it is a table in the directory.
func tableSpan(line []byte, dir string) (s span, ok bool) {
	if !bytes.HasSuffix(line, []byte(".sst")) {
		return s, false
	}
	slash := bytes.IndexByte(line, '/')
	dash := bytes.IndexByte(line, '-')
	space := bytes.IndexByte(line, ' ')
	if slash < 0 || dash < 0 || space < dash || filepath.Dir(string(line[slash:])) != dir {
		return s, false
	}
	start, err1 := strconv.ParseUint(string(line[:dash]), 16, strconv.IntSize)
	end, err2 := strconv.ParseUint(string(line[dash+1:space]), 16, strconv.IntSize)
	if err1 != nil || err2 != nil || end <= start {
		return s, false
	}
	return span{uintptr(start), uintptr(end)}, true
}
