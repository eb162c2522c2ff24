package traefik

import "testing"

func TestIgnores(t *testing.T) {
	exposing := Provider{ExposedByDefault: true}
	for name, c := range map[string]struct {
		provider Provider
		labels   string
		want     string // label: why; instead
	}{
		"nothing said and exposed by default": {exposing, "", ""},
		"enabled where it has to be":          {Provider{}, "traefik.enable=true", ""},
		"disabled": {exposing, "traefik.enable=false",
			`traefik.enable: it takes the container out of Traefik; traefik.enable: "true"`},
		"neither true nor false": {exposing, "traefik.enable=yes",
			`traefik.enable: "yes" is neither true nor false, and Traefik ignores the container then; traefik.enable: "true"`},
		"not enabled where it has to be": {Provider{}, "traefik.http.routers.web.rule=x",
			`: Traefik runs with exposedByDefault=false and ignores a container without the label traefik.enable; traefik.enable: "true"`},
		"a first word in capitals": {exposing, "traefik.enable=true\nTraefik.http.routers.web.rule=x",
			`Traefik.http.routers.web.rule: Traefik ignores a container altogether when one of its labels begins with Traefik; traefik.http.routers.web.rule`},
		"a first word in capitals of a section that Traefik does not read": {exposing, "Traefik.note=x", ""},
		"constraints that match": {Provider{ExposedByDefault: true, Constraints: "!Label(`a`, `2`) && (Label(`b`, `3`) || LabelRegex(`a`, `^1`))"}, "a=1", ""},
		"constraints that do not match": {Provider{ExposedByDefault: true, Constraints: "Label(`a`, `2`)"}, "a=1",
			": Traefik's constraints do not match the labels: Label(`a`, `2`); the labels that the constraints ask for"},
		"constraints that nobody can read": {Provider{ExposedByDefault: true, Constraints: "Label(`a`"}, "a=1", ""},
		"constraints of another kind":      {Provider{ExposedByDefault: true, Constraints: "Tag(`a`, `b`)"}, "a=1", ""},
	} {
		if got := textOf(c.provider.Ignores(labelsOf(c.labels))); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func textOf(h *Hurdle) string {
	if h == nil {
		return ""
	}
	return h.Label + ": " + h.Why + "; " + h.Instead
}

func TestWavers(t *testing.T) {
	const instead = "; traefik.docker.network: shop_back (the one that Traefik is in)"
	two := []string{"shop_back", "shop_front"}
	for name, c := range map[string]struct {
		provider Provider
		labels   string
		networks []string
		want     string
	}{
		"one network": {Provider{}, "", two[:1], ""},
		"two networks and no word": {Provider{}, "", two,
			": of the networks shop_back and shop_front Traefik takes any one, and another at the next change; over one that it is not in, requests time out" + instead},
		"a label says which":              {Provider{}, "traefik.docker.network=shop_front", two, ""},
		"a label in another case":         {Provider{}, "traefik.Docker.Network=shop_front", two, ""},
		"Traefik's own settings say":      {Provider{Network: "shop_front"}, "", two, ""},
		"the label goes before a setting": {Provider{Network: "other"}, "traefik.docker.network=shop_front", two, ""},
		"a label without the project's name": {Provider{}, "traefik.docker.network=front", two,
			"traefik.docker.network: the service is not in a network of the name front but in shop_back and shop_front, and Traefik takes any one of them" + instead},
		"a setting that names another": {Provider{Network: "edge"}, "", two,
			": Traefik's own setting names the network edge, but the service is in shop_back and shop_front, and Traefik takes any one of them" + instead},
	} {
		if got := textOf(c.provider.Wavers(labelsOf(c.labels), c.networks)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestFixed(t *testing.T) {
	labels := labelsOf("traefik.http.services.web.loadbalancer.server.port=80\ntraefik.http.services.web.LoadBalancer.Server.URL=http://a\ntraefik.http.services.b.loadbalancer.server.url=http://b")
	got := Fixed(labels)
	if len(got) != 2 || got[0] != "traefik.http.services.b.loadbalancer.server.url" || got[1] != "traefik.http.services.web.LoadBalancer.Server.URL" {
		t.Errorf("got %q", got)
	}
}
