//go:build e2e

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What dumb-init's own tests look at, by their files: cli, exit_status, proxies_signals, child_processes,
// shell_background, cwd. The ones of tty are in terminal_e2e_test.go.

func TestDumbInitCommandLine(t *testing.T) {
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"dumb-init", 1, "no command to run"},
		{"dumb-init --yolo true", 1, "unknown flag --yolo"},
		{"dumb-init -h", 0, "--single-child"},
		{"dumb-init --help", 0, "DUMB_INIT_SETSID=0"},
		{"dumb-init -V", 0, "dumb-init v1.2.5"},
		{"dumb-init --version", 0, "dumb-init v1.2.5"},
		{"dumb-init -v true", 0, "ended with exit code 0"},
		{"dumb-init -v -c true", 0, "ended with exit code 0"},
		{"dumb-init -r", 1, "needs a value"},
		{"dumb-init -r herp", 1, `"herp" is no rewrite`},
		{"dumb-init -r herp:derp", 1, `"herp" is no signal`},
		{"dumb-init -r 15", 1, `"15" is no rewrite`},
		{"dumb-init -r 15::12", 1, `":12" is no signal`},
		{"dumb-init -r 15:derp", 1, `"derp" is no signal`},
		{"dumb-init -r 15:12 -r", 1, "needs a value"},
		{"dumb-init -r 15:12 -r 0", 1, `"0" is no rewrite`},
		{"dumb-init -r 15:12 -r 1:32", 1, "signal 32 belongs to the C library"},
		{"dumb-init -r 15:3foo true", 1, `"3foo" is no signal`},
		{"dumb-init /doesnotexist", 127, "dumb-init: /doesnotexist: no such file"},
		{"dumb-init -- /doesnotexist", 127, "dumb-init: /doesnotexist: no such file"},
		{"dumb-init -c /doesnotexist", 127, "dumb-init: /doesnotexist: no such file"},
		{"dumb-init -c -- /doesnotexist", 127, "dumb-init: /doesnotexist: no such file"},
	} {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			l := born(t, place{}, c.line)
			l.ends(c.code)
			l.contains(c.want)
		})
	}
}

// modes are dumb-init's two ways, and roll-init's.
var modes = []string{"dumb-init", "dumb-init -c", "roll-init", "roll-init -g", "tini --"}

func TestTheExitCodeIsTheChilds(t *testing.T) {
	t.Parallel()
	for _, line := range modes {
		for _, code := range []int{0, 1, 2, 32, 64, 127, 254, 255} {
			born(t, place{}, line+" sh -c", fmt.Sprintf("exit %d", code)).ends(code)
		}
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGABRT} {
			born(t, place{}, line+" sh -c", fmt.Sprintf("kill -%d $$", s)).ends(128 + int(s))
		}
	}
}

// forwarded are the signals that reach the child as they are: not SIGURG, which a Go program sends itself.
func forwarded() []syscall.Signal {
	return slices.DeleteFunc(catchable(), func(s syscall.Signal) bool {
		return s == syscall.SIGURG || s == syscall.SIGTSTP || s == syscall.SIGTTIN || s == syscall.SIGTTOU
	})
}

func TestEverySignalReachesTheChildOnce(t *testing.T) {
	for _, line := range modes {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			l := born(t, place{}, line+" $APP report")
			l.says("ready")
			got := []string{}
			for _, s := range forwarded() {
				l.signal(s)
				got = append(got, l.says(strconv.Itoa(int(s))))
			}
			l.signal(syscall.SIGUSR1)
			l.says("10")
			want := append(slices.Clone(got), "10")
			if text := strings.TrimSpace(strings.Join(warningsOut(l.output()), " ")); text != "ready "+strings.Join(want, " ") {
				t.Errorf("it got %s", text)
			}
		})
	}
}

// warningsOut drops what the init itself said.
func warningsOut(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return strings.Contains(line, "-init: ") })
}

func TestUrgentIsForwardedOnRequestOnly(t *testing.T) {
	t.Parallel()
	l := born(t, place{}, "roll-init -v -v -r URG:USR2 $APP report")
	l.says("ready")
	l.signal(syscall.SIGURG)
	l.says("12")
	l = born(t, place{}, "roll-init $APP report urg")
	l.says("ready")
	l.signal(syscall.SIGURG, syscall.SIGUSR1)
	l.says("10")
	if strings.Contains(l.output(), "23") {
		t.Errorf("it got SIGURG:\n%s", l.output())
	}
}

