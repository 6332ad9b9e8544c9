package buffer_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iotc-gateway/buffer"
)

func TestTornTail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 20 {
		b.add(telemetry("a", i))
	}
	for _, cut := range []int{0, 1, 20, 60} {
		dir, torn := b.cut("journal-1", cut)
		c := setup(t, func(b *bundle) { b.dir = dir })
		st := c.Stats()
		if n := st.Classes[buffer.ClassTelemetry].Count; st.SetAside != "" || cut == 0 && n != 20 || cut > 0 && n != 19 {
			t.Fatalf("cut %d of %d: %d records, set aside %q", cut, torn, n, st.SetAside)
		}
		if cut > 0 && st.Torn == 0 || cut == 0 && st.Torn != 0 {
			t.Fatalf("cut %d: torn %d", cut, st.Torn)
		}
	}
}

// TestTornDatabase: what the log of the database lost since the last checkpoint, the journal has.
func TestTornDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t, func(b *bundle) { b.cfg.MemoryBytes = 1 }) // every record goes into the database
	for i := range 20 {
		b.add(telemetry("a", i))
	}
	for _, cut := range []int{1, 60, 1000} {
		dir, size := b.cut("*.mem", cut)
		if size < 1000 {
			t.Fatalf("the log is %d bytes long", size)
		}
		c := setup(t, func(b *bundle) { b.dir = dir })
		if st := c.Stats(); st.SetAside != "" || st.Classes[buffer.ClassTelemetry].Count != 20 {
			t.Fatalf("cut %d: %d records, set aside %q", cut, st.Classes[buffer.ClassTelemetry].Count, st.SetAside)
		}
		for i := range 20 {
			l := c.next(buffer.LeaseOptions{})
			if string(l.Records[0].Value) != string(telemetry("a", i).Value) {
				t.Fatalf("cut %d: record %d is %s", cut, i, l.Records[0].Value)
			}
			c.Commit(l)
		}
	}
}

// cut copies the store as a kill leaves it, and clears so many of the last bytes of a file of the database that are not
// zero.
func (b *bundle) cut(pattern string, bytes int) (dir string, size int) {
	b.t.Helper()
	dir = filepath.Join(b.t.TempDir(), "torn")
	copyDir(b.t, b.dir, dir)
	files := glob(b.t, filepath.Join(dir, "db"), pattern)
	slices.Sort(files)
	last := files[len(files)-1]
	content, err := os.ReadFile(last)
	if err != nil {
		b.t.Fatal(err)
	}
	size = len(strings.TrimRight(string(content), "\x00"))
	clear(content[size-bytes : size])
	if err := os.WriteFile(last, content, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return dir, size
}

func TestSetAsideAndRecover(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, db string){
		"manifest":         func(t *testing.T, db string) { overwrite(t, filepath.Join(db, "MANIFEST"), 0) },
		"table":            func(t *testing.T, db string) { overwrite(t, glob(t, db, "*.sst")[0], -40) },
		"block":            func(t *testing.T, db string) { overwrite(t, glob(t, db, "*.sst")[0], 0) },
		"byte":             func(t *testing.T, db string) { overwrite(t, glob(t, db, "*.sst")[0], 200) },
		"journal":          func(t *testing.T, db string) { overwrite(t, filepath.Join(db, "journal-0"), 0) },
		"amid the journal": func(t *testing.T, db string) { overwrite(t, filepath.Join(db, "journal-0"), 4096+400) },
		"no manifest": func(t *testing.T, db string) {
			if err := os.Remove(filepath.Join(db, "MANIFEST")); err != nil {
				t.Fatal(err)
			}
		},
		"no journal": func(t *testing.T, db string) {
			for _, path := range glob(t, db, "journal-*") {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
		},
		"missing": func(t *testing.T, db string) {
			if err := os.Remove(glob(t, db, "*.sst")[0]); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			for i := range 50 {
				b.add(telemetry("a", i), telemetry("b", i))
			}
			if err := b.AppendSync(t.Context(), &buffer.Batch{DeadLetters: []buffer.DeadLetter{{Reason: "undecodable", Topic: "t", Payload: []byte("x")}}}); err != nil {
				t.Fatal(err)
			}
			b.reopen() // writes a table
			for i := range 10 {
				b.add(telemetry("c", i))
			}
			damaged := filepath.Join(t.TempDir(), "damaged")
			copyDir(t, b.dir, damaged)
			damage(t, filepath.Join(damaged, "db"))
			if seen, err := buffer.Inspect(damaged, nil); err == nil {
				t.Errorf("an inspection found nothing wrong: %+v", seen)
			}
			c := setup(t, func(b *bundle) { b.dir = damaged })
			aside := c.Stats().SetAside
			if !strings.HasPrefix(filepath.Base(aside), "corrupt-") {
				t.Fatalf("set aside: %q, %+v", aside, c.Stats().Classes)
			}
			c.add(telemetry("a", 1))
			found := map[string]int{}
			got, err := buffer.Recover(aside, t.TempDir(), nil, func(r buffer.Record) error {
				found[r.Device]++
				return nil
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if name != "manifest" && name != "no manifest" && len(got.Damaged) == 0 && name != "missing" && name != "no journal" {
				t.Errorf("no file is named as damaged: %+v", got)
			}
			if strings.HasSuffix(name, "manifest") && (found["a"] != 50 || found["b"] != 50 || found["c"] != 10 || got.DeadLetters != 1) {
				t.Fatalf("%+v %+v", got, found)
			}
			if name != "manifest" && name != "journal" && name != "no journal" && found["c"]+got.Unreadable < 9 {
				t.Fatalf("%+v %+v", got, found)
			}
		})
	}
}

func glob(t testing.TB, dir, pattern string) []string {
	t.Helper()
	list, _ := filepath.Glob(filepath.Join(dir, pattern))
	if len(list) == 0 {
		t.Fatalf("no %s in %s", pattern, dir)
	}
	return list
}

func overwrite(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += len(b)
	}
	for i := at; i < min(len(b), at+40); i++ {
		b[i] ^= 0xa5
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNewerFormat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.close()
	path := filepath.Join(b.dir, "format")
	if err := os.WriteFile(path, []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := buffer.Open(b.cfg, b.opt); err == nil || !strings.Contains(err.Error(), "format 99") {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	b.open()
}
