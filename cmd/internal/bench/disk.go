package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// probeSyncs measures what one synced write of 512 bytes costs in a directory: into blocks that are allocated and
// written already, so that nothing but the data itself has to reach the disk. No store can be faster.
func probeSyncs(dir string, times int, into *Histogram) error {
	file, err := os.CreateTemp(dir, "fdatasync-*")
	if err != nil {
		return fmt.Errorf("measure fdatasync: %w", err)
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}()
	const block, size = 512, 1 << 20
	if _, err := file.Write(make([]byte, size)); err != nil {
		return fmt.Errorf("measure fdatasync: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("measure fdatasync: %w", err)
	}
	data := make([]byte, block)
	for i := range times {
		data[0] = byte(i)
		if err := timedSync(file, data, int64(i*block%size), into); err != nil {
			return fmt.Errorf("measure fdatasync: %w", err)
		}
	}
	return nil
}

// diskUsage is what a directory takes on the disk: the blocks that are allocated, not the lengths of the files, which
// for a store that maps its files ahead would say too much.
func diskUsage(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a store removes files while it is being looked at
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			total += allocated(info)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure disk usage: %w", err)
	}
	return total, nil
}
