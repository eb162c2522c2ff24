package check

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roll-deploy/roll/internal/program"
)

// init judges a process that passes signals on and ends with its first child.
func (j *judge) init(p *Process, known *program.Program, s program.Signal) {
	to, group := j.passes(p, known, s)
	if to == 0 {
		j.add(Dropped, Error, Certain, fmt.Sprintf("%s is told to drop %s: the application never gets it and is killed after %s", known.Name, s, j.r.Grace), fmt.Sprintf("process %q", p), "another rewrite, as -r 15:3")
		return
	}
	children := j.r.children(p)
	if len(children) == 0 {
		return
	}
	child := children[0]
	j.group = group
	if known.Name == "roll-init" {
		if sub := child.program(); sub != nil && slices.ContainsFunc(p.Args, func(a string) bool { return a == "--auto" }) && sub.Rewrite != 0 && s == program.TERM {
			to = sub.Rewrite
		}
	}
	sub := child.program()
	if sub != nil && sub.Kind == program.Shell {
		j.shellBelow(p, known, child, to)
		return
	}
	before := len(j.found)
	j.process(child, to, false)
	if !group {
		return
	}
	for _, member := range append([]*Process{child}, j.r.below(child)...) {
		if k := member.program(); k != nil && k.Group && len(j.r.children(member)) > 0 {
			j.found = j.found[:before]
			j.add(GroupSignal, Error, Certain, fmt.Sprintf("%s sends %s to the whole group: the workers of %s die at once, with their tasks", known.Name, to, k.Name), fmt.Sprintf("process %q", p), onlyTheChild(known))
			return
		}
	}
}

func onlyTheChild(init *program.Program) string {
	if init.Name == "dumb-init" {
		return "dumb-init -c: to the child alone"
	}
	return init.Name + " without -g: to the child alone"
}

// shellBelow judges a shell that an init has started.
func (j *judge) shellBelow(p *Process, known *program.Program, shell *Process, s program.Signal) {
	state := shell.disposition(s)
	if state == caught {
		j.trap(shell, s)
		return
	}
	if state == ignored {
		j.undelivered(shell, nil, s, false)
		return
	}
	confidence := Certain
	if state == unseen {
		confidence = Likely
		if text, _ := j.script(shell); strings.Contains(text, "trap") {
			j.trap(shell, s)
			return
		}
	}
	app := j.application(shell)
	if app == nil {
		if state == unseen {
			fix, edits := j.execs(shell)
			j.killed(shell, fmt.Sprintf("%s ends when the shell below it does, at once: the kernel kills what the shell has started", known.Name), confidence, fix, edits...)
			return
		}
		j.add(InstantDeath, Error, confidence, fmt.Sprintf("the shell %q dies at once on %s", shell, s), shell.masks(), "a trap for it, and a wait")
		return
	}
	fix, edits := j.execs(shell)
	if known.Name == "roll-init" {
		j.add(Dropped, Error, confidence, fmt.Sprintf("the shell %q dies of %s and does not pass it on: %q is killed after %s", shell, s, app, j.r.Grace), shell.masks(), fix, edits...)
		return
	}
	j.killed(shell, fmt.Sprintf("the shell %q dies of %s at once and %s ends with it: the kernel kills %q in the middle of its requests, with a clean exit code", shell, s, known.Name, app), confidence, fix, edits...)
}

// passes is what an init makes of a signal, and whether the group gets it.
func (j *judge) passes(p *Process, known *program.Program, s program.Signal) (to program.Signal, group bool) {
	to = s
	options := p.Args[1:min(len(p.Args), max(1, len(p.Args)-len(afterOptions(p.Args))))]
	rewrite := func(text string) {
		from, into, ok := strings.Cut(strings.ReplaceAll(text, "=", ":"), ":")
		a, okA := program.ParseSignal(from)
		b, okB := program.ParseSignal(into)
		if ok && okA && a == s && (okB || into == "0") {
			to = b
			if into == "0" {
				to = 0
			}
		}
	}
	for i, o := range options {
		switch {
		case (o == "-r" || o == "--rewrite") && i+1 < len(options) && known.Name != "tini":
			rewrite(options[i+1])
		case strings.HasPrefix(o, "--rewrite="):
			rewrite(strings.TrimPrefix(o, "--rewrite="))
		}
	}
	flag := func(names ...string) bool {
		return slices.ContainsFunc(options, func(o string) bool { return slices.Contains(names, o) })
	}
	switch known.Name {
	case "tini":
		_, told := j.r.env("TINI_KILL_PROCESS_GROUP")
		group = told || slices.ContainsFunc(options, func(o string) bool {
			return strings.HasPrefix(o, "-") && !strings.HasPrefix(o, "--") && !strings.HasPrefix(o, "-p") && strings.Contains(o, "g")
		})
	case "dumb-init":
		told, _ := j.r.env("DUMB_INIT_SETSID")
		group = told != "0" && !flag("-c", "--single-child")
	case "catatonit":
		group = flag("-g")
	}
	return to, group
}

