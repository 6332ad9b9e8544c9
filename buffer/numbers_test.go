package buffer_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"iotc-gateway/buffer"
)

// deviceValues drains the store and lists what came, with its device.
func (b *bundle) deviceValues() (got []string) {
	b.t.Helper()
	var n int64
	for _, c := range buffer.Classes() {
		n += b.Stats().Classes[c].Count
	}
	for range n {
		l := b.next(buffer.LeaseOptions{})
		got = append(got, l.Device+" "+string(l.Records[0].Value))
		b.Commit(l)
	}
	return got
}

// Devices that come and go, more than may have records at a time, keep what is theirs through restarts and kills.
func TestDevicesComeAndGo(t *testing.T) {
	t.Parallel()
	for _, memory := range []int64{1, 8 << 20} {
		b := setup(t, func(b *bundle) { b.cfg.MaxDevices, b.cfg.MemoryBytes = 2, memory })
		root := t.TempDir()
		for round := range 12 {
			// Each round, one device has gone and another comes under a number of its own.
			name := fmt.Sprint("d", round%3)
			b.add(telemetry(name, round))
			want := []string{fmt.Sprintf(`%s {"n":%d}`, name, round)}
			switch round % 4 {
			case 1:
				b.reopen()
			case 2:
				crashed := filepath.Join(root, fmt.Sprint(round))
				copyDir(t, b.dir, crashed)
				b.close()
				b.dir, b.opt.Dir = crashed, crashed
				b.open()
			}
			got := b.deviceValues()
			// After a kill what was delivered just before may come again, as its own device's.
			if last := got[len(got)-1:]; fmt.Sprint(last) != fmt.Sprint(want) {
				t.Fatalf("memory %d, round %d: got %q, want %q", memory, round, got, want)
			}
			for _, g := range got {
				var device string
				var n int
				if _, err := fmt.Sscanf(g, `%s {"n":%d}`, &device, &n); err != nil || device != fmt.Sprint("d", n%3) {
					t.Fatalf("memory %d, round %d: %q is not its device's", memory, round, g)
				}
			}
		}
	}
}

// Names of devices that are gone do not pile up: an opening store forgets them.
func TestForgottenDevicesAreForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t, func(b *bundle) { b.cfg.MaxDevices = 2 })
	for n := range 50 {
		b.add(telemetry(fmt.Sprint("d", n), n))
		b.deviceValues()
	}
	b.reopen()
	if n := b.Stats().Devices; n > 2 {
		t.Errorf("%d devices are known after the restart", n)
	}
	b.add(telemetry("d7", 7), telemetry("d8", 8))
	b.reopen()
	if got := b.deviceValues(); len(got) != 2 {
		t.Errorf("got %q", got)
	}
}
