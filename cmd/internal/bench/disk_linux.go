package bench

import (
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func timedSync(file *os.File, data []byte, offset int64, into *Histogram) error {
	start := time.Now()
	if _, err := file.WriteAt(data, offset); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(file.Fd())); err != nil {
		return err
	}
	into.Record(time.Since(start))
	return nil
}

func allocated(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512
	}
	return info.Size()
}

// fileSystem names the file system of a directory as far as that changes what the figures mean.
func fileSystem(dir string) (name string, inMemory bool) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return "unknown", false
	}
	switch uint32(stat.Type) {
	case unix.TMPFS_MAGIC:
		return "tmpfs", true
	case unix.RAMFS_MAGIC:
		return "ramfs", true
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", false
	case unix.XFS_SUPER_MAGIC:
		return "xfs", false
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", false
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs", false
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs", false
	}
	return "other", false
}
