package deploy

import (
	"slices"
	"time"
)

// Timing says what one roll waited for, along its critical path. The lengths
// after Total always add up to it.
//
// The critical path is walked back from the end of the roll. From an entry
// into a phase it goes to the entry before it of the same replica; where the
// replica set off, to the last entry of any replica before that, because that
// is what set it off: the machine acts on a change in the step in which it
// sees it. The time in between belongs to the phase that lasted meanwhile.
// When none did, because the replica that was met there had come to its end,
// it is Own.
type Timing struct {
	Total   time.Duration // from the first event to the last
	Compose time.Duration // creating
	Docker  time.Duration // booting, sinking, recovering, removing: its probes and its work
	App     time.Duration // flipping, unflipping, draining, pre_stop, stopping
	Traefik time.Duration // joining, leaving, rejoining: its throttle, and its API
	Settle  time.Duration // settling
	Monitor time.Duration // after the last step, while new replicas are on probation
	Own     time.Duration // no replica of the path was under way; a --delay counts as well

	Path []Step // the phases of the critical path that took time, in order
}

// Step is one phase of a replica.
type Step struct {
	Slot    int // 0: a leftover
	Role    Role
	Replica string // empty while Compose creates it
	Phase   Phase
	From    time.Time
	Took    time.Duration
}

// Waits is what the roll waited for: Total without Own.
func (t Timing) Waits() time.Duration { return t.Total - t.Own }

// Measure reads the events of one roll, in their order, from its plan to its
// result. Events of other kinds than those two and phases do not matter.
// Without events all is zero.
func Measure(events []Event) Timing {
	var t Timing
	if len(events) == 0 {
		return t
	}
	begin, end := events[0].Time, events[len(events)-1].Time
	t.Total = end.Sub(begin)
	entries, probation := entriesOf(events)
	if len(entries) == 0 {
		t.Own = t.Total
		return t
	}
	at, last := end, len(entries)-1
	if entries[last].ended() && probation {
		at = entries[last].Time
		t.Monitor = end.Sub(at)
	}
	for i := last; i >= 0; {
		t.charge(entries[i], at)
		at = entries[i].Time
		if before := entries[i].before; before >= 0 && !entries[before].ended() {
			i = before
		} else {
			i--
		}
	}
	t.Own += at.Sub(begin)
	slices.Reverse(t.Path)
	return t
}

// charge books the time from an entry to until.
func (t *Timing) charge(e entry, until time.Time) {
	took := until.Sub(e.Time)
	if took == 0 {
		return
	}
	switch e.Phase {
	case Creating:
		t.Compose += took
	case Booting, Sinking, Recovering, Removing:
		t.Docker += took
	case Flipping, Unflipping, Draining, PreStop, Stopping:
		t.App += took
	case Joining, Leaving, Rejoining:
		t.Traefik += took
	case Settling:
		t.Settle += took
	default:
		t.Own += took
		return
	}
	t.Path = append(t.Path, Step{e.Slot, e.Role, e.Replica, e.Phase, e.Time, took})
}

// entry is a phase event.
type entry struct {
	Event
	before int // the entry before it of the same replica; -1: none
}

// ended reports whether a replica in this phase waits for nothing.
func (e entry) ended() bool {
	switch e.Phase {
	case Planned, Arrived, Departed, Returned:
		return true
	}
	return false
}

// entriesOf picks the phase events, and reports whether a new replica of a
// finished slot may have been on probation: it came into service and replaced
// one (machine.monitored).
func entriesOf(events []Event) (entries []entry, probation bool) {
	type who struct {
		slot    int
		role    Role
		replica string // of leftovers alone: the others have no name at first
	}
	latest, arrived, departed := map[who]int{}, map[int]bool{}, map[int]bool{}
	for _, e := range events {
		if e.Kind != KindPhase {
			continue
		}
		key := who{slot: e.Slot, role: e.Role}
		if e.Slot == 0 {
			key.replica = e.Replica
		}
		before, ok := latest[key]
		if !ok {
			before = -1
		}
		latest[key] = len(entries)
		entries = append(entries, entry{e, before})
		switch {
		case e.Slot > 0 && e.Role == NewReplica:
			arrived[e.Slot] = e.Phase == Arrived
		case e.Slot > 0 && e.Role == OldReplica:
			departed[e.Slot] = e.Phase == Departed
		}
	}
	for slot := range arrived {
		probation = probation || arrived[slot] && departed[slot]
	}
	return entries, probation
}
