package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used, read from /proc.
type Usage struct {
	CPU        time.Duration `json:"cpu"`         // user and system time
	RSS        int64         `json:"rss"`         // bytes resident now
	PeakRSS    int64         `json:"peak_rss"`    // the most that ever were
	Anonymous  int64         `json:"anonymous"`   // of RSS, what no file stands behind
	WriteBytes int64         `json:"write_bytes"` // handed to the block layer
}

// clockTick is the unit of utime and stime. The kernel reports 100 a second to user space on every architecture that
// Go runs on, whatever its own timer does.
const clockTick = time.Second / 100

func readUsage(pid int) (Usage, error) {
	var u Usage
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, fmt.Errorf("read usage: %w", err)
	}
	u.CPU, err = parseStat(stat)
	if err != nil {
		return u, err
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, fmt.Errorf("read usage: %w", err)
	}
	u.RSS = parseField(status, "VmRSS:") << 10
	u.PeakRSS = parseField(status, "VmHWM:") << 10
	u.Anonymous = parseField(status, "RssAnon:") << 10
	// Some containers forbid reading it; then bytes written stay zero.
	if io, err := os.ReadFile(dir + "/io"); err == nil {
		u.WriteBytes = parseField(io, "write_bytes:")
	}
	return u, nil
}

// parseStat reads fields 14 and 15 of proc_pid_stat(5). The second field is the name in parentheses and may itself hold
// spaces and parentheses, so counting begins behind the last one.
func parseStat(stat []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	if end < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("read usage: unexpected stat %q", stat)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read usage: %w", err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read usage: %w", err)
	}
	return time.Duration(user+system) * clockTick, nil
}

// parseField reads the number behind a name at the beginning of a line, and 0 when there is none.
func parseField(text []byte, name string) int64 {
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			if fields := strings.Fields(rest); len(fields) > 0 {
				n, _ := strconv.ParseInt(fields[0], 10, 64)
				return n
			}
		}
	}
	return 0
}