// afterOptions is the command that an init or a wrapper runs.
func afterOptions(args []string) []string {
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case a == "--":
			return args[i+1:]
		case a == "-r" || a == "--rewrite" || a == "-p" || a == "-e" || a == "--drain" || a == "--wait" || a == "--stop-grace" || a == "--stop-signal":
			i++
		case !strings.HasPrefix(a, "-"):
			return args[i:]
		}
	}
	return nil
}

// shell judges a shell that is PID 1, or that a process has started.
func (j *judge) shell(p *Process, s program.Signal, isFirst bool) {
	state := p.disposition(s)
	text, _ := j.script(p)
	switch {
	case state == caught, state == unseen && strings.Contains(text, "trap "):
		j.trap(p, s)
		return
	case state == ignored, state == queued, state == stuck:
		j.undelivered(p, nil, s, isFirst)
		return
	}
	confidence := Certain
	if state == unseen {
		confidence = Likely
	}
	fix, edits := j.execs(p)
	app := j.application(p)
	name := "what it has started"
	if app != nil {
		name = fmt.Sprintf("%q", app)
	}
	switch {
	case j.declares && app == nil:
		if rest, ok := strings.CutPrefix(strings.TrimSpace(text), "exec "); ok {
			words := strings.Fields(rest)
			if next := (&Process{PID: 1, Comm: path.Base(first(words)), Args: words}); next.program() != nil && next.program().Kind != program.Shell {
				j.process(next, s, true)
				return
			}
			j.add(Undecided, Note, Unknown, "the shell makes room for the application: what that does is not known", fmt.Sprintf("%q", p), "")
			return
		}
		j.add(Dropped, Warn, Unknown, fmt.Sprintf("the shell form: where /bin/sh is dash (Debian, Ubuntu) the shell stays PID 1 and drops %s", s), fmt.Sprintf("%q", p), fix, edits...)
	case isFirst:
		again := ""
		if loops.MatchString(text) {
			again = "; and its loop starts the application again"
		}
		j.add(Dropped, Error, confidence, fmt.Sprintf("PID 1 is a shell, which has no handler for %s: %s never hears of it and is killed after %s, with its requests%s", s, name, j.r.Grace, again), p.masks(), fix, edits...)
	case app != nil:
		j.killed(p, fmt.Sprintf("the shell %q dies of %s at once, and %s does not get it", p, s, name), confidence, fix, edits...)
	default:
		j.add(InstantDeath, Error, confidence, fmt.Sprintf("the shell %q dies of %s at once", p, s), p.masks(), "a trap for it, and a wait")
	}
}

var loops = regexp.MustCompile(`(^|[;\s])(while|until|for)\s`)

// application is the first process below a shell that is no shell itself, and
// no helper of it.
func (j *judge) application(shell *Process) *Process {
	for _, p := range j.r.below(shell) {
		known := p.program()
		if known == nil || known.Kind != program.Shell {
			return p
		}
	}
	return nil
}

// execs says how a shell makes room for the application.
func (j *judge) execs(shell *Process) (string, []Edit) {
	text, file := j.script(shell)
	if file != "" {
		return "exec before the application, in the last line of " + file, nil
	}
	line := strings.TrimSpace(text)
	switch {
	case line == "":
		return "exec before the application", nil
	case !simple.MatchString(line):
		if strings.Contains(line, "|") && !strings.Contains(line, "||") {
			return "no pipe behind the application: let it write to its standard output, which docker logs keeps", nil
		}
		return "exec before the application, as the last command of the shell: " + line, nil
	}
	words := strings.Fields(line)
	for i, word := range words {
		words[i] = strconv.Quote(word)
	}
	value := "[" + strings.Join(words, ", ") + "]"
	fix := "the exec form: CMD " + value
	// Only a shell that is the container's own command can be replaced there.
	if c := j.r.Command; len(j.r.Entrypoint) == 0 && len(c) == 3 && c[1] == "-c" && strings.TrimSpace(c[2]) == line {
		return fix + "; in the Compose file: command: " + value, []Edit{j.edit(value, "command")}
	}
	return fix, nil
}

