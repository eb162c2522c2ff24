package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// course is the way that one replica goes.
type course int

const (
	arriving course = iota
	departing
	returning
)

// leg is one replica on one course.
type leg struct {
	course course
	role   Role
	id     string
	name   string
	way    string // how it is flipped; "" or "none": not at all
	check  *compose.Healthcheck
	wanted []string // route keys it has to be in; empty: one of every router
	ready  Budget
	idle   bool // it served nobody at the start: coming back is being as it was
	stay   bool // a departing leg that ends when it has settled: roll drain
	kept   any  // what a kept replica is made from again; nil: Compose creates it

	phase     Phase
	since     time.Time
	budget    time.Duration
	last      string    // the last thing seen, for errors and tables
	busy      bool      // an action of this phase is on its way
	tried     time.Time // when the last action of this phase ended
	peeked    time.Time // when the last fresh inspect began
	probed    time.Time // start of the last probe when the phase began, by the Engine's clock
	arrived   time.Time
	routed    bool      // was in a router since it was healthy, or never was healthy
	told      int       // how often it was told to flip, or to un-flip, in this phase
	witnessed bool      // a probe ended since the phase began
	deaf      error     // why it cannot be told to report unhealthy; nil: it can, or was not told yet
	proven    time.Time // the look that showed that it had arrived

	flipped   time.Time // when the flip was told; zero: never
	life      time.Time // when the container that was flipped had been started, by the Engine's clock
	restarts  int       // how often it had restarted before the leg began
	relapses  int       // how often it had to leave anew
	signalled time.Time // when the last stop signal was sent
	gone      bool      // it got its stop signal or has ended
}

// done reports whether the leg has reached its end.
func (l *leg) done() bool {
	switch l.phase {
	case Arrived, Departed, Returned:
		return true
	case Draining:
		return l.stay
	}
	return false
}

// flips reports whether the replica is told to report unhealthy on its way.
func (l *leg) flips() bool { return l.way != "" && l.way != "none" }

// enter puts the leg into a phase, sets what the phase may take and says so.
func (m *machine) enter(s *slot, l *leg, p Phase) {
	p = m.worth(l, p)
	l.phase, l.since, l.busy, l.last, l.budget = p, time.Now(), false, "", m.budgetOf(l, p)
	l.tried, l.peeked, l.probed, l.told, l.witnessed = time.Time{}, time.Time{}, time.Time{}, 0, false
	if p == Arrived {
		l.arrived, l.proven = l.since, m.world.at
	}
	m.moved = true
	m.emit(Event{Kind: KindPhase, Slot: s.number, Role: l.role, Replica: l.name, Phase: p, Budget: l.budget, Detail: m.phaseDetail(l, p)})
}

// worth is p, or the first phase after it in which this replica has anything
// to wait for.
func (m *machine) worth(l *leg, p Phase) Phase {
	switch {
	case p == Joining && !m.plan.Gated:
		return Arrived
	case p == Rejoining && !m.plan.Gated:
		return Returned
	case (p == Leaving || p == Settling) && !m.plan.Gated:
		return m.worth(l, Draining)
	case p == Draining && !l.stay && m.plan.Policy.Drain.Value == 0:
		return m.worth(l, PreStop)
	case p == PreStop && !m.hooked(l):
		return Stopping
	}
	return p
}

// hooked reports whether pre_stop hooks run before this replica is stopped. A
// new one that never came into service has nothing to hand over.
func (m *machine) hooked(l *leg) bool {
	return len(m.plan.PreStop) > 0 && m.r.Hooks != nil && (l.role == OldReplica || !l.arrived.IsZero())
}

func (m *machine) budgetOf(l *leg, p Phase) time.Duration {
	policy := m.plan.Policy
	switch p {
	case Creating:
		return createLimit
	case Booting:
		return l.ready.Limit
	case Joining, Leaving, Rejoining:
		if !m.provable() {
			return m.plan.blind()
		}
		return policy.RouteTimeout.Value
	case Flipping, Unflipping:
		return flipLimit
	case Sinking:
		return flipBudget(l.check).Limit
	case Recovering:
		return unflipBudget(l.check).Limit
	case Settling:
		return policy.Settle.Value
	case Draining:
		return policy.Drain.Value
	case Stopping:
		return m.grace(l)
	}
	return 0
}

