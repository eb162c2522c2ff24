package deploy

import (
	"context"
	"net/netip"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// Engine is what a roll asks of Docker about the replicas that are there.
type Engine interface {
	// Replicas lists every container of the service, in every state.
	Replicas(ctx context.Context, project, service string) ([]compose.Replica, error)
	// Inspect looks at one anew; its error is compose.ErrGone when there is none.
	Inspect(ctx context.Context, id string) (compose.Replica, error)
	// Stop sends the stop signal and waits for the exit. Nil grace is the
	// container's own.
	Stop(ctx context.Context, id string, grace *time.Duration) error
	Remove(ctx context.Context, id string) error
}

// Router tells where requests are sent.
type Router interface {
	// Instances are the names of those that are asked.
	Instances() []string
	// Routes asks every instance once. Keys are an instance's name, a space
	// and a service; values are the servers that get requests. One instance
	// that does not answer makes the whole answer an error: nothing is known.
	Routes(ctx context.Context) (map[string][]netip.AddrPort, error)
}

// Notifier rings when something may have changed. A ring may be lost: it
// saves time, it proves nothing.
type Notifier interface {
	Changes(ctx context.Context) <-chan struct{}
}

// world is what was seen in one look. It is never changed afterwards.
type world struct {
	at        time.Time // before the Engine was asked
	replicas  map[string]compose.Replica
	engineErr error

	routesAt  time.Time // before the routers were asked; zero: never
	routes    map[string][]netip.AddrPort
	routerErr error

	asked  time.Time     // when the routers were last asked, whatever came of it
	answer time.Duration // how long they took
}

// lookLimit bounds one look, so that an Engine or router that hangs is seen as
// one that does not answer.
const lookLimit = 10 * time.Second

// look asks the Engine, and the routers when asked to, and keeps of the last
// world what could not be seen again.
func (m *machine) look(ctx context.Context, routes bool) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	w := m.world
	at := time.Now()
	list, err := m.r.Engine.Replicas(ctx, m.plan.Project, m.plan.Service)
	w.engineErr = err
	if err == nil {
		if m.world.engineErr != nil {
			m.forgive(at.Sub(m.world.at))
		}
		w.at = at
		w.replicas = make(map[string]compose.Replica, len(list))
		for _, r := range list {
			w.replicas[r.ID] = r
		}
	}
	if routes && m.provable() {
		w.asked, m.stirred = time.Now(), false
		found, err := m.r.Router.Routes(ctx)
		w.routerErr, w.answer = err, time.Since(w.asked)
		if err == nil {
			w.routesAt, w.routes = w.asked, found
		}
	}
	m.sayTrouble(m.world, w)
	m.world = w
}

// forgive gives every phase the time back that an Engine took which did not
// answer: nothing could be seen meanwhile. One that was away for as long as a
// restart takes calls every replica `starting` and counts its probes anew
// (facts.md D1), so then it is the whole time.
func (m *machine) forgive(outage time.Duration) {
	for _, s := range m.slots {
		for _, l := range s.legs() {
			switch {
			case l.budget == 0:
			case outage < restartTakes:
				l.budget += outage
			default:
				l.budget = time.Since(l.since) + m.budgetOf(l, l.phase)
			}
		}
	}
}

// restartTakes is the least time that an Engine needs for its restart.
const restartTakes = time.Second

// sayTrouble tells once when an Engine or a router stops or starts answering.
func (m *machine) sayTrouble(before, now world) {
	for _, t := range []struct {
		who         string
		before, now error
	}{{"the Engine", before.engineErr, now.engineErr}, {"Traefik", before.routerErr, now.routerErr}} {
		switch {
		case t.before == nil && t.now != nil:
			m.warn("%s does not answer, nothing is stopped while that lasts: %v", t.who, t.now)
		case t.before != nil && t.now == nil:
			m.emit(Event{Kind: KindSeen, Detail: t.who + " answers again"})
		}
	}
}

// provable reports whether routing is proven by asking, not by waiting.
func (m *machine) provable() bool {
	return m.plan.Gated && m.plan.Unproven == "" && m.r.Router != nil
}
