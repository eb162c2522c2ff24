package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lookup finds a variable of the environment; [os.LookupEnv] fits.
type lookup func(string) (string, bool)

// options are everything that a command line and the environment can ask of the init.
type options struct {
	name    string   // what messages begin with: roll-init, tini or dumb-init
	command []string // the application and its arguments

	drain     time.Duration // how long to serve on after the stop signal; 0 passes it on at once
	grace     time.Duration // what the platform grants from the stop signal to SIGKILL; 0 when nobody told
	wait      time.Duration // how long other children may outlive the application; negative when nobody told
	stops     []syscall.Signal
	rewrites  rewrites
	auto      bool
	group     bool           // signals go to the whole process group of the application
	session   bool           // the application always gets a session of its own, as under dumb-init
	suspend   bool           // a terminal's stop signal stops the init too, as under dumb-init
	subreaper bool           // adopt orphans without being PID 1
	exits     map[int]int    // exit codes to report instead
	death     syscall.Signal // what to get when the parent dies; 0 is nothing
	reaped    bool           // tell about every orphan that was reaped
	verbosity int            // 0 errors, 1 warnings, 2 what happens, 3 every signal
}

// exitUsage is the exit code for a command line that cannot be used. Tini and dumb-init have 1.
const (
	exitUsage       = 2
	exitUsageCompat = 1
	exitNotRunnable = 126
	exitNotFound    = 127
)

// usageError is a command line or a variable that cannot be used.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// flag is one option of a command line.
type flag struct {
	short byte   // 0 for none
	long  string // "" for none
	value string // what its value is called in the help; "" for a switch
	env   string // the variable that means the same; "" for none
	list  bool   // the variable holds several values, separated by commas
	help  string
	set   func(o *options, value string) error
}

// rollInitFlags are the flags of roll-init itself.
var rollInitFlags = []flag{
	{long: "drain", value: "DURATION", env: "ROLL_INIT_DRAIN", set: duration(func(o *options, d time.Duration) { o.drain = d }),
		help: "on the stop signal: report unhealthy, serve on for so long, then pass the signal on (0s)"},
	{long: "stop-grace", value: "DURATION", env: "ROLL_INIT_STOP_GRACE", set: duration(func(o *options, d time.Duration) { o.grace = d }),
		help: "the platform's grace period (stop_grace_period), to warn when the drain does not fit in"},
	{long: "stop-signal", value: "SIGNAL", env: "ROLL_INIT_STOP_SIGNAL", list: true, set: setStop,
		help: "another signal that begins the drain, beside TERM and INT"},
	{short: 'r', long: "rewrite", value: "FROM:TO", env: "ROLL_INIT_REWRITE", list: true, set: func(o *options, v string) error { return o.rewrites.add(v) },
		help: "pass another signal on: TERM:QUIT, 15:3, TERM:0 drops it"},
	{long: "auto", env: "ROLL_INIT_AUTO", set: toggle(func(o *options, on bool) { o.auto = on }),
		help: "pass on the signal that ends the program gracefully: " + autoNames()},
	{long: "wait", value: "DURATION", env: "ROLL_INIT_WAIT", set: duration(func(o *options, d time.Duration) { o.wait = d }),
		help: "how long other children may outlive the main one (no limit after a stop signal, else 10s); 0s does not wait"},
	{short: 'g', long: "group", env: "ROLL_INIT_GROUP", set: toggle(func(o *options, on bool) { o.group = on }),
		help: "pass signals to the whole process group: servers with workers lose requests by that"},
	{short: 's', long: "subreaper", env: "ROLL_INIT_SUBREAPER", set: toggle(func(o *options, on bool) { o.subreaper = on }),
		help: "adopt orphans also when not PID 1"},
	{short: 'e', long: "exit-code", value: "CODE[:AS]", env: "ROLL_INIT_EXIT_CODE", list: true, set: setExit,
		help: "report this exit code as 0, or as another one: 143, 143:0"},
	{short: 'p', long: "parent-death", value: "SIGNAL", env: "ROLL_INIT_PARENT_DEATH", set: setDeath,
		help: "the signal to get when the parent dies"},
	{short: 'w', long: "warn-reaped", env: "ROLL_INIT_WARN_REAPED", set: toggle(func(o *options, on bool) { o.reaped = on }),
		help: "tell about every orphan that was reaped"},
	{short: 'v', long: "verbose", env: "ROLL_INIT_VERBOSITY", set: setVerbosity,
		help: "say more; twice: every signal (variable: 0 errors only, 1, 2, 3)"},
}

// newOptions are the defaults, before any flag or variable.
func newOptions(name string) *options {
	return &options{
		name: name, wait: -1, verbosity: 1,
		stops:    []syscall.Signal{syscall.SIGTERM, syscall.SIGINT},
		rewrites: rewrites{}, exits: map[int]int{},
	}
}

