package main

import "time"

// step is what a stop signal asks for.
type step int

const (
	pass  step = iota // pass it on
	drain             // report unhealthy and serve on, then pass it on
	skip              // enough of the drain: pass it on now
	kill              // kill everything
)

// course is the way to the end: the first stop signal begins the drain, the second ends it, the third kills. Without a
// drain every one is passed on, and the application decides what a second one means.
type course struct {
	drain    time.Duration
	draining bool
	seen     int
}

// stop says what to do for one more stop signal.
func (c *course) stop() step {
	c.seen++
	switch {
	case c.drain == 0:
		return pass
	case c.seen == 1:
		c.draining = true
		return drain
	case c.seen > 2:
		return kill
	case c.draining:
		c.draining = false
		return skip
	}
	return pass
}

// over ends the drain; it is false when it was over already.
func (c *course) over() bool {
	was := c.draining
	c.draining = false
	return was
}
