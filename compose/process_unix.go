//go:build unix

package compose

import (
	"os/exec"
	"syscall"
)

// detach puts the child into a process group of its own: a Ctrl-C at the
// terminal is for roll to handle, and must not cut a creation in half. When
// the context ends, the whole group (docker, and the plugin below it) is
// asked to stop.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
}
