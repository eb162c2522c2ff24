package deploy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/roll-deploy/roll/compose"
)

// overlapPaths are the places in a service that only stand in the way of two
// replicas at the same time.
var overlapPaths = []string{"container_name", "ports", "network_mode"}

func allOverlap(refusals []Refusal) bool {
	return !slices.ContainsFunc(refusals, func(r Refusal) bool {
		return len(r.Path) == 0 || !slices.Contains(overlapPaths, r.Path[0])
	})
}

// preflight lists why the plan must not be started (DESIGN 3).
func preflight(p Plan, s Snapshot) []Refusal {
	if p.Empty() {
		return nil
	}
	refusals := slices.Concat(overlap(p, s), clashes(p, s), flippable(p, s))
	if p.Creates() > 0 {
		refusals = append(refusals, s.Unfit...)
	}
	if p.Policy.RequireProof && p.Unproven != "" {
		refusals = append(refusals, Refusal{
			What: "no Traefik can be asked where it routes", Why: p.Unproven + ", and --require-proof was given",
			Instead: "switch Traefik's API on, or name it with --traefik URL",
		})
	}
	return refusals
}

// overlap refuses what cannot exist twice.
func overlap(p Plan, s Snapshot) []Refusal {
	twice := p.Target > 1 || p.Policy.Order.Value == compose.StartFirst && p.Creates() > 0 && p.Leaves()+len(p.Stay) > 0
	if !twice || p.Creates() == 0 {
		return nil
	}
	var refusals []Refusal
	v := s.Service
	if v.ContainerName != "" {
		refusals = append(refusals, Refusal{
			Path: []string{"container_name"}, What: fmt.Sprintf("service %s has container_name: %s", v.Name, v.ContainerName),
			Why:     "two containers cannot have one name, so the new replica cannot start before the old one is gone",
			Instead: "remove container_name, or accept a gap with --order stop-first",
		})
	}
	for _, port := range v.Ports {
		refusals = append(refusals, Refusal{
			Path: []string{"ports"}, What: fmt.Sprintf("service %s publishes the fixed host port %s", v.Name, port.Published),
			Why:     "two replicas cannot listen on one port of the host, so the new one cannot start before the old one is gone",
			Instead: fmt.Sprintf("let Traefik lead requests to it (expose: [\"%d\"]), or accept a gap with --order stop-first", port.Target),
		})
	}
	if v.NetworkMode == "host" {
		refusals = append(refusals, Refusal{
			Path: []string{"network_mode"}, What: fmt.Sprintf("service %s has network_mode: host", v.Name),
			Why:     "two replicas would listen on the same ports of the host",
			Instead: "put it into a network of the project, or accept a gap with --order stop-first",
		})
	}
	return refusals
}

// clashes refuses old and new replicas that must not serve at the same time,
// when they would. A gap is a way out: all old ones leave before the first new
// one comes.
func clashes(p Plan, s Snapshot) []Refusal {
	if p.Creates() == 0 {
		return nil
	}
	var refusals []Refusal
	refuse := func(r compose.Replica, gap string) {
		for _, refusal := range s.Clashes[r.ID] {
			refusal.Instead += "; or accept a gap with " + gap
			refusals = merge(refusals, refusal)
		}
	}
	gap := "--order stop-first"
	batches := p.window() < p.Leaves()
	if batches {
		gap += " --parallelism 0"
	}
	for _, slot := range p.Slots {
		if slot.Adopt != nil {
			refuse(*slot.Adopt, "roll up --order stop-first "+p.Service)
		}
		if slot.Old != nil && mayServe(*slot.Old) && (batches || p.Policy.Order.Value != compose.StopFirst) {
			refuse(*slot.Old, gap)
		}
	}
	for _, stay := range p.Stay {
		refuse(stay.Replica, "roll up --order stop-first "+p.Service)
	}
	return refusals
}

// mayServe reports whether a router takes the replica, or will when its
// healthcheck has passed for the first time.
func mayServe(r compose.Replica) bool {
	return r.State == compose.Running && r.Health != compose.Unhealthy
}

// merge adds a refusal unless it is there: replicas of one kind are refused for
// the same reason.
func merge(refusals []Refusal, r Refusal) []Refusal {
	if slices.ContainsFunc(refusals, func(other Refusal) bool { return other.String() == r.String() }) {
		return refusals
	}
	return append(refusals, r)
}

// flippable refuses replicas that would be stopped while Traefik routes to
// them.
func flippable(p Plan, s Snapshot) []Refusal {
	if p.Policy.AcceptLoss {
		return nil
	}
	var refusals []Refusal
	var noWay, noCheck []string
	for _, slot := range p.Slots {
		if slot.Old == nil {
			continue
		}
		flips := slot.OldWay != "" && slot.OldWay != "none"
		if untold, ok := s.Untold[slot.Old.ID]; ok && (flips || p.Gated && slot.OldWay == "") {
			refusals = merge(refusals, untold)
			continue
		}
		if flips && slot.Old.Healthcheck != nil && blind(slot.Old.Healthcheck.Test) {
			refusals = merge(refusals, Refusal{
				Path: []string{"healthcheck", "test"}, What: "the healthcheck can never fail: " + command(slot.Old.Healthcheck.Test),
				Why:     "nobody would notice the flip (" + slot.OldWay + "), so the replica would be stopped while requests are on their way to it",
				Instead: "a test that asks the application, as [\"CMD\", \"curl\", \"-f\", \"http://localhost/health\"]; for replicas that were created without one, once: roll up --accept-loss " + p.Service,
			})
			continue
		}
		if !p.Gated || s.provable() && len(listed(s.Routes, *slot.Old)) == 0 && !slot.Old.Ready() {
			continue
		}
		switch {
		case slot.OldWay == "":
			noWay = append(noWay, slot.Old.Name)
		case flips && slot.Old.Healthcheck == nil && !hasTraefikCheck(slot.Old.Labels):
			noCheck = append(noCheck, slot.Old.Name)
		}
	}
	if len(noWay) > 0 {
		refusals = append(refusals, Refusal{
			Path: []string{"labels"}, What: "no way to tell " + strings.Join(noWay, ", ") + " to report unhealthy",
			Why:     "without a flip Traefik goes on routing to a replica until it is dead, and those requests are lost",
			Instead: "a label on the service, as roll.flip.http: /sethealth/ko with roll.unflip.http: /sethealth/ok, or roll.flip.file: /tmp/drain; for replicas that were created without one, once: roll up --accept-loss " + p.Service,
		})
	}
	if len(noCheck) > 0 {
		refusals = append(refusals, Refusal{
			Path: []string{"healthcheck"}, What: strings.Join(noCheck, ", ") + " has no healthcheck",
			Why:     "nobody would notice the flip: Traefik drops a container when Docker calls it unhealthy",
			Instead: "healthcheck: {test: [\"CMD\", ...], interval: 1s, retries: 2} on the service; for replicas that were created without one, once: roll up --accept-loss " + p.Service,
		})
	}
	return refusals
}

// hasTraefikCheck reports whether Traefik itself probes the replica.
func hasTraefikCheck(labels map[string]string) bool {
	for name := range labels {
		if strings.HasPrefix(strings.ToLower(name), "traefik.http.services.") && strings.Contains(strings.ToLower(name), ".loadbalancer.healthcheck.") {
			return true
		}
	}
	return false
}
