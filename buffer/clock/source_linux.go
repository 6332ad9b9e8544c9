package clock

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bootIDFile  = "/proc/sys/kernel/random/boot_id"
	timesyncDir = "/run/systemd/timesync"
)

// fill takes the running system for what was left out.
func (s *Source) fill() {
	if s.BootID == nil {
		s.BootID = bootID
	}
	if s.Up == nil {
		s.Up = boottime
	}
	if s.Wall == nil {
		s.Wall = time.Now
	}
	if s.Sync == nil {
		s.Sync = systemSync
	}
}

func bootID() string {
	b, err := os.ReadFile(bootIDFile)
	if id := strings.TrimSpace(string(b)); err == nil && id != "" {
		return id
	}
	return rand.Text()
}

func boottime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

// systemSync believes timesyncd's marker; without a marker, the kernel's clock discipline.
func systemSync() Sync {
	if _, err := os.Stat(timesyncDir + "/synchronized"); err == nil {
		return Synchronised
	}
	var tx unix.Timex // modes 0: read only, no privilege needed
	state, err := unix.Adjtimex(&tx)
	switch {
	case err != nil:
		return Unknown
	case state != unix.TIME_ERROR:
		return Synchronised
	}
	// A kernel that nobody disciplines says "unsynchronised" for ever, also on a virtual machine whose clock is right.
	// It is a statement only where a time service is at work.
	if _, err := os.Stat(timesyncDir); errors.Is(err, fs.ErrNotExist) {
		return Unknown
	}
	return Unsynchronised
}
