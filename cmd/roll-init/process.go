package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/roll-deploy/roll/internal/program"
)

// process is what /proc tells about one.
type process struct {
	pid, parent, group int
	name               string // as the kernel shows it, up to 15 bytes
	zombie             bool
}

// offspring are the direct children of this process: the application, and orphans that were left to it.
func offspring() []process {
	var found []process
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, ok := look(pid); ok && p.parent == os.Getpid() && !p.zombie {
				found = append(found, p)
			}
		}
	}
	return found
}

// look reads one process; it is false when that is gone.
func look(pid int) (process, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false
	}
	return parseStat(string(text))
}

// parseStat reads a line such as "7 (sh (x)) S 1 7 ...", in which the name may hold anything (proc(5)).
func parseStat(text string) (process, bool) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 1 || end < open {
		return process{}, false
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 3 {
		return process{}, false
	}
	pid, err1 := strconv.Atoi(text[:open-1])
	parent, err2 := strconv.Atoi(fields[1])
	group, err3 := strconv.Atoi(fields[2])
	return process{pid: pid, parent: parent, group: group, name: text[open+1 : end], zombie: fields[0] == "Z"}, err1 == nil && err2 == nil && err3 == nil
}

// programOf recognises what a process runs now: an entrypoint script may have made place for the server meanwhile. What
// /proc does not show to this user is not recognised.
func programOf(pid int) *program.Program {
	at := "/proc/" + strconv.Itoa(pid)
	executable, err := os.Readlink(at + "/exe")
	if err != nil {
		// Another user's executable is a secret, its name is not.
		if p, ok := look(pid); ok {
			executable = p.name
		}
	}
	text, _ := os.ReadFile(at + "/cmdline")
	return recognise(executable, strings.Split(strings.TrimRight(string(text), "\x00"), "\x00"))
}

// prctl sets an attribute of this process.
func prctl(option, value uintptr) error {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, option, value, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// From linux/prctl.h; the package syscall has them not for every architecture.
const (
	prSetPdeathsig      = 1
	prSetChildSubreaper = 36
)
