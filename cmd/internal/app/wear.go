package app

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// wear is what the process has had written to disks since it started, as the
// kernel counts it: the pages that it made dirty, those of mapped files too.
// It is what wears out a flash card, before the card's own amplification.
func (g *Gateway) wear() (written uint64, since time.Duration) {
	return writtenBytes(), time.Since(g.started)
}

// writtenBytes reads write_bytes of proc_pid_io(5), 0 where there is no such
// file.
func writtenBytes() uint64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			written, _ := strconv.ParseUint(strings.TrimSpace(n), 10, 64)
			return written
		}
	}
	return 0
}
