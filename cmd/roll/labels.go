package main

import (
	"slices"
	"strings"

	"github.com/agext/levenshtein"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/healthflip"
)

// knownLabels are all labels that roll reads.
func knownLabels() []string {
	known := slices.Concat(healthflip.Labels(), deploy.Labels(), []string{"roll.traefik"})
	slices.Sort(known)
	return slices.Compact(known)
}

// unknownLabels refuses labels that look like roll's and are not: a misspelt
// roll.flip would otherwise be found out by lost requests.
func unknownLabels(service compose.Service) []deploy.Refusal {
	known := knownLabels()
	var refusals []deploy.Refusal
	for name := range service.Labels {
		if !strings.HasPrefix(name, "roll.") || slices.Contains(known, name) {
			continue
		}
		nearest := slices.MinFunc(known, func(a, b string) int {
			return levenshtein.Distance(name, a, nil) - levenshtein.Distance(name, b, nil)
		})
		refusals = append(refusals, deploy.Refusal{
			Path: []string{"labels", name}, What: "label " + name + " of service " + service.Name + " is not one of roll's",
			Why: "known are " + strings.Join(known, ", "), Instead: nearest,
		})
	}
	slices.SortFunc(refusals, func(a, b deploy.Refusal) int { return strings.Compare(a.What, b.What) })
	return refusals
}
