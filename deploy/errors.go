package deploy

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Refusal is one reason why a roll is not started: what stands in the way,
// why it would lose requests, and what to write instead. Path is the place in
// the service's section of the Compose file, for whoever can name the line.
type Refusal struct {
	Path    []string
	Where   string // "compose.yaml:12"; filled by the caller that knows the file
	What    string
	Why     string
	Instead string
}

func (r Refusal) String() string {
	var b strings.Builder
	if r.Where != "" {
		b.WriteString(r.Where + ": ")
	}
	b.WriteString(r.What)
	if r.Why != "" {
		b.WriteString(": " + r.Why)
	}
	if r.Instead != "" {
		b.WriteString("; instead: " + r.Instead)
	}
	return b.String()
}

// RefusedError says that a roll was refused before anything was changed.
type RefusedError struct {
	Service  string
	Refusals []Refusal
	Overlap  bool // every refusal is about two replicas at the same time: --order stop-first is a way out
}

func (e *RefusedError) Error() string {
	lines := make([]string, 0, len(e.Refusals)+1)
	lines = append(lines, "refused to roll "+e.Service+": nothing was changed")
	for _, r := range e.Refusals {
		lines = append(lines, "  "+r.String())
	}
	return strings.Join(lines, "\n")
}

// WaitError says that something that was awaited did not come.
type WaitError struct {
	What string        // "Traefik to route to web-4"
	For  time.Duration // how long it was awaited
	Last string        // the last thing seen
}

func (e *WaitError) Error() string {
	s := fmt.Sprintf("waited %s for %s", short(e.For), e.What)
	if e.Last != "" {
		s += "; last seen: " + e.Last
	}
	return s
}

// ReplicaError says that a replica did not do what it should. New tells a
// fault of the new version from one of the flip or of the surroundings.
type ReplicaError struct {
	Replica string
	New     bool
	Phase   Phase
	Err     error
}

func (e *ReplicaError) Error() string { return e.Replica + ": " + e.Err.Error() }
func (e *ReplicaError) Unwrap() error { return e.Err }

// IneffectiveError says that a probe passed after the flip: the flip does not
// reach what the healthcheck looks at.
type IneffectiveError struct {
	Way   string
	Check string // the healthcheck's command
	After time.Duration
}

// deaf reports whether an error proves that a replica does not hear its flip:
// a probe passed after the flip, or the replica itself said no to it. An
// Engine or a network that fails proves nothing.
func deaf(err error) bool {
	var ineffective *IneffectiveError
	return errors.As(err, &ineffective) || refused(err)
}

// refused reports whether the replica answered a flip or an un-flip, and said
// no: a route that is not there, a command that fails.
func refused(err error) bool {
	var no interface{ Refused() bool }
	return errors.As(err, &no) && no.Refused()
}

func (e *IneffectiveError) Error() string {
	return fmt.Sprintf("the flip (%s) does nothing: %s after it the healthcheck still passes (%s)", e.Way, short(e.After), e.Check)
}
