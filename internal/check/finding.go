// Package check judges, before a deploy, what the stop signal will do to a
// replica, and what of a service loses requests. It is pure: facts in,
// findings out; who gathers facts is the caller. What it knows of programs is
// internal/program's table; what it does not know it calls unknown.
//
// The kernel's rules that it encodes: a signal without a handler never reaches
// PID 1 (pid_namespaces(7)), but ends any other process; a blocked one waits
// for somebody who reads it. Masks give a reliable no and an unreliable yes,
// because runtimes install handlers that the application never asked for.
package check

import (
	"cmp"
	"slices"
	"strings"
)

// Level says how bad a finding is.
type Level int

// The levels, in order. Fine is a good verdict, Note is something to know.
const (
	Fine Level = iota
	Note
	Warn
	Error
)

func (l Level) String() string { return [...]string{"ok", "note", "warn", "error"}[l] }

// Confidence says how sure a finding is.
type Confidence string

// Certain: the kernel's rule or a known program with known settings. Likely:
// what such programs do. Unknown: nothing seen tells.
const (
	Certain Confidence = "certain"
	Likely  Confidence = "likely"
	Unknown Confidence = "unknown"
)

// ID names a verdict. docs/check.md lists them all.
type ID string

// Verdicts about what the stop signal does.
const (
	OK               ID = "OK"
	Undecided        ID = "UNKNOWN"
	Dropped          ID = "DROPPED"               // PID 1 never gets it: SIGKILL after the grace period
	Ignored          ID = "IGNORED"               // asked to be ignored: SIGKILL after the grace period
	NeverRead        ID = "QUEUED-NEVER-READ"     // blocked, and nobody waits for it
	KilledByInitExit ID = "KILLED-BY-INIT-EXIT"   // PID 1 ends first, and the kernel kills the application
	InstantDeath     ID = "INSTANT-DEATH"         // the application dies at once, with its requests
	WrongSignal      ID = "WRONG-SIGNAL"          // another signal would end it gracefully
	GraceTooShort    ID = "GRACE-TOO-SHORT"       // its own limit is longer than the grace period
	KnobTooShort     ID = "KNOB-TOO-SHORT"        // its own limit cuts requests
	GroupSignal      ID = "GROUP-DOUBLE-SIGNAL"   // its children get the signal too, and lose their tasks
	DevServer        ID = "DEV-SERVER"            // a server for development
	Zombies          ID = "ZOMBIES"               // dead processes that nobody reaps
	KilledLastTime   ID = "KILLED-LAST-TIME"      // the last stop ended in SIGKILL
	OutOfMemory      ID = "OUT-OF-MEMORY"         // the last end was the kernel's
	DrainTooShort    ID = "DRAIN-TOO-SHORT"       // roll-init drains for less than it takes to be noticed
	SlowHealthcheck  ID = "SLOW-HEALTHCHECK"      // a flip takes long to be noticed
	SlowStart        ID = "SLOW-START"            // the first probe comes late
	NoHealthcheck    ID = "NO-HEALTHCHECK"        // nobody notices a flip
	BlindHealthcheck ID = "BLIND-HEALTHCHECK"     // it can never fail
	NoFlip           ID = "NO-FLIP"               // no way to tell a replica that it leaves
	ContainerName    ID = "CONTAINER-NAME"        // two replicas cannot have it
	FixedPort        ID = "FIXED-PORT"            // two replicas cannot listen there
	HostNetwork      ID = "HOST-NETWORK"          // two replicas listen on the same ports
	Labels           ID = "LABELS"                // roll's or Traefik's labels are wrong
	LabelsClash      ID = "LABELS-CLASH"          // old and new replicas define something differently
	Healer           ID = "AUTOHEAL"              // somebody restarts flipped replicas
	NoAPI            ID = "TRAEFIK-NO-API"        // cannot be asked where it routes
	SlowTraefik      ID = "TRAEFIK-THROTTLE"      // follows changes late
	NoProvider       ID = "TRAEFIK-NO-PROVIDER"   // reads no containers
	NoTraefik        ID = "TRAEFIK-NOT-FOUND"     // there is none
	TraefikCheck     ID = "TRAEFIK-HEALTHCHECK"   // its own checks forget at each change
	RetryPosts       ID = "TRAEFIK-RETRY"         // what a retry middleware does not cover
	RouterBroken     ID = "TRAEFIK-ROUTER-BROKEN" // Traefik itself reports an error
	Vanished         ID = "VANISHED"              // it was there and went
	Other            ID = "REFUSED"               // roll up would refuse for another reason
)

// Finding is one thing that was found out.
type Finding struct {
	ID         ID
	Level      Level
	Confidence Confidence
	Service    string   // empty: of no one service
	Replicas   []string // whom it is about; empty: the service, as declared
	Text       string   // what happens, in one sentence
	Proof      string   // what was seen
	Path       []string // where in the service's section it would be written or is
	Where      string   // file:line; filled by the caller that knows the file
	Fix        string   // to paste, or to do
	Edits      []Edit   // the same as changes of the Compose file; empty: it is not in there
}

// Edit sets one key of a service in its Compose file.
type Edit struct {
	Service string
	Path    []string // keys below the service
	Value   string   // YAML, on one line
}

// Merge puts findings that differ in their replica alone together, and sorts
// them: by service, those of none at the end, then worst first.
func Merge(findings []Finding) []Finding {
	var merged []Finding
	for _, f := range findings {
		same := func(o Finding) bool {
			return o.ID == f.ID && o.Level == f.Level && o.Confidence == f.Confidence && o.Service == f.Service && o.Text == f.Text && o.Fix == f.Fix &&
				len(o.Replicas) > 0 == (len(f.Replicas) > 0)
		}
		i := slices.IndexFunc(merged, same)
		if i < 0 {
			f.Replicas = slices.Clone(f.Replicas)
			merged = append(merged, f)
			continue
		}
		for _, name := range f.Replicas {
			if !slices.Contains(merged[i].Replicas, name) {
				merged[i].Replicas = append(merged[i].Replicas, name)
			}
		}
	}
	slices.SortStableFunc(merged, func(a, b Finding) int {
		return cmp.Or(alone(a)-alone(b), strings.Compare(a.Service, b.Service), cmp.Compare(b.Level, a.Level), strings.Compare(string(a.ID), string(b.ID)))
	})
	return merged
}

// alone is 1 for a finding of no one service.
func alone(f Finding) int {
	if f.Service == "" {
		return 1
	}
	return 0
}

// Worst is the highest level among findings.
func Worst(findings []Finding) Level {
	worst := Fine
	for _, f := range findings {
		worst = max(worst, f.Level)
	}
	return worst
}
