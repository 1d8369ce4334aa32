package embedded

import "syscall"

// childAttributes keeps a Ctrl-C of the terminal from stopping the child
// first; the end of its standard input tells it that the parent is gone.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
