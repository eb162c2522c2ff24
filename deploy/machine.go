package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// machine carries out one plan. One goroutine owns it: it looks at the world,
// moves every slot as far as it goes, starts the actions that follow, and
// waits for their end, for a ring of the Engine or for the clock. Actions run
// beside it and report through completions; they decide nothing.
type machine struct {
	r       *Roller
	plan    Plan
	world   world
	start   map[string][]netip.AddrPort // the routes at the start
	initial []compose.Replica           // the replicas at the start
	slots   []*slot

	act0        context.Context // of actions: outlives an interruption
	completions chan completion
	running     int  // actions on their way
	creating    bool // Compose is at work; nothing is stopped or removed meanwhile
	batches     int
	moved       bool      // something changed since the last look
	stirred     bool      // something changed since the routers were last asked
	alarm       time.Time // when to look again at the latest; zero: at the next poll

	turned      error // why the roll turned back; nil: it goes forward
	interrupted bool
	vetoed      bool // requests fail: a new replica does harm where it is
	watching    bool // only the probation of new replicas is left
	broken      bool // the lease is lost: nothing more is begun
	failures    []Failure
	warnings    []string
	lossy       []string // replicas that were stopped although a router may have sent requests to them
	exits       map[string]int
	startedAt   time.Time
}

type completion struct {
	slot  *slot
	leg   *leg
	apply func() error
}

// act runs one action beside the machine. While it runs the leg does not move;
// then apply, back on the machine's goroutine, takes its result. An error of
// apply fails the leg. The result for a leg that its slot has left meanwhile
// matters to nobody.
func (m *machine) act(s *slot, l *leg, limit time.Duration, do func(context.Context) error, apply func(error) error) {
	l.busy = true
	phase := l.phase
	m.spawn(limit, do, func(err error) completion {
		return completion{s, l, func() error {
			l.busy, l.tried = false, time.Now()
			m.moved = true
			if l.phase != phase || !slices.Contains(s.legs(), l) {
				return nil
			}
			return apply(err)
		}}
	})
}

func (m *machine) spawn(limit time.Duration, do func(context.Context) error, then func(error) completion) {
	m.running++
	go func() {
		ctx, cancel := context.WithTimeout(m.act0, limit)
		defer cancel()
		err := do(ctx)
		if err != nil && ctx.Err() != nil && m.act0.Err() == nil {
			err = fmt.Errorf("no answer within %s: %w", short(limit), err)
		}
		select {
		case m.completions <- then(err):
		case <-m.act0.Done(): // nobody listens any more
		}
	}()
}

// run carries the plan out to its end, or to the second interruption.
func (m *machine) run(ctx context.Context) {
	loop, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	m.act0 = loop
	var rings <-chan struct{}
	if m.r.Notifier != nil {
		rings = m.r.Notifier.Changes(loop)
	}
	interrupted := ctx.Done()
	if ctx.Err() != nil {
		interrupted = nil
		m.interrupt()
	}
	for !m.givenUp() {
		m.stirred = m.stirred || m.moved
		m.moved, m.alarm = false, time.Time{}
		m.look(loop, m.wantsRoutes() && m.untilAsking() <= 0)
		if m.lost() {
			m.yield()
			return
		}
		if m.sure() {
			m.step()
		}
		if m.over() {
			return
		}
		if m.moved {
			continue
		}
		wait := m.r.poll()
		if m.wantsRoutes() {
			wait = min(wait, max(0, m.untilAsking()))
		}
		if !m.alarm.IsZero() {
			wait = min(wait, max(0, time.Until(m.alarm)))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-rings:
		case c := <-m.completions:
			m.take(c)
		case <-interrupted:
			interrupted = nil
			m.interrupt()
		case err := <-m.r.Veto:
			m.veto(err)
		case <-m.r.Lost:
		case <-m.r.GiveUp:
			timer.Stop()
			return
		}
		timer.Stop()
		m.drain()
	}
}

func (m *machine) givenUp() bool {
	select {
	case <-m.r.GiveUp:
		return true
	default:
		return false
	}
}

// drain takes every completion that has come in the meantime.
func (m *machine) drain() {
	for {
		select {
		case c := <-m.completions:
			m.take(c)
		default:
			return
		}
	}
}

func (m *machine) take(c completion) {
	m.running--
	if err := c.apply(); err != nil && c.slot != nil {
		m.fail(c.slot, c.leg, err)
	}
}

// wake asks for another look after d at the latest.
func (m *machine) wake(d time.Duration) {
	at := time.Now().Add(max(0, d))
	if m.alarm.IsZero() || at.Before(m.alarm) {
		m.alarm = at
	}
}

// wantsRoutes reports whether what the routers say matters now.
func (m *machine) wantsRoutes() bool {
	if !m.provable() {
		return false
	}
	return slices.ContainsFunc(m.slots, func(s *slot) bool {
		if s.stage == ready && !m.waitsForBatch(s) {
			return true
		}
		return slices.ContainsFunc(s.legs(), func(l *leg) bool {
			switch l.phase {
			case Booting, Recovering:
				return false
			case Joining, Leaving, Rejoining, Flipping:
				return true
			case Settling:
				return !time.Now().Before(l.since.Add(l.budget))
			case Stopping:
				return !l.busy
			}
			return false
		})
	})
}

