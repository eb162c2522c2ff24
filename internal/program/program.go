// Package program is what is known about how programs end: one table, used by
// `roll check`, by roll-init's --auto and for docs/programs.md. What is not in
// the table is unknown; nothing is guessed. Every row was observed on the
// program itself, as PID 1 with a request or a task under way, or says that it
// is only documented.
package program

import (
	"path"
	"slices"
	"strings"
	"time"
)

// Kind says what a program is to the process below it, or to requests.
type Kind string

// The kinds of programs.
const (
	Server  Kind = "server"  // answers requests, or works on tasks
	Runtime Kind = "runtime" // runs somebody's program, which decides
	Dev     Kind = "dev"     // a server for development
	Init    Kind = "init"    // passes signals on to its child and ends with it
	Manager Kind = "manager" // starts others and stops them its own way
	Shell   Kind = "shell"
	Wrapper Kind = "wrapper" // one command that runs another
)

// Program is one row.
type Program struct {
	Name string
	Kind Kind

	Names   []string // base names of its executable or script, or first words of its title; * stands for anything
	Modules []string // what `python -m` runs
	Words   []string // are all among its arguments
	Without []string // none is among its arguments

	Graceful []Signal // end it after its requests; the first is the one to use
	Fast     []Signal // end it and cut its requests
	Dropped  []Signal // as PID 1 it never gets them: no handler

	Term  string // what SIGTERM does to it, for people
	Needs string // what else a graceful end needs
	Limit Knob   // how long its graceful end may take
	Knobs string // other settings that matter

	Image    string // STOPSIGNAL of its official image: a name, "none", or empty when not looked up
	Rewrite  Signal // what roll-init --auto sends in the place of SIGTERM; zero: nothing else
	Group    bool   // loses work when its children get the signal too
	Observed bool   // on the real program; else documented only
	Source   string // who says so
}

// Knob is a setting that limits how long a graceful end takes.
type Knob struct {
	Name    string
	Flags   []string      // on the command line
	Default time.Duration // when it is not set; zero: no limit, unless Zero
	Zero    bool          // zero means no grace at all
}

// Best is the signal to stop it with; zero when none is known.
func (p *Program) Best() Signal {
	if len(p.Graceful) == 0 {
		return 0
	}
	return p.Graceful[0]
}

// Find recognises the program of a process: by the script or module that an
// interpreter runs, by the first word of its command line, which may be a
// title that it gave itself ("nginx: master process"), or by its executable,
// in this order. executable may be a path, a bare name or empty. It is nil for
// a program that is not in the table.
func Find(executable string, argv []string) *Program {
	executable = path.Base(strings.TrimSuffix(executable, " (deleted)"))
	title := ""
	if len(argv) > 0 {
		first, _, _ := strings.Cut(strings.TrimSpace(argv[0]), " ")
		title = path.Base(strings.TrimSuffix(strings.TrimPrefix(first, "-"), ":"))
	}
	script, module := interpreted(executable, title, argv)
	for i := range Table {
		if p := &Table[i]; module != "" && slices.Contains(p.Modules, module) && p.fits(argv) {
			return p
		}
	}
	for _, word := range []string{script, title, strings.TrimSuffix(executable, ":")} {
		if word == "" || word == "." {
			continue
		}
		for i := range Table {
			if p := &Table[i]; p.named(word) && p.fits(argv) {
				return p
			}
		}
	}
	return nil
}

// ByName finds a row by its name or by one of the names it is recognised by;
// nil: unknown.
func ByName(name string) *Program {
	for i := range Table {
		if Table[i].Name == name {
			return &Table[i]
		}
	}
	for i := range Table {
		if Table[i].named(name) {
			return &Table[i]
		}
	}
	return nil
}

var interpreters = []string{"python*", "ruby*", "node", "nodejs", "node-MainThread", "perl*"}

// interpreted is the base name of the script that an interpreter runs, or the
// module that Python runs.
func interpreted(executable, title string, argv []string) (script, module string) {
	is := func(word string) bool {
		return slices.ContainsFunc(interpreters, func(pattern string) bool { return match(pattern, word) })
	}
	if !is(executable) && !is(title) {
		return "", ""
	}
	for i := 1; i < len(argv); i++ {
		arg := argv[i]
		switch {
		case arg == "-m" && match("python*", title) && i+1 < len(argv):
			return "", argv[i+1]
		case arg == "-c" || arg == "-e":
			return "", ""
		case strings.HasPrefix(arg, "-"):
			continue
		}
		return path.Base(arg), ""
	}
	return "", ""
}

func (p *Program) named(word string) bool {
	return slices.ContainsFunc(p.Names, func(pattern string) bool { return match(pattern, word) })
}

func (p *Program) fits(argv []string) bool {
	has := func(word string) bool {
		return slices.ContainsFunc(argv, func(arg string) bool { return slices.Contains(strings.Fields(arg), word) })
	}
	for _, word := range p.Words {
		if !has(word) {
			return false
		}
	}
	return !slices.ContainsFunc(p.Without, has)
}

func match(pattern, word string) bool {
	ok, err := path.Match(pattern, word)
	return ok && err == nil
}
