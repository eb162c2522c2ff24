//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What Tini's own tests look at. The numbers count its cases in their order: the smoke tests of its build, then those
// inside a container, then those around one.

func TestTiniCommandLine(t *testing.T) {
	for _, c := range []struct {
		name string // with the numbers of Tini's cases
		line string
		env  []string
		code int
		want string
	}{
		{"1 the version", "tini --version", nil, 0, "tini version 0.19.0"},
		{"2 and 3 no arguments", "tini", nil, 1, "no command to run"},
		{"4 and 8 help", "tini -h", nil, 0, "more verbose"},
		{"5 the licence", "tini -l", nil, 0, "LICENSE"},
		{"6 verbose, and the command succeeds", "tini -vvv true", nil, 0, "ended with exit code 0"},
		{"7 verbose, and the command fails", "tini -vvv false", nil, 1, "ended with exit code 1"},
		{"9 two dashes", "tini -vvv -- true", nil, 0, ""},
		{"10 two dashes twice: the second is the command", "tini -vvv -- -- true", nil, 127, "--: not found"},
		{"11 verbosity from the environment", "tini true", []string{"TINI_VERBOSITY=3"}, 0, "received SIGCHLD"},
		{"12 no such command", "tini nothing-of-that-name", nil, 127, "not found in PATH"},
		{"12 no such file", "tini /nothing", nil, 127, "/nothing: no such file"},
		{"13 a folder", "tini /etc", nil, 126, "directory"},
		{"13 a file that may not be executed", "tini /etc/passwd", nil, 126, "may not be executed"},
		{"34 an unknown flag", "tini -z", nil, 1, "unknown flag -z"},
		{"34 a flag and no command", "tini -w", nil, 1, "no command to run"},
		{"an exit code that is none", "tini -e 256 -- true", nil, 1, `"256" is no exit code`},
		{"a parent death signal that is none", "tini -p SIGFOO -- true", nil, 1, `"SIGFOO" is no signal`},
		{"the command's own flags are its own", "tini sh -c exit\t3", nil, 3, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			words := strings.Fields(c.line)
			if strings.Contains(c.line, "\t") {
				words = strings.Split(strings.Replace(c.line, "\t", "\x00", 1), " ")
				words[len(words)-1] = strings.Replace(words[len(words)-1], "\x00", " ", 1)
			}
			l := born(t, place{env: c.env}, words[0], words[1:]...)
			l.ends(c.code)
			l.contains(c.want)
		})
	}
}

func TestTini14StandardInputIsTheCommands(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("echo from stdin; exit 9\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	l := born(t, place{stdin: r}, "tini sh")
	l.ends(9)
	l.contains("from stdin")
}

func TestTini18And19ExitCodesAreRemappedOneByOne(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tini", "roll-init"} {
		for code := range 256 {
			l := born(t, place{}, fmt.Sprintf("%s -e %d -- sh -c", name, code), fmt.Sprintf("exit %d", code))
			l.ends(0)
		}
	}
	var others []string
	for code := range 256 {
		if code != 77 {
			others = append(others, "-e", fmt.Sprint(code))
		}
	}
	l := born(t, place{}, "tini "+strings.Join(others, " ")+" -- sh -c", "exit 77")
	l.ends(77)
	l = born(t, place{}, "roll-init -e 3:4 -- sh -c", "exit 3")
	l.ends(4)
}

// adopters are the ways to become the one who reaps.
func adopters() map[string]place {
	return map[string]place{
		"tini --":       {},
		"roll-init --":  {},
		"dumb-init":     {},
		"dumb-init -c":  {},
		"tini -s --":    {Keep: true},
		"tini":          {Keep: true, env: []string{"TINI_SUBREAPER="}},
		"roll-init -s ": {Keep: true},
		"roll-init":     {Keep: true, env: []string{"ROLL_INIT_SUBREAPER=1"}},
	}
}

func TestTini20And30AHundredOrphansAreReaped(t *testing.T) {
	for line, p := range adopters() {
		t.Run(line+" "+fmt.Sprint(p.env), func(t *testing.T) {
			t.Parallel()
			if p.Keep {
				// Without a process id namespace the init's own children are what counts.
				l := born(t, p, line+" sh -c", `sh -c 'i=0; while [ $i -lt 100 ]; do sleep 1 & i=$((i+1)); done'
					while :; do set -- $(cat /proc/$PPID/task/*/children); [ $# -eq 1 ] && exit 0; sleep 0.05; done`)
				l.ends(0)
				l.contains("")
				return
			}
			l := born(t, p, line+" $APP orphans 100 1")
			l.ends(0)
			if text := l.all(); text != "" {
				t.Errorf("it should have kept quiet:\n%s", text)
			}
		})
	}
}

