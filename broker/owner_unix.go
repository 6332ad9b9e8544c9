//go:build unix

package broker

import (
	"os"
	"syscall"
)

// inherit gives a file to whom its folder belongs, when root made it: `sudo iotc-gateway user add` must not write a users
// file that the gateway's own user cannot read.
func inherit(f *os.File, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
		return f.Chown(int(owner.Uid), int(owner.Gid))
	}
	return nil
}
