package cli

import "syscall"

// childAttributes give a child a process group of its own, so that a ^C in the
// terminal reaches this process alone, and end it when this process dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
