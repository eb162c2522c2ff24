package deploytest

import (
	"net/netip"
	"slices"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// probeTime is how long a probe takes.
const probeTime = 10 * time.Millisecond

// container is one container of the Engine, with the application in it. The
// World's lock guards it.
type container struct {
	w       *World
	id      string
	name    string
	service string
	number  int
	version Version

	replaces string // the id of the one that it was restored from

	state    compose.State
	health   compose.Health
	streak   int
	probes   []compose.Probe
	probed   int
	fooled   time.Time // when a probe that lied last changed its health
	deafened bool      // a probe that lied passed after its flip: it looks deaf
	restarts int
	exit     int
	oom      bool
	created  time.Time
	started  time.Time
	finished time.Time
	address  netip.Addr
	life     int // counts starts: a timer of an earlier life does nothing

	flipped  bool
	stopping bool // it got its stop signal
	stopper  *Session
	manual   bool // by the Engine's stop: its restart policy rests
	ended    chan struct{}

	shown   compose.Replica // as listings show it until something changes
	shownOf sight
}

// sight is what a listing notices a change by.
type sight struct {
	state  compose.State
	health compose.Health
	life   int
}

// after calls f later, unless the container's life has ended by then.
func (c *container) after(d time.Duration, f func()) {
	life := c.life
	c.w.after(d, func() {
		if c.life == life && c.state == compose.Running {
			f()
		}
	})
}

func (c *container) start() {
	c.life++
	c.state, c.exit, c.oom, c.started, c.ended = compose.Running, 0, false, time.Now(), make(chan struct{})
	c.stopping, c.manual, c.streak, c.probes = false, false, 0, nil
	c.address = c.w.nextAddress()
	c.w.names[c.address] = c.name
	if c.version.Forgets {
		c.flipped = false
	}
	c.health = compose.NoHealth
	if check := c.version.check(); check != nil {
		c.health = compose.Starting
		c.after(c.probeIn(), c.probe)
	}
	if c.version.Crashes > 0 {
		c.after(c.version.Crashes, func() { c.perish(1, false) })
	}
	c.w.event()
}

// probeIn is the time until the next probe (facts.md D1).
func (c *container) probeIn() time.Duration {
	check := c.version.check()
	if c.health == compose.Starting && check.StartPeriod > 0 && time.Since(c.started) < check.StartPeriod {
		return check.StartInterval
	}
	return check.Interval
}

func (c *container) probe() {
	begin := time.Now()
	c.after(probeTime, func() {
		check := c.version.check()
		p := compose.Probe{Start: begin, End: time.Now(), Output: "ok"}
		if !c.up() && !c.version.Hollow || c.version.Sick || c.flipped && !c.version.Ineffective {
			p.ExitCode, p.Output = 1, "not ok"
		}
		c.probed++
		lie := c.w.lies(c)
		if lie {
			p.ExitCode, p.Output = 1-p.ExitCode, "a lie"
			c.deafened = c.deafened || c.flipped && p.ExitCode == 0
		}
		c.probes = append(c.probes, p)
		c.probes = c.probes[max(0, len(c.probes)-5):]
		before := c.health
		switch {
		case p.ExitCode == 0:
			c.streak, c.health = 0, compose.Healthy
		case c.health == compose.Starting && begin.Sub(c.started) < check.StartPeriod:
		default:
			c.streak++
			if c.streak >= max(1, check.Retries) {
				c.health = compose.Unhealthy
			}
		}
		if c.health != before {
			if lie {
				c.w.excused, c.fooled = true, time.Now()
			}
			c.w.event()
		}
		c.after(c.probeIn(), c.probe)
	})
}

// up reports whether the application answers.
func (c *container) up() bool {
	return c.state == compose.Running && time.Since(c.started) >= c.version.Boot && (!c.stopping || c.version.Serves) && !c.version.Hollow
}

// signal is the stop signal, and SIGKILL after grace.
func (c *container) signal(by *Session, grace time.Duration) {
	c.manual = true
	if c.stopping {
		// The second signal: many applications give up at once. The Engine does
		// not show that there was a first one, so only who sent it knows.
		if c.stopper == by {
			c.w.violate("%s got a second stop signal while it finished its requests", c.name)
		}
		return
	}
	c.stopping, c.stopper = true, by
	if c.version.Abrupt {
		c.die(143, false)
		return
	}
	if c.version.Linger == 0 && !c.version.Deaf {
		c.die(0, false)
		return
	}
	if !c.version.Deaf {
		c.after(c.version.Linger, func() { c.die(0, false) })
	}
	c.after(grace, func() { c.die(137, false) })
	c.w.changed()
}

// perish is a death that is nobody's doing but the application's, also while
// it finishes its requests.
func (c *container) perish(code int, oom bool) {
	if !c.stopping {
		c.w.deaths++
	}
	c.w.dead[c.address] = true
	c.die(code, oom)
}

func (c *container) die(code int, oom bool) {
	if c.stopping && c.stopper.usurped {
		c.w.deaths++
		c.w.dead[c.address] = true
	}
	c.state, c.exit, c.oom, c.finished = compose.Exited, code, oom, time.Now()
	c.address = netip.Addr{}
	if c.health != compose.NoHealth {
		c.health = compose.Unhealthy // without an event: facts.md D1
	}
	c.life++
	close(c.ended)
	if c.version.Restart && !c.manual {
		c.state = compose.Restarting
		life := c.life
		c.w.after(200*time.Millisecond, func() {
			if c.life == life && c.state == compose.Restarting {
				c.restarts++
				c.start()
			}
		})
	}
	c.w.event()
}

// routable reports whether Traefik takes it (facts.md A1, filter).
func (c *container) routable() bool {
	return c.state == compose.Running && (c.health == compose.NoHealth || c.health == compose.Healthy) && !c.version.Unroutable && c.service == c.w.options.Service
}

func (c *container) server() netip.AddrPort { return netip.AddrPortFrom(c.address, 80) }

// inspect is the container as it is.
func (c *container) inspect() compose.Replica {
	r := compose.Replica{
		ID: c.id, Name: c.name, Project: c.w.options.Project, Service: c.service, Number: c.number,
		Image: c.service + ":latest", ImageID: c.version.image(), ConfigHash: c.version.hash(), Version: "2.40.3",
		State: c.state, Health: c.health, FailingStreak: c.streak, Probes: slices.Clone(c.probes), RestartCount: c.restarts, ExitCode: c.exit, OOMKilled: c.oom,
		Created: c.created.Add(c.w.options.Skew), Started: c.w.stamp(c.started), Finished: c.w.stamp(c.finished), Labels: c.version.labels(), Healthcheck: c.version.check(),
	}
	for i := range r.Probes {
		r.Probes[i].Start, r.Probes[i].End = c.w.stamp(r.Probes[i].Start), c.w.stamp(r.Probes[i].End)
	}
	if c.version.Grace > 0 {
		r.StopTimeout = &c.version.Grace
	}
	if c.address.IsValid() {
		r.Addresses = []netip.Addr{c.address}
	}
	return r
}

// list is the container as listings show it: its probes and its streak are as
// old as the last change of its state or health.
func (c *container) list() compose.Replica {
	if now := (sight{c.state, c.health, c.life}); now != c.shownOf {
		c.shown, c.shownOf = c.inspect(), now
	}
	return c.shown
}
