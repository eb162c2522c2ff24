package main

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// log writes messages to standard error, one write each.
type log struct {
	name  string
	level int
	// broken is set when nobody reads standard error any more. The kernel then sends SIGPIPE for each write, which is
	// not meant for the application: nothing is written from there on.
	broken atomic.Bool
}

func (l *log) errorf(format string, args ...any) { l.printf(0, "", format, args...) }
func (l *log) warnf(format string, args ...any)  { l.printf(1, "warning: ", format, args...) }
func (l *log) infof(format string, args ...any)  { l.printf(2, "", format, args...) }
func (l *log) debugf(format string, args ...any) { l.printf(3, "", format, args...) }

func (l *log) printf(level int, kind, format string, args ...any) {
	if level > l.level || l.broken.Load() {
		return
	}
	text := l.name + ": " + kind + strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ") + "\n"
	// A write to a terminal that is somebody else's must not stop, or be restarted for ever: SIGTTOU is blocked, as is
	// SIGPIPE, which otherwise would look like one that somebody sent.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	block := uint64(1)<<(syscall.SIGTTOU-1) | uint64(1)<<(syscall.SIGPIPE-1)
	var before uint64
	sigprocmask(sigBlock, &block, &before)
	for rest := []byte(text); len(rest) > 0; {
		n, err := syscall.Write(2, rest)
		if err == syscall.EINTR || err == nil && n > 0 {
			rest = rest[n:]
			continue
		}
		l.broken.Store(err == syscall.EPIPE)
		break
	}
	if l.broken.Load() {
		var pipe uint64 = 1 << (syscall.SIGPIPE - 1)
		var none syscall.Timespec
		// Take the signal away before it is unblocked.
		_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&pipe)), 0, uintptr(unsafe.Pointer(&none)), 8, 0, 0)
	}
	sigprocmask(sigSetMask, &before, nil)
}

const (
	sigBlock   = 0
	sigSetMask = 2
)

func sigprocmask(how int, set, old *uint64) {
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, uintptr(how), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
}
