package deploy

import "time"

// Kind says what an event tells.
type Kind string

// The kinds of events. They are part of the JSON contract (docs/json.md).
const (
	KindPlan    Kind = "plan"    // a roll begins; Detail is the plan's headline
	KindPhase   Kind = "phase"   // a replica entered Phase
	KindSeen    Kind = "seen"    // news within a phase, as "failing 1 of 2"
	KindWarning Kind = "warning" // something a person should know; the roll goes on
	KindFailure Kind = "failure" // a slot failed; Detail says why
	KindUndo    Kind = "undo"    // the roll turned back; Detail says why
	KindResult  Kind = "result"  // a roll ended; Detail is the outcome
	KindOutput  Kind = "output"  // one line that a replica or a tool wrote
)

// Role tells the two replicas of a slot apart.
type Role string

// A replica of a slot is new or old; empty for the roll as a whole.
const (
	NewReplica Role = "new"
	OldReplica Role = "old"
)

// Event is one thing that happened in a roll. Events of one roll arrive in
// order and never concurrently.
type Event struct {
	Time    time.Time
	Kind    Kind
	Project string
	Service string
	Slot    int // 1-based; 0 for the roll as a whole
	Slots   int // how many the plan has
	Role    Role
	Replica string        // container name; empty until it has one
	Phase   Phase         // of KindPhase and KindSeen
	Budget  time.Duration // how long Phase may take; 0 when it has no limit of its own
	Detail  string
}

// Observer is told what happens. It must not block: the roll waits for it.
type Observer interface {
	On(Event)
}

// ObserverFunc makes a function an Observer.
type ObserverFunc func(Event)

// On calls f.
func (f ObserverFunc) On(e Event) { f(e) }
