//go:build !linux

package bench

import (
	"io/fs"
	"os"
	"time"
)

func timedSync(file *os.File, data []byte, offset int64, into *Histogram) error {
	start := time.Now()
	if _, err := file.WriteAt(data, offset); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	into.Record(time.Since(start))
	return nil
}

func allocated(info fs.FileInfo) int64 { return info.Size() }

func fileSystem(string) (name string, inMemory bool) { return "unknown", false }
