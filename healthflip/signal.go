package healthflip

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Linux real-time signals as the Engine numbers them.
const (
	sigRTMin = 34
	sigRTMax = 64
)

// signals are the names of Linux that a program can catch. KILL and STOP
// are left out on purpose.
var signals = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8,
	"USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16,
	"CHLD": 17, "CONT": 18, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24,
	"XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28, "IO": 29, "PWR": 30, "SYS": 31,
}

// signalWay sends signals to PID 1.
type signalWay struct{ on, off signal }

// signal is a number, which every Engine understands, and the label's own name for it.
type signal struct {
	number int
	name   string
}

func parseSignals(labels map[string]string) (way, error) {
	on, off, err := pair(labels, labelSignal, labelUnflipSignal, "SIGUSR1", "SIGUSR2")
	if err != nil {
		return nil, err
	}
	w := signalWay{}
	if w.on, err = parseSignal(labelSignal, on, "SIGUSR1"); err != nil {
		return nil, err
	}
	if w.off, err = parseSignal(labelUnflipSignal, off, "SIGUSR2"); err != nil {
		return nil, err
	}
	if w.on.number == w.off.number {
		return nil, LabelError{labelUnflipSignal, off,
			"it is the signal of roll.flip.signal, and nobody could tell which way a repeated one turns the replica",
			"a signal of its own, such as roll.unflip.signal: SIGUSR2"}
	}
	return w, nil
}

func parseSignal(label, value, example string) (signal, error) {
	name := strings.TrimPrefix(strings.ToUpper(value), "SIG")
	problem := "no such signal on Linux"
	switch {
	case name == "KILL" || name == "STOP" || name == "9" || name == "19":
		problem = "no program can catch it: it would end or freeze the replica"
	case signals[name] != 0:
		return signal{signals[name], "SIG" + name}, nil
	case strings.HasPrefix(name, "RTMIN"):
		if n, ok := offset(name[len("RTMIN"):], '+'); ok {
			return signal{sigRTMin + n, "SIG" + name}, nil
		}
		problem = "real-time signals are SIGRTMIN to SIGRTMIN+30"
	case strings.HasPrefix(name, "RTMAX"):
		if n, ok := offset(name[len("RTMAX"):], '-'); ok {
			return signal{sigRTMax - n, "SIG" + name}, nil
		}
		problem = "real-time signals are SIGRTMAX-30 to SIGRTMAX"
	case digits(value):
		n, err := strconv.Atoi(value)
		if err == nil && n >= sigRTMin && n <= sigRTMax {
			return signal{n, value}, nil
		}
		for name, number := range signals {
			if number == n {
				return signal{n, "SIG" + name}, nil
			}
		}
	}
	return signal{}, LabelError{label, value, problem, label + ": " + example}
}

// offset reads the n of RTMIN+n or RTMAX-n; nothing is 0.
func offset(text string, sign byte) (int, bool) {
	if text == "" {
		return 0, true
	}
	if text[0] != sign || !digits(text[1:]) {
		return 0, false
	}
	n, err := strconv.Atoi(text[1:])
	return n, err == nil && n <= sigRTMax-sigRTMin
}

// digits keeps out the signs that strconv.Atoi accepts.
func digits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

func (w signalWay) text() string { return "signal " + w.on.name }

func (w signalWay) flip(ctx context.Context, f *Flipper, r replica) error {
	return f.kill(ctx, r, w.on)
}

func (w signalWay) unflip(ctx context.Context, f *Flipper, r replica) error {
	return f.kill(ctx, r, w.off)
}

func (f *Flipper) kill(ctx context.Context, r replica, s signal) error {
	f.calls.Add(1)
	err := f.docker.ContainerKill(ctx, r.id, strconv.Itoa(s.number))
	return wrap(err, fmt.Sprintf("send %s to the replica", s.name))
}
