package buffer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// ErrDamaged is a file of the database that cannot be what was written.
var ErrDamaged = errors.New("buffer: damaged file")

// checkTables opens every table by itself, as Badger is going to: on a damaged index it panics on a goroutine of its
// own, which would end the process at every start. Only the ends of the files are read.
func checkTables(opt badger.Options) error {
	files, _ := filepath.Glob(filepath.Join(opt.Dir, "*.sst"))
	for _, f := range files {
		if err := checkTable(f, opt); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDamaged, f, err)
		}
	}
	return nil
}

func checkTable(path string, opt badger.Options) (err error) {
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
	_, err = table.OpenTable(m, table.Options{
		ReadOnly: true, BlockSize: opt.BlockSize, Compression: opt.Compression, BloomFalsePositive: opt.BloomFalsePositive,
	})
	return err
}
