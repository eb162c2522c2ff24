package check

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roll-deploy/roll/internal/program"
)

// shortest is the limit below which a program's own grace is worth a warning:
// nobody knows how long its requests take.
const shortest = 5 * time.Second

// Stop says what the stop signal does to a replica. There is always a verdict:
// OK and UNKNOWN are some.
func Stop(r Replica) []Finding {
	j := &judge{r: r}
	if p := r.first(); p != nil {
		j.process(p, r.Signal, !r.Shared)
		j.dead(p)
	} else {
		j.declared()
	}
	if r.Starting && slices.ContainsFunc(j.found, func(f Finding) bool { return f.about() && f.Level >= Warn }) {
		seen := j.found[slices.IndexFunc(j.found, func(f Finding) bool { return f.about() && f.Level >= Warn })]
		j.found = nil
		j.add(Undecided, Note, Unknown, "it is starting, so that a verdict would be too early: it may not have installed its handlers yet", seen.Proof, "roll check again when it is healthy")
		return j.found
	}
	if !slices.ContainsFunc(j.found, func(f Finding) bool { return f.about() }) {
		j.add(Undecided, Note, Unknown, "what "+r.Signal.String()+" does to it is not known", "", "roll check --rehearse "+r.Service+" shows that a flip works; a drain before the stop signal (roll up does one) needs no handler")
	}
	return j.found
}

// about reports whether a finding answers what the stop does.
func (f Finding) about() bool {
	switch f.ID {
	case Zombies, DevServer, GraceTooShort:
		return false
	}
	return true
}

// judge collects the findings about one replica.
type judge struct {
	r        Replica
	found    []Finding
	declares bool // nothing runs: what is declared is judged
	group    bool // an init sends the signal to the whole group
}

func (j *judge) add(id ID, level Level, confidence Confidence, text, proof, fix string, edits ...Edit) {
	f := Finding{ID: id, Level: level, Confidence: confidence, Service: j.r.Service, Text: text, Proof: proof, Fix: fix, Edits: edits}
	if j.r.Name != "" {
		f.Replicas = []string{j.r.Name}
	}
	if j.declares && f.Confidence == Certain {
		f.Confidence = Likely
	}
	if len(edits) > 0 {
		f.Path = edits[0].Path
	}
	j.found = append(j.found, f)
}

func (j *judge) edit(value string, keys ...string) Edit {
	return Edit{Service: j.r.Service, Path: keys, Value: value}
}

// process judges what one signal does to a process. first: it is PID 1.
func (j *judge) process(p *Process, s program.Signal, first bool) {
	known := p.program()
	if known != nil {
		switch known.Kind {
		case program.Init:
			j.init(p, known, s)
			return
		case program.Manager:
			j.manager(p, known, s)
			return
		case program.Shell:
			j.shell(p, s, first)
			return
		case program.Dev:
			j.add(DevServer, Warn, Certain, fmt.Sprintf("%s is a server for development", known.Name), fmt.Sprintf("process %q", p),
				"a server for production: see "+known.Source)
			if known.Name == "nodemon" {
				j.killed(p, "nodemon passes the signal on and ends at once: the kernel kills the application in the middle of its requests", Certain, "the application itself as the command, as [\"node\", \"app.js\"]")
				return
			}
		}
	}
	if known != nil && known.Kind == program.Server && known.Best() != 0 && !p.takes(known.Best()) {
		j.add(Undecided, Note, Unknown, fmt.Sprintf("%q has no handler for %s, which ends %s gracefully: it is not up yet, or only has the name", p, known.Best(), known.Name), p.masks(), "roll check again when it serves")
		return
	}
	if j.undelivered(p, known, s, first) {
		return
	}
	switch {
	case known == nil && p.isGo():
		j.golang(p, s)
	case known == nil && p.disposition(s) == awaited:
		j.add(OK, Fine, Likely, fmt.Sprintf("a thread of it waits for %s", s), p.masks(), "")
	case known == nil:
		j.unknown(p, s)
	case known.Kind == program.Wrapper:
		j.wrapper(p, known, s)
	case known.Kind == program.Runtime && known.Best() == 0:
		j.runtime(p, known, s, first)
	default:
		j.server(p, known, s)
	}
}

