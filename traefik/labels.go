package traefik

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// label finds a label as Traefik reads names: the case of all but the first
// word does not matter.
func label(labels map[string]string, name string) (string, bool) {
	if value, ok := labels[name]; ok {
		return value, true
	}
	for key, value := range labels {
		if strings.EqualFold(key, name) && rooted(key) {
			return value, true
		}
	}
	return "", false
}

// rooted reports whether a label's first word is written as Traefik wants it.
func rooted(key string) bool {
	root, _, _ := strings.Cut(key, ".")
	return root == strings.ToLower(root)
}

// Enabled tells what a container's labels want from Traefik. said is false
// when they say nothing: Traefik's exposedByDefault decides then. Traefik
// ignores a container altogether when traefik.enable is no boolean, and when
// a label begins with Traefik in any other case (DecodeToNode in its label
// parser, github.com/traefik/paerser).
func Enabled(labels map[string]string) (enabled, said bool) {
	for key := range labels {
		lower := strings.ToLower(key)
		for _, section := range []string{"traefik.http.", "traefik.tcp.", "traefik.udp.", "traefik.docker.", "traefik.enable"} {
			if !strings.HasPrefix(lower, section) {
				continue
			}
			if !rooted(key) {
				return false, true
			}
			if section != "traefik.docker." {
				enabled, said = true, true
			}
		}
	}
	if value, ok := label(labels, "traefik.enable"); ok {
		enabled, err := strconv.ParseBool(value)
		return enabled && err == nil, true
	}
	return enabled, said
}

// ServicesOf names the Traefik services that a container with these labels
// joins, as Routes writes them, sorted. It is what the Docker provider would
// make of the labels (facts.md A1, build in Traefik's
// pkg/provider/docker/config.go): services without a name get that of the
// Compose service and project. Traefik's API has the last word.
func ServicesOf(labels map[string]string, composeService, project string) []string {
	implicit := normalize(composeService + "_" + project)
	var names []string
	add := func(protocol Protocol) {
		explicit := namesIn(labels, protocol, "services")
		if len(explicit) == 0 {
			explicit = []string{implicit}
		}
		for _, name := range explicit {
			names = append(names, key(name+"@docker", protocol))
		}
	}
	other := false
	for _, protocol := range []Protocol{TCP, UDP} {
		if len(namesIn(labels, protocol, "routers"))+len(namesIn(labels, protocol, "services")) > 0 {
			add(protocol)
			other = true
		}
	}
	http := len(namesIn(labels, HTTP, "routers")) + len(namesIn(labels, HTTP, "middlewares")) + len(namesIn(labels, HTTP, "services"))
	if !other || http > 0 {
		add(HTTP)
	}
	slices.Sort(names)
	return names
}

// Network is the network that the container wants to be reached over; empty
// when it does not say (facts.md A1 on what Traefik does then).
func Network(labels map[string]string) string {
	for _, name := range []string{"traefik.docker.network", "traefik.swarm.network"} {
		if value, ok := label(labels, name); ok {
			return value
		}
	}
	return ""
}

// namesIn collects the NAME of all labels traefik.PROTOCOL.KIND.NAME.*, sorted.
func namesIn(labels map[string]string, protocol Protocol, kind string) []string {
	prefix := "traefik." + string(protocol) + "." + kind + "."
	var names []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if len(key) <= len(prefix) || !strings.EqualFold(key[:len(prefix)], prefix) || !rooted(key) {
			continue
		}
		name, _, _ := strings.Cut(key[len(prefix):], ".")
		// Of names that differ in case alone, Traefik takes the first.
		if name != "" && !slices.ContainsFunc(names, func(other string) bool { return strings.EqualFold(other, name) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// normalize is Traefik's way to make a name of a container's name: everything
// but letters and digits becomes one dash (Normalize in Traefik's
// pkg/provider/configuration.go).
func normalize(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r)
	}), "-")
}
