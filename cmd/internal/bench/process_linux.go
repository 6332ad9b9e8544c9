package bench

import "syscall"

const terminate = syscall.SIGTERM

// childAttributes also lets the kernel kill the child should the bench itself be killed. The signal follows the thread
// that started the child; the Go runtime ends no thread as long as no goroutine dies locked to it, and none here is.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