// undelivered finds the cases in which the process never sees the signal, or
// dies of it: the kernel's rules alone decide.
func (j *judge) undelivered(p *Process, known *program.Program, s program.Signal, first bool) bool {
	state := p.disposition(s)
	if state == unseen && known != nil && slices.Contains(known.Dropped, s) {
		state = default_ // as it was observed
	}
	confidence := Certain
	if !p.Masked || !p.waitsKnown() && known == nil {
		confidence = Likely
	}
	switch state {
	case ignored:
		j.add(Ignored, Error, Certain, fmt.Sprintf("%q ignores %s: it is killed after %s, with its requests", p, s, j.r.Grace), p.masks(),
			fmt.Sprintf("remove what ignores it (a trap '' before the exec, nohup), or another stop_signal than %s", s))
	case stuck:
		j.add(NeverRead, Error, Certain, fmt.Sprintf("%q has got %s and never reads it: it blocks the signal, and no thread waits for it", p, s), p.masks(), "unblock the signal, or wait for it (sigwait, signalfd)")
	case queued:
		j.add(NeverRead, Warn, Likely, fmt.Sprintf("%q blocks %s, and no thread is seen to wait for it", p, s), p.masks(), "unblock the signal, or wait for it (sigwait, signalfd)")
	case default_:
		j.default_(p, known, s, first, confidence)
	default:
		return false
	}
	return true
}

// default_ judges a signal that the process has no handler for.
func (j *judge) default_(p *Process, known *program.Program, s program.Signal, first bool, confidence Confidence) {
	fix, edits := j.handler(p, known, s)
	switch {
	case first || s.IgnoredByDefault():
		why := "PID 1 never gets a signal that it does not handle"
		if s.IgnoredByDefault() && !first {
			why = "a program without a handler ignores it"
		}
		j.add(Dropped, Error, confidence, fmt.Sprintf("%q does not handle %s, and %s: it is killed after %s, with its requests", p, s, why, j.r.Grace), p.masks(), fix, edits...)
	default:
		j.add(InstantDeath, Error, confidence, fmt.Sprintf("%q does not handle %s, so it dies at once, with its requests", p, s), p.masks(), fix, edits...)
	}
}

// handler is what to do about a signal without a handler.
func (j *judge) handler(p *Process, known *program.Program, s program.Signal) (string, []Edit) {
	switch {
	case known != nil && known.Best() != 0 && known.Best() != s && p.takes(known.Best()):
		return j.stopSignal(known.Best())
	case s != program.TERM && p.takes(program.TERM) && p.Masked && p.Caught&bit(program.TERM) != 0:
		return j.stopSignal(program.TERM)
	case known != nil && known.Needs != "" && known.Kind == program.Runtime:
		return known.Needs, nil
	case known != nil && known.Kind == program.Wrapper:
		return "exec the application itself, without " + known.Name + " in front of it", nil
	}
	return fmt.Sprintf("a handler for %s in the application, or a drain before the stop signal (label roll.drain: 10s, or roll-init --drain)", s), nil
}

// takes reports whether the process may handle a signal: a row of the table
// that the masks speak against is no ground for advice.
func (p *Process) takes(s program.Signal) bool {
	switch p.disposition(s) {
	case unseen, caught, awaited:
		return true
	}
	return false
}

func (j *judge) stopSignal(s program.Signal) (string, []Edit) {
	return "stop_signal: " + s.String(), []Edit{j.edit(s.String(), "stop_signal")}
}

// server judges a program whose signals the table knows.
func (j *judge) server(p *Process, known *program.Program, s program.Signal) {
	best := known.Best()
	confidence := Certain
	if !known.Observed || !p.Masked {
		confidence = Likely
	}
	switch {
	case known.Name == "uwsgi" && j.uwsgi(p, s):
	case slices.Contains(known.Graceful, s):
		j.limits(p, known, s)
	case best == 0:
		j.add(InstantDeath, Error, confidence, fmt.Sprintf("%s on %s: %s", known.Name, s, known.Term), p.masks(), strings.TrimPrefix(known.Needs+", or a drain before the signal (label roll.drain: 10s)", ", or "))
	case slices.Contains(known.Fast, s):
		fix, edits := j.stopSignal(best)
		if known.Needs != "" {
			fix += "; it needs " + known.Needs
		}
		j.add(WrongSignal, Error, confidence, fmt.Sprintf("%s ends at once on %s, and cuts its requests; %s ends it gracefully", known.Name, s, best), p.masks(), fix, edits...)
	case s == program.TERM:
		fix, edits := j.stopSignal(best)
		j.add(WrongSignal, Warn, confidence, fmt.Sprintf("%s on SIGTERM: %s; %s is the one to stop it with", known.Name, known.Term, best), p.masks(), fix, edits...)
	default:
		j.unknown(p, s)
	}
}

