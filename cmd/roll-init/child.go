package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// startError says why the application could not be started, and with which exit code to end for that.
type startError struct {
	code int
	text string
}

func (e startError) Error() string { return e.text }

// find is the file that a command's first word means: itself when it has a slash, else the first executable one in path.
func find(name, path string) (string, error) {
	if name == "" {
		return "", startError{exitNotFound, `the command is "": nothing to run`}
	}
	if strings.Contains(name, "/") {
		return name, runnable(name)
	}
	var denied error
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		file := dir + "/" + name
		err := runnable(file)
		if err == nil {
			return file, nil
		}
		var e startError
		if errors.As(err, &e) && e.code == exitNotRunnable && denied == nil {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", startError{exitNotFound, fmt.Sprintf("%s: not found in PATH=%s", name, path)}
}

func runnable(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
		return startError{exitNotFound, file + ": no such file"}
	case err != nil:
		return startError{exitNotRunnable, fmt.Sprintf("%s: %v", file, errors.Unwrap(err))}
	case info.IsDir():
		return startError{exitNotRunnable, file + ": it is a directory"}
	}
	const execute, effective = 1, 0x200 // X_OK, AT_EACCESS
	if err := syscall.Faccessat(-100, file, execute, effective); err != nil {
		return startError{exitNotRunnable, fmt.Sprintf("%s: it may not be executed by user %d: %v", file, os.Geteuid(), err)}
	}
	return nil
}

// start starts the application: in a process group of its own, in the foreground of the terminal if there is one, with
// the signal mask that roll-init was started with. What it got ignored stays ignored, as far as the Go runtime leaves
// that alone: see inherited. Signals are queued in the returned channels from before the start on.
func start(o *options, l *log) (pid int, children, signals chan os.Signal, err error) {
	path, ok := os.LookupEnv("PATH")
	if !ok {
		path = "/usr/local/bin:/bin:/usr/bin"
	}
	file, err := find(o.command[0], path)
	if err != nil {
		return 0, nil, nil, err
	}
	argv := o.command
	// A socket-activated program compares LISTEN_PID with its own id, which is known only after the fork.
	if os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		file, argv = "/proc/self/exe", append([]string{"roll-init", listenVerb, file}, argv...)
	}

	children, signals = make(chan os.Signal, 1), make(chan os.Signal, 256)
	ignored := inherited()
	for _, s := range ignored {
		l.infof("%s is ignored by whoever started this, and so it is for the application", signalName(s))
	}
	signal.Notify(children, syscall.SIGCHLD)
	leader := leadsTerminal()
	for _, s := range catchable() {
		switch {
		case leader && (s == syscall.SIGHUP || s == syscall.SIGCONT):
			// Giving the terminal away sends both to this process, and they are not for the application.
			signal.Ignore(s)
		case !has(ignored, s):
			signal.Notify(signals, s)
		}
	}

	attr := &syscall.SysProcAttr{}
	switch {
	case leader && ioctl(0, syscall.TIOCNOTTY, 0) == nil:
		// As the leader of a new session the application owns the terminal: shells have job control, Ctrl-C reaches
		// it, and Ctrl-Z cannot freeze it, because nobody is there to continue it.
		attr.Setsid, attr.Setctty = true, true
	case o.session:
		attr.Setsid = true
	case ownsTerminal():
		attr.Setpgid, attr.Foreground = true, true
	default:
		attr.Setpgid = true
	}
	if leader {
		if !has(ignored, syscall.SIGHUP) {
			signal.Notify(signals, syscall.SIGHUP)
		}
		signal.Notify(signals, syscall.SIGCONT)
	}
	pid, err = fork(file, argv, attr)
	if errors.Is(err, syscall.ENOEXEC) {
		// A script without #!: shells and execvp(3) run it by sh, and entrypoints rely on that.
		pid, err = fork("/bin/sh", append([]string{"sh", file}, argv[1:]...), attr)
	}
	if err != nil {
		code := exitNotRunnable
		if errors.Is(err, syscall.ENOENT) {
			code = exitNotFound
			err = fmt.Errorf("%w (the file is there, so it is the interpreter after #!, or the dynamic loader, that is missing)", err)
		}
		return 0, nil, nil, startError{code, fmt.Sprintf("%s: %v", file, err)}
	}
	for _, s := range ignored {
		signal.Notify(signals, s)
	}
	return pid, children, signals, nil
}

