package buffer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iotc-gateway/buffer"
)

func TestLocked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := buffer.Open(b.cfg, b.opt)
	if !errors.Is(err, buffer.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) || !strings.Contains(err.Error(), b.dir) {
		t.Fatal(err)
	}
}

// A process that is being started has a copy of every descriptor until it runs its program. A lock that one of them
// holds must not outlive the store.
func TestReopenWhileDescriptorsAreCopied(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.add(telemetry("pump", 1))
	if n := copyDescriptors(t, b.dir); n < 2 {
		t.Fatalf("%d descriptors found, want those of the lock and of the database", n)
	}
	b.reopen()
	if s := b.Stats(); s.SetAside != "" || s.Classes[buffer.ClassTelemetry].Count != 1 {
		t.Fatalf("set aside as %q, %d records", s.SetAside, s.Classes[buffer.ClassTelemetry].Count)
	}
	if _, err := buffer.Open(b.cfg, b.opt); !errors.Is(err, buffer.ErrLocked) {
		t.Fatalf("a second store: %v", err)
	}
}

// copyDescriptors copies what this process has open below a directory, as fork does, until the test ends.
func copyDescriptors(t *testing.T, dir string) (copied int) {
	t.Helper()
	const self = "/proc/self/fd"
	entries, err := os.ReadDir(self)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(self, e.Name()))
		if err != nil || to != dir && !strings.HasPrefix(to, dir+"/") {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(dup) })
		copied++
	}
	return copied
}
