package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/agext/levenshtein"
)

// Real-time signals are counted as the C libraries and docker count them: the kernel's first two are taken by threads.
const (
	rtMin syscall.Signal = 34
	rtMax syscall.Signal = 64
)

// signalNames are the signals below the real-time ones, by number; amd64 and arm64 number them alike (signal(7)).
var signalNames = [...]string{
	1: "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
	"STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
}

// signalAliases are other names in use.
var signalAliases = map[string]syscall.Signal{
	"IOT": syscall.SIGABRT, "CLD": syscall.SIGCHLD, "POLL": syscall.SIGIO,
}

// signalName is how a signal is shown: SIGTERM, SIGRTMIN+3.
func signalName(s syscall.Signal) string {
	switch {
	case s > 0 && int(s) < len(signalNames):
		return "SIG" + signalNames[s]
	case s == rtMin:
		return "SIGRTMIN"
	case s > rtMin && s <= rtMax:
		return fmt.Sprintf("SIGRTMIN+%d", s-rtMin)
	}
	return fmt.Sprintf("signal %d", s)
}

// parseSignal reads a name with or without SIG in any case, RTMIN+n, RTMAX-n, or a number.
func parseSignal(text string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return numbered(n)
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if i := slices.Index(signalNames[:], name); i > 0 {
		return syscall.Signal(i), nil
	}
	if s, ok := signalAliases[name]; ok {
		return s, nil
	}
	if rest, ok := strings.CutPrefix(name, "RTMIN"); ok {
		if n, ok := offset(rest, '+'); ok {
			return syscall.Signal(int(rtMin) + n), nil
		}
	}
	if rest, ok := strings.CutPrefix(name, "RTMAX"); ok {
		if n, ok := offset(rest, '-'); ok {
			return syscall.Signal(int(rtMax) - n), nil
		}
	}
	if near := nearestSignal(name); near != "" {
		return 0, fmt.Errorf("%q is no signal: did you mean %s?", text, near)
	}
	return 0, fmt.Errorf("%q is no signal: write a name such as TERM or RTMIN+3, or a number from 1 to %d", text, rtMax)
}

func numbered(n int) (syscall.Signal, error) {
	switch s := syscall.Signal(n); {
	case s > 0 && int(s) < len(signalNames), s >= rtMin && s <= rtMax:
		return s, nil
	case s == 32 || s == 33:
		return 0, fmt.Errorf("signal %d belongs to the C library's threads: the first real-time signal is %d", n, rtMin)
	}
	return 0, fmt.Errorf("%d is no signal: the numbers go from 1 to %d", n, rtMax)
}

// offset reads the +3 of RTMIN+3; nothing is 0.
func offset(text string, sign byte) (int, bool) {
	if text == "" {
		return 0, true
	}
	n, err := strconv.Atoi(text[1:])
	return n, err == nil && text[0] == sign && text[1] != '+' && text[1] != '-' && n <= int(rtMax-rtMin)
}

// nearestSignal is the name that a typing error was probably meant to be, or "": letters in the wrong order, else up to two
// that are wrong.
func nearestSignal(name string) string {
	letters := func(text string) string { return string(slices.Sorted(slices.Values([]byte(text)))) }
	best, distance := "", 3
	for _, known := range signalNames[1:] {
		if letters(known) == letters(name) {
			return "SIG" + known
		}
		if d := levenshtein.Distance(name, known, nil); d < distance && d < len(name) {
			best, distance = "SIG"+known, d
		}
	}
	return best
}

// catchable are all signals that roll-init gets to see, except SIGCHLD, which is about its own children and is never passed
// on. The Go runtime keeps SIGPROF and the first real-time signal to itself.
func catchable() []syscall.Signal {
	var all []syscall.Signal
	for s := syscall.Signal(1); s <= rtMax; s++ {
		switch s {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGPROF, 32, 33, rtMin:
		default:
			all = append(all, s)
		}
	}
	return all
}
