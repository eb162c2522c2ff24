package deploy

import (
	"fmt"
	"slices"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// Replace says which running replicas a roll replaces.
type Replace int

// What a goal replaces.
const (
	ReplaceOutdated Replace = iota
	ReplaceAll
	ReplaceNone
)

// Goal is what a person asked for.
type Goal struct {
	Verb    string // "roll", "scale" or "restart", for the plan's headline
	Target  int    // replicas at the end; negative: as declared
	Replace Replace
	Remove  []string // replicas that leave, by name, number or id
}

// New makes the plan that leads from the snapshot to the goal. It is pure: no
// clock, no I/O, the same arguments give the same plan. The error is a
// RefusedError when the roll would lose requests, and a plain one when the
// goal makes no sense.
func New(goal Goal, s Snapshot, policy Policy) (Plan, error) {
	p := Plan{
		Project: s.Service.Project, Service: s.Service.Name, Verb: goal.Verb, Target: goal.Target,
		Policy: policy, Gated: s.gated(), Routers: s.Routers, Throttle: s.Throttle, PreStop: s.Service.PreStop,
	}
	if p.Target < 0 {
		p.Target = s.Service.Replicas
	}
	if p.Gated && !s.provable() {
		p.Unproven = s.Unprovable
	}
	if s.Service.Labels["roll.flip"] == "none" {
		p.Policy.AcceptLoss = true
	}
	here, err := sort(goal, s, &p)
	if err != nil {
		return p, err
	}
	p.Floor = min(p.Target, s.serving())
	if policy.Order.Value == compose.StopFirst {
		p.Floor = 0
	}
	fill(&p, s, here)
	if refusals := preflight(p, s); len(refusals) > 0 {
		return p, &RefusedError{Service: p.Service, Refusals: refusals, Overlap: allOverlap(refusals)}
	}
	warn(&p, s)
	return p, nil
}

// cast is what happens to the replicas that are there.
type cast struct {
	out   []candidate // leave, in this order
	adopt []candidate // stay, but have to come into service first
	stay  []candidate
	make  int // to be created
}

// sort decides for every container what becomes of it.
func sort(goal Goal, s Snapshot, p *Plan) (cast, error) {
	var c cast
	var live []candidate
	var paused []Refusal
	for _, r := range s.Replicas {
		switch r.State {
		case compose.Running, compose.Restarting:
		case compose.Paused:
			paused = append(paused, Refusal{
				What: r.Name + " is paused", Why: "it cannot finish its requests, and Compose cannot start beside it",
				Instead: "docker unpause " + r.Name + ", or docker rm -f " + r.Name,
			})
			continue
		default:
			p.Clean = append(p.Clean, Leftover{r, leftover(r)})
			continue
		}
		k := candidate{replica: r, routed: len(listed(s.Routes, r)) > 0}
		k.outdated, _ = compose.Outdated(r, s.Hash, s.ImageID)
		k.replace = goal.Replace == ReplaceAll || goal.Replace == ReplaceOutdated && k.outdated != ""
		if goal.Replace == ReplaceOutdated && beyondRepair(r, s.Ways[r.ID]) {
			k.replace = true
		}
		live = append(live, k)
	}
	if len(paused) > 0 {
		return c, &RefusedError{Service: p.Service, Refusals: paused}
	}
	if len(goal.Remove) > 0 {
		all := make([]compose.Replica, len(live))
		for i, k := range live {
			all[i] = k.replica
		}
		named, err := pick(all, goal.Remove)
		if err != nil {
			return c, err
		}
		if len(named) > len(live)-p.Target {
			return c, fmt.Errorf("--remove names %s, but scaling %s from %d to %d removes %d",
				count(len(named), "replica"), p.Service, len(live), p.Target, max(0, len(live)-p.Target))
		}
		for i := range live {
			live[i].named = named[live[i].replica.ID]
		}
	}
	slices.SortFunc(live, rank(p.Gated))
	current := 0
	for _, k := range live {
		if !k.replace {
			current++
		}
	}
	// Those to be replaced leave whatever the number is; of the current ones those
	// beyond the target.
	surplus := max(0, current-p.Target)
	for _, k := range live {
		switch {
		case k.replace:
			c.out = append(c.out, k)
		case surplus > 0:
			surplus--
			c.out = append(c.out, k)
		case !k.replica.Ready() || sinks(k.replica, s.Ways[k.replica.ID]) || p.Gated && s.provable() && !k.routed:
			c.adopt = append(c.adopt, k)
		default:
			c.stay = append(c.stay, k)
		}
	}
	c.make = max(0, p.Target-len(c.stay)-len(c.adopt))
	return c, nil
}

// beyondRepair reports whether a current replica will not come into service by
// waiting for it or by un-flipping it.
func beyondRepair(r compose.Replica, way string) bool {
	return r.State == compose.Restarting || r.Health == compose.Unhealthy && (way == "" || way == "none")
}

// sinks reports whether a replica that Docker still calls healthy fails its
// probes: a roll that was killed after its flip leaves it so.
func sinks(r compose.Replica, way string) bool {
	return r.Health == compose.Healthy && r.FailingStreak > 0 && way != "" && way != "none"
}

// leftover is why a container that does not run is removed: Compose counts it
// as a replica and would start it again (facts.md C).
func leftover(r compose.Replica) string {
	switch {
	case r.State == compose.Created:
		return "created but never started, left by an interrupted deploy"
	case r.OOMKilled:
		return "killed for want of memory; Compose would start it again"
	}
	return fmt.Sprintf("%s with code %d; Compose would start it again", r.State, r.ExitCode)
}

// fill pairs those who come with those who leave.
func fill(p *Plan, s Snapshot, c cast) {
	ready := func(h *compose.Healthcheck) Budget {
		return readyBudget(h, p.Policy.Monitor.Value, p.Policy.ReadyTimeout.Value)
	}
	created := created(s)
	outs := c.out
	for range c.make {
		slot := Slot{New: true, Ready: ready(created), Reason: fmt.Sprintf("%s declared", count(p.Target, "replica"))}
		if len(outs) > 0 {
			leave(&slot, outs[0], s)
			outs = outs[1:]
		}
		slot.Wanted = s.wanted(slot.Old)
		p.Slots = append(p.Slots, slot)
	}
	for _, k := range c.adopt {
		r := k.replica
		slot := Slot{Adopt: &r, Ready: ready(r.Healthcheck), Reason: "it is " + condition(r)}
		if r.Ready() {
			slot.Reason = "no router sends requests to it yet"
		}
		if way := s.Ways[r.ID]; way != "" && way != "none" && (r.Health == compose.Unhealthy || sinks(r, way)) {
			slot.Unflip, slot.AdoptWay, slot.Ready, slot.Reason = true, way, unflipBudget(r.Healthcheck), "it is unhealthy, perhaps told so by an interrupted roll"
			if sinks(r, way) {
				slot.Reason = "its last probe failed, perhaps told to by an interrupted roll"
			}
		}
		if len(outs) > 0 {
			leave(&slot, outs[0], s)
			outs = outs[1:]
		}
		slot.Wanted = s.wanted(slot.Old)
		p.Slots = append(p.Slots, slot)
	}
	for _, k := range outs {
		var slot Slot
		leave(&slot, k, s)
		p.Slots = append(p.Slots, slot)
	}
	for _, k := range c.stay {
		reason := "current"
		if o, outdated := compose.Outdated(k.replica, s.Hash, s.ImageID); outdated {
			reason = "stays, though outdated: " + o
		}
		p.Stay = append(p.Stay, Stay{k.replica, reason})
	}
	slices.SortFunc(p.Stay, func(a, b Stay) int { return a.Replica.Number - b.Replica.Number })
}

// leave makes a candidate the slot's old replica.
func leave(slot *Slot, k candidate, s Snapshot) {
	r := k.replica
	slot.Old, slot.OldWay, slot.OldFlip = &r, s.Ways[r.ID], flipBudget(r.Healthcheck)
	slot.Why = k.reason()
	switch {
	case slot.New:
		slot.Reason = "replaces " + r.Name
	case slot.Adopt != nil:
		slot.Reason += "; replaces " + r.Name
	default:
		slot.Reason = slot.Why
	}
}

// created is the healthcheck that a new replica will have: the file's, else
// the one that running replicas got from their image.
func created(s Snapshot) *compose.Healthcheck {
	if s.Service.Healthcheck != nil || s.Service.NoHealthcheck {
		return s.Service.Healthcheck
	}
	for _, r := range s.Replicas {
		if r.Healthcheck != nil {
			return r.Healthcheck
		}
	}
	return nil
}

// warn adds what a person should know before it starts.
func warn(p *Plan, s Snapshot) {
	slowest := Budget{}
	for _, slot := range p.Slots {
		if slot.Old != nil && slot.OldWay != "" && slot.OldWay != "none" && slot.OldFlip.Expect > slowest.Expect {
			slowest = slot.OldFlip
		}
		if slot.Old != nil && p.Gated && (slot.OldWay == "" || slot.OldWay == "none") && len(listed(s.Routes, *slot.Old)) > 0 {
			p.Warnings = append(p.Warnings, slot.Old.Name+" is stopped while Traefik still routes to it: requests will be lost")
		}
	}
	if slowest.Expect >= longFlip {
		p.Warnings = append(p.Warnings, fmt.Sprintf("a flipped replica is unhealthy only after %s (%s): shorten healthcheck.interval or retries", short(slowest.Expect), slowest.Source))
	}
	for _, slot := range p.Slots {
		if slot.Old == nil || slot.Old.Healthcheck == nil {
			continue
		}
		warning := unsure(slot.OldWay, slot.Old.Healthcheck.Test)
		if warning != "" && !slices.Contains(p.Warnings, warning) {
			p.Warnings = append(p.Warnings, warning)
		}
	}
	h := created(s)
	if h != nil && p.Creates() > 0 && h.StartPeriod > 0 && h.StartInterval >= 5*time.Second {
		p.Warnings = append(p.Warnings, fmt.Sprintf("with a start_period Docker probes a new replica every %s (start_interval): set healthcheck.start_interval: 250ms to be healthy sooner", short(h.StartInterval)))
	}
	if p.Gated && p.Unproven != "" {
		p.Warnings = append(p.Warnings, "that no request is lost cannot be proven: "+p.Unproven)
	}
	if p.Policy.Order.Value == compose.StartFirst {
		for _, m := range s.Service.Volumes {
			if m.Type == "volume" && !m.ReadOnly && p.Creates() > 0 && len(s.Replicas) > 0 {
				p.Warnings = append(p.Warnings, fmt.Sprintf("old and new replicas write to the volume %s at the same time; if its files have a single writer, use --order stop-first", m.Source))
				break
			}
		}
	}
	if p.Creates() > 0 {
		p.Warnings = append(p.Warnings, s.Notes...)
	}
	if p.Policy.Order.Value == compose.StopFirst && p.Leaves() > 0 && p.Creates() > 0 {
		p.Warnings = append(p.Warnings, "stop-first: replicas leave before their successors serve")
	}
}