// untilAsking is how long the routers are left alone after they were asked: for
// a poll, longer when they need long to answer, and only for a quarter of it
// when something has changed since. So what fifty replicas do within a moment
// is answered by one call.
func (m *machine) untilAsking() time.Duration {
	pause := min(max(m.r.poll(), 10*m.world.answer), 5*m.r.poll()/2)
	if m.stirred {
		pause = m.r.poll() / 4
	}
	return time.Until(m.world.asked.Add(pause))
}

// over reports whether the machine has come to its end.
func (m *machine) over() bool {
	if m.running > 0 {
		return false
	}
	for _, s := range m.slots {
		if s.stage == pending && (m.turned != nil || m.interrupted) {
			continue
		}
		if !s.over() {
			return false
		}
	}
	if !m.monitoring() {
		return true
	}
	if !m.watching {
		m.watching = true
		m.emit(Event{Kind: KindSeen, Detail: "all replaced; watches the new replicas until they have served for " + short(m.plan.Policy.Monitor.Value) + " (monitor)"})
	}
	return false
}

// step moves everything as far as the present world allows.
func (m *machine) step() {
	for _, s := range m.slots {
		m.progress(s)
	}
	m.commit()
	m.schedule()
	m.scheduleBack()
	m.create()
}

// schedule starts pending slots while the window has room. Slots whose turn
// comes at the same instant form a batch: Compose creates their replicas in
// one call and Traefik follows their changes in one.
func (m *machine) schedule() {
	if m.turned != nil || m.interrupted || m.creating {
		return
	}
	room := m.plan.window()
	for _, s := range m.slots {
		if s.occupies(m.plan.Policy.Order.Value) {
			room--
			continue
		}
		if s.stage == pending {
			continue
		}
		// As in Swarm, a place of the window rests for the delay.
		if s.freed.IsZero() {
			s.freed = time.Now()
		}
		if rest := time.Until(s.freed.Add(m.plan.Policy.Delay.Value)); rest > 0 {
			room--
			m.wake(rest)
		}
	}
	begun := 0
	for _, s := range m.slots {
		if s.stage != pending || room <= begun {
			continue
		}
		if begun == 0 {
			m.batches++
		}
		begun++
		s.batch = m.batches
		m.begin(s)
	}
}

// begin starts a slot.
func (m *machine) begin(s *slot) {
	switch {
	case s.in != nil && (s.out == nil || m.plan.Policy.Order.Value != compose.StopFirst):
		m.turn(s, coming)
		m.startArrival(s)
	default:
		m.turn(s, ready)
	}
}

// commit lets old replicas leave: those of a batch together, once every new
// one of the batch serves, and never more than the strength allows.
func (m *machine) commit() {
	if m.turned != nil {
		return
	}
	stopFirst := m.plan.Policy.Order.Value == compose.StopFirst
	for _, s := range m.slots {
		if s.stage != ready {
			continue
		}
		if m.interrupted || !stopFirst && (m.waitsForBatch(s) || m.tooWeak(s)) {
			continue
		}
		s.committed = true
		m.turn(s, going)
		m.enter(s, s.out, Flipping)
	}
}

// tooWeak reports whether a slot must not commit yet: it is not known who
// serves, or too few would serve without its old replica. When that lasts, the
// slot fails.
func (m *machine) tooWeak(s *slot) bool {
	w, since, limit := m.world, s.readySince(), m.plan.Policy.RouteTimeout.Value
	var what, last string
	switch {
	case w.engineErr != nil:
		what, last, limit = "the Engine to say who is healthy", w.engineErr.Error(), engineLimit
	case m.provable() && w.routerErr != nil:
		what, last = "Traefik to say who is routed", w.routerErr.Error()
	case w.at.Before(since) || m.provable() && w.routesAt.Before(since):
		return true
	case m.servesNow(s.out.id) && m.inService()-1 < m.plan.Floor:
		what, last = fmt.Sprintf("%s in service without it", count(m.plan.Floor, "replica")), fmt.Sprintf("%s in service with it", count(m.inService(), "replica"))
	default:
		return false
	}
	if s.weakSince.IsZero() {
		s.weakSince = time.Now()
	}
	if waited := time.Since(s.weakSince); waited >= limit {
		m.fail(s, s.out, &WaitError{What: what, For: waited, Last: last})
	}
	return true
}

// readySince is the look that showed that the slot's new replica had arrived;
// zero when it has none. What is older says nothing about the strength.
func (s *slot) readySince() time.Time {
	if s.in == nil {
		return time.Time{}
	}
	return s.in.proven
}

func (m *machine) waitsForBatch(s *slot) bool {
	return slices.ContainsFunc(m.slots, func(o *slot) bool { return o.batch == s.batch && o.stage == coming })
}

