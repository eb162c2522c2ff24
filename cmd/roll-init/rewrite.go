package main

import (
	"fmt"
	"strings"
	"syscall"
)

// rewrites say what the application gets instead of a signal; 0 drops it. A signal without an entry stays itself.
type rewrites map[syscall.Signal]syscall.Signal

// add reads one FROM:TO; both are names or numbers, TO may be 0, and = may stand for the colon.
func (r rewrites) add(text string) error {
	from, to, ok := strings.Cut(strings.Replace(text, "=", ":", 1), ":")
	if !ok {
		return fmt.Errorf("%q is no rewrite: write FROM:TO, such as TERM:QUIT, 15:3, or TERM:0 to drop it", text)
	}
	source, err := parseSignal(from)
	if err != nil {
		return err
	}
	switch source {
	case syscall.SIGKILL, syscall.SIGSTOP:
		return fmt.Errorf("%s cannot be rewritten: no program ever sees it", signalName(source))
	case syscall.SIGPROF, rtMin:
		return fmt.Errorf("%s cannot be rewritten: the Go runtime keeps it to itself", signalName(source))
	case syscall.SIGCHLD:
		return fmt.Errorf("%s cannot be rewritten: it is about the children of the one who gets it, and is never passed on", signalName(source))
	}
	var target syscall.Signal
	if to != "0" {
		if target, err = parseSignal(to); err != nil {
			return err
		}
	}
	r[source] = target
	return nil
}
