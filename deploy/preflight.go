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
	refusals := slices.Concat(overlap(p, s), flippable(p, s))
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

// flippable refuses replicas that would be stopped while Traefik routes to
// them.
func flippable(p Plan, s Snapshot) []Refusal {
	if !p.Gated || p.Policy.AcceptLoss {
		return nil
	}
	var noWay, noCheck []string
	for _, slot := range p.Slots {
		if slot.Old == nil || s.provable() && len(listed(s.Routes, *slot.Old)) == 0 && !slot.Old.Ready() {
			continue
		}
		switch {
		case slot.OldWay == "":
			noWay = append(noWay, slot.Old.Name)
		case slot.OldWay != "none" && slot.Old.Healthcheck == nil && !hasTraefikCheck(slot.Old.Labels):
			noCheck = append(noCheck, slot.Old.Name)
		}
	}
	var refusals []Refusal
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
