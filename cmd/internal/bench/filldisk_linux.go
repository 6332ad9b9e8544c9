package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// smallDisk is the largest file system that the bench fills: a person's disk is
// not for it to fill.
const smallDisk = 1 << 30

// fillDisk takes the space away from the gateway's store and gives it back.
func fillDisk(ctx context.Context, s *site, lasting time.Duration) (err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.g.dir, &fs); err != nil {
		return fmt.Errorf("look at the disk: %w", err)
	}
	block := int64(fs.Bsize) //nolint:unconvert // an int32 on 32-bit systems
	if int64(fs.Blocks)*block > smallDisk {
		return errLargeDisk
	}
	ballast := filepath.Join(s.g.dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(ballast)) }()
	// Little remains: enough for what the store keeps for itself, and less than
	// what it asks for before it takes anything in.
	if room := int64(fs.Bavail)*block - 32<<20; room > 0 {
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, room); err != nil {
			return fmt.Errorf("fill the disk: %w", err)
		}
	}
	return pause(ctx, max(lasting, 3*time.Second))
}