// limits compares a program's own limit with the grace period, and with
// nothing at all.
func (j *judge) limits(p *Process, known *program.Program, s program.Signal) {
	limit, where := j.limit(p, known)
	proof := p.masks()
	if where != "" {
		proof = where
	}
	k := known.Limit
	switch {
	case k.Zero && limit == 0:
		confidence := Certain
		if where == "" {
			confidence = Likely
		}
		j.add(KnobTooShort, Error, confidence, fmt.Sprintf("%s resets its requests on %s: %s is 0", known.Name, s, k.Name), proof, k.Name+" = "+seconds(max(j.r.Grace-2*time.Second, shortest)))
		return
	case limit > 0 && limit < shortest:
		j.add(KnobTooShort, Warn, Certain, fmt.Sprintf("%s kills what takes longer than %s (%s)", known.Name, limit, k.Name), proof,
			fmt.Sprintf("%s: longer than its longest request, as %s", k.Name, seconds(max(j.r.Grace-2*time.Second, shortest))))
		return
	case limit > j.r.Grace:
		j.tooShort(known.Name, k.Name, limit, proof)
		if !known.Observed {
			j.found[len(j.found)-1].Confidence = Likely
		}
	}
	text := known.Name + " ends gracefully: " + known.Term
	if s != program.TERM {
		text = fmt.Sprintf("%s ends gracefully on %s", known.Name, s)
	}
	confidence := Certain
	if !known.Observed || !p.Masked || known.Kind == program.Runtime {
		confidence = Likely
	}
	j.add(OK, Fine, confidence, text, proof, "")
}

func (j *judge) tooShort(name, knob string, limit time.Duration, proof string) {
	value := seconds(limit + 5*time.Second)
	j.add(GraceTooShort, Warn, Certain, fmt.Sprintf("%s takes up to %s to end (%s), and is killed after %s", name, limit, knob, j.r.Grace), proof,
		"stop_grace_period: "+value, j.edit(value, "stop_grace_period"))
}

// seconds is a duration as configuration files take it.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(max(d.Seconds(), 0), 'f', -1, 64) + "s"
}

// golang judges a Go program by what its runtime shows. Which signals it waits
// for is not shown, except all of them.
func (j *judge) golang(p *Process, s program.Signal) {
	switch {
	case p.notified() && s.IgnoredByDefault() && p.Caught&0xffffffff != goCaughtAll:
		j.add(Undecided, Note, Unknown, fmt.Sprintf("a Go program that waits for signals; whether for %s is not shown", s), p.masks(), "")
	case p.notified():
		j.add(OK, Fine, Likely, "a Go program that waits for signals (os/signal)", p.masks(), "")
	case s.IgnoredByDefault():
		j.add(Dropped, Error, Certain, fmt.Sprintf("a Go program that waits for no signal ignores %s: it is killed after %s, with its requests", s, j.r.Grace), p.masks(), "signal.NotifyContext(ctx, syscall.SIGTERM) and Server.Shutdown in the application")
	default:
		j.add(InstantDeath, Error, Certain, fmt.Sprintf("a Go program that waits for no signal: the runtime ends it at once on %s (exit code 2), with its requests", s), p.masks(),
			"signal.NotifyContext(ctx, syscall.SIGTERM) and Server.Shutdown in the application; or roll-init --drain in front of it")
	}
}

// unknown judges a program that is not in the table.
func (j *judge) unknown(p *Process, s program.Signal) {
	j.add(Undecided, Note, Unknown, fmt.Sprintf("%q handles %s itself; whether it finishes its requests first is not known", p, s), p.masks(), "")
}

// runtime judges a program of an interpreter.
func (j *judge) runtime(p *Process, known *program.Program, s program.Signal, first bool) {
	source, where := j.source(p)
	switch known.Name {
	case "node":
		j.node(p, s, first, source, where)
	case "python", "perl", "bun":
		if p.disposition(s) == unseen {
			j.unknown(p, s)
			return
		}
		j.add(OK, Fine, Likely, fmt.Sprintf("the application handles %s: %s has no handler of its own", s, known.Name), p.masks(), "")
	default:
		j.add(Undecided, Note, Unknown, fmt.Sprintf("%s catches signals by itself, so that its masks do not tell whether the application does (%s)", known.Name, known.Term), p.masks(), known.Needs)
	}
}

