package app

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// processorTime reads how long the processors together had nothing to do, and how long they were there (proc_stat(5)). A
// wait for the disk counts as nothing to do.
func processorTime() (idle, all time.Duration, ok bool) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, 0, false
	}
	defer func() { _ = f.Close() }()
	var line [256]byte
	n, err := f.Read(line[:])
	if err != nil {
		return 0, 0, false
	}
	return parseProcessorTime(line[:n])
}

func parseProcessorTime(text []byte) (idle, all time.Duration, ok bool) {
	line, _, whole := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	// user nice system idle iowait irq softirq steal; guests are among the users.
	const idleField, waitField, last = 4, 5, 8
	if !whole || len(fields) <= last || string(fields[0]) != "cpu" {
		return 0, 0, false
	}
	for i, field := range fields[1 : last+1] {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, 0, false
		}
		// The kernel reports 100 ticks a second, whatever its own timer does.
		spent := time.Duration(ticks) * (time.Second / 100)
		all += spent
		if i+1 == idleField || i+1 == waitField {
			idle += spent
		}
	}
	return idle, all, true
}
