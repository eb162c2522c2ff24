package main

import (
	"cmp"
	"slices"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/healthflip"
	"github.com/roll-deploy/roll/traefik"
)

// fitness tells what is wrong with the replicas that Compose would create of
// the service now. behind says that the service is behind Traefik.
func fitness(service compose.Service, image compose.Image, instances []traefik.Instance, behind bool) (refusals []deploy.Refusal, notes []string) {
	next := newcomer(service, image)
	refuse := func(label, what, why, instead string) {
		path := []string{"labels"}
		if _, written := service.Labels[label]; written {
			path = append(path, label)
		}
		refusals = append(refusals, deploy.Refusal{Path: path, What: what, Why: why, Instead: instead})
	}
	if err := healthflip.Check(next.Labels, service.ReadOnly, marks(service.Volumes)); err != nil {
		refuse("roll.flip.file", "service "+service.Name+" cannot be flipped", err.Error(), "")
	}
	if behind {
		for _, label := range traefik.Fixed(next.Labels) {
			refuse(label, "label "+label+" of service "+service.Name, "it gives Traefik one fixed address, whatever the replicas do: whether requests go to old or new ones, and when they stop to, cannot be told",
				"the label with server.port in the place of server.url, so that each replica is a server of its own")
		}
	}

	known, unknown := providers(instances)
	if hurdle := overlooked(next.Labels, known, unknown); hurdle != nil && (behind || hurdle.Mistake) {
		refuse(hurdle.Label, "Traefik would not route to new replicas of "+service.Name, hurdle.Why, hurdle.Instead)
		return refusals, notes
	}
	if !behind || service.NetworkMode != "" {
		return refusals, notes
	}
	for _, provider := range known {
		if provider.Ignores(next.Labels) != nil {
			continue
		}
		if hurdle := provider.Wavers(next.Labels, service.Networks); hurdle != nil {
			refuse(cmp.Or(hurdle.Label, "traefik.docker.network"), "service "+service.Name+" is in several networks", hurdle.Why, hurdle.Instead)
			return refusals, notes
		}
	}
	if unknown {
		if hurdle := (traefik.Provider{}).Wavers(next.Labels, service.Networks); hurdle != nil {
			notes = append(notes, "service "+service.Name+" is in several networks: "+hurdle.Why+"; unless Traefik's own settings name one, write "+hurdle.Instead)
		}
	}
	return refusals, notes
}

// overlooked is why no Traefik would take a container with these labels; nil
// when one does, or may. Mistakes in the labels are the same to all of them.
func overlooked(labels map[string]string, known []traefik.Provider, unknown bool) *traefik.Hurdle {
	var first *traefik.Hurdle
	if unknown || len(known) == 0 {
		known = append(slices.Clone(known), traefik.Provider{ExposedByDefault: true})
	}
	for _, provider := range known {
		hurdle := provider.Ignores(labels)
		if hurdle == nil {
			return nil
		}
		first = cmp.Or(first, hurdle)
	}
	return first
}

// marks are mounts as healthflip reads them.
func marks(mounts []compose.Mount) []healthflip.Mount {
	all := make([]healthflip.Mount, len(mounts))
	for i, m := range mounts {
		all[i] = healthflip.Mount{Type: m.Type, Source: m.Source, Destination: m.Destination, ReadOnly: m.ReadOnly}
	}
	return all
}
