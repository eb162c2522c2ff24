package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// Failure is one slot that failed, with what its replica left behind.
type Failure struct {
	Slot    int
	Replica string
	Role    Role
	Phase   Phase
	Err     error
	Logs    []string // the replica's last lines
	Probes  []compose.Probe
	Last    string
}

// fail takes note that a leg failed and turns its slot back. What becomes of
// the other slots is the failure action's to say.
//
// A new replica that has to leave again and does not hear its flip is not left
// in service beside the old version: nobody could take it out later either,
// and two versions would serve until somebody notices. It is stopped while
// routers may still send it requests, once as many others serve as the plan
// asks for, and the result names it and claims no proof. That is for deaf
// replicas alone: one that sank and that a router goes on listing stays, as
// the router is about to forget it.
func (m *machine) fail(s *slot, l *leg, err error) {
	if m.vetoed && s.stage == undoing && l == s.exile && l.flips() {
		m.warn("%s cannot be taken out of the routers (%v); it fails requests where it is, so it is stopped all the same", l.name, err)
		l.way = "none"
		m.enter(s, l, Leaving)
		return
	}
	if s.stage == undoing && l == s.exile && l.deaf == nil && deaf(err) {
		l.deaf = err
		m.enter(s, l, Leaving)
		return
	}
	m.failures = append(m.failures, Failure{Slot: s.number, Replica: l.name, Role: l.role, Phase: l.phase, Err: err})
	m.emit(Event{Kind: KindFailure, Slot: s.number, Role: l.role, Replica: l.name, Phase: l.phase, Detail: err.Error()})
	m.moved = true
	if s.stage == undoing {
		s.undoErr = err
		m.finish(s, stuck)
		return
	}
	s.cause = err
	m.report(s, l, len(m.failures)-1)
	if s.pastReturn() && s.kept == nil {
		// Nothing was kept of its old replica: what is there is all there is.
		s.undoErr = err
		m.finish(s, stuck)
	} else if s.stage == done {
		m.goBack(s)
	} else {
		m.undo(s)
	}
	failed := 0
	for _, s := range m.slots {
		if s.cause != nil {
			failed++
		}
	}
	policy := m.plan.Policy
	if ratio := float64(failed) / float64(len(m.slots)); ratio <= policy.MaxFailureRatio.Value || policy.FailureAction.Value == ActContinue {
		return
	}
	m.turnBack(err)
}

// veto turns the roll back because somebody who watches the requests says that
// they fail, whatever Docker and the routers think of the new replicas.
func (m *machine) veto(err error) {
	m.failures = append(m.failures, Failure{Err: err})
	m.emit(Event{Kind: KindFailure, Detail: err.Error()})
	m.moved, m.vetoed = true, true
	m.turnBack(err)
}

// turnBack ends the way forward: under rollback every slot goes back, under
// pause only those that have not committed.
func (m *machine) turnBack(cause error) {
	if m.turned != nil {
		return
	}
	m.turned = cause
	detail := "the roll goes back"
	if m.plan.Policy.FailureAction.Value == ActPause {
		detail = "the roll pauses: what is done stays, the rest is not begun"
	}
	m.emit(Event{Kind: KindUndo, Detail: detail})
	for _, s := range m.slots {
		switch {
		case s.stage == coming || s.stage == ready:
			m.undoUncommitted(s)
		case !m.rollsBack():
		case s.stage == going && !s.pastReturn():
			m.undo(s)
		case s.stage == done && s.out == nil:
			m.undo(s)
		case s.stage == done && s.kept != nil:
			m.goBack(s)
		}
	}
}

// rollsBack reports whether slots that are past their commit go back, too.
func (m *machine) rollsBack() bool {
	return m.turned != nil && m.plan.Policy.FailureAction.Value == ActRollback
}

// report gathers what a failed replica left behind, before it is removed.
func (m *machine) report(s *slot, l *leg, index int) {
	r, there := m.world.replicas[l.id]
	if there {
		m.failures[index].Probes = r.Probes
	}
	if m.r.Logs == nil || l.id == "" || l.role != NewReplica {
		return
	}
	ctx, cancel := context.WithTimeout(m.act0, lookLimit)
	defer cancel()
	lines, err := m.r.Logs.Logs(ctx, l.id, failureLogLines)
	if err != nil && !errors.Is(err, compose.ErrGone) {
		lines = []string{"(its log could not be read: " + err.Error() + ")"}
	}
	m.failures[index].Logs = lines
}

// failureLogLines is how much of a failed replica's log is shown.
const failureLogLines = 20

// remake makes a removed old replica again from what was kept of it.
func (m *machine) remake(s *slot, l *leg) {
	if m.creating || m.pauses(l) {
		return // Compose would count it
	}
	m.act(s, l, createLimit, func(ctx context.Context) error {
		id, name, err := m.r.Keeper.Restore(ctx, l.kept)
		if err == nil {
			l.id, l.name = id, name
		}
		return err
	}, func(err error) error {
		switch {
		case err == nil:
			m.enter(s, l, Booting)
			return nil
		case time.Since(l.since) >= engineLimit:
			return fmt.Errorf("make %s again: %w", l.name, err)
		}
		m.see(s, l, "make it again: %v", err)
		return nil
	})
}

// way is how a replica that the plan did not know can be flipped.
func (m *machine) way(r compose.Replica) string {
	if m.r.Flipper == nil {
		return ""
	}
	way, err := m.r.Flipper.Way(r.Labels, append(append([]string{}, r.Entrypoint...), r.Command...))
	if err != nil {
		return ""
	}
	return way
}

func (m *machine) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.warnings = append(m.warnings, text)
	m.emit(Event{Kind: KindWarning, Detail: text})
}

func (m *machine) emit(e Event) {
	e.Time, e.Project, e.Service, e.Slots = time.Now(), m.plan.Project, m.plan.Service, len(m.slots)
	m.r.emit(e)
}
