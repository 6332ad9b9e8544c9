package buffer_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"iotc-gateway/buffer"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 30 {
		b.add(telemetry("a", i))
	}
	letter := buffer.DeadLetter{Reason: "undecodable", Topic: "t", Payload: []byte("x")}
	if err := b.AppendSync(t.Context(), &buffer.Batch{DeadLetters: []buffer.DeadLetter{letter}}); err != nil {
		t.Fatal(err)
	}
	if _, err := buffer.Inspect(b.dir, nil); !errors.Is(err, buffer.ErrLocked) {
		t.Fatalf("an open store: %v, want ErrLocked", err)
	}

	// A copy is what a kill leaves: nothing was closed.
	killed := filepath.Join(t.TempDir(), "killed")
	copyDir(t, b.dir, killed)
	check := func(dir string) {
		t.Helper()
		before := sizes(t, dir)
		in, err := buffer.Inspect(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if in.Records[buffer.ClassTelemetry] != 30 || in.DeadLetters != 1 || in.DeadBytes == 0 || in.Devices != 1 || in.Unreadable != 0 || in.DiskBytes == 0 || len(in.SetAside) != 0 {
			t.Errorf("%+v", in)
		}
		if after := sizes(t, dir); len(after) != len(before) {
			t.Errorf("files before %v, after %v", before, after)
		}
	}
	check(killed)
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(b.dir)
	in, err := buffer.Inspect(b.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := in.Stats(b.cfg)
	b.open()
	want := b.Stats()
	for _, c := range buffer.Classes() {
		if got.Classes[c].Count != want.Classes[c].Count || got.Classes[c].Bytes != want.Classes[c].Bytes {
			t.Errorf("%s: %+v, want %+v", c, got.Classes[c], want.Classes[c])
		}
	}
	if got.DeadLetters != want.DeadLetters || got.DeadLetterBytes != want.DeadLetterBytes || got.Devices != want.Devices || got.LimitBytes != want.LimitBytes {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestInspectDamage(t *testing.T) {
	t.Parallel()
	if _, err := buffer.Inspect(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no store: %v", err)
	}
	b := setup(t)
	b.add(telemetry("a", 1))
	b.reopen()
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(b.dir, "corrupt-20260101T000000Z"), 0o700); err != nil {
		t.Fatal(err)
	}
	overwrite(t, glob(t, filepath.Join(b.dir, "db"), "*.sst")[0], -40)
	in, err := buffer.Inspect(b.dir, nil)
	if err == nil || len(in.SetAside) != 1 {
		t.Errorf("damaged: %+v, %v", in, err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "format"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := buffer.Inspect(b.dir, nil); !errors.Is(err, buffer.ErrNewerFormat) {
		t.Errorf("newer: %v", err)
	}
}

func sizes(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			out[path] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
