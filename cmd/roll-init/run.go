package main

import (
	"fmt"
	"os"
	"path"
	"runtime/debug"
	"strings"
)

// run is the whole program: what it does depends on the name that it was started by, and on its first argument.
func run(args []string, env lookup) int {
	name, rest := "roll-init", []string(nil)
	if len(args) > 0 {
		name, rest = path.Base(args[0]), args[1:]
	}
	switch name {
	case "tini", "tini-static", "docker-init":
		return asTini(rest, env)
	case "dumb-init":
		return asDumbInit(rest, env)
	}
	l := &log{name: "roll-init", level: 1}
	verb := ""
	if len(rest) > 0 {
		verb = rest[0]
	}
	switch verb {
	case "health":
		return checkHealth(rest[1:], env, l)
	case "flip", "unflip":
		return tell(verb, rest[1:], l)
	case "version", "--version":
		return show(os.Stdout, "roll-init "+version()+"\n")
	case "help", "-h", "--help":
		return show(os.Stdout, rollInitHelp())
	case listenVerb:
		return execListening(rest[1:], l)
	}
	return with(rollInitOptions, rest, env, exitUsage, "roll-init --help")
}

func asTini(args []string, env lookup) int {
	switch strings.Join(args, " ") {
	case "--version":
		return show(os.Stdout, tiniVersion+"\n")
	case "-h":
		return show(os.Stdout, tiniHelp())
	case "-l":
		return show(os.Stdout, "roll-init, which this is, is part of roll and has roll's licence: https://github.com/roll-deploy/roll/blob/main/LICENSE\n")
	}
	return with(tiniOptions, args, env, exitUsageCompat, "tini -h")
}

func asDumbInit(args []string, env lookup) int {
	if len(args) > 0 {
		switch args[0] {
		case "-h", "--help":
			return show(os.Stderr, dumbInitHelp())
		case "-V", "--version":
			return show(os.Stderr, "dumb-init v1.2.5 (roll-init "+version()+")\n")
		}
	}
	return with(dumbInitOptions, args, env, exitUsageCompat, "dumb-init --help")
}

// with reads options and keeps the application that they name.
func with(read func([]string, lookup) (*options, error), args []string, env lookup, usage int, help string) int {
	o, err := read(args, env)
	l := &log{name: o.name, level: o.verbosity}
	if err != nil {
		l.errorf("%v (see %s)", err, help)
		return usage
	}
	return keep(o, l)
}

func show(to *os.File, text string) int {
	if _, err := to.WriteString(text); err != nil {
		return 1
	}
	return 0
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func rollInitHelp() string {
	return `roll-init is the first process of a container.

    roll-init [FLAG]... [--] COMMAND [ARGUMENT]...        run the application
    roll-init health [FLAG]... [-- COMMAND [ARGUMENT]...] its healthcheck
    roll-init flip | unflip                               report unhealthy, and healthy again
    roll-init version | help

Flags, and the variables that mean the same:
` + flagHelp(rollInitFlags) + `
Flags of health:
` + checkupHelp() + `
Exit codes: the command's; 128+n when signal n ended it; 127 not found; 126 not executable; 2 wrong use.
Started by the name tini or dumb-init, it takes their command line.
`
}

func tiniHelp() string {
	return `tini [FLAG]... -- COMMAND [ARGUMENT]...        (this is roll-init; its variables work too: roll-init --help)

` + flagHelp(tiniFlags) + `
    -h, -l, --version                      this help, the licence, the version
Variables: TINI_SUBREAPER, TINI_KILL_PROCESS_GROUP, TINI_VERBOSITY
`
}

func dumbInitHelp() string {
	return `dumb-init [FLAG]... COMMAND [ARGUMENT]...      (this is roll-init; its variables work too: roll-init --help)

` + flagHelp(dumbInitFlags) + `
    -h --help, -V --version                this help, the version
Variables: DUMB_INIT_SETSID=0, DUMB_INIT_DEBUG=1
`
}

func flagHelp(flags []flag) string {
	var text strings.Builder
	for _, f := range flags {
		var names []string
		if f.short != 0 {
			names = append(names, "-"+string(rune(f.short)))
		}
		if f.long != "" {
			names = append(names, "--"+f.long)
		}
		helpLine(&text, strings.TrimSpace(strings.Join(names, " ")+" "+f.value), f.help, f.env)
	}
	return text.String()
}

func checkupHelp() string {
	var text strings.Builder
	for _, f := range checkupFlags {
		helpLine(&text, f.name+" "+f.value, f.help, f.env)
	}
	return text.String()
}

func helpLine(text *strings.Builder, left, right, env string) {
	fmt.Fprintf(text, "    %-26s %s\n", left, right)
	if env != "" {
		fmt.Fprintf(text, "    %-26s %s\n", "", env)
	}
}