// simple is a command without anything that a shell would have to do.
var simple = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]+( +[A-Za-z0-9_./:@%+,=-]+)*$`)

// script is the text that a shell runs, and its file when it is one.
func (j *judge) script(p *Process) (text, file string) {
	for i := 1; i < len(p.Args); i++ {
		a := p.Args[i]
		if strings.HasPrefix(a, "-") && strings.HasSuffix(a, "c") && i+1 < len(p.Args) {
			return strings.Join(p.Args[i+1:], " "), ""
		}
		if strings.HasPrefix(a, "-") || a == "sh" || a == "ash" {
			continue
		}
		file = j.r.absolute(a)
		return j.r.Files[file], file
	}
	return "", ""
}

var (
	trapped    = regexp.MustCompile(`trap\s+(?:'([^']*)'|"([^"]*)"|(\S+))\s+[^\n;]*\b(?:SIG)?(?:TERM|15)\b`)
	background = regexp.MustCompile(`[^&>|<]&(\s*$|\s*[^&>1])`)
	waiting    = regexp.MustCompile(`(^|[\s;&(])wait\b`)
	leaves     = regexp.MustCompile(`\bexit\b`)
	polling    = regexp.MustCompile(`kill\s+-0`)
)

// trap judges a shell that has a handler.
func (j *judge) trap(p *Process, s program.Signal) {
	text, file := j.script(p)
	m := trapped.FindStringSubmatchIndex(text)
	if m == nil || s != program.TERM {
		j.add(Undecided, Note, Unknown, fmt.Sprintf("the shell has a trap for %s; what it does is not known", s), p.masks(), "")
		return
	}
	body := ""
	for i := 2; i < len(m); i += 2 {
		if m[i] >= 0 {
			body = text[m[i]:m[i+1]]
		}
	}
	if call := regexp.MustCompile(`(?s)\b` + regexp.QuoteMeta(strings.TrimSpace(body)) + `\s*\(\)\s*\{(.*?)\n?\}`).FindStringSubmatch(text); !strings.ContainsAny(body, " ;") && call != nil {
		body = call[1]
	}
	rest := text[:m[0]] + text[m[1]:]
	where := fmt.Sprintf("%q", p)
	if file != "" {
		where = file
	}
	waits := len(waiting.FindAllString(rest, -1))
	switch {
	case j.group && leaves.MatchString(body) && !waiting.MatchString(body):
		j.killed(p, "the whole group gets the signal, so that the trap runs at once; it exits without waiting for the application, and the kernel kills that", Likely, "wait for the application before the exit of the trap; or no shell at all: exec app")
	case !background.MatchString(rest):
		j.add(Dropped, Error, Likely, fmt.Sprintf("the shell runs its trap for %s only when its foreground command has ended", s), where, "start the application in the background: app & pid=$!; trap 'kill -TERM $pid' TERM; wait $pid; wait $pid")
	case waits >= 2, waiting.MatchString(body), polling.MatchString(text), loops.MatchString(rest) && waits > 0:
		j.add(OK, Fine, Likely, "the shell passes the signal on and waits for the application", where, "")
	case waits == 1:
		j.killed(p, "the first wait returns at the trap: the script ends while the application still works, and the kernel kills it", Likely, "a second wait: wait $pid; trap - TERM; wait $pid; or no shell at all: exec app")
	default:
		j.add(Undecided, Note, Unknown, fmt.Sprintf("the shell has a trap for %s; whether it waits for the application is not known", s), where, "")
	}
}

