package traefik

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Hurdle is why the Docker provider would not do with a container what its
// labels seem to ask for.
type Hurdle struct {
	Label   string // that is to blame; empty: one that is missing
	Why     string
	Instead string
	Mistake bool // nobody can have meant it
}

// Ignores tells why the provider takes no notice of a running, healthy
// container with these labels; nil when it takes it (keepContainer in Traefik's
// pkg/provider/docker/config.go). Constraints that cannot be read are taken to
// match.
func (p Provider) Ignores(labels map[string]string) *Hurdle {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		lower := strings.ToLower(key)
		if rooted(key) || !slices.ContainsFunc([]string{"traefik.http", "traefik.tcp", "traefik.udp", "traefik.docker.", "traefik.enable"}, func(section string) bool {
			return strings.HasPrefix(lower, section)
		}) {
			continue
		}
		root, rest, _ := strings.Cut(key, ".")
		return &Hurdle{key, fmt.Sprintf("Traefik ignores a container altogether when one of its labels begins with %s", root), "traefik." + rest, true}
	}
	value, said := label(labels, "traefik.enable")
	enabled, err := strconv.ParseBool(value)
	switch {
	case said && err != nil:
		return &Hurdle{"traefik.enable", fmt.Sprintf("%q is neither true nor false, and Traefik ignores the container then", value), `traefik.enable: "true"`, true}
	case said && !enabled:
		return &Hurdle{"traefik.enable", "it takes the container out of Traefik", `traefik.enable: "true"`, false}
	case !said && !p.ExposedByDefault:
		return &Hurdle{"", "Traefik runs with exposedByDefault=false and ignores a container without the label traefik.enable", `traefik.enable: "true"`, false}
	}
	if ok, err := satisfies(p.Constraints, labels); err == nil && !ok {
		return &Hurdle{"", "Traefik's constraints do not match the labels: " + p.Constraints, "the labels that the constraints ask for", false}
	}
	return nil
}

func (p Provider) ignores(labels map[string]string) bool { return p.Ignores(labels) != nil }

// Wavers tells why the provider cannot tell on which of a container's networks
// to reach it: of several it takes another one at every change, and the wrong
// one leads nowhere (facts.md A1, URL of a server). Nil: there is one, or it
// is said which.
func (p Provider) Wavers(labels map[string]string, networks []string) *Hurdle {
	if len(networks) < 2 {
		return nil
	}
	instead := "traefik.docker.network: " + networks[0] + " (the one that Traefik is in)"
	name, said := label(labels, "traefik.docker.network")
	if !said {
		name = p.Network
	}
	switch {
	case name == "":
		return &Hurdle{"", fmt.Sprintf("of the networks %s Traefik takes any one, and another at the next change; over one that it is not in, requests time out", strings.Join(networks, " and ")), instead, false}
	case slices.Contains(networks, name):
		return nil
	case said:
		return &Hurdle{"traefik.docker.network", fmt.Sprintf("the service is not in a network of the name %s but in %s, and Traefik takes any one of them", name, strings.Join(networks, " and ")), instead, false}
	}
	return &Hurdle{"", fmt.Sprintf("Traefik's own setting names the network %s, but the service is in %s, and Traefik takes any one of them", name, strings.Join(networks, " and ")), instead, false}
}

// Fixed names the labels, sorted, that give a service's server a URL of its
// own: it has nothing to do with the container, so nobody can tell from the
// routing whether requests reach it.
func Fixed(labels map[string]string) []string {
	var found []string
	for key := range labels {
		lower := strings.ToLower(key)
		if strings.HasPrefix(lower, "traefik.http.services.") && strings.HasSuffix(lower, ".loadbalancer.server.url") {
			found = append(found, key)
		}
	}
	slices.Sort(found)
	return found
}