func (m *machine) phaseDetail(l *leg, p Phase) string {
	switch p {
	case Flipping:
		return l.way
	case Joining, Leaving, Rejoining:
		if !m.provable() {
			return "not proven: waits " + short(m.plan.blind())
		}
	}
	return ""
}

// Limits of single actions. A flip is one short call; Compose creates in
// about a second and may be held up by a busy host; a removal may have to wait
// for a file system.
const (
	flipLimit   = 30 * time.Second
	lateness    = 2 * time.Second // of a router that has much to list on a busy host
	flipTries   = 3               // of a healthy replica that does not take it
	createLimit = 5 * time.Minute
	removeLimit = time.Minute
	keepLimit   = 20 * time.Second // of tries to keep what a replica was, before it goes without
	hookLimit   = 10 * time.Minute
	retryEvery  = 500 * time.Millisecond
	engineLimit = 2 * time.Minute // for an Engine that restarts
	endless     = 24 * time.Hour  // for a replica that is never killed
	maxRelapses = 5               // of a replica that starts again while it leaves
)

// grace is the time that a leg's replica has between stop signal and SIGKILL.
func (m *machine) grace(l *leg) time.Duration {
	grace := 10 * time.Second
	if t := m.plan.Policy.StopTimeout.Value; t != nil {
		grace = *t
	} else if r, ok := m.world.replicas[l.id]; ok {
		grace = r.Grace()
	}
	if grace < 0 { // the Engine's "never kill"
		return endless
	}
	return grace
}

// over reports whether the phase has used up its budget.
func (l *leg) over() bool { return l.budget > 0 && time.Since(l.since) >= l.budget }

// timeout is the error for a phase that used up its budget.
func (l *leg) timeout(what string) error {
	return &WaitError{What: what, For: time.Since(l.since), Last: l.last}
}

// see notes news within a phase and tells them once.
func (m *machine) see(s *slot, l *leg, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text == l.last {
		return
	}
	l.last = text
	m.emit(Event{Kind: KindSeen, Slot: s.number, Role: l.role, Replica: l.name, Phase: l.phase, Budget: l.budget, Detail: text})
}

// advance moves a leg as far as the present world allows. It returns an error
// when the leg has failed. All transitions of a replica are here.
func (m *machine) advance(s *slot, l *leg) error {
	if l.busy || l.done() {
		return nil
	}
	w := m.world
	r, there := w.replicas[l.id]
	if l.id != "" && w.engineErr != nil {
		if time.Since(laterOf(w.at, l.since)) > engineLimit {
			return fmt.Errorf("ask the Engine: %w", w.engineErr)
		}
		return nil
	}
	if l.id != "" && w.at.Before(l.since) {
		m.wake(0)
		return nil // what was seen before the phase began proves nothing about it
	}
	if l.course == departing && l.relapsed(r) {
		return m.relapse(s, l, "was started again")
	}
	switch l.phase {
	case Creating:
		if l.kept != nil {
			m.remake(s, l)
		}
	case Booting:
		return m.boot(s, l, r, there)
	case Joining, Rejoining:
		return m.join(s, l, r, there)
	case Flipping:
		return m.flip(s, l, r, there)
	case Sinking:
		return m.sink(s, l, r, there)
	case Leaving:
		return m.leave(s, l, r, there)
	case Settling:
		return m.settle(s, l, r, there)
	case Draining:
		if !there || !r.Running() || time.Since(l.since) >= l.budget {
			m.enter(s, l, PreStop)
		}
	case PreStop:
		m.preStop(s, l)
	case Stopping:
		return m.stop(s, l, r, there)
	case Removing:
		m.remove(s, l, there)
	case Unflipping:
		m.unflip(s, l)
	case Recovering:
		return m.recover(s, l, r, there)
	}
	return nil
}

