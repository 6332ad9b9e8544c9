package buffer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestJournalChain: the newer segment tells of the older one, which has to be that one and whole. A beginning that was torn
// takes nothing with it.
func TestJournalChain(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T, generations int) (dir string, older, newer string) {
		dir = t.TempDir()
		j, err := openJournal(dir, &journalFound{})
		if err != nil {
			t.Fatal(err)
		}
		for n := range generations {
			if err := j.begin(); err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				if err := j.active().append(appendWrite(nil, fmt.Append(nil, "k", i), fmt.Append(nil, n))); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.active().append(appendWrite(nil, fmt.Append(nil, "of", n), fmt.Append(nil, n))); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
		last := uint64(generations)
		return dir, filepath.Join(dir, journalFiles[(last+1)%2]), filepath.Join(dir, journalFiles[last%2])
	}
	change := func(t *testing.T, path string, at int, clean bool) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := at; i < at+30; i++ {
			if b[i] ^= 0xa5; clean {
				b[i] = 0
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		harm    func(t *testing.T, older, newer string)
		damaged bool
		whole   bool
	}{
		"nothing":               {func(*testing.T, string, string) {}, false, true},
		"torn beginning":        {func(t *testing.T, older, _ string) { change(t, older, 0, false) }, false, true},
		"zeroed beginning":      {func(t *testing.T, older, _ string) { change(t, older, 0, true) }, false, true},
		"older entry":           {func(t *testing.T, older, _ string) { change(t, older, segmentBlock+100, false) }, true, false},
		"older cut short":       {func(t *testing.T, older, _ string) { truncate(t, older, segmentBlock+300) }, true, false},
		"older cut to nothing":  {func(t *testing.T, older, _ string) { truncate(t, older, 0) }, true, false},
		"older gone":            {func(t *testing.T, older, _ string) { remove(t, older) }, true, false},
		"newer gone":            {func(t *testing.T, _, newer string) { remove(t, newer) }, true, false},
		"newer's beginning":     {func(t *testing.T, _, newer string) { change(t, newer, 0, false) }, true, false},
		"newer entry":           {func(t *testing.T, _, newer string) { change(t, newer, segmentBlock+100, false) }, true, false},
		"both beginnings":       {func(t *testing.T, older, newer string) { change(t, older, 0, false); change(t, newer, 0, false) }, true, false},
		"names exchanged":       {exchange, true, true},
		"older of another time": {func(t *testing.T, older, _ string) { _, _, other := setup(t, 2); rename(t, other, older) }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, older, newer := setup(t, 3)
			c.harm(t, older, newer)
			found, err := loadJournal(dir)
			if c.damaged != errors.Is(err, ErrDamaged) || err != nil && !c.damaged {
				t.Errorf("%v", err)
			}
			if c.whole && (string(found.writes["k3"].value) != "2" || string(found.writes["of1"].value) != "1") {
				t.Errorf("%v", found.writes)
			}
		})
	}
}

// TestFailedEntryIsLeftOut: a transaction of which the write was reported as failed is not done again when it is in the
// file all the same and others have followed in the next generation.
func TestFailedEntryIsLeftOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := openJournal(dir, &journalFound{})
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string) {
		if err := j.active().append(appendWrite(nil, []byte(key), []byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 4 {
		if err := j.begin(); err != nil {
			t.Fatal(err)
		}
		s := j.active()
		for i := range n {
			put(fmt.Sprintf("good%d-%d", n, i))
		}
		end, next := s.end, s.next
		put(fmt.Sprint("failed", n))
		found, err := loadJournal(dir)
		if _, there := found.writes[fmt.Sprint("failed", n)]; err != nil || !there {
			t.Fatalf("%d: %v, %v", n, found.writes, err)
		}
		s.end, s.next = end, next
	}
	if err := j.begin(); err != nil {
		t.Fatal(err)
	}
	found, err := loadJournal(dir)
	if err != nil || len(found.writes) != 3 || found.writes["good3-2"].value == nil {
		t.Errorf("%v, %v", found.writes, err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func exchange(t *testing.T, a, b string) {
	t.Helper()
	rename(t, a, a+".x")
	rename(t, b, a)
	rename(t, a+".x", b)
}
