package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// processes are the ids of all processes of this machine.
func processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// commandLine is a process's arguments joined by spaces, empty when it is gone.
func commandLine(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(strings.TrimRight(string(text), "\x00"), "\x00", " ")
}

// programOf is the file name of a process's first argument.
func programOf(pid int) string {
	name, _, _ := strings.Cut(commandLine(pid), " ")
	return filepath.Base(name)
}

// stat returns the state letter and the parent of a process (proc(5)); ok is false when it is gone.
func stat(pid int) (state string, parent int, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, false
	}
	// The command stands in parentheses and may contain anything.
	after := string(text)[strings.LastIndexByte(string(text), ')')+1:]
	fields := strings.Fields(after)
	if len(fields) < 2 {
		return "", 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return fields[0], parent, err == nil
}

// alive reports whether a process runs; one that ended and waits to be reaped does not.
func alive(pid int) bool {
	state, _, ok := stat(pid)
	return ok && state != "Z" && state != "X"
}

func children(pid int) (pids []int) {
	for _, one := range processes() {
		if _, parent, ok := stat(one); ok && parent == pid {
			pids = append(pids, one)
		}
	}
	return pids
}

// mountsBelow lists the mount points below dir, the deepest first.
func mountsBelow(dir string) []string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir) {
			points = append(points, fields[4])
		}
	}
	slices.Sort(points)
	slices.Reverse(points)
	return points
}
