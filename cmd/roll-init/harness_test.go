//go:build e2e

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// These tests run the real program as the first process of a process id namespace of its own, which needs root. They use
// a shell and a few of the usual tools of the machine, and no engine.

var binaries string // the folder of roll-init, tini and dumb-init, which are one file, and of app

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "roll-init-")
		if err == nil {
			defer os.RemoveAll(dir)
			err = build(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		binaries = dir
		hearAll()
		return m.Run()
	}())
}

// hearAll undoes what a shell or nohup did that started the tests in the
// background: an ignored signal would be inherited by every program under test.
func hearAll() {
	for number := syscall.Signal(1); number < 32; number++ {
		if signal.Ignored(number) {
			signal.Notify(make(chan os.Signal, 1), number)
		}
	}
}

func build(dir string) error {
	if os.Getuid() != 0 {
		return errors.New("these tests make namespaces: run them as root")
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for name, source := range map[string]string{"roll-init": ".", "app": "./testdata/app"} {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, name), source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	for _, name := range []string{"tini", "dumb-init"} {
		if err := os.Link(filepath.Join(dir, "roll-init"), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// place is where a program is to start; see testdata/app.
type place struct {
	Path     string
	Args     []string
	Root     string
	Dir      string
	User     int
	ReadOnly bool
	NoCaps   bool
	Ignore   []int
	Block    []int
	Terminal bool
	Listen   bool
	Keep     bool

	env   []string
	stdin *os.File
	files []*os.File // from 3 on
}

// limit is how long anything may take before it counts as hung.
const patience = 15 * time.Second

// life is one run of a program.
type life struct {
	t     testing.TB
	cmd   *exec.Cmd
	keys  *os.File    // where to type, when it has a terminal
	lines chan string // of standard output and error, closed at their end
	mu    sync.Mutex
	seen  []string
	done  chan struct{}
	code  int
}

// words makes a command line of roll-init, tini or dumb-init; $APP stands for the test's own application.
func words(line string) []string {
	return strings.Fields(strings.ReplaceAll(line, "$APP", filepath.Join(binaries, "app")))
}

// born starts a program as PID 1. The last argument of a command line with spaces is given by extra.
func born(t testing.TB, p place, line string, extra ...string) *life {
	t.Helper()
	p.Args = append(words(line), extra...)
	if p.Path == "" {
		p.Path = filepath.Join(binaries, p.Args[0])
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(binaries, "app"), "enter", string(text))
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if p.Keep {
		cmd.SysProcAttr = nil
	}
	cmd.ExtraFiles = p.files
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = writer, writer
	if p.stdin != nil {
		cmd.Stdin = p.stdin
	}
	if p.Terminal {
		writer.Close()
		reader, writer = pty(t)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = writer, writer, writer
	}
	l := &life{t: t, cmd: cmd, keys: reader, lines: make(chan string, 10000), done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	go func() {
		defer close(l.lines)
		defer reader.Close()
		for s := bufio.NewScanner(reader); s.Scan(); {
			l.mu.Lock()
			l.seen = append(l.seen, strings.TrimRight(s.Text(), "\r"))
			l.mu.Unlock()
			l.lines <- strings.TrimRight(s.Text(), "\r")
		}
	}()
	go func() {
		_ = cmd.Wait()
		l.code = cmd.ProcessState.ExitCode()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
			l.code = -int(status.Signal())
		}
		close(l.done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-l.done
	})
	return l
}

func (l *life) output() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.seen, "\n")
}

// says waits for a line that contains the text, and returns it.
func (l *life) says(text string) string {
	l.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case line, ok := <-l.lines:
			if !ok {
				l.t.Fatalf("it never said %q:\n%s", text, l.output())
			}
			if strings.Contains(line, text) {
				return line
			}
		case <-limit:
			l.t.Fatalf("it did not say %q within %s:\n%s", text, patience, l.output())
		}
	}
}

func (l *life) signal(signals ...syscall.Signal) {
	l.t.Helper()
	for _, s := range signals {
		if err := l.cmd.Process.Signal(s); err != nil {
			l.t.Fatalf("send %s: %v", signalName(s), err)
		}
	}
}

// ends waits for the end and fails the test when the exit code is another one; -9 is death by SIGKILL.
func (l *life) ends(code int) {
	l.t.Helper()
	select {
	case <-l.done:
	case <-time.After(patience):
		l.t.Fatalf("it did not end within %s:\n%s", patience, l.output())
	}
	if l.code != code {
		l.t.Fatalf("exit code %d, want %d:\n%s", l.code, code, l.all())
	}
}

// all is everything that was printed, after the end. Processes that are left keep the output open.
func (l *life) all() string {
	limit := time.After(patience)
	for {
		select {
		case _, ok := <-l.lines:
			if !ok {
				return l.output()
			}
		case <-limit:
			l.t.Fatalf("somebody holds the output %s after the end:\n%s", patience, l.output())
		}
	}
}

func (l *life) contains(want ...string) {
	l.t.Helper()
	text := l.all()
	for _, w := range want {
		if !strings.Contains(text, w) {
			l.t.Errorf("it did not say %q:\n%s", w, text)
		}
	}
}

// inside runs a program in the namespaces of a life, as an engine's exec does, and returns its output and exit code.
func (l *life) inside(args ...string) (string, int) {
	l.t.Helper()
	all := append([]string{"-t", fmt.Sprint(l.cmd.Process.Pid), "-p", "-m", "--"}, args...)
	cmd := exec.Command("nsenter", all...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatalf("nsenter: %v", err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// pty opens a terminal: what is typed and seen, and what a program has.
func pty(t testing.TB) (keys, terminal *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var zero, number int32
	const unlock, getNumber = 0x40045431, 0x80045430 // TIOCSPTLCK, TIOCGPTN
	if err := ioctl(int(keys.Fd()), unlock, uintptr(unsafe.Pointer(&zero))); err != nil {
		t.Fatal(err)
	}
	if err := ioctl(int(keys.Fd()), getNumber, uintptr(unsafe.Pointer(&number))); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return keys, terminal
}

// types types something on its terminal.
func (l *life) types(text string) {
	l.t.Helper()
	if _, err := l.keys.WriteString(text); err != nil {
		l.t.Fatal(err)
	}
}

// child is the id of the first process that it has started.
func (l *life) child() int {
	l.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", l.cmd.Process.Pid))
	if err != nil {
		l.t.Fatal(err)
	}
	for _, task := range tasks {
		for _, id := range strings.Fields(readFile(l.t, task)) {
			if n, err := strconv.Atoi(id); err == nil {
				return n
			}
		}
	}
	l.t.Fatal("it has no child")
	return 0
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