// rollInitOptions reads roll-init's own command line, without the program's name. Flags win over variables.
func rollInitOptions(args []string, env lookup) (*options, error) {
	o := newOptions("roll-init")
	if err := o.environment(rollInitFlags, env); err != nil {
		return o, err
	}
	rest, err := o.parse(rollInitFlags, args)
	if err != nil {
		return o, err
	}
	if len(rest) == 0 {
		return o, usagef("no command to run: write roll-init [FLAG]... -- COMMAND [ARGUMENT]...")
	}
	o.command = rest
	return o, nil
}

// environment reads the variables of the flags. An empty variable is as good as none.
func (o *options) environment(flags []flag, env lookup) error {
	for _, f := range flags {
		text, _ := env(f.env)
		if text == "" {
			continue
		}
		values := []string{text}
		if f.list {
			values = strings.Split(text, ",")
		}
		for _, value := range values {
			if err := f.set(o, strings.TrimSpace(value)); err != nil {
				return usagef("variable %s: %v", f.env, err)
			}
		}
	}
	return nil
}

// parse reads flags up to the first argument that is none, or to --, and returns what follows.
func (o *options) parse(flags []flag, args []string) ([]string, error) {
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" {
			return args[1:], nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			return args, nil
		}
		args = args[1:]
		var err error
		if name, ok := strings.CutPrefix(arg, "--"); ok {
			args, err = o.parseLong(flags, name, args)
		} else {
			args, err = o.parseShort(flags, arg[1:], args)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (o *options) parseLong(flags []flag, name string, args []string) ([]string, error) {
	name, value, given := strings.Cut(name, "=")
	for _, f := range flags {
		if f.long != name || name == "" {
			continue
		}
		switch {
		case f.value == "" && !given:
			value = ""
		case f.value != "" && !given:
			if len(args) == 0 {
				return nil, usagef("--%s needs a value: --%s %s", name, name, f.value)
			}
			value, args = args[0], args[1:]
		}
		if err := f.set(o, value); err != nil {
			return nil, usagef("--%s: %v", name, err)
		}
		return args, nil
	}
	return nil, usagef("unknown flag --%s; a command's own flags go after --", name)
}

func (o *options) parseShort(flags []flag, cluster string, args []string) ([]string, error) {
next:
	for cluster != "" {
		for _, f := range flags {
			if f.short != cluster[0] {
				continue
			}
			value := ""
			cluster = cluster[1:]
			if f.value != "" {
				value, cluster = cluster, ""
				if value == "" {
					if len(args) == 0 {
						return nil, usagef("-%c needs a value: -%c %s", f.short, f.short, f.value)
					}
					value, args = args[0], args[1:]
				}
			}
			if err := f.set(o, value); err != nil {
				return nil, usagef("-%c: %v", f.short, err)
			}
			continue next
		}
		return nil, usagef("unknown flag -%c; a command's own flags go after --", cluster[0])
	}
	return args, nil
}

func duration(set func(*options, time.Duration)) func(*options, string) error {
	return func(o *options, text string) error {
		d, err := parseDuration(text)
		if err == nil {
			set(o, d)
		}
		return err
	}
}

// parseDuration reads 5s, 500ms, 1m30s, or a number of seconds.
func parseDuration(text string) (time.Duration, error) {
	if n, err := strconv.Atoi(text); err == nil {
		text = strconv.Itoa(n) + "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no duration: write 5s, 500ms or 1m30s", text)
	}
	return d, nil
}

// toggle is a switch: present without a value, or true, false, 1 or 0.
func toggle(set func(*options, bool)) func(*options, string) error {
	return func(o *options, text string) error {
		on, err := strconv.ParseBool(text)
		if err != nil && text != "" {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		set(o, on || text == "")
		return nil
	}
}

func setStop(o *options, text string) error {
	s, err := parseSignal(text)
	if err != nil {
		return err
	}
	if s == syscall.SIGKILL || s == syscall.SIGSTOP || s == syscall.SIGCHLD {
		return fmt.Errorf("%s cannot be a stop signal: roll-init never gets to see it", signalName(s))
	}
	o.stops = append(o.stops, s)
	return nil
}

func setDeath(o *options, text string) error {
	s, err := parseSignal(text)
	o.death = s
	return err
}

func setExit(o *options, text string) error {
	from, to, both := strings.Cut(text, ":")
	if !both {
		to = "0"
	}
	code, err := exitCode(from)
	if err != nil {
		return err
	}
	as, err := exitCode(to)
	if err != nil {
		return err
	}
	o.exits[code] = as
	return nil
}

func exitCode(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 255 {
		return 0, fmt.Errorf("%q is no exit code: write a number from 0 to 255, or two such as 143:0", text)
	}
	return n, nil
}

// setVerbosity counts -v, and takes the number of the variable.
func setVerbosity(o *options, text string) error {
	if text == "" {
		o.verbosity++
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no verbosity: write 0, 1, 2 or 3", text)
	}
	o.verbosity = n
	return nil
}
