package buffer_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"iotc-gateway/buffer"
)

// TestManyGroupsFromBefore: compositions that a kill left, however many and of however few devices, do not keep others
// from being composed.
func TestManyGroupsFromBefore(t *testing.T) {
	t.Parallel()
	const devices, groups = 6, 16
	b := setup(t)
	var batch buffer.Batch
	for d := range devices {
		for i := range 2 * groups {
			batch.Records = append(batch.Records, telemetry(fmt.Sprint("d", d), i))
		}
	}
	if err := b.AppendSync(t.Context(), &batch); err != nil {
		t.Fatal(err)
	}
	o := buffer.LeaseOptions{CoalesceWindow: time.Hour, Max: 2, PerDevice: groups}
	for range devices * groups {
		b.next(o) // on its way when the kill comes
	}
	killed := filepath.Join(t.TempDir(), "killed")
	copyDir(t, b.dir, killed)
	c := setup(t, func(b *bundle) { b.dir = killed })
	o.PerDevice = 1
	for d := range devices {
		c.add(telemetry(fmt.Sprint("fresh", d), 0), telemetry(fmt.Sprint("fresh", d), 1))
	}
	for range devices*groups + devices {
		l := c.next(o)
		if len(l.Records) != 2 {
			t.Fatalf("%d records of %s", len(l.Records), l.Device)
		}
		c.Commit(l)
	}
	if n := c.Stats().Classes[buffer.ClassTelemetry].Count; n != 0 {
		t.Errorf("%d records are left", n)
	}
}
