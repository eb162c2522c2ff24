package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/traefik"
)

// newcomer is a container that Compose would create of the service now, as
// Traefik would see it: labels of the file go before those of the image.
func newcomer(service compose.Service, image compose.Image) traefik.Source {
	labels := map[string]string{
		"com.docker.compose.project": service.Project, "com.docker.compose.service": service.Name, "com.docker.compose.oneoff": "False",
	}
	maps.Copy(labels, image.Labels)
	maps.Copy(labels, service.Labels)
	return traefik.Source{Service: service.Name, Project: service.Project, Labels: labels}
}

// providers are the settings by which Traefik reads containers. unknown is
// true when there is a Traefik whose settings could not be read.
func providers(instances []traefik.Instance) (known []traefik.Provider, unknown bool) {
	for _, i := range instances {
		switch {
		case i.Settings.Source == "":
			unknown = true
		case i.Settings.Docker.Enabled:
			known = append(known, i.Settings.Docker)
		}
	}
	return known, unknown
}

// clashes tells for each running replica what Traefik would delete while it
// and a new replica are both healthy.
func clashes(service compose.Service, image compose.Image, replicas []compose.Replica, instances []traefik.Instance) map[string][]deploy.Refusal {
	known, unknown := providers(instances)
	if unknown || len(instances) == 0 {
		known = append(known, traefik.Provider{ExposedByDefault: true})
	}
	next := newcomer(service, image)
	found := map[string][]deploy.Refusal{}
	for _, r := range replicas {
		told := map[string]bool{}
		for _, provider := range known {
			old := traefik.Source{Name: r.Name, Service: r.Service, Project: r.Project, Labels: r.Labels}
			for _, c := range traefik.Conflicts(old, next, provider) {
				if told[c.Object()] {
					continue
				}
				told[c.Object()] = true
				found[r.ID] = append(found[r.ID], clash(service, next, c))
			}
		}
	}
	return found
}

// mostShown is how many labels of one object are told.
const mostShown = 3

func clash(service compose.Service, next traefik.Source, c traefik.Conflict) deploy.Refusal {
	path := []string{"labels"}
	var parts []string
	for _, d := range c.Differences {
		if _, written := service.Labels[d.Label]; written && len(path) == 1 {
			path = append(path, d.Label)
		}
		where := "in the file"
		if _, written := service.Labels[d.Label]; !written && next.Labels[d.Label] != "" {
			where = "in the image"
		}
		parts = append(parts, fmt.Sprintf("%s is %s on running replicas and %s %s", d.Label, d.Old, d.New, where))
	}
	if more := len(parts) - mostShown; more > 0 {
		parts = append(parts[:mostShown], fmt.Sprintf("and %d more", more))
	}
	return deploy.Refusal{
		Path: path, What: c.Object() + " would be defined twice: " + strings.Join(parts, ", "),
		Why:     "Traefik deletes an object that is defined twice differently, for everybody, for as long as both are healthy: " + c.Consequence,
		Instead: rename(c, next.Labels),
	}
}

// rename says which new names let the old and the new definition live side by
// side.
func rename(c traefik.Conflict, labels map[string]string) string {
	if c.Kind == "TLS store" {
		return "change it at a time when a gap is acceptable"
	}
	name := successor(c.Name, labels)
	anew := fmt.Sprintf("give the %s a new name, traefik.%s.%ss.%s", c.Kind, c.Protocol, c.Kind, name)
	if c.Kind == "router" {
		return anew
	}
	return anew + fmt.Sprintf(", and new names to the routers that lead to it, as traefik.%s.routers.%s", c.Protocol, name)
}

// successor counts a name up until no label has it.
func successor(name string, labels map[string]string) string {
	stem := strings.TrimRight(name, "0123456789")
	n, err := strconv.Atoi(name[len(stem):])
	if err != nil || stem == "" || n < 1 {
		stem, n = name, 1
	}
	for {
		n++
		next := stem + strconv.Itoa(n)
		taken := slices.ContainsFunc(slices.Collect(maps.Keys(labels)), func(label string) bool {
			return strings.Contains(strings.ToLower(label), "."+strings.ToLower(next)+".")
		})
		if !taken {
			return next
		}
	}
}
