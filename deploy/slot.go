package deploy

import (
	"fmt"
	"slices"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// stage is where a slot stands as a whole.
type stage int

const (
	pending  stage = iota // its turn has not come
	coming                // its new replica is on its way in
	ready                 // waits for the commit
	going                 // its old replica is on its way out
	done                  // as planned
	homing                // its old replica is gone; waits for its turn to go back
	undoing               // on its way back
	undone                // as it was before
	released              // failed, but what is left needs nobody (pause, continue)
	stuck                 // neither forward nor back: a person is needed
)

// slot is a planned slot while it is carried out.
type slot struct {
	number int
	plan   Slot
	stage  stage
	batch  int // slots created by one call share it; they commit together

	in    *leg // nil: nobody comes
	out   *leg // nil: nobody leaves
	back  *leg // the old replica on its way back
	exile *leg // the new replica on its way out again

	homeward []*leg // back and exile, in the order in which they go

	committed bool
	made      compose.Replica // what Compose created for it
	kept      any             // what the old replica can be made from again
	weakSince time.Time       // since when the strength keeps it from its commit
	freed     time.Time       // when it left its place in the window
	homed     bool            // it went back by way of homing
	home      time.Time       // when its way back ended
	broke     error           // why its new replica failed while the old one could no longer return
	cause     error           // why it failed
	undoErr   error
}

// newSlot makes the legs of a planned slot.
func newSlot(number int, plan Slot) *slot {
	s := &slot{number: number, plan: plan}
	switch {
	case plan.New:
		s.in = &leg{course: arriving, role: NewReplica, wanted: plan.Wanted, ready: plan.Ready}
	case plan.Adopt != nil:
		s.in = &leg{course: arriving, role: NewReplica, wanted: plan.Wanted, ready: plan.Ready, id: plan.Adopt.ID, name: plan.Adopt.Name, check: plan.Adopt.Healthcheck, way: plan.AdoptWay, restarts: plan.Adopt.RestartCount}
		if plan.Unflip {
			s.in.course = returning
		}
	}
	if plan.Old != nil {
		s.out = &leg{course: departing, role: OldReplica, id: plan.Old.ID, name: plan.Old.Name, way: plan.OldWay, check: plan.Old.Healthcheck, stay: plan.Keep}
	}
	return s
}

// legs are the legs that move at present.
func (s *slot) legs() []*leg {
	switch s.stage {
	case coming:
		return []*leg{s.in}
	case going:
		return []*leg{s.out}
	case undoing:
		for _, l := range s.homeward {
			if !l.done() {
				return []*leg{l}
			}
		}
	}
	return nil
}

// occupies reports whether the slot takes a place of the window: from its
// start until its old replica serves nobody any more. A long graceful stop
// holds up nobody.
func (s *slot) occupies(order compose.Order) bool {
	switch s.stage {
	case coming, ready:
		return true
	case going:
		return order == compose.StopFirst || s.out.phase < Draining
	}
	return false
}

// over reports whether nothing will happen in this slot any more.
func (s *slot) over() bool {
	return s.stage == done || s.stage == undone || s.stage == released || s.stage == stuck
}

// pastReturn reports whether the old replica has got its stop signal or has
// ended, so that it can only come back as a new container.
func (s *slot) pastReturn() bool { return s.out != nil && s.out.gone }

// progress moves a slot as far as the present world allows.
func (m *machine) progress(s *slot) {
	for _, l := range s.legs() {
		if err := m.advance(s, l); err != nil {
			m.fail(s, l, err)
			return
		}
	}
	stopFirst := m.plan.Policy.Order.Value == compose.StopFirst
	switch s.stage {
	case coming:
		if !s.in.done() {
			return
		}
		m.turn(s, ready)
		if stopFirst || s.out == nil {
			m.finish(s, done)
		}
	case going:
		switch {
		case s.in != nil && !stopFirst && !s.pastReturn():
			m.watchNew(s)
		case !s.out.done():
			m.heed(s)
		case m.rollsBack() && s.kept != nil:
			m.goBack(s)
		case stopFirst && s.in != nil:
			m.turn(s, coming)
			m.startArrival(s)
		default:
			m.finish(s, done)
		}
	case done:
		m.monitor(s)
	case undoing:
		m.undoNext(s)
	}
}

// monitor fails a slot whose new replica breaks within `monitor` after it came
// into service, also when the old one is gone already.
func (m *machine) monitor(s *slot) {
	if !m.monitored(s) || m.world.at.Before(s.in.since) {
		return
	}
	if s.broke != nil {
		m.fail(s, s.in, s.broke)
		return
	}
	r, there := m.world.replicas[s.in.id]
	if err := s.in.broken(r, there); err != nil {
		m.fail(s, s.in, fmt.Errorf("%w, %s after it came into service", err, short(time.Since(s.in.arrived))))
		return
	}
	m.wake(min(m.r.poll()*10, time.Until(s.in.arrived.Add(m.plan.Policy.Monitor.Value))))
}

// monitored reports whether a finished slot's new replica is still on
// probation. A replica that replaced nobody is not: there is nothing to go
// back to.
func (m *machine) monitored(s *slot) bool {
	return s.stage == done && s.in != nil && s.out != nil && m.turned == nil && !m.interrupted &&
		(s.broke != nil || time.Since(s.in.arrived) < m.plan.Policy.Monitor.Value)
}

// heed notes that a slot's new replica breaks within `monitor` while the old
// one finishes its requests, for longer than that perhaps: the slot goes back
// when that one has stopped.
func (m *machine) heed(s *slot) {
	if s.in == nil || s.in.arrived.IsZero() || s.broke != nil || m.world.at.Before(s.in.since) {
		return
	}
	after := time.Since(s.in.arrived)
	if after >= m.plan.Policy.Monitor.Value {
		return
	}
	r, there := m.world.replicas[s.in.id]
	if err := s.in.broken(r, there); err != nil {
		s.broke = fmt.Errorf("%w, %s after it came into service", err, short(after))
	}
}

// monitoring reports whether any replica is still on probation.
func (m *machine) monitoring() bool { return slices.ContainsFunc(m.slots, m.monitored) }

// watchNew turns a slot back when its new replica breaks while the old one can
// still return.
func (m *machine) watchNew(s *slot) {
	r, there := m.world.replicas[s.in.id]
	if m.world.at.Before(s.in.since) {
		return
	}
	if err := s.in.broken(r, there); err != nil {
		m.fail(s, s.in, err)
	}
}

func (m *machine) turn(s *slot, to stage) {
	s.stage = to
	m.moved = true
}

func (m *machine) finish(s *slot, to stage) {
	m.turn(s, to)
}

// startArrival sets the new replica of a slot on its way.
func (m *machine) startArrival(s *slot) {
	switch {
	case s.plan.New:
		m.enter(s, s.in, Creating)
	case s.plan.Unflip:
		m.enter(s, s.in, Unflipping)
	default:
		m.enter(s, s.in, Booting)
	}
}

// undo turns a slot back: the old replica comes back first, if it has begun to
// leave; then the new one leaves the way any replica does.
func (m *machine) undo(s *slot) {
	switch {
	case s.out == nil:
	case s.pastReturn():
		if s.kept != nil {
			s.back = &leg{
				course: arriving, role: OldReplica, name: s.out.name, way: s.out.way, check: s.out.check, wanted: listed(m.start, *s.plan.Old),
				ready: readyBudget(s.out.check, m.plan.Policy.Monitor.Value, 0), kept: s.kept,
			}
		}
	case !s.out.flipped.IsZero(): // one that was not told to leave need not come back
		s.back = &leg{
			course: returning, role: OldReplica, id: s.out.id, name: s.out.name, way: s.out.way, check: s.out.check, wanted: listed(m.start, *s.plan.Old),
			restarts: s.plan.Old.RestartCount, idle: !s.plan.Old.Ready(),
		}
	}
	if s.plan.New && s.in.id != "" {
		r, there := m.world.replicas[s.in.id]
		if !there {
			r = s.made
		}
		s.exile = &leg{course: departing, role: NewReplica, id: s.in.id, name: s.in.name, way: m.way(r), check: r.Healthcheck, arrived: s.in.arrived, routed: s.in.phase != Joining}
	}
	for _, l := range []*leg{s.back, s.exile} {
		if l != nil {
			s.homeward = append(s.homeward, l)
		}
	}
	m.orderHome(s)
	m.turn(s, undoing)
	m.undoNext(s)
}

// undoNext sets the next leg of an undo on its way once the one before it is
// done, and once nothing of the way forward is still going on: a flip that
// lands after its un-flip would stay.
func (m *machine) undoNext(s *slot) {
	if s.in != nil && s.in.busy || s.out != nil && s.out.busy {
		return
	}
	for _, l := range s.homeward {
		if l.done() {
			waits, err := m.probation(l)
			if err != nil {
				m.fail(s, l, err)
			}
			if waits {
				return
			}
			continue
		}
		switch {
		case l.phase != Planned:
		case l == s.exile:
			m.enter(s, l, Flipping)
		case l.kept != nil && m.nameTaken(l):
		case l.kept != nil:
			m.enter(s, l, Creating)
		default:
			m.enter(s, l, Unflipping)
		}
		return
	}
	m.finish(s, undone)
}

// nameTaken reports whether a new replica that is still to leave has the name
// that the old one had: under stop-first Compose numbers from 1 again once
// none is left.
func (m *machine) nameTaken(back *leg) bool {
	return slices.ContainsFunc(m.slots, func(s *slot) bool {
		return s.stage == undoing && s.exile != nil && s.exile.name == back.name && !s.exile.done()
	})
}