func TestSignalsAreRewritten(t *testing.T) {
	for _, c := range []struct {
		line string
		sent []syscall.Signal
		want string
	}{
		{"dumb-init -r 15:2", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT}, "2 2 3"},
		{"dumb-init -c -r 15:2 -r 2:15 -r 3:3", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT}, "2 15 3"},
		{"roll-init -r TERM:INT -r INT:TERM", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, "2 15"},
		{"roll-init --rewrite=1:31 --rewrite 31:1", []syscall.Signal{syscall.SIGHUP, syscall.SIGSYS}, "31 1"},
		{"roll-init -r SIGTERM=SIGQUIT", []syscall.Signal{syscall.SIGTERM}, "3"},
		{"roll-init -rTERM:RTMIN+3", []syscall.Signal{syscall.SIGTERM}, "37"},
		{"roll-init -r RTMAX:usr1", []syscall.Signal{rtMax}, "10"},
		{"dumb-init -r 15:3 -r 2:0 -r 28:0", []syscall.Signal{syscall.SIGINT, syscall.SIGWINCH, syscall.SIGTERM}, "3"},
		{"roll-init -r TERM:0", []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR2}, "12"},
		{"roll-init -g -r TERM:0", []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR2}, "12"},
	} {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			l := born(t, place{}, c.line+" $APP report")
			l.says("ready")
			for i, s := range c.sent {
				l.signal(s)
				// Dropped ones are known by what comes after them.
				if want := strings.Fields(c.want); len(want) == len(c.sent) {
					l.says(want[i])
				}
			}
			want := strings.Fields(c.want)
			if len(want) != len(c.sent) {
				l.says(want[len(want)-1])
			}
			if got := strings.Join(warningsOut(l.output()), " "); !strings.HasPrefix(got, "ready "+c.want) {
				t.Errorf("it got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("from the environment", func(t *testing.T) {
		t.Parallel()
		l := born(t, place{env: []string{"ROLL_INIT_REWRITE=TERM:USR1, INT:0"}}, "roll-init $APP report")
		l.says("ready")
		l.signal(syscall.SIGINT, syscall.SIGTERM)
		l.says("10")
	})
}

// A pipeline of a shell: in group mode all of it ends with the signal, in single mode the shell alone does.
func TestAPipelineEndsAsAWholeInGroupMode(t *testing.T) {
	t.Parallel()
	for line, survivors := range map[string]int{"dumb-init": 0, "dumb-init -c": 4, "roll-init -g": 0} {
		// Not PID 1 and no subreaper, so that survivors are somebody else's: the outer init's, which counts them.
		outer := `trap : TERM; ` + below(line) + ` sh -c 'sleep 600 | tail >/dev/null & sleep 600 | tail >/dev/null & echo ready; wait' & p=$!
			while ! [ "$(cat /proc/*/comm 2>/dev/null | grep -cxE 'sleep|tail')" = 4 ]; do sleep 0.05; done
			kill -TERM $p; wait $p; echo "code $?"
			n=4; for i in 1 2 3 4 5 6 7 8 9 10; do n=$(cat /proc/[0-9]*/stat 2>/dev/null | grep -E '\((sleep|tail)\) [^Z]' | wc -l); [ $n = ` + fmt.Sprint(survivors) + ` ] && break; sleep 0.05; done; echo "survivors $n"`
		l := born(t, place{Path: "/bin/sh"}, "sh -c", outer)
		l.says("code 143")
		l.says(fmt.Sprintf("survivors %d", survivors))
		l.ends(0)
	}
}

// below makes a command line for a shell of the machine.
func below(line string) string {
	name, flags, _ := strings.Cut(line, " ")
	return binaries + "/" + name + " " + flags
}

// When the main process ends, what it leaves behind is told to stop.
func TestWhatOutlivesTheMainProcessIsToldToStop(t *testing.T) {
	t.Parallel()
	for _, line := range modes {
		l := born(t, place{}, line+" sh -c", `$0 stop 0.1s 0 & while :; do [ -e /proc/$! ] && break; done; sleep 0.2; exit 7`, binaries+"/app")
		l.ends(7)
		l.contains("got 15", "bye")
	}
}

func TestATerminalsStopSignalsSuspend(t *testing.T) {
	for _, c := range []struct {
		line  string
		child string // state of the child: T stopped
		init  string
	}{
		{"dumb-init", "T", "T"},
		{"dumb-init -c", "T", "T"},
		{"dumb-init -r 20:12", "", "T"},
		{"roll-init", "T", "S"},
		{"tini", "T", "S"},
	} {
		for _, s := range []syscall.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
			if c.child == "" && s != syscall.SIGTSTP {
				continue
			}
			t.Run(c.line+" "+signalName(s), func(t *testing.T) {
				t.Parallel()
				// PID 1 cannot stop itself, so this one is another.
				app := " $APP stop 1h 0" // which leaves these signals alone
				if c.child == "" {
					app = " $APP report"
				}
				l := born(t, place{Keep: true}, c.line+app)
				l.says("ready")
				child := l.child()
				l.signal(s)
				waitState(t, l.cmd.Process.Pid, c.init)
				if c.child != "" {
					waitState(t, child, c.child)
				} else {
					l.says("12")
				}
				l.signal(syscall.SIGCONT)
				waitState(t, l.cmd.Process.Pid, "S")
				waitState(t, child, "S")
				l.signal(syscall.SIGKILL)
				_ = syscall.Kill(child, syscall.SIGKILL)
			})
		}
	}
}

// waitState waits until a process of the machine is in a state: S sleeping, T stopped.
func waitState(t *testing.T, pid int, want string) {
	t.Helper()
	state := ""
	for limit, tick := time.After(patience), time.Tick(10*time.Millisecond); state != want; <-tick {
		out := readFile(t, fmt.Sprintf("/proc/%d/stat", pid))
		state = strings.Fields(out[strings.LastIndexByte(out, ')')+1:])[0]
		if state == "R" {
			state = "S"
		}
		select {
		case <-limit:
			t.Fatalf("process %d is in state %s, want %s", pid, state, want)
		default:
		}
	}
}

func TestTheInitLeavesItsFolderAndTheChildKeepsIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, line := range modes {
		l := born(t, place{Dir: dir}, line+" sh -c", `while [ "$(readlink /proc/1/cwd)" != / ]; do sleep 0.01; done; echo "child in $PWD"`)
		l.ends(0)
		l.contains("child in " + dir)
	}
}
