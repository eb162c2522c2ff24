package deploy

import (
	"fmt"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// slack covers what the Engine itself needs around a probe: starting an exec
// on a busy host and writing the result.
const slack = 10 * time.Second

// longFlip is the time to unhealthy from which on a plan warns about it.
const longFlip = 15 * time.Second

// Budget is how long a wait may take and how that was computed, for people.
type Budget struct {
	Expect time.Duration // what it takes at the most when all goes well
	Limit  time.Duration // when to give up
	Source string
}

// flipBudget is how long Docker takes to call a flipped replica unhealthy: it
// needs Retries failed probes, one each Interval, each of at most Timeout
// (facts.md D1). The zero Budget means that there is no healthcheck.
func flipBudget(h *compose.Healthcheck) Budget {
	if h == nil {
		return Budget{}
	}
	retries := time.Duration(max(h.Retries, 1))
	return Budget{
		Expect: retries * h.Interval,
		Limit:  retries*(h.Interval+h.Timeout) + slack,
		Source: fmt.Sprintf("%d x interval %s", retries, short(h.Interval)),
	}
}

// unflipBudget is how long Docker takes to call it healthy again: one probe
// that passes is enough.
func unflipBudget(h *compose.Healthcheck) Budget {
	if h == nil {
		return Budget{}
	}
	return Budget{Expect: h.Interval, Limit: 2*(h.Interval+h.Timeout) + slack, Source: "interval " + short(h.Interval)}
}

// readyBudget is how long Docker may take until it calls a new replica healthy
// or unhealthy: inside StartPeriod failures do not count, after it Retries
// failures in a row end it. Without a healthcheck, ready means running for
// monitor without a restart.
func readyBudget(h *compose.Healthcheck, monitor, limit time.Duration) Budget {
	if h == nil {
		b := Budget{Expect: monitor, Limit: monitor + slack, Source: "no healthcheck: running for monitor " + short(monitor)}
		if limit > 0 {
			b.Limit = max(limit, monitor+time.Second)
		}
		return b
	}
	retries := time.Duration(max(h.Retries, 1))
	b := Budget{
		Expect: h.Interval,
		Limit:  h.StartPeriod + retries*(h.Interval+h.Timeout) + slack,
		Source: fmt.Sprintf("%d x (interval %s + timeout %s) + %s", retries, short(h.Interval), short(h.Timeout), short(slack)),
	}
	if h.StartPeriod > 0 {
		b.Source = fmt.Sprintf("start_period %s + %s", short(h.StartPeriod), b.Source)
	}
	if h.StartPeriod > 0 && h.StartInterval > 0 {
		b.Expect = min(h.Interval, h.StartInterval)
	}
	if limit > 0 {
		b.Limit, b.Source = limit, "--ready-timeout"
	}
	return b
}

// short prints a duration as people write it: 2s, 1m30s, 250ms.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	s := d.Round(100 * time.Millisecond).String()
	if d >= time.Minute && d%time.Minute == 0 {
		s = s[:len(s)-len("0s")]
		if d >= time.Hour && d%time.Hour == 0 {
			s = s[:len(s)-len("0m")]
		}
	}
	return s
}
