package deploy

import (
	"fmt"
	"strconv"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// Setting is a value and where it was said, so that a plan can name its
// source.
type Setting[T any] struct {
	Value  T
	Source string
}

// FailureAction says what happens to a roll when one of its slots fails.
type FailureAction string

// The failure actions of deploy.update_config.
const (
	ActRollback FailureAction = "rollback" // every slot goes back; roll's default
	ActPause    FailureAction = "pause"    // the failed slot goes back, the rest stays as it is
	ActContinue FailureAction = "continue" // the failed slot goes back, the rest goes on
)

// Policy is how a roll is to be done, each value with its source. NewPolicy
// fills it.
type Policy struct {
	Order           Setting[compose.Order]
	Parallelism     Setting[int] // slots at the same time; 0: all
	Delay           Setting[time.Duration]
	Monitor         Setting[time.Duration]
	FailureAction   Setting[FailureAction]
	MaxFailureRatio Setting[float64]
	Back            WayBack
	Settle          Setting[time.Duration]
	Drain           Setting[time.Duration]
	ReadyTimeout    Setting[time.Duration]  // 0: derived from the healthcheck
	RouteTimeout    Setting[time.Duration]  // for Traefik to follow
	StopTimeout     Setting[*time.Duration] // nil: each container's own
	RequireProof    bool                    // refuse when Traefik cannot be asked
	AcceptLoss      bool                    // stop replicas that cannot be flipped
}

// Overrides are what the command line says. Nil and zero fields are not given.
type Overrides struct {
	Order        compose.Order
	Parallelism  *int
	Delay        *time.Duration
	Monitor      *time.Duration
	Drain        *time.Duration
	ReadyTimeout *time.Duration
	StopTimeout  *time.Duration
	RequireProof bool
	AcceptLoss   bool
	Rollback     bool // it goes back to an earlier version: rollback_config goes before update_config
}

// Defaults, in one place. Settle covers requests that Traefik had picked a
// server for when the routing changed (facts.md A1); the route timeout is many
// times Traefik's throttle of 2 s, so that only a Traefik that does not follow
// runs into it.
const (
	defaultMonitor      = 5 * time.Second
	defaultSettle       = 500 * time.Millisecond
	defaultRouteTimeout = 30 * time.Second
)

// labels of this package; those of the flip are healthflip's.
const (
	labelDrain  = "roll.drain"
	labelSettle = "roll.settle"
)

// Labels are the label names that this package reads from a service.
func Labels() []string { return []string{labelDrain, labelSettle} }

// NewPolicy resolves the policy for a service: what the command line says,
// then the service's labels, then deploy.update_config and rollback_config, then
// roll's defaults.
// The error is a RefusedError that names the label or key.
func NewPolicy(s compose.Service, o Overrides) (Policy, error) {
	const file, flag, none = "deploy.update_config", "command line", "default"
	p := Policy{
		Order:           Setting[compose.Order]{compose.StartFirst, none},
		Parallelism:     Setting[int]{0, none},
		Delay:           Setting[time.Duration]{0, none},
		Monitor:         Setting[time.Duration]{defaultMonitor, none},
		FailureAction:   Setting[FailureAction]{ActRollback, none},
		MaxFailureRatio: Setting[float64]{0, none},
		Settle:          Setting[time.Duration]{defaultSettle, none},
		Drain:           Setting[time.Duration]{0, none},
		RouteTimeout:    Setting[time.Duration]{defaultRouteTimeout, none},
		RequireProof:    o.RequireProof,
		AcceptLoss:      o.AcceptLoss,
	}
	u := s.Update
	var refusals []Refusal
	if u.Order != "" {
		p.Order = Setting[compose.Order]{u.Order, file}
	}
	declare(&p.Parallelism, u.Parallelism, file)
	declare(&p.Delay, u.Delay, file)
	declare(&p.Monitor, u.Monitor, file)
	declare(&p.MaxFailureRatio, u.MaxFailureRatio, file)
	if u.FailureAction != "" {
		switch a := FailureAction(u.FailureAction); a {
		case ActRollback, ActPause, ActContinue:
			p.FailureAction = Setting[FailureAction]{a, file}
		default:
			refusals = append(refusals, Refusal{
				Path: []string{"deploy", "update_config", "failure_action"},
				What: fmt.Sprintf("failure_action is %q", u.FailureAction),
				Why:  "roll knows rollback, pause and continue", Instead: "failure_action: rollback",
			})
		}
	}
	for _, l := range []struct {
		name string
		to   *Setting[time.Duration]
	}{{labelDrain, &p.Drain}, {labelSettle, &p.Settle}} {
		text, said := s.Labels[l.name]
		if !said {
			continue
		}
		d, err := parseDuration(text)
		if err != nil {
			refusals = append(refusals, Refusal{
				Path: []string{"labels", l.name}, What: fmt.Sprintf("label %s is %q", l.name, text),
				Why: "it must be a duration of zero or more", Instead: l.name + ": 10s",
			})
			continue
		}
		*l.to = Setting[time.Duration]{d, "label " + l.name}
	}
	if o.Rollback {
		back, _ := newBack(s.Rollback, p.Order)
		p.follow(back)
	}
	if o.Order != "" {
		p.Order = Setting[compose.Order]{o.Order, flag}
	}
	declare(&p.Parallelism, o.Parallelism, flag)
	declare(&p.Delay, o.Delay, flag)
	declare(&p.Monitor, o.Monitor, flag)
	declare(&p.Drain, o.Drain, flag)
	declare(&p.ReadyTimeout, o.ReadyTimeout, flag)
	if o.StopTimeout != nil {
		p.StopTimeout = Setting[*time.Duration]{o.StopTimeout, flag}
	}
	back, more := newBack(s.Rollback, p.Order)
	p.Back = back
	refusals = append(refusals, more...)
	if len(refusals) > 0 {
		return p, &RefusedError{Service: s.Name, Refusals: refusals}
	}
	return p, nil
}

// declare sets what was said; nil: nothing was.
func declare[T any](s *Setting[T], v *T, source string) {
	if v != nil {
		*s = Setting[T]{*v, source}
	}
}

// parseDuration reads 10s, 1m30s, or a bare number of seconds as Compose users
// write it.
func parseDuration(text string) (time.Duration, error) {
	if n, err := strconv.Atoi(text); err == nil {
		text = strconv.Itoa(n) + "s"
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("negative duration %q", text)
	}
	return d, err
}