// fork starts a program. Terminals differ in what they allow, so without one is better than not at all.
func fork(file string, argv []string, attr *syscall.SysProcAttr) (int, error) {
	proc := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attr}
	pid, err := syscall.ForkExec(file, argv, proc)
	if (attr.Setctty || attr.Foreground) && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTTY) || errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.EIO)) {
		attr.Setctty, attr.Foreground = false, false
		pid, err = syscall.ForkExec(file, argv, proc)
	}
	return pid, err
}

// inherited are the signals that were ignored when this process started and that still are: the Go runtime leaves alone
// HUP and INT (nohup, a shell's background jobs), and TSTP, TTIN, TTOU and CONT. It catches the others before any of this
// code runs, and so they become what they are by default in the application. That is wanted for stop signals: an
// application behind `trap "" TERM` could never be stopped.
func inherited() []syscall.Signal {
	var found []syscall.Signal
	for _, s := range catchable() {
		var action [4]uint64 // struct sigaction of the kernel: handler, flags, restorer, mask
		if sigaction(s, nil, &action) && action[0] == 1 {
			found = append(found, s)
		}
	}
	return found
}

// sigaction asks or sets what happens on a signal.
func sigaction(s syscall.Signal, action, old *[4]uint64) bool {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	return errno == 0
}

func has(list []syscall.Signal, s syscall.Signal) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// leadsTerminal reports whether standard input is the terminal of a session that this process leads, as the first process
// of `docker run -t`.
func leadsTerminal() bool {
	var session int32
	return ioctl(0, syscall.TIOCGSID, uintptr(unsafe.Pointer(&session))) == nil && int(session) == os.Getpid()
}

// ownsTerminal reports whether standard input is a terminal that this process is in the foreground of.
func ownsTerminal() bool {
	var group int32
	return ioctl(0, syscall.TIOCGPGRP, uintptr(unsafe.Pointer(&group))) == nil && int(group) == syscall.Getpgrp()
}

func ioctl(fd int, request, argument uintptr) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, argument); errno != 0 {
		return errno
	}
	return nil
}

// listenVerb is what start runs the application through when sockets were passed in.
const listenVerb = "exec-with-own-listen-pid"

// execListening replaces this process by the application, which then finds its own id in LISTEN_PID.
func execListening(args []string, l *log) int {
	if len(args) < 2 {
		l.errorf("%s is for roll-init itself", listenVerb)
		return exitUsage
	}
	if err := os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())); err != nil {
		l.errorf("set LISTEN_PID: %v", err)
		return exitUsage
	}
	return execute(args[0], args[1:], l)
}

// execute replaces this process by a program; it returns only when that is impossible.
func execute(file string, argv []string, l *log) int {
	runtime.LockOSThread()
	err := syscall.Exec(file, argv, os.Environ())
	if errors.Is(err, syscall.ENOEXEC) {
		err = syscall.Exec("/bin/sh", append([]string{"sh", file}, argv[1:]...), os.Environ())
	}
	l.errorf("run %s: %v", file, err)
	if errors.Is(err, syscall.ENOENT) {
		return exitNotFound
	}
	return exitNotRunnable
}

// closeInherited closes the files from 3 on that were passed in: they are the application's. Kept open here, its
// listening sockets would go on taking connections that nobody answers, and its pipes would never end.
func closeInherited() {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, entry := range dir {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd < 3 {
			continue
		}
		// What this process opened itself is closed on exec, so it is recognised by that.
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
		if errno == 0 && flags&syscall.FD_CLOEXEC == 0 {
			_ = syscall.Close(fd)
		}
	}
}
