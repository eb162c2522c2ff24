package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// variables is an environment for a test.
func variables(pairs ...string) lookup {
	return func(name string) (string, bool) {
		for _, pair := range pairs {
			if n, value, _ := strings.Cut(pair, "="); n == name {
				return value, true
			}
		}
		return "", false
	}
}

func TestSignalsAreReadByNameAndNumber(t *testing.T) {
	for text, want := range map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "SIGTERM": syscall.SIGTERM, "term": syscall.SIGTERM, "sigTerm": syscall.SIGTERM, "15": syscall.SIGTERM,
		"1": syscall.SIGHUP, "31": syscall.SIGSYS, "STKFLT": 16, "IOT": syscall.SIGABRT, "CLD": syscall.SIGCHLD, "POLL": syscall.SIGIO,
		"RTMIN": 34, "SIGRTMIN+3": 37, "rtmin+30": 64, "RTMAX": 64, "RTMAX-14": 50, "34": 34, "64": 64,
	} {
		got, err := parseSignal(text)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"SIGTREM":  `"SIGTREM" is no signal: did you mean SIGTERM?`,
		"QIUT":     `"QIUT" is no signal: did you mean SIGQUIT?`,
		"WINHC":    `"WINHC" is no signal: did you mean SIGWINCH?`,
		"banana":   `"banana" is no signal: write a name such as TERM or RTMIN+3, or a number from 1 to 64`,
		"":         `"" is no signal: write a name such as TERM or RTMIN+3, or a number from 1 to 64`,
		"0":        `0 is no signal: the numbers go from 1 to 64`,
		"-1":       `-1 is no signal: the numbers go from 1 to 64`,
		"65":       `65 is no signal: the numbers go from 1 to 64`,
		"33":       `signal 33 belongs to the C library's threads: the first real-time signal is 34`,
		"RTMIN+31": `"RTMIN+31" is no signal: write a name such as TERM or RTMIN+3, or a number from 1 to 64`,
		"RTMIN-1":  `"RTMIN-1" is no signal: write a name such as TERM or RTMIN+3, or a number from 1 to 64`,
		"RTMIN++1": `"RTMIN++1" is no signal: write a name such as TERM or RTMIN+3, or a number from 1 to 64`,
	} {
		if got, err := parseSignal(text); err == nil || err.Error() != want {
			t.Errorf("%s: %d, %v\nwant %s", text, got, err, want)
		}
	}
}

func TestEverySignalReadsBackAsItIsShown(t *testing.T) {
	for _, s := range append(catchable(), syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGPROF, rtMin) {
		if got, err := parseSignal(signalName(s)); err != nil || got != s {
			t.Errorf("%d is shown as %s and read as %d, %v", s, signalName(s), got, err)
		}
	}
}

func TestRewritesAreRead(t *testing.T) {
	for text, want := range map[string]string{
		"TERM:QUIT":       "map[terminated:quit]",
		"15:3":            "map[terminated:quit]",
		"SIGTERM=SIGQUIT": "map[terminated:quit]",
		"TERM:0":          "map[terminated:signal 0]",
		"HUP:KILL":        "map[hangup:killed]",
		"TERM:RTMIN+3":    "map[terminated:signal 37]",
		"TERM":            `"TERM" is no rewrite: write FROM:TO, such as TERM:QUIT, 15:3, or TERM:0 to drop it`,
		"":                `"" is no rewrite: write FROM:TO, such as TERM:QUIT, 15:3, or TERM:0 to drop it`,
		"0:15":            "0 is no signal: the numbers go from 1 to 64",
		"TERM:TERMM":      `"TERMM" is no signal: did you mean SIGTERM?`,
		"KILL:TERM":       "SIGKILL cannot be rewritten: no program ever sees it",
		"CHLD:TERM":       "SIGCHLD cannot be rewritten: it is about the children of the one who gets it, and is never passed on",
		"PROF:TERM":       "SIGPROF cannot be rewritten: the Go runtime keeps it to itself",
		"TERM:QUIT:USR1":  `"QUIT:USR1" is no signal: write a name such as TERM or RTMIN+3, or a number from 1 to 64`,
	} {
		r := rewrites{}
		got := ""
		if err := r.add(text); err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprint(r)
		}
		if got != want {
			t.Errorf("%s: %s\nwant %s", text, got, want)
		}
	}
}

