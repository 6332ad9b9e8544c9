package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// ErrDamaged is a file of the database that cannot be what was written.
var ErrDamaged = errors.New("buffer: damaged file")

// verifyBytes is how much of the tables is read whole at every start. What lies beyond is read whole by Inspect and
// Recover only: a card reads some 40 MB a second, and devices are not to wait.
const verifyBytes = 64 << 20

// verifyAll is the bound of those who have the time.
const verifyAll = 1 << 62

// checkTables opens every table by itself, as Badger is going to: on a damaged index it panics on a goroutine of its
// own, which would end the process at every start. Of the newest tables the checksums of all blocks are compared, up to
// a bound: Badger takes a damaged block for the end of its table, and the next compaction leaves out what was behind it.
// A table that the manifest does not list is none of the store's: a kill left it half written, before anything in the
// log that it copies was given up, and Badger removes it.
func checkTables(opt badger.Options, verify int64) error {
	listed, err := listedTables(opt)
	if err != nil {
		return nil // a store without a manifest is new, and Badger itself tells of a damaged one
	}
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(listed))) {
		f := table.NewFilename(id, opt.Dir)
		if info, err := os.Stat(f); err == nil {
			verify -= info.Size()
		}
		if err := checkTable(f, opt, listed[id].Compression, verify >= 0); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDamaged, f, err)
		}
	}
	return nil
}

// checkFiles refuses a database without its manifest, which Badger would take for a new one and delete its tables, and
// removes what a kill left of a log that was just being made: Badger does not open an empty one. It reports whether there
// is a database.
func checkFiles(dir string) (manifest bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read store directory: %w", err)
	}
	tables := false
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch filepath.Ext(e.Name()) {
		case ".sst":
			tables = true
		case ".mem", ".vlog":
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
				if err := os.Remove(path); err != nil {
					return manifest, fmt.Errorf("remove an empty log: %w", err)
				}
			}
		}
		manifest = manifest || e.Name() == badger.ManifestFilename
	}
	if tables && !manifest {
		return false, fmt.Errorf("%w: there are tables in %s and no %s", ErrDamaged, dir, badger.ManifestFilename)
	}
	return manifest, nil
}

func listedTables(opt badger.Options) (map[uint64]badger.TableManifest, error) {
	f, err := os.Open(filepath.Join(opt.Dir, badger.ManifestFilename))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	m, _, err := badger.ReplayManifestFile(f, opt.ExternalMagicVersion, opt)
	return m.Tables, err
}

func checkTable(path string, opt badger.Options, compression options.CompressionType, verify bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	m, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(-1)) }()
	o := table.Options{
		ReadOnly: true, BlockSize: opt.BlockSize, Compression: compression, BloomFalsePositive: opt.BloomFalsePositive,
	}
	t, err := table.OpenTable(m, o)
	if err != nil || !verify {
		return err
	}
	return t.VerifyChecksum() // left to OpenTable, it would close the file when it fails, and so would we
}
