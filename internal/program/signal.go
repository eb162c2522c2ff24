package program

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Signal is a signal of Linux, by its number on amd64 and arm64, whatever
// system this runs on. Zero is none.
type Signal int

// The signals that programs are stopped with.
const (
	HUP   Signal = 1
	INT   Signal = 2
	QUIT  Signal = 3
	USR1  Signal = 10
	USR2  Signal = 12
	TERM  Signal = 15
	CHLD  Signal = 17
	CONT  Signal = 18
	TSTP  Signal = 20
	URG   Signal = 23
	WINCH Signal = 28
)

// rtMin is the first real-time signal as docker counts them.
const rtMin = 34

var signalNames = [...]string{
	1: "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
	"STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
}

// String is the name as Compose's stop_signal takes it: SIGTERM, SIGRTMIN+3.
func (s Signal) String() string {
	switch {
	case s > 0 && int(s) < len(signalNames):
		return "SIG" + signalNames[s]
	case s == rtMin:
		return "SIGRTMIN"
	case s > rtMin && s <= 64:
		return fmt.Sprintf("SIGRTMIN+%d", s-rtMin)
	}
	return "signal " + strconv.Itoa(int(s))
}

// ParseSignal reads a stop signal as the Engine takes it: a name with or
// without SIG, a number, RTMIN+n. ok is false for what is none.
func ParseSignal(text string) (s Signal, ok bool) {
	if n, err := strconv.Atoi(text); err == nil {
		return Signal(n), n > 0 && n <= 64
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if i := slices.Index(signalNames[:], name); i > 0 {
		return Signal(i), true
	}
	if rest, found := strings.CutPrefix(name, "RTMIN"); found {
		n, err := strconv.Atoi("0" + strings.TrimPrefix(rest, "+"))
		return Signal(rtMin + n), err == nil && rtMin+n <= 64
	}
	return 0, false
}

// IgnoredByDefault reports whether a process without a handler ignores the
// signal, PID 1 or not (signal(7)).
func (s Signal) IgnoredByDefault() bool {
	return s == CHLD || s == CONT || s == URG || s == WINCH
}
