//go:build e2e

package main

import (
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// Each process here leads a session with a terminal, as the first process of `docker run -it` does. Tini's cases 36 and
// 37, and dumb-init's tty and shell_background.

func TestOnATerminal(t *testing.T) {
	for _, line := range modes {
		on := func(t *testing.T, rest string, extra ...string) *life {
			t.Helper()
			return born(t, place{Terminal: true}, line+" "+rest, extra...)
		}
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			t.Run("a shell has job control", func(t *testing.T) {
				l := on(t, "bash -mc", `echo "flags $-"; sleep 1000 & kill %1; wait %1; echo "job $?"`)
				if flags := l.says("flags "); !strings.Contains(flags, "m") {
					t.Error(flags)
				}
				l.says("job 143")
				l.ends(0)
				if text := l.all(); strings.Contains(text, "job control") || strings.Contains(text, "terminal process group") {
					t.Error(text)
				}
			})
			t.Run("an interactive shell can be left", func(t *testing.T) {
				l := on(t, "dash -i")
				l.types("echo up $((6*7))\n")
				l.says("up 42")
				l.types("exit 6\n")
				l.ends(6)
			})
			t.Run("Ctrl-C reaches the application", func(t *testing.T) {
				l := on(t, "sh -c", "echo ready; exec sleep 1000")
				l.says("ready")
				l.types("\x03")
				l.ends(130)
			})
			t.Run("Ctrl-Z does not freeze it", func(t *testing.T) {
				l := on(t, "$APP stop 0s 3")
				l.says("ready")
				l.types("\x1atyped\n")
				l.says("typed") // so the terminal has done with the key before
				l.signal(syscall.SIGTERM)
				l.says("got 15")
				l.ends(3)
			})
			t.Run("a pipe of lines gets through", func(t *testing.T) {
				l := on(t, "tac")
				l.types("one\ntwo\n\x04")
				l.ends(0)
				if text := l.all(); !strings.HasSuffix(strings.TrimSpace(text), "two\none") {
					t.Errorf("it printed:\n%s", text)
				}
			})
			t.Run("giving the terminal away sends the application nothing, later signals reach it", func(t *testing.T) {
				l := on(t, "$APP report")
				l.says("ready")
				l.signal(syscall.SIGUSR1)
				l.says("10")
				if text := strings.Join(warningsOut(l.output()), " "); text != "ready 10" {
					t.Errorf("it got %q", text)
				}
				l.signal(syscall.SIGHUP)
				l.says("1")
				l.signal(syscall.SIGCONT)
				l.says("18")
				size := [4]uint16{50, 100}
				if err := ioctl(int(l.keys.Fd()), syscall.TIOCSWINSZ, uintptr(unsafe.Pointer(&size))); err != nil {
					t.Fatal(err)
				}
				l.says("28") // SIGWINCH
			})
		})
	}
}
