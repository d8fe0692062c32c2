package proc

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill a process when this one is gone, however it went, and not before: an interrupt from
// the keyboard is for this one only.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