// boot waits for Docker's word that a new replica is ready. What can never
// become ready fails at once.
func (m *machine) boot(s *slot, l *leg, r compose.Replica, there bool) error {
	if err := l.broken(r, there); err != nil {
		return err
	}
	switch {
	case r.Health == compose.Healthy:
		m.enter(s, l, Joining)
	case r.Health == compose.NoHealth && r.Running():
		m.see(s, l, "running")
		steady := m.plan.Policy.Monitor.Value - time.Since(laterOf(r.Started, l.since.Add(-m.plan.Policy.Monitor.Value)))
		if steady <= 0 {
			m.enter(s, l, Joining)
			return nil
		}
		m.wake(steady)
	default:
		m.see(s, l, "%s", seenHealth(r))
	}
	if l.phase == Booting && l.over() {
		return l.timeout("Docker to call it healthy")
	}
	return nil
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// seenHealth is what Docker says about a replica, with its last probe.
func seenHealth(r compose.Replica) string {
	text := condition(r)
	if n := len(r.Probes); n > 0 && r.Probes[n-1].ExitCode != 0 {
		if out := strings.TrimSpace(r.Probes[n-1].Output); out != "" {
			line, _, _ := strings.Cut(out, "\n")
			text += ": " + line
		}
	}
	return text
}

// relapsed reports whether a replica that was on its way out has been started
// again, by Compose, by its restart policy or by somebody: whatever it was
// told before is forgotten.
func (l *leg) relapsed(r compose.Replica) bool {
	if !r.Running() || l.phase <= Flipping || l.phase >= Departed {
		return false
	}
	return l.phase == Removing || !l.life.IsZero() && !r.Started.Equal(l.life)
}

// relapse has a replica leave once more, from the beginning.
func (m *machine) relapse(s *slot, l *leg, why string) error {
	l.relapses++
	if l.relapses > maxRelapses {
		return fmt.Errorf("it %s %d times while it left", why, l.relapses)
	}
	m.warn("%s %s while it left; it leaves once more", l.name, why)
	l.gone, l.signalled = false, time.Time{}
	m.enter(s, l, Flipping)
	return nil
}

// broken is why a replica can not serve, nil when it still can.
func (l *leg) broken(r compose.Replica, there bool) error {
	switch {
	case !there:
		return errors.New("its container is gone")
	case r.OOMKilled && !r.Running():
		return errors.New("it was killed for want of memory (OOM)")
	case r.State == compose.Exited || r.State == compose.Dead:
		text := fmt.Sprintf("it exited with code %d", r.ExitCode)
		if r.Error != "" {
			text += ": " + r.Error
		}
		return errors.New(text)
	case r.State == compose.Restarting || r.RestartCount > l.restarts:
		return fmt.Errorf("it exited with code %d and is restarting", r.ExitCode)
	case r.State == compose.Paused:
		return errors.New("somebody paused it")
	case r.State == compose.Created && r.Error != "":
		return errors.New("it could not be started: " + r.Error)
	case r.Health == compose.Unhealthy:
		return errors.New("Docker calls it " + seenHealth(r))
	}
	return nil
}

// join waits until every router sends requests to a replica.
func (m *machine) join(s *slot, l *leg, r compose.Replica, there bool) error {
	if err := l.broken(r, there); err != nil {
		return err
	}
	end := Arrived
	if l.phase == Rejoining {
		end = Returned
	}
	w := m.world
	switch {
	case !m.provable():
		if l.over() {
			m.enter(s, l, end)
			return nil
		}
		m.wake(l.budget - time.Since(l.since))
	case w.routesAt.Before(l.since):
		m.see(s, l, "%s", noAnswer(w.routerErr))
	default:
		missing := m.missing(l, r)
		if len(missing) == 0 {
			m.enter(s, l, end)
			return nil
		}
		m.see(s, l, "not in %s", strings.Join(missing, ", "))
	}
	if m.provable() && l.phase != end && l.over() {
		return l.timeout("Traefik to route to it")
	}
	return nil
}

func noAnswer(err error) string {
	if err != nil {
		return "no answer: " + err.Error()
	}
	return "not asked yet"
}

// missing are the places where the replica should be listed and is not: the
// services of the one it replaces, or any service of each router.
func (m *machine) missing(l *leg, r compose.Replica) []string {
	keys := listed(m.world.routes, r)
	var missing []string
	if len(l.wanted) > 0 {
		for _, want := range l.wanted {
			if !slices.Contains(keys, want) {
				missing = append(missing, want)
			}
		}
		return missing
	}
	for _, instance := range m.concerned() {
		if !slices.ContainsFunc(keys, func(key string) bool { return instanceOf(key) == instance }) {
			missing = append(missing, "any service of "+instance)
		}
	}
	if len(keys) == 0 && len(missing) == 0 {
		missing = append(missing, "any service of "+strings.Join(m.r.Router.Instances(), ", "))
	}
	return missing
}

// concerned are the routers that led to the service when the roll began.
// Others on the same daemon may be there for other projects; nobody waits for
// those.
func (m *machine) concerned() []string {
	var instances []string
	for _, r := range m.initial {
		for _, key := range listed(m.start, r) {
			if i := instanceOf(key); !slices.Contains(instances, i) {
				instances = append(instances, i)
			}
		}
	}
	slices.Sort(instances)
	return instances
}

// flip tells a replica to report unhealthy. One that serves nobody, or has no
// way to be told, goes on to its stop.
func (m *machine) flip(s *slot, l *leg, r compose.Replica, there bool) error {
	if there && r.Running() {
		l.life = r.Started
	}
	switch {
	case !there || !r.Running():
		return m.endedEarly(s, l)
	case m.idle(l, r), m.accepted(l), !l.flips() && !m.plan.Gated:
		m.enter(s, l, Leaving)
		return nil
	case !l.flips() && r.Ready():
		return errors.New("there is no way to tell it to report unhealthy, and Traefik may route to it")
	case !l.flips():
		m.enter(s, l, Leaving)
		return nil
	case m.pauses(l):
		return nil
	}
	l.told++
	l.flipped = time.Now()
	m.act(s, l, flipLimit, func(ctx context.Context) error { return m.r.Flipper.Flip(ctx, l.id) }, func(err error) error {
		switch now := m.world.replicas[l.id]; {
		case err == nil:
			m.enter(s, l, Sinking)
		case now.Ready() && l.told >= flipTries || l.over():
			return fmt.Errorf("flip (%s), told %d times: %w", l.way, l.told, err)
		default: // a busy host, or it is too young or too broken to be told
			m.see(s, l, "flip (%s): %v", l.way, err)
		}
		return nil
	})
	return nil
}

// endedEarly goes on with a replica that has ended by itself on its way out:
// nobody can send it requests.
func (m *machine) endedEarly(s *slot, l *leg) error {
	if l.stay {
		return errors.New("it has exited by itself")
	}
	m.enter(s, l, Stopping)
	return nil
}

// accepted reports whether a replica may be stopped while a router sends
// requests to it, because nothing can make it leave and that was accepted.
func (m *machine) accepted(l *leg) bool {
	return !l.flips() && (l.way == "none" || m.plan.Policy.AcceptLoss)
}

// idle reports whether a replica serves nobody and will not do so by itself:
// Docker calls it unhealthy and no router lists it.
func (m *machine) idle(l *leg, r compose.Replica) bool {
	return r.Health == compose.Unhealthy && (!m.plan.Gated || m.provable() && !m.world.routesAt.Before(l.since) && len(listed(m.world.routes, r)) == 0)
}

// sink waits for Docker to call a flipped replica unhealthy, and notices when
// the flip does nothing.
func (m *machine) sink(s *slot, l *leg, r compose.Replica, there bool) error {
	switch {
	case !there || !r.Running():
		m.see(s, l, "it has exited by itself")
		return m.endedEarly(s, l)
	case r.Health == compose.NoHealth || r.Health == compose.Unhealthy:
		m.enter(s, l, Leaving)
		return nil
	case l.over():
		if !l.witnessed { // Engine 20.10 does so to what runs when it is restarted with live-restore
			l.last = "Docker runs its healthcheck no more; docker restart " + l.name + " brings that back"
		}
		return l.timeout("Docker to call it unhealthy")
	}
	m.peek(s, l, func(r compose.Replica, fresh []compose.Probe, before time.Time) error {
		if r.Health == compose.Unhealthy {
			m.enter(s, l, Leaving)
			return nil
		}
		for _, probe := range fresh {
			// It ended after the peek before this one, so it cannot have started
			// earlier than that less its length. The Engine's clock may differ
			// from ours: only its lengths are used.
			started := before.Add(-probe.End.Sub(probe.Start))
			if after := started.Sub(l.flipped); probe.ExitCode == 0 && after > graceOfFlip {
				return &IneffectiveError{Way: l.way, Check: strings.Join(r.Healthcheck.Test, " "), After: after}
			}
		}
		if r.FailingStreak > 0 {
			m.see(s, l, "failing %d of %d", r.FailingStreak, max(1, l.check.Retries))
		}
		return nil
	})
	return nil
}

// graceOfFlip is how soon after the flip a probe may start and still pass: the
// application may act on it a moment after it was told.
const graceOfFlip = 2 * time.Second

// peek inspects a replica anew every now and then and hands over the probes
// that have ended since the peek before, which was at before. The first peek
// of a phase has none: what it shows may be older than the phase.
func (m *machine) peek(s *slot, l *leg, then func(r compose.Replica, fresh []compose.Probe, before time.Time) error) {
	if m.pauses(l) {
		return
	}
	var r compose.Replica
	at := time.Now()
	m.act(s, l, lookLimit, func(ctx context.Context) (err error) {
		r, err = m.r.Engine.Inspect(ctx, l.id)
		return err
	}, func(err error) error {
		if err != nil {
			return nil // the next look tells whether it is gone
		}
		var fresh []compose.Probe
		latest := l.probed
		l.witnessed = l.witnessed || !l.peeked.IsZero() && len(r.Probes) > 0 && r.Probes[len(r.Probes)-1].Start.After(l.probed)
		for _, probe := range r.Probes {
			if !l.peeked.IsZero() && probe.Start.After(l.probed) {
				fresh = append(fresh, probe)
			}
			latest = laterOf(latest, probe.Start)
		}
		before := l.peeked
		l.peeked, l.probed = at, latest
		return then(r, fresh, before)
	})
}

// pauses reports whether the last action of the phase ended only a moment ago.
func (m *machine) pauses(l *leg) bool {
	rest := time.Until(l.tried.Add(retryEvery))
	if rest > 0 {
		m.wake(rest)
	}
	return rest > 0
}

// leave waits until no router sends requests to a replica.
func (m *machine) leave(s *slot, l *leg, r compose.Replica, there bool) error {
	w := m.world
	switch {
	case !there || !r.Running():
		return m.endedEarly(s, l)
	case m.accepted(l):
		m.lossy = append(m.lossy, l.name)
		m.enter(s, l, Settling)
		return nil
	case !m.provable():
		if !l.over() {
			m.wake(l.budget - time.Since(l.since))
			return nil
		}
		if l.deaf != nil {
			m.silence(s, l)
			return nil
		}
		m.enter(s, l, Settling)
		return nil
	case w.routesAt.Before(l.since):
		m.see(s, l, "%s", noAnswer(w.routerErr))
	default:
		keys := listed(w.routes, r)
		switch late := m.plan.blind() + lateness - time.Since(l.since); {
		case len(keys) > 0 && l.deaf != nil && m.inService() >= m.homeFloor():
			if rest := m.deafRest(l); rest > 0 {
				m.see(s, l, "waits for another one to be out of Traefik")
				m.wake(rest)
				return nil
			}
			m.silence(s, l)
			return nil
		case len(keys) > 0:
			l.routed = true
			m.see(s, l, "still in %s", strings.Join(keys, ", "))
		case l.routed && (l.deaf == nil || !r.Ready()) || late <= 0:
			m.enter(s, l, Settling)
			return nil
		default:
			// It was healthy and is in no router yet, or became so because it does
			// not hear its flip: a change that lets it in may be on its way, held
			// back by the router's throttle.
			m.see(s, l, "in no router yet; a change may be on its way")
			m.wake(late)
			return nil
		}
	}
	if l.over() {
		return l.timeout("Traefik to stop routing to it")
	}
	return nil
}

// silence has a replica that does not hear its flip go on to its stop, although
// routers may send it requests: see fail.
func (m *machine) silence(s *slot, l *leg) {
	m.warn("%s does not hear its flip (%v); the old version serves, so it is stopped all the same: requests that Traefik sends it until it notices are lost", l.name, l.deaf)
	m.lossy, l.way = append(m.lossy, l.name), "none"
	m.enter(s, l, Settling)
}

// deafRest is how long a replica that does not hear its flip has to wait for
// another one: a router learns of an exit at once when nothing has changed for
// its throttle, and up to a throttle later otherwise (facts.md A1). So they
// leave one after the other.
func (m *machine) deafRest(l *leg) time.Duration {
	rest := time.Duration(0)
	for _, s := range m.slots {
		o := s.exile
		switch {
		case o == nil || o == l || o.deaf == nil || o.phase <= Leaving:
		case o.phase != Departed:
			rest = max(rest, m.r.poll())
		default:
			rest = max(rest, m.plan.blind()-time.Since(o.since))
		}
	}
	return rest
}

// settle gives requests that were on their way when the routing changed time
// to arrive, and looks again at its end: a router may have changed its mind.
func (m *machine) settle(s *slot, l *leg, r compose.Replica, there bool) error {
	if !there || !r.Running() {
		m.enter(s, l, Draining)
		return nil
	}
	end := l.since.Add(l.budget)
	if wait := time.Until(end); wait > 0 {
		m.wake(wait)
		return nil
	}
	if !m.provable() || m.accepted(l) {
		m.enter(s, l, Draining)
		return nil
	}
	switch {
	case m.world.routesAt.Before(end):
		m.wake(m.r.poll())
		if time.Since(end) > m.plan.Policy.RouteTimeout.Value {
			return &WaitError{What: "Traefik to say that it still does not route to it", For: time.Since(end), Last: noAnswer(m.world.routerErr)}
		}
	case len(listed(m.world.routes, r)) > 0:
		m.enter(s, l, Leaving)
	default:
		m.enter(s, l, Draining)
	}
	return nil
}

// preStop runs the file's hooks: the Engine knows none (facts.md C). One that
// fails is told and does not keep the replica: it serves nobody any more.
func (m *machine) preStop(s *slot, l *leg) {
	m.act(s, l, hookLimit, func(ctx context.Context) error {
		for _, hook := range m.plan.PreStop {
			if out, err := m.r.Hooks.Hook(ctx, l.id, hook); err != nil {
				return fmt.Errorf("pre_stop hook %q: %w%s", strings.Join(hook.Command, " "), err, indent(out))
			}
		}
		return nil
	}, func(err error) error {
		if err != nil {
			m.warn("%s: %v; stopped all the same", l.name, err)
		}
		m.enter(s, l, Stopping)
		return nil
	})
}

func indent(text string) string {
	if text = strings.TrimSpace(text); text == "" {
		return ""
	}
	return "\n    " + strings.ReplaceAll(text, "\n", "\n    ")
}

// stop sends the stop signal and waits for the exit. Stop signals and creation
// exclude each other: Compose starts whatever it finds stopped (facts.md C).
func (m *machine) stop(s *slot, l *leg, r compose.Replica, there bool) error {
	switch {
	case !there:
		l.gone = true
		m.enter(s, l, Removing)
		return nil
	case !r.Running() && r.State != compose.Restarting && r.State != compose.Paused:
		l.gone = true
		m.ended(l, r)
		m.enter(s, l, Removing)
		return nil
	case m.creating || m.pauses(l):
		return nil
	case l.gone && time.Until(l.signalled.Add(m.grace(l)+time.Second)) > 0:
		// A second signal makes many applications give up their requests, and
		// that the answer was lost does not mean that the signal was.
		m.wake(time.Until(l.signalled.Add(m.grace(l) + time.Second)))
		return nil
	case r.Running() && m.provable() && !m.accepted(l):
		// Hooks and drain may have taken minutes since it left the routers.
		from := laterOf(l.since, l.signalled)
		if m.world.routesAt.Before(from) || m.world.routerErr != nil {
			if waited := time.Since(from); waited > m.grace(l)+m.plan.Policy.RouteTimeout.Value {
				return &WaitError{What: "Traefik to say that it still does not route to it", For: waited, Last: noAnswer(m.world.routerErr)}
			}
			return nil
		}
		if len(listed(m.world.routes, r)) > 0 {
			return m.relapse(s, l, "came back into the routers")
		}
		if l.flipped.IsZero() && r.Ready() {
			// It served nobody, so it was not told: a router is about to list it.
			return m.relapse(s, l, "became healthy again")
		}
	}
	l.gone, l.signalled = true, time.Now()
	m.act(s, l, m.grace(l)+removeLimit, func(ctx context.Context) error {
		return m.r.Engine.Stop(ctx, l.id, m.plan.Policy.StopTimeout.Value)
	}, func(err error) error {
		if err == nil {
			return nil // the next look tells how it ended
		}
		m.see(s, l, "stop: %v", err)
		if time.Since(l.since) > 3*(m.grace(l)+removeLimit) {
			return fmt.Errorf("stop: %w", err)
		}
		return nil
	})
	return nil
}

// ended tells how a replica took its stop signal.
func (m *machine) ended(l *leg, r compose.Replica) {
	if r.State == compose.Created {
		return // it never ran
	}
	m.exits[l.name] = r.ExitCode
	switch {
	case r.OOMKilled:
		m.warn("%s was killed for want of memory (OOM)", l.name)
	case r.ExitCode == 137:
		m.warn("%s was killed after its stop timeout of %s: it did not finish in time; raise stop_grace_period or see whether the stop signal reaches it", l.name, short(m.grace(l)))
	}
}

// remove deletes a replica that has exited.
func (m *machine) remove(s *slot, l *leg, there bool) {
	if !there {
		m.enter(s, l, Departed)
		return
	}
	if m.creating || m.pauses(l) {
		return
	}
	// One that cannot be kept must not stay for that: Compose would start it.
	last := time.Since(l.since) > keepLimit
	var unkept error
	m.act(s, l, removeLimit, func(ctx context.Context) error {
		if m.r.Keeper != nil && l.role == OldReplica && s.kept == nil {
			why := fmt.Errorf("what it was could not be read within %s", short(keepLimit))
			keeping, cancel := context.WithTimeoutCause(ctx, keepLimit, why)
			defer cancel()
			kept, err := m.r.Keeper.Keep(keeping, l.id)
			switch {
			case err == nil:
				s.kept = kept
			case errors.Is(err, compose.ErrGone):
			case context.Cause(keeping) == why: // it wrote thousands of files, or the host is busy
				unkept = why
			case last:
				unkept = err
			default:
				return fmt.Errorf("keep what it was: %w", err)
			}
		}
		if m.lost() {
			return errLost
		}
		return m.r.Engine.Remove(ctx, l.id)
	}, func(err error) error {
		if err == nil || errors.Is(err, compose.ErrGone) {
			if unkept != nil {
				m.warn("%s cannot be brought back if the roll fails from here on: %v", l.name, unkept)
			}
			m.enter(s, l, Departed)
			return nil
		}
		m.see(s, l, "remove: %v", err)
		if time.Since(l.since) > removeLimit {
			return fmt.Errorf("remove: %w", err)
		}
		return nil
	})
}

// unflip tells a replica to report healthy again.
func (m *machine) unflip(s *slot, l *leg) {
	if !l.flips() {
		m.enter(s, l, Recovering)
		return
	}
	if m.pauses(l) {
		return
	}
	l.told++
	m.act(s, l, flipLimit, func(ctx context.Context) error { return m.r.Flipper.Unflip(ctx, l.id) }, func(err error) error {
		switch {
		case err == nil:
			m.enter(s, l, Recovering)
			return nil
		case refused(err) && l.told >= flipTries:
			// Whoever has no route for the one has none for the other: Docker's
			// probes tell whether the flip had any effect.
			m.warn("%s does not take its un-flip (%s): %v", l.name, l.way, err)
			m.enter(s, l, Recovering)
			return nil
		case time.Since(l.since) >= flipLimit:
			return fmt.Errorf("un-flip (%s): %w", l.way, err)
		}
		m.see(s, l, "un-flip: %v", err)
		return nil
	})
}

// recover waits until a probe of Docker's passes that ended after the un-flip.
// That it is healthy proves nothing: it may not have sunk yet.
func (m *machine) recover(s *slot, l *leg, r compose.Replica, there bool) error {
	switch {
	case !there || !r.Running():
		return l.broken(r, there)
	case l.idle:
		m.enter(s, l, Returned)
		return nil
	case r.Health == compose.NoHealth:
		m.enter(s, l, Rejoining)
		return nil
	case l.over():
		return l.timeout("Docker to call it healthy again")
	}
	m.see(s, l, "%s", seenHealth(r))
	m.peek(s, l, func(r compose.Replica, fresh []compose.Probe, _ time.Time) error {
		if n := len(fresh); n > 0 && fresh[n-1].ExitCode == 0 && r.Health == compose.Healthy {
			m.enter(s, l, Rejoining)
		}
		return nil
	})
	return nil
}