// manager judges what starts and stops others its own way.
func (j *judge) manager(p *Process, known *program.Program, s program.Signal) {
	children := j.r.children(p)
	switch known.Name {
	case "npm", "yarn", "pnpm":
		j.packageManager(p, known, s, children)
		return
	case "pm2":
		j.pm2(p, known, children)
		return
	case "supervisord", "circus":
		j.supervisor(p, known, children)
		return
	case "runit", "busybox init":
		j.killed(p, fmt.Sprintf("%s on %s: %s", known.Name, s, known.Term), Certain, "an init that stops what it has started: supervisord, s6-overlay")
		return
	}
	// s6-overlay, whose scan directory this is, diverts QUIT to a script of its own; s6 alone takes it as TERM.
	plain := known.Name == "s6" && s == program.QUIT && !slices.Contains(p.Args, "/run/service")
	switch {
	case slices.Contains(known.Graceful, s), plain:
		j.add(OK, Fine, Likely, fmt.Sprintf("%s on %s: %s", known.Name, s, known.Term), fmt.Sprintf("process %q", p), "")
	case slices.Contains(known.Dropped, s):
		j.add(Dropped, Error, Certain, fmt.Sprintf("%s on %s: %s", known.Name, s, known.Term), fmt.Sprintf("process %q", p), "the application itself as the command")
	case known.Best() != 0:
		fix, edits := j.stopSignal(known.Best())
		j.add(WrongSignal, Warn, Likely, fmt.Sprintf("%s does not stop on %s: an image that is built on another one inherits its STOPSIGNAL", known.Name, s), fmt.Sprintf("process %q", p), fix, edits...)
	default:
		j.unknown(p, s)
	}
}

// packageManager judges npm and its kin: they run a script with a shell.
func (j *judge) packageManager(p *Process, known *program.Program, s program.Signal, children []*Process) {
	fix := `"start": "exec node server.js" in package.json, or better: node itself as the command`
	if version := j.npmVersion(); known.Name == "npm" && strings.HasPrefix(version, "9.") {
		j.add(Dropped, Error, Likely, fmt.Sprintf("npm %s does not pass %s on: the application is killed after %s", version, s, j.r.Grace), fmt.Sprintf("process %q", p), fix)
		return
	}
	if len(children) == 0 {
		if j.declares {
			j.killed(p, known.Name+" runs scripts with a shell, and ends with it: unless the script begins with exec, or /bin/sh replaces itself, the kernel kills the application", Unknown, fix)
			j.found[len(j.found)-1].Level = Warn
		}
		return
	}
	child := children[0]
	if sub := child.program(); sub != nil && sub.Kind == program.Shell {
		app := j.application(child)
		if app == nil {
			app = child
		}
		j.killed(p, fmt.Sprintf("%s ends when its shell does, at once: the kernel kills %q in the middle of its requests", known.Name, app), Certain, fix)
		return
	}
	if known.Name == "npm" {
		j.process(child, s, false)
		return
	}
	j.unknown(p, s)
}

func (j *judge) npmVersion() string {
	for _, file := range npmFiles {
		if m := version.FindStringSubmatch(j.r.Files[file]); m != nil {
			return m[1]
		}
	}
	return ""
}

var (
	npmFiles = []string{"/usr/local/lib/node_modules/npm/package.json", "/usr/lib/node_modules/npm/package.json", "/usr/share/nodejs/npm/package.json"}
	version  = regexp.MustCompile(`"version":\s*"([0-9][^"]*)"`)
	killTime = regexp.MustCompile(`kill_timeout["']?\s*:\s*(\d+)`)
)

// pm2 sends its own signal, and its own SIGKILL.
func (j *judge) pm2(p *Process, known *program.Program, children []*Process) {
	limit, where := known.Limit.Default, "its default"
	set := func(text, from string) {
		if ms, err := strconv.Atoi(text); err == nil {
			limit, where = time.Duration(ms)*time.Millisecond, from
		}
	}
	if text, ok := j.r.env("PM2_KILL_TIMEOUT"); ok {
		set(text, "PM2_KILL_TIMEOUT")
	}
	for _, file := range sorted(j.r.Files) {
		if m := killTime.FindStringSubmatch(j.r.Files[file]); m != nil {
			set(m[1], file)
		}
	}
	s := program.INT
	if text, ok := j.r.env("PM2_KILL_SIGNAL"); ok {
		s, _ = program.ParseSignal(text)
	}
	if limit < shortest {
		j.add(KnobTooShort, Warn, Certain, fmt.Sprintf("pm2 kills the application %s after its signal (kill_timeout)", limit), where, "kill_timeout: "+strconv.Itoa(int((j.r.Grace-2*time.Second).Milliseconds()))+" in its configuration, or no pm2 in a container")
	} else if limit > j.r.Grace {
		j.tooShort("pm2", "kill_timeout", limit, where)
	}
	for _, child := range children {
		source, file := j.source(child)
		switch {
		case s == program.INT && !listens(source, program.INT):
			j.add(WrongSignal, Warn, Likely, fmt.Sprintf("pm2 sends SIGINT, not SIGTERM, to %q", child), strings.TrimPrefix(file+" has no listener for SIGINT", " "), "environment: {PM2_KILL_SIGNAL: SIGTERM}, or a listener for SIGINT")
		default:
			j.process(child, s, false)
		}
	}
}