func TestTini21ReapedOrphansAreTold(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tini", "roll-init"} {
		l := born(t, place{}, name+" -w -- $APP orphans 3 0.1")
		l.ends(0)
		if n := strings.Count(l.all(), "reaped process"); n < 3 {
			t.Errorf("%d orphans told, want 3 or more:\n%s", n, l.output())
		}
	}
}

func TestTini22To24And31To33ASignalEndsTheChildAndIsTheExitCode(t *testing.T) {
	for line, p := range adopters() {
		t.Run(line+" "+fmt.Sprint(p.env), func(t *testing.T) {
			t.Parallel()
			for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGINT} {
				l := born(t, p, line+" sh -c", "echo ready; exec sleep 1000")
				l.says("ready")
				l.signal(s)
				l.ends(128 + int(s))
			}
		})
	}
}

func TestTini25And26AGroupIsSignalledAsAWhole(t *testing.T) {
	for line, env := range map[string][]string{
		"tini -g --":           nil,
		"tini":                 {"TINI_KILL_PROCESS_GROUP=1"},
		"roll-init --group --": nil,
		"roll-init":            {"ROLL_INIT_GROUP=true"},
		"dumb-init":            nil,
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			l := born(t, place{env: env}, line+" sh -c", `trap '' USR1; echo ready; (trap - USR1; exec env --default-signal=USR1 sleep 1000); echo "the grandchild ended: $?"`)
			l.says("ready")
			// The grandchild may not be there yet: the signal is repeated until it is hit.
			for tick := time.Tick(50 * time.Millisecond); !strings.Contains(l.output(), "ended"); <-tick {
				if err := l.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
					break
				}
			}
			l.ends(0)
			l.contains("the grandchild ended: 138")
		})
	}
}

func TestTini27OrphansOfSomebodyElseAreWarnedAbout(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tini", "roll-init"} {
		l := born(t, place{Keep: true}, name+" -- true")
		l.ends(0)
		l.contains("no subreaper")
		l = born(t, place{Keep: true}, name+" -s -- true")
		l.ends(0)
		if text := l.all(); text != "" {
			t.Errorf("it should have kept quiet:\n%s", text)
		}
	}
}

func TestTini28TheChildHasTheMasksThatTheInitWasStartedWith(t *testing.T) {
	t.Parallel()
	fields := "grep -E 'Sig(Blk|Ign)|RT' /proc/self/status; ulimit -n"
	for _, c := range []struct {
		name          string
		ignore, block []int
	}{
		{"nothing", nil, nil},
		{"as Tini's test has it", []int{int(syscall.SIGTTOU), int(syscall.SIGINT)}, []int{int(syscall.SIGTTIN), int(syscall.SIGILL), int(syscall.SIGTERM)}},
		{"nohup", []int{int(syscall.SIGHUP)}, nil},
		{"a shell's background job, and a terminal's signals", []int{int(syscall.SIGINT), int(syscall.SIGTSTP), int(syscall.SIGTTIN), int(syscall.SIGTTOU)}, nil},
		{"everything blocked that can be", nil, []int{1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 34, 35, 64}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			run := func(line string) string {
				p := place{Ignore: c.ignore, Block: c.block}
				if line == "" {
					p.Path = "/bin/sh"
				}
				l := born(t, p, strings.TrimSpace(line+" sh -c"), fields)
				l.ends(0)
				return l.all()
			}
			want := run("")
			for _, line := range []string{"tini --", "roll-init --"} {
				if got := run(line); got != want {
					t.Errorf("%s:\n%s\nwithout:\n%s", line, got, want)
				}
			}
		})
	}
}

func TestTini29TheParentsDeathIsToldToTheChild(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"tini -p SIGUSR1", "roll-init --parent-death USR1"} {
		file := filepath.Join(t.TempDir(), "told")
		// Three shells: the namespace's first, the parent that dies, and below the init the one that must be told.
		inner := fmt.Sprintf(`trap 'echo told > %s; exit' USR1; kill -KILL $(cut -d" " -f4 /proc/$PPID/stat); while :; do sleep 0.05; done`, file)
		outer := fmt.Sprintf(`sh -c '%s -s -- sh "$0"; true' "$1"; while ! [ -s %s ]; do sleep 0.05; done; cat %s`, filepath.Join(binaries, flags), file, file)
		script := filepath.Join(t.TempDir(), "inner.sh")
		if err := os.WriteFile(script, []byte(inner), 0o644); err != nil {
			t.Fatal(err)
		}
		l := born(t, place{Path: "/bin/sh"}, "sh -c", outer, "sh", script)
		l.ends(0)
		l.contains("told")
	}
}