// node judges an application of Node.js, which catches SIGTERM and SIGINT
// whether it listens or not. Its source tells.
func (j *judge) node(p *Process, s program.Signal, first bool, source, where string) {
	listener := fmt.Sprintf("process.on('%s', ...) that closes the server and exits", s)
	fate := fmt.Sprintf("it is killed after %s, with its requests", j.r.Grace)
	id := Dropped
	if !first {
		id, fate = InstantDeath, "it dies at once, with its requests"
	}
	switch {
	case listens(source, s):
		j.add(OK, Fine, Likely, fmt.Sprintf("the application listens for %s", s), where, "")
	case source != "" && !loadsOthers(source):
		j.add(id, Error, Likely, fmt.Sprintf("the application has no listener for %s: %s", s, fate), where+" has no process.on('"+s.String()+"') and loads no other module of its own", listener)
	default:
		j.add(Undecided, Note, Unknown, fmt.Sprintf("Node catches %s by itself, so that its masks do not tell whether the application listens; without a listener %s", s, fate), p.masks(), listener)
	}
}

// wrapper judges a command that runs another.
func (j *judge) wrapper(p *Process, known *program.Program, s program.Signal) {
	children := j.r.children(p)
	switch {
	case known.Name == "su":
		j.add(KnobTooShort, Warn, Certain, fmt.Sprintf("%s kills what takes longer than %s after the signal", known.Names[0], known.Limit.Default), p.masks(), "gosu, setpriv --reuid or `user:` of the Compose file in its place: they make room for the application")
	case known.Name == "watch":
		j.killed(p, "watch ends at once: the kernel kills the application", Certain, "the application itself as the command")
	case slices.Contains(known.Graceful, s) && len(children) > 0:
		j.process(children[0], s, false)
	default:
		j.unknown(p, s)
	}
}

// killed: PID 1 ends before the application.
func (j *judge) killed(p *Process, text string, confidence Confidence, fix string, edits ...Edit) {
	j.add(KilledByInitExit, Error, confidence, text, p.masks(), fix, edits...)
}

// someDead is the number of dead processes from which on they are no probe
// that happens to end.
const someDead = 3

// dead counts processes that have ended and that nobody has reaped. The
// process list does not show them, the kernel's count does.
func (j *judge) dead(p *Process) {
	n := j.r.Pids - j.r.threads()
	if j.r.Pids == 0 || n <= 0 || !p.Masked {
		return
	}
	proof := fmt.Sprintf("%d processes and threads counted, %d of them alive", j.r.Pids, j.r.threads())
	text := fmt.Sprintf("%d dead processes that nobody has reaped", n)
	level, confidence := Warn, Certain
	if n < someDead {
		level, confidence = Note, Likely
	}
	if known := p.program(); known != nil && (known.Kind == program.Init || known.Name == "s6") {
		j.add(Zombies, level, confidence, text+": PID 1 is an init, so their parent lives and does not wait for them, and no init can", proof, "the parent has to wait for its children")
		return
	}
	if len(j.r.Processes) > 1 {
		j.add(Zombies, level, confidence, text+"; orphans among them are PID 1's, which is no init; those of a living parent no init can reap", proof, "init: true", j.edit("true", "init"))
		return
	}
	j.add(Zombies, level, confidence, text+": their parent is PID 1, which is no init", proof, "init: true", j.edit("true", "init"))
}

// declared judges what the container would be started as, when nothing runs.
func (j *judge) declared() {
	j.declares = true
	argv := j.r.argv()
	if len(argv) == 0 {
		return
	}
	// An entrypoint script that ends in exec "$@" makes room for the command.
	if script := j.r.Files[j.r.absolute(argv[0])]; len(j.r.Entrypoint) == 1 && len(j.r.Command) > 0 && strings.Contains(script, `exec "$@"`) {
		argv = j.r.Command
	}
	p := Process{PID: 1, Comm: path.Base(argv[0]), Args: argv}
	known := p.program()
	if known != nil && known.Kind == program.Init {
		if rest := afterOptions(argv); len(rest) > 0 {
			child := Process{PID: 2, Parent: 1, Comm: path.Base(rest[0]), Args: rest}
			j.r.Processes = []Process{p, child}
			j.process(&j.r.Processes[0], j.r.Signal, true)
		}
		return
	}
	if known == nil {
		j.add(Undecided, Note, Unknown, fmt.Sprintf("%q is not a program that is known", &p), "no replica runs that could be looked at", "")
		return
	}
	j.process(&p, j.r.Signal, true)
}

// Zombie reports whether the kernel counts more processes of a replica than
// its list shows: dead ones, or some that came or went in between.
func Zombie(r Replica) bool { return r.Pids > r.threads() }
