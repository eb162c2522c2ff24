package main

import "syscall"

// tiniVersion begins as Tini's own output does, because docker info reads it from the program that it uses as its init.
const tiniVersion = "tini version 0.19.0+roll-init"

// tiniFlags are the flags of Tini 0.19 (its src/tini.c).
var tiniFlags = []flag{
	{short: 'p', value: "SIGNAL", set: setDeath, help: "the signal to get when the parent dies"},
	{short: 's', set: toggle(func(o *options, on bool) { o.subreaper = on }), help: "adopt orphans also when not PID 1"},
	{short: 'v', set: setVerbosity, help: "more verbose; up to three times"},
	{short: 'w', set: toggle(func(o *options, on bool) { o.reaped = on }), help: "tell about every orphan that was reaped"},
	{short: 'g', set: toggle(func(o *options, on bool) { o.group = on }), help: "pass signals to the whole process group"},
	{short: 'e', value: "CODE", set: setExit, help: "report this exit code as 0; repeatable"},
}

// tiniOptions reads Tini's command line and variables, and roll-init's own variables.
func tiniOptions(args []string, env lookup) (*options, error) {
	o := newOptions("tini")
	if err := o.environment(rollInitFlags, env); err != nil {
		return o, err
	}
	rest, err := o.parse(tiniFlags, args)
	if err != nil {
		return o, err
	}
	// These count when they are there, whatever they hold.
	if _, ok := env("TINI_SUBREAPER"); ok {
		o.subreaper = true
	}
	if _, ok := env("TINI_KILL_PROCESS_GROUP"); ok {
		o.group = true
	}
	if text, _ := env("TINI_VERBOSITY"); text != "" {
		if err := setVerbosity(o, text); err != nil {
			return o, usagef("variable TINI_VERBOSITY: %v", err)
		}
	}
	if len(rest) == 0 {
		return o, usagef("no command to run: tini [FLAG]... -- COMMAND [ARGUMENT]...")
	}
	o.command = rest
	return o, nil
}

// dumbInitFlags are the flags of dumb-init 1.2 (its dumb-init.c).
var dumbInitFlags = []flag{
	{short: 'c', long: "single-child", set: toggle(func(o *options, on bool) { o.group, o.session = !on, !on }), help: "pass signals to the direct child only (DUMB_INIT_SETSID=0)"},
	{short: 'r', long: "rewrite", value: "FROM:TO", set: func(o *options, v string) error { return o.rewrites.add(v) }, help: "pass another signal on; 0 drops it; repeatable"},
	{short: 'v', long: "verbose", set: setVerbosity, help: "say what happens (DUMB_INIT_DEBUG=1)"},
}

// dumbInitOptions reads dumb-init's command line and variables, and roll-init's own variables.
func dumbInitOptions(args []string, env lookup) (*options, error) {
	o := newOptions("dumb-init")
	o.group, o.session, o.suspend = true, true, true
	if err := o.environment(rollInitFlags, env); err != nil {
		return o, err
	}
	if text, _ := env("DUMB_INIT_DEBUG"); text == "1" {
		o.verbosity = 3
	}
	if text, _ := env("DUMB_INIT_SETSID"); text == "0" {
		o.group, o.session = false, false
	}
	rest, err := o.parse(dumbInitFlags, args)
	if err != nil {
		return o, err
	}
	if len(rest) == 0 {
		return o, usagef("no command to run: dumb-init [FLAG]... COMMAND [ARGUMENT]...")
	}
	if o.verbosity > 1 {
		o.verbosity = 3
	}
	// The leader of a session of its own is not stopped by a terminal's signals: SIGSTOP does it.
	for _, s := range []syscall.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
		if _, ok := o.rewrites[s]; o.session && !ok {
			o.rewrites[s] = syscall.SIGSTOP
		}
	}
	o.command = rest
	return o, nil
}
