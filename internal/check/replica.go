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

// Replica is what was seen of one container. What is empty was not seen.
type Replica struct {
	Service string
	Name    string

	Signal program.Signal // that stops it
	Grace  time.Duration  // until SIGKILL

	Entrypoint []string // with Command: what PID 1 was started as
	Command    []string
	Dir        string   // working directory
	Environ    []string // NAME=value
	Init       bool     // below docker's own init
	Shared     bool     // its first process is not PID 1: it shares the processes of the host or of another container

	// Starting says that it is not up yet: entrypoint scripts run, and programs
	// have not installed their handlers.
	Starting bool

	PID       int       // of its first process, as the processes have it; 0: not known
	Processes []Process // empty: nothing runs, or it was not looked at
	Pids      int       // processes and threads that the kernel counts, dead ones included; 0: not known

	// Files are the files that were read, by path. One that is empty was
	// looked for in vain; a path that ends in / is a directory whose files are
	// here too.
	Files map[string]string
}

// Process is one process of a container.
type Process struct {
	PID    int
	Parent int
	Comm   string   // at most 15 bytes
	Args   []string // the command line at its spaces, which may not be its words

	Masked  bool // the fields below were seen
	Caught  uint64
	Ignored uint64
	Pending uint64
	Threads []Thread
}

// Thread is what one thread of a process waits for.
type Thread struct {
	Blocked uint64
	Wait    string // the kernel's function; empty: not known, or it runs
}

// The two questions to ask of `docker top`. Columns asks for one line a
// thread, which needs procps on the Engine's host; Plain is what every ps
// knows.
const (
	Columns = "-eLo pid,ppid,lwp,stat,blocked,caught,ignored,pending,wchan:24,comm,args"
	Plain   = "-ef"
)

var columnTitles = []string{"PID", "PPID", "LWP", "STAT", "BLOCKED", "CAUGHT", "IGNORED", "PENDING", "WCHAN", "COMMAND", "COMMAND"}

// ParseTop reads the answer of `docker top` to either question.
func ParseTop(titles []string, rows [][]string) ([]Process, error) {
	masked := slices.Equal(titles, columnTitles)
	pid, parent, last := slices.Index(titles, "PID"), slices.Index(titles, "PPID"), len(titles)-1
	if pid < 0 || parent < 0 {
		return nil, fmt.Errorf("read the process list: its columns are %s, without PID and PPID", strings.Join(titles, " "))
	}
	var all []Process
	for _, row := range rows {
		if len(row) != len(titles) {
			return nil, fmt.Errorf("read the process list: a line has %d columns, not %d", len(row), len(titles))
		}
		p := Process{Masked: masked}
		var err1, err2 error
		p.PID, err1 = strconv.Atoi(row[pid])
		p.Parent, err2 = strconv.Atoi(row[parent])
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("read the process list: %q and %q are no process ids", row[pid], row[parent])
		}
		if !masked {
			p.Args = strings.Fields(row[last])
			all = append(all, p)
			continue
		}
		if strings.HasPrefix(row[3], "Z") {
			continue
		}
		t := Thread{Blocked: mask(row[4]), Wait: strings.Trim(row[8], "-0*")}
		i := slices.IndexFunc(all, func(o Process) bool { return o.PID == p.PID })
		if i < 0 {
			all, i = append(all, p), len(all)
		}
		all[i].Threads = append(all[i].Threads, t)
		if row[2] == row[pid] || all[i].Comm == "" {
			all[i].Caught, all[i].Ignored = mask(row[5]), mask(row[6])
			all[i].Comm, all[i].Args = command(row[9], row[10])
		}
		all[i].Pending |= mask(row[7])
	}
	return all, nil
}

// mask reads a signal mask. ps may show the low half alone, after a <.
func mask(text string) uint64 {
	m, err := strconv.ParseUint(strings.TrimPrefix(text, "<"), 16, 64)
	if err != nil {
		return 0
	}
	return m
}

// command parts name and command line, which the Engine has split at spaces: a
// name may have some itself, when the process gave it to itself. It did so
// where the command line begins with the name.
func command(name, rest string) (comm string, args []string) {
	words := append([]string{name}, strings.Fields(rest)...)
	for k := 1; k < len(words); k++ {
		comm := strings.Join(words[:k], " ")
		if len(comm) > 15 {
			break
		}
		line := strings.Join(words[k:], " ")
		if strings.HasPrefix(line, comm) || strings.HasPrefix(path.Base(words[k]), comm) {
			return comm, words[k:]
		}
	}
	return name, words[1:]
}

// threads counts those that the process list shows.
func (r Replica) threads() int {
	n := 0
	for _, p := range r.Processes {
		n += len(p.Threads)
	}
	return n
}

