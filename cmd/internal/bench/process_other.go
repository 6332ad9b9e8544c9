//go:build !linux

package bench

import "syscall"

const terminate = syscall.SIGTERM

func childAttributes() *syscall.SysProcAttr { return nil }
