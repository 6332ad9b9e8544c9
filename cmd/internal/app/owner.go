package app

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// KeepOwner gives what root makes in a data directory to the directory's
// owner: the gateway runs as that user, and a store with files of root's would
// be out of its reach. Call it before the work and what it returns after; for
// anyone but root, and for a directory of root's own, it does nothing.
func KeepOwner(dir string) (restore func() error) {
	nothing := func() error { return nil }
	if os.Geteuid() != 0 {
		return nothing
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nothing
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nothing
	}
	return func() error {
		if err := giveAway(dir, owner); err != nil {
			return fmt.Errorf("give files to the owner of %s: %w", dir, err)
		}
		return nil
	}
}

// giveAway never leaves the directory, whatever links its owner makes there
// meanwhile.
func giveAway(dir string, owner *syscall.Stat_t) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := root.Lstat(path)
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 {
			return nil
		}
		return root.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}
