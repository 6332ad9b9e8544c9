//go:build proof && linux

package buffer_test

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"iotc-gateway/buffer"
)

// The power fails: what the disk holds at that moment is all there is. The store lies on a file system of its own in an
// image file. Its writer is frozen at a random moment, the image is copied as the disk would have kept it (without what
// only the page cache knows), and the copy is mounted and opened. It needs root, loop devices and mkfs.ext4:
//
//	POWER_LOSSES=13 go test -tags proof -run TestPowerLoss -v ./buffer

// powerLosses is how often the power fails.
func powerLosses(t *testing.T) int {
	t.Helper()
	text := os.Getenv("POWER_LOSSES")
	if text == "" {
		return 4
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func shell(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// mount mounts an image until the test ends.
func mount(t *testing.T, image string) (dir string, unmount func()) {
	t.Helper()
	dir = t.TempDir()
	// The journal commits only when it is asked to: a copy must not catch it in the act.
	shell(t, "mount", "-o", "loop,commit=300", image, dir)
	unmount = sync.OnceFunc(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v\n%s", dir, err, out)
		}
	})
	t.Cleanup(unmount)
	return dir, unmount
}

// writer is the process that appends and delivers, and what it said it did.
type writer struct {
	cmd *exec.Cmd

	mu               sync.Mutex
	acked, delivered map[string]int
	lines            int
	fault            string
}

func startWriter(t *testing.T, dir, sync string) *writer {
	t.Helper()
	w := &writer{cmd: exec.Command(os.Args[0]), acked: map[string]int{}, delivered: map[string]int{}}
	w.cmd.Env = append(os.Environ(), childEnv+"="+dir, childSyncEnv+"="+sync)
	pipe, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			w.note(lines.Text())
		}
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		<-done
		_ = w.cmd.Wait()
	})
	return w
}

func (w *writer) note(line string) {
	var kind, device string
	var n int
	_, err := fmt.Sscan(line, &kind, &device, &n)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines++
	switch {
	case err != nil:
		w.fault = line
	case kind == "a":
		w.acked[device] = n
	case kind == "d":
		w.delivered[device] = n
	}
}

// freeze stops the writer between two of its instructions and waits until it has said all that it said before.
func (w *writer) freeze(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for before := -1; ; {
		// A thread in a system call stops when the call is over, such as a sync.
		stopped := true
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", w.cmd.Process.Pid))
		if err != nil || len(tasks) == 0 {
			t.Fatal("the writer is gone", err)
		}
		for _, task := range tasks {
			stat, err := os.ReadFile(task)
			if err != nil {
				t.Fatal(err)
			}
			rest := stat[bytes.LastIndexByte(stat, ')')+2:]
			stopped = stopped && rest[0] == 'T'
		}
		w.mu.Lock()
		lines := w.lines
		w.mu.Unlock()
		if stopped && lines == before {
			return
		}
		before = lines
		time.Sleep(30 * time.Millisecond)
	}
}

func (w *writer) thaw(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

func TestPowerLoss(t *testing.T) {
	for _, sync := range []string{"always", "never"} {
		t.Run("sync "+sync, func(t *testing.T) { losePower(t, sync) })
	}
}

func losePower(t *testing.T, sync string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk.img")
	shell(t, "truncate", "-s", "512M", image)
	shell(t, "mkfs.ext4", "-q", "-F", image)
	dir, _ := mount(t, image)
	w := startWriter(t, filepath.Join(dir, "store"), sync)
	asides := 0
	for range powerLosses(t) {
		time.Sleep(200*time.Millisecond + rand.N(1500*time.Millisecond))
		w.freeze(t)
		copied := filepath.Join(t.TempDir(), "copy.img")
		shell(t, "cp", "--sparse=always", image, copied)
		w.mu.Lock()
		acked, delivered, fault := maps.Clone(w.acked), maps.Clone(w.delivered), w.fault
		w.mu.Unlock()
		w.thaw(t)
		if fault != "" {
			t.Fatal(fault)
		}
		lost, aside := openAfterPowerLoss(t, copied, acked, delivered)
		asides += aside
		t.Logf("%d lost of %d acknowledged; set aside: %d", lost, total(acked), aside)
		if sync == "always" && (lost > 0 || aside > 0) {
			t.Errorf("%d acknowledged records were lost, %d stores set aside", lost, aside)
		}
		if err := os.Remove(copied); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d stores were set aside", asides)
}

// openAfterPowerLoss opens what was on the disk and counts the acknowledged records that were neither delivered nor are
// there. Whatever happened, the store has to open and to take a record.
func openAfterPowerLoss(t *testing.T, image string, acked, delivered map[string]int) (lost, aside int) {
	t.Helper()
	dir, unmount := mount(t, image)
	defer unmount()
	b := setup(t, func(b *bundle) { b.dir = filepath.Join(dir, "store") })
	defer b.close()
	if b.Stats().SetAside != "" {
		aside = 1
	}
	seen := map[string]int{}
	for range b.Stats().Classes[buffer.ClassTelemetry].Count {
		l := b.next(buffer.LeaseOptions{})
		seen[l.Device] = max(seen[l.Device], int(l.Records[0].Time))
		b.Commit(l)
	}
	for device, n := range acked {
		lost += max(0, n-max(seen[device], delivered[device]))
	}
	if err := b.AppendSync(t.Context(), &buffer.Batch{Records: []buffer.Record{{Class: buffer.ClassTelemetry, Device: "after", Value: []byte("{}")}}}); err != nil {
		t.Error(err)
	}
	return lost, aside
}

func total(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
