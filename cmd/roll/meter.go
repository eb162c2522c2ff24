package main

import (
	"time"

	"github.com/roll-deploy/roll/deploy"
)

// meter measures what each roll of a command costs, its preparation included.
type meter struct {
	session *session
	since   time.Time    // when the command began, or when the roll before ended
	before  deploy.Calls // what had been counted by then
}

// calls are those of the present roll so far. What finding the Traefiks took
// is not counted, nor what Compose asks of the Engine.
func (m *meter) calls() deploy.Calls {
	now := m.session.calls()
	return deploy.Calls{
		Engine: now.Engine - m.before.Engine, Traefik: now.Traefik - m.before.Traefik,
		Compose: now.Compose - m.before.Compose, ComposeTime: now.ComposeTime - m.before.ComposeTime,
	}
}

// next begins another roll.
func (m *meter) next() { m.since, m.before = time.Now(), m.session.calls() }

// calls are all that were made since the session was opened.
func (s *session) calls() deploy.Calls {
	c := deploy.Calls{Engine: s.engine.Calls() + s.flipper.Calls(), Compose: s.cli.Calls(), ComposeTime: s.cli.Spent()}
	if s.leases != nil {
		c.Engine += s.leases.Calls()
	}
	if s.router != nil {
		c.Traefik = s.router.Calls()
	}
	return c
}

// preparer is a renderer that shows how long a roll was prepared, before its
// plan: all in all, and by waiting for Compose.
type preparer interface {
	Prepared(took, compose time.Duration)
}

// prepared tells that the plan is ready.
func (m *meter) prepared(show renderer) {
	if p, ok := show.(preparer); ok {
		p.Prepared(time.Since(m.since), m.calls().ComposeTime)
	}
}