// supervisor judges each program below supervisord or circusd.
func (j *judge) supervisor(p *Process, known *program.Program, children []*Process) {
	for _, child := range children {
		section := j.section(child)
		limit, where := known.Limit.Default, known.Limit.Name+" by default"
		if text := section.values[known.Limit.Name]; text != "" {
			if n, err := strconv.ParseFloat(text, 64); err == nil {
				limit, where = time.Duration(n*float64(time.Second)), section.name+" in "+section.file
			}
		}
		s := program.TERM
		if text := section.values["stopsignal"] + section.values["stop_signal"]; text != "" {
			s, _ = program.ParseSignal(text)
		}
		switch {
		case limit < shortest:
			j.add(KnobTooShort, Warn, Certain, fmt.Sprintf("%s kills %q %s after its signal (%s)", known.Name, child, limit, known.Limit.Name), where, known.Limit.Name+"="+strconv.Itoa(int((j.r.Grace-2*time.Second).Seconds())))
		case limit > j.r.Grace:
			j.tooShort(known.Name, known.Limit.Name, limit, where)
		}
		if sub := child.program(); sub != nil && sub.Kind == program.Shell && child.disposition(s) != caught {
			if app := j.application(child); app != nil {
				j.killed(child, fmt.Sprintf("%s stops the shell %q and waits no longer: %q is killed with the container", known.Name, child, app), Certain, "the program itself as its command, or exec before it")
				continue
			}
		}
		j.process(child, s, false)
	}
	if len(children) == 0 && !j.declares {
		j.add(Undecided, Note, Unknown, known.Name+" runs nothing yet: whether what it starts ends gracefully is not known", fmt.Sprintf("process %q", p), "roll check again when it does")
	}
}

// source is the text of the script that an interpreter runs.
func (j *judge) source(p *Process) (text, file string) {
	for _, a := range p.Args[min(1, len(p.Args)):] {
		if strings.HasPrefix(a, "-") {
			continue
		}
		file = j.r.absolute(a)
		if path.Ext(file) == "" && j.r.Files[file] == "" {
			file += ".js"
		}
		return j.r.Files[file], file
	}
	return "", ""
}

// listens reports whether JavaScript has a listener for a signal.
func listens(source string, s program.Signal) bool {
	for _, quote := range []string{"'", `"`, "`"} {
		for _, verb := range []string{"on(", "once(", "addListener(", "on (", "once ("} {
			if strings.Contains(source, "process."+verb+quote+s.String()+quote) {
				return true
			}
		}
	}
	return strings.Contains(source, s.String()) && strings.Contains(source, "process.on") // a list of signals
}

var imported = regexp.MustCompile(`(?:require\(|from\s+|import\s+|import\()\s*['"` + "`" + `]([^'"` + "`" + `]+)`)

// builtin are modules of Node itself, which install no listener.
var builtin = []string{"http", "https", "http2", "net", "fs", "os", "path", "url", "util", "events", "stream", "crypto", "timers", "child_process", "cluster", "dns", "zlib", "querystring", "buffer", "assert"}

// loadsOthers reports whether JavaScript loads a module that is not Node's
// own: it may listen in the application's place.
func loadsOthers(source string) bool {
	for _, m := range imported.FindAllStringSubmatch(source, -1) {
		name, _, _ := strings.Cut(strings.TrimPrefix(m[1], "node:"), "/")
		if !slices.Contains(builtin, name) {
			return true
		}
	}
	return strings.Contains(source, "require(") && len(imported.FindAllString(source, -1)) == 0
}
