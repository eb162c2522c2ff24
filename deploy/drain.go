package deploy

import (
	"fmt"

	"github.com/roll-deploy/roll/compose"
)

// Drain plans to take one replica out of the routers and leave it running. It
// is refused for the last one in service, unless losses are accepted.
func Drain(replica compose.Replica, s Snapshot, policy Policy) (Plan, error) {
	p := single("drain", s, policy)
	way := s.Ways[replica.ID]
	slot := Slot{Old: &replica, OldWay: way, OldFlip: flipBudget(replica.Healthcheck), Keep: true, Why: "asked to drain it", Reason: "asked to drain it"}
	if way == "" || way == "none" {
		return p, &RefusedError{Service: p.Service, Refusals: []Refusal{{
			Path: []string{"labels"}, What: "no way to tell " + replica.Name + " to report unhealthy",
			Why: "only a flip takes a running replica out of Traefik", Instead: "a label on the service, as roll.flip.file: /tmp/drain",
		}}}
	}
	if !replica.Running() {
		return p, fmt.Errorf("%s does not run: it is %s", replica.Name, replica.State)
	}
	p.Floor = min(1, s.serving())
	if policy.AcceptLoss {
		p.Floor = 0
	}
	if p.Floor > 0 && s.serving() <= p.Floor && replica.Ready() {
		return p, &RefusedError{Service: p.Service, Refusals: []Refusal{{
			What: replica.Name + " is the last replica in service", Why: "without it Traefik answers 404 or 503",
			Instead: fmt.Sprintf("roll scale %s=2 first, or --accept-loss", p.Service),
		}}}
	}
	p.Slots = []Slot{slot}
	return p, nil
}

// Undrain plans to bring a drained replica back into the routers.
func Undrain(replica compose.Replica, s Snapshot, policy Policy) (Plan, error) {
	p := single("undrain", s, policy)
	way := s.Ways[replica.ID]
	if way == "" || way == "none" {
		return p, &RefusedError{Service: p.Service, Refusals: []Refusal{{
			Path: []string{"labels"}, What: "no way to tell " + replica.Name + " to report healthy again", Why: "it carries no roll.flip label",
			Instead: "see why it is unhealthy with docker inspect " + replica.Name,
		}}}
	}
	p.Slots = []Slot{{Adopt: &replica, Unflip: true, AdoptWay: way, Wanted: s.wanted(nil), Ready: unflipBudget(replica.Healthcheck), Reason: "asked to undrain it"}}
	return p, nil
}

func single(verb string, s Snapshot, policy Policy) Plan {
	p := Plan{
		Project: s.Service.Project, Service: s.Service.Name, Verb: verb, Target: len(s.Replicas), Policy: policy,
		Gated: s.gated(), Routers: s.Routers, Throttle: s.Throttle,
	}
	if p.Gated && !s.provable() {
		p.Unproven = s.Unprovable
	}
	return p
}
