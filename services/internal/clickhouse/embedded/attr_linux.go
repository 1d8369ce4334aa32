package embedded

import "syscall"

// childAttributes ties the child's life to its parent's: a parent that is
// killed cannot leave it behind holding the data directory. An own process
// group keeps a Ctrl-C of the terminal from stopping the child first.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