func TestCommandLinesAreRead(t *testing.T) {
	type read func([]string, lookup) (*options, error)
	show := func(o *options) string {
		return fmt.Sprintf("%s drain=%s grace=%s wait=%s rewrites=%v auto=%t group=%t session=%t subreaper=%t exits=%v death=%d reaped=%t v=%d stops=%d",
			strings.Join(o.command, "|"), o.drain, o.grace, o.wait, o.rewrites, o.auto, o.group, o.session, o.subreaper, o.exits, o.death, o.reaped, o.verbosity, len(o.stops))
	}
	const none = " drain=0s grace=0s wait=-1ns rewrites=map[] auto=false group=false session=false subreaper=false exits=map[] death=0 reaped=false v=1 stops=2"
	for _, c := range []struct {
		name string
		read read
		line string
		env  []string
		want string
	}{
		{"a command alone", rollInitOptions, "app -v --drain 3s", nil, "app|-v|--drain|3s" + none},
		{"two dashes", rollInitOptions, "-- -v", nil, "-v" + none},
		{"every flag", rollInitOptions, "-wgsvv -e143 -e 3:4 -p USR1 -r TERM:QUIT --auto --drain 5s --stop-grace=1m --wait 10 --stop-signal USR2 -- app", nil,
			"app drain=5s grace=1m0s wait=10s rewrites=map[terminated:quit] auto=true group=true session=false subreaper=true exits=map[3:4 143:0] death=10 reaped=true v=3 stops=3"},
		{"every variable", rollInitOptions, "app", []string{"ROLL_INIT_DRAIN=5s", "ROLL_INIT_STOP_GRACE=1m", "ROLL_INIT_WAIT=10s", "ROLL_INIT_STOP_SIGNAL=USR2",
			"ROLL_INIT_REWRITE=TERM:QUIT", "ROLL_INIT_AUTO=1", "ROLL_INIT_GROUP=true", "ROLL_INIT_SUBREAPER=1", "ROLL_INIT_EXIT_CODE=143,3:4",
			"ROLL_INIT_PARENT_DEATH=USR1", "ROLL_INIT_WARN_REAPED=1", "ROLL_INIT_VERBOSITY=3"},
			"app drain=5s grace=1m0s wait=10s rewrites=map[terminated:quit] auto=true group=true session=false subreaper=true exits=map[3:4 143:0] death=10 reaped=true v=3 stops=3"},
		{"a flag wins over its variable", rollInitOptions, "--drain 1s --group=false -- app", []string{"ROLL_INIT_DRAIN=5s", "ROLL_INIT_GROUP=1"},
			"app" + strings.Replace(none, "drain=0s", "drain=1s", 1)},
		{"an empty variable is none", rollInitOptions, "app", []string{"ROLL_INIT_DRAIN=", "ROLL_INIT_GROUP="}, "app" + none},
		{"no command", rollInitOptions, "-v", nil, "no command to run: write roll-init [FLAG]... -- COMMAND [ARGUMENT]..."},
		{"a duration without a unit that is no number", rollInitOptions, "--drain 5x app", nil, `--drain: "5x" is no duration: write 5s, 500ms or 1m30s`},
		{"a negative duration", rollInitOptions, "--drain -5s app", nil, `--drain: "-5s" is no duration: write 5s, 500ms or 1m30s`},
		{"a bad variable is named", rollInitOptions, "app", []string{"ROLL_INIT_REWRITE=TERM:QUIT,TREM:0"}, `variable ROLL_INIT_REWRITE: "TREM" is no signal: did you mean SIGTERM?`},
		{"a switch that is neither", rollInitOptions, "app", []string{"ROLL_INIT_AUTO=maybe"}, `variable ROLL_INIT_AUTO: "maybe" is neither true nor false`},
		{"an unknown flag", rollInitOptions, "--dran 5s app", nil, "unknown flag --dran; a command's own flags go after --"},
		{"an unknown letter", rollInitOptions, "-vz app", nil, "unknown flag -z; a command's own flags go after --"},
		{"a value that is missing", rollInitOptions, "--drain", nil, "--drain needs a value: --drain DURATION"},
		{"KILL as a stop signal", rollInitOptions, "--stop-signal KILL app", nil, "--stop-signal: SIGKILL cannot be a stop signal: roll-init never gets to see it"},
		{"tini", tiniOptions, "-gswv -e 143 -p SIGTERM -- app -x", nil,
			"app|-x" + strings.NewReplacer("group=false", "group=true", "subreaper=false", "subreaper=true", "reaped=false", "reaped=true", "exits=map[]", "exits=map[143:0]", "death=0", "death=15", "v=1", "v=2").Replace(none)},
		{"tini's variables count when they are there", tiniOptions, "app", []string{"TINI_SUBREAPER=", "TINI_KILL_PROCESS_GROUP=0", "TINI_VERBOSITY=0"},
			"app" + strings.NewReplacer("group=false", "group=true", "subreaper=false", "subreaper=true", "v=1", "v=0").Replace(none)},
		{"tini does not know long flags", tiniOptions, "--drain 5s app", nil, "unknown flag --drain; a command's own flags go after --"},
		{"dumb-init", dumbInitOptions, "app", nil,
			"app" + strings.NewReplacer("group=false", "group=true", "session=false", "session=true", "rewrites=map[]", "rewrites=map[stopped:stopped (signal) stopped (tty input):stopped (signal) stopped (tty output):stopped (signal)]").Replace(none)},
		{"dumb-init with a single child", dumbInitOptions, "-c -r 15:3 app", nil, "app" + strings.Replace(none, "rewrites=map[]", "rewrites=map[terminated:quit]", 1)},
		{"dumb-init's variables", dumbInitOptions, "app", []string{"DUMB_INIT_SETSID=0", "DUMB_INIT_DEBUG=1"}, "app" + strings.Replace(none, "v=1", "v=3", 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := c.read(strings.Fields(c.line), variables(c.env...))
			if err != nil {
				var usage usageError
				if err.Error() != c.want || !errors.As(err, &usage) {
					t.Errorf("%v\nwant %s", err, c.want)
				}
				return
			}
			if got := show(o); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

func TestEveryFlagHasAVariableAndHelp(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range rollInitFlags {
		if f.long == "" || f.help == "" || !strings.HasPrefix(f.env, "ROLL_INIT_") || seen[f.env] {
			t.Errorf("flag --%s: variable %q, help %q", f.long, f.env, f.help)
		}
		seen[f.env] = true
		if !strings.Contains(rollInitHelp(), "--"+f.long) {
			t.Errorf("the help does not name --%s", f.long)
		}
	}
	for _, f := range checkupFlags {
		if !strings.HasPrefix(f.env, "ROLL_INIT_HEALTH_") || seen[f.env] || !strings.Contains(rollInitHelp(), f.name) {
			t.Errorf("flag %s: variable %q", f.name, f.env)
		}
		seen[f.env] = true
	}
}

func TestStopSignalsFollowTheCourse(t *testing.T) {
	for _, c := range []struct {
		name   string
		drain  time.Duration
		events string // s a stop signal, o the drain's time is over
		want   string
	}{
		{"without a drain each is passed on", 0, "sss", "pass pass pass"},
		{"the second skips, the third kills", time.Second, "sssss", "drain skip kill kill kill"},
		{"after the drain the second is passed on, the third kills", time.Second, "soss", "drain over pass kill"},
		{"the time is over once", time.Second, "sso", "drain skip late"},
	} {
		t.Run(c.name, func(t *testing.T) {
			way := course{drain: c.drain}
			var got []string
			for _, e := range c.events {
				switch {
				case e == 's':
					got = append(got, []string{pass: "pass", drain: "drain", skip: "skip", kill: "kill"}[way.stop()])
				case way.over():
					got = append(got, "over")
				default:
					got = append(got, "late")
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%v, want %s", got, c.want)
			}
		})
	}
}
