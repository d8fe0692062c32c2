//go:build !linux

package proc

import "os/exec"

// dieWithParent does nothing: a process stays behind if this one is killed.
func dieWithParent(*exec.Cmd) {}