// inService counts replicas that are healthy, routed and not on their way out.
func (m *machine) inService() int {
	n := 0
	for id := range m.world.replicas {
		if m.servesNow(id) && !m.isLeaving(id) {
			n++
		}
	}
	return n
}

func (m *machine) servesNow(id string) bool {
	r, there := m.world.replicas[id]
	return there && r.Ready() && (!m.provable() || len(listed(m.world.routes, r)) > 0)
}

func (m *machine) isLeaving(id string) bool {
	return slices.ContainsFunc(m.slots, func(s *slot) bool {
		if (s.stage == undoing || s.stage == stuck) && s.exile != nil && s.exile.id == id {
			return s.exile.phase != Planned
		}
		return (s.stage == going || s.stage == stuck) && s.out != nil && s.out.id == id && s.out.phase != Planned
	})
}

// create has Compose create the replicas of every slot that waits for one, in
// one call. It waits until no container is between its exit and its removal:
// Compose would count it and start it again (facts.md C).
func (m *machine) create() {
	var waiting []*slot
	for _, s := range m.slots {
		if s.stage == coming && s.in.phase == Creating && !s.in.busy {
			waiting = append(waiting, s)
		}
		for _, l := range s.legs() {
			if l.phase == Removing || l.phase == Creating && l.kept != nil {
				return
			}
		}
	}
	if len(waiting) == 0 || m.creating {
		return
	}
	m.creating = true
	before := map[string]bool{}
	var made []compose.Replica
	for _, s := range waiting {
		s.in.busy = true
	}
	m.spawn(createLimit, func(ctx context.Context) error {
		list, err := m.r.Engine.Replicas(ctx, m.plan.Project, m.plan.Service)
		if err != nil {
			return fmt.Errorf("count replicas: %w", err)
		}
		for _, r := range list {
			before[r.ID] = true
		}
		if m.lost() {
			return errLost
		}
		err = m.r.Creator.Create(ctx, m.plan.Service, len(list)+len(waiting))
		var known bool
		if made, known = m.findNew(ctx, before); !known && err == nil {
			err = errors.New("the Engine does not say which replicas are new")
		}
		return err
	}, func(err error) completion {
		return completion{apply: func() error {
			m.creating = false
			m.moved = true
			m.handOut(waiting, made, err)
			return nil
		}}
	})
}

// findNew lists the replicas that were not there before. Whatever Compose
// said, what it made has to be found, or nobody would ever remove it: an
// Engine that does not answer is asked again until the context ends.
func (m *machine) findNew(ctx context.Context, before map[string]bool) (made []compose.Replica, known bool) {
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		list, err := m.r.Engine.Replicas(ctx, m.plan.Project, m.plan.Service)
		if err == nil {
			for _, r := range list {
				if !before[r.ID] {
					made = append(made, r)
				}
			}
			return made, true
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// handOut gives the created replicas to the slots that waited for them.
func (m *machine) handOut(waiting []*slot, made []compose.Replica, err error) {
	for i, s := range waiting {
		s.in.busy = false
		if i < len(made) {
			s.made = made[i]
			s.in.id, s.in.name, s.in.check = made[i].ID, made[i].Name, made[i].Healthcheck
		}
	}
	for i, s := range waiting {
		switch {
		case s.stage != coming:
		case (m.turned != nil || m.interrupted) && !m.irreplaceable(s):
			m.undo(s)
		case err != nil: // also of one that runs: a post_start hook may have failed
			m.fail(s, s.in, &createError{err})
		case i < len(made):
			m.enter(s, s.in, Booting)
		default:
			m.fail(s, s.in, &createError{fmt.Errorf("compose created %d of %s", len(made), count(len(waiting), "replica"))})
		}
	}
	for _, r := range made[min(len(made), len(waiting)):] {
		m.warn("Compose created %s, which nobody asked for; it is left alone", r.Name)
	}
}

// createError says that Compose did not create what it was asked for: the new
// version was not even tried.
type createError struct{ err error }

func (e *createError) Error() string { return "create: " + e.err.Error() }
func (e *createError) Unwrap() error { return e.err }

// interrupt turns back what is not committed; what is committed is finished.
func (m *machine) interrupt() {
	m.interrupted = true
	m.moved = true
	m.emit(Event{Kind: KindUndo, Detail: "interrupted: slots that are not committed are undone, the others are finished"})
	for _, s := range m.slots {
		m.undoUncommitted(s)
	}
}

// irreplaceable reports whether a slot's old replica is gone and does not come
// back, so that only going on brings the service back to strength.
func (m *machine) irreplaceable(s *slot) bool {
	return m.plan.Policy.Order.Value == compose.StopFirst && s.out != nil && s.out.done() && (!m.rollsBack() || s.kept == nil)
}

// undoUncommitted undoes a slot that has not committed and can go back. While Compose is
// creating its replica nobody knows which one that is: handOut undoes it then.
func (m *machine) undoUncommitted(s *slot) {
	switch {
	case s.stage != coming && s.stage != ready || m.irreplaceable(s):
	case s.in == nil:
		m.finish(s, undone)
	case s.in.phase == Creating && s.in.busy:
	default:
		m.undo(s)
	}
}
