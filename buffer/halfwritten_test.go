package buffer_test

import (
	"os"
	"path/filepath"
	"testing"

	"iotc-gateway/buffer"
)

// A kill during the writing of a table leaves half a file that the manifest does not list yet. Everything in it is
// still in the log, so the store is whole.
func TestHalfWrittenTable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 50 {
		b.add(telemetry("a", i))
	}
	b.reopen() // writes a table
	left := filepath.Join(t.TempDir(), "left")
	copyDir(t, b.dir, left)
	db := filepath.Join(left, "db")
	text, err := os.ReadFile(glob(t, db, "*.sst")[0])
	if err != nil {
		t.Fatal(err)
	}
	clear(text[len(text)/2:])
	half := filepath.Join(db, "000999.sst")
	if err := os.WriteFile(half, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := setup(t, func(b *bundle) { b.dir = left })
	if aside := c.Stats().SetAside; aside != "" {
		t.Fatalf("set aside: %q", aside)
	}
	if n := c.Stats().Classes[buffer.ClassTelemetry].Count; n != 50 {
		t.Errorf("%d records are left", n)
	}
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("the half table is still there: %v", err)
	}
}

// A kill while a log is being made leaves an empty file, which holds nothing and must not cost the store.
func TestEmptyLogs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 50 {
		b.add(telemetry("a", i))
	}
	left := filepath.Join(t.TempDir(), "left")
	copyDir(t, b.dir, left)
	for _, name := range []string{"00999.mem", "000999.vlog", "000999.sst"} {
		if err := os.WriteFile(filepath.Join(left, "db", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if seen, err := buffer.Inspect(left, nil); err != nil || seen.Records[buffer.ClassTelemetry] != 50 {
		t.Errorf("inspected: %+v, %v", seen, err)
	}
	c := setup(t, func(b *bundle) { b.dir = left })
	if st := c.Stats(); st.SetAside != "" || st.Classes[buffer.ClassTelemetry].Count != 50 {
		t.Errorf("%d records, set aside: %q", st.Classes[buffer.ClassTelemetry].Count, st.SetAside)
	}
}