// first is PID 1 of the container: the one that the Engine names or, when its
// numbers are not those of the list, the first whose parent is outside. Nil:
// not seen.
func (r Replica) first() *Process {
	var oldest *Process
	for i := range r.Processes {
		p := &r.Processes[i]
		if p.PID == r.PID {
			return p
		}
		outside := !slices.ContainsFunc(r.Processes, func(o Process) bool { return o.PID == p.Parent })
		if outside && (oldest == nil || p.PID < oldest.PID) {
			oldest = p
		}
	}
	return oldest
}

// children are what a process has started, and is there still.
func (r Replica) children(of *Process) []*Process {
	var found []*Process
	for i := range r.Processes {
		if p := &r.Processes[i]; p.Parent == of.PID && p.PID != of.PID {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b *Process) int { return a.PID - b.PID })
	return found
}

// below are all that descend from a process.
func (r Replica) below(of *Process) []*Process {
	var found []*Process
	for _, child := range r.children(of) {
		found = append(append(found, child), r.below(child)...)
	}
	return found
}

func (r Replica) env(name string) (string, bool) {
	for _, line := range r.Environ {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// argv is what the container was started as.
func (r Replica) argv() []string { return slices.Concat(r.Entrypoint, r.Command) }

// absolute is a path as seen from the replica's working directory.
func (r Replica) absolute(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join("/", r.Dir, name)
}

func (p *Process) program() *program.Program { return program.Find(p.Comm, p.Args) }

// String is its command line, short enough for a sentence.
func (p *Process) String() string {
	text := strings.Join(p.Args, " ")
	if text == "" {
		text = p.Comm
	}
	if runes := []rune(text); len(runes) > 60 {
		text = string(runes[:57]) + "..."
	}
	return text
}

// disposition is what becomes of a signal that a process gets.
type disposition int

const (
	unseen   disposition = iota // masks were not seen
	default_                    // no handler
	ignored
	caught
	awaited // a thread waits for it, or may: sigwait, signalfd
	queued  // blocked, and nobody is seen to wait for it
	stuck   // blocked, sent already, and never read
)

// bit is a signal's place in a mask.
func bit(s program.Signal) uint64 { return 1 << (s - 1) }

// disposition follows the kernel's order (sig_ignored in kernel/signal.c). A
// thread in sigwait shows its own mask as empty, so that it has to be known by
// what it waits in.
func (p *Process) disposition(s program.Signal) disposition {
	if !p.Masked {
		return unseen
	}
	switch {
	case p.Ignored&bit(s) != 0:
		return ignored
	case p.Caught&bit(s) != 0:
		return caught
	}
	everywhere, waits, polls := true, false, false
	for _, t := range p.Threads {
		everywhere = everywhere && t.Blocked&bit(s) != 0
		waits = waits || strings.Contains(t.Wait, "sigtimedwait") || strings.Contains(t.Wait, "signalfd")
		polls = polls || strings.Contains(t.Wait, "poll") || strings.Contains(t.Wait, "select")
	}
	switch {
	case everywhere && p.Pending&bit(s) != 0:
		return stuck
	case waits, everywhere && polls:
		return awaited
	case everywhere:
		return queued
	}
	return default_
}

// waitsKnown reports whether the kernel told what the threads wait in.
func (p *Process) waitsKnown() bool {
	return slices.ContainsFunc(p.Threads, func(t Thread) bool { return t.Wait != "" })
}

// masks is the proof that a verdict rests on.
func (p *Process) masks() string {
	if !p.Masked {
		return fmt.Sprintf("process %q; the signal masks could not be read", p)
	}
	wait := "-"
	if len(p.Threads) > 0 {
		wait = p.Threads[0].Wait
	}
	return fmt.Sprintf("process %q: caught %016x, ignored %016x, blocked %016x, waits in %s", p, p.Caught, p.Ignored, p.blocked(), wait)
}

func (p *Process) blocked() uint64 {
	if len(p.Threads) == 0 {
		return 0
	}
	all := ^uint64(0)
	for _, t := range p.Threads {
		all &= t.Blocked
	}
	return all
}

// The masks of Go programs on linux: the runtime installs handlers for all
// signals but these, and notified reports that os/signal is in use: one thread
// of such a program blocks the real-time signals.
const (
	goCaught    = 0x7fc1feff
	goCaughtAll = 0x7ffbfeff
	realTime    = 0xfffffffc00000000
)

func (p *Process) isGo() bool {
	low := p.Caught & 0xffffffff
	return p.Masked && (low == goCaught || low == goCaughtAll)
}

func (p *Process) notified() bool {
	return p.Caught&0xffffffff == goCaughtAll ||
		slices.ContainsFunc(p.Threads, func(t Thread) bool { return t.Blocked&realTime == realTime })
}
