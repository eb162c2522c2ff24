//go:build !unix

package compose

import "os/exec"

// detach does nothing where there are no process groups: the child is killed
// when the context ends.
func detach(*exec.Cmd) {}
