//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/roll-deploy/roll/internal/lab"
)

// refused runs roll and fails the test unless it refuses with these words and
// touches nothing.
func refused(t *testing.T, p *lab.Project, args []string, want ...string) {
	t.Helper()
	before := ids(t, p)
	o := roll(t, p, args...)
	if o.code != 2 {
		t.Errorf("want exit code 2: %s", o)
	}
	for _, words := range want {
		if !strings.Contains(o.stderr, words) {
			t.Errorf("stderr does not say %q:\n%s", words, o.stderr)
		}
	}
	if now := ids(t, p); !slices.Equal(now, before) {
		t.Errorf("containers were %v, are %v", before, now)
	}
}

// changed is app with a rule that may come from outside: what a person does who
// edits the file.
var changed = strings.Replace(app, "PathPrefix(`/`)", "${RULE:-PathPrefix(`/`)}", 1)

func TestAChangedRuleIsRefusedAndWorksWithAGap(t *testing.T) {
	t.Parallel()
	p := theLab.Project(t, lab.Source{Compose: changed, Env: []string{"REPLICAS=2"}})
	must(t, p.Up(t.Context()))
	must(t, p.WaitServers(t.Context(), "web", 2))
	before := ids(t, p)
	p.Setenv("RULE", "PathPrefix(`/`) && !Path(`/private`)")

	l := startLoad(t, p.URL)
	refused(t, p, []string{"up", "web"},
		"compose.yaml:20: router web@docker would be defined twice: traefik.http.routers.web.rule is \"PathPrefix(`/`)\" on running replicas and \"PathPrefix(`/`) && !Path(`/private`)\" in the file",
		"Traefik deletes an object that is defined twice differently", "its requests get 404", "traefik.http.routers.web2", "--order stop-first")
	refused(t, p, []string{"up", "web", "--order", "stop-first", "--parallelism", "1"}, "compose.yaml:20", "--parallelism 0")
	l.lost(t)

	succeeds(t, p, "up", "web", "--order", "stop-first")
	if now := ids(t, p); len(now) != 2 || slices.ContainsFunc(now, func(id string) bool { return slices.Contains(before, id) }) {
		t.Errorf("containers were %v, are %v, want two others", before, now)
	}
	must(t, p.WaitServers(t.Context(), "web", 2))
}

func TestARenamedRouterAndServiceRollWithoutALoss(t *testing.T) {
	t.Parallel()
	p := theLab.Project(t, lab.Source{Compose: app, Env: []string{"REPLICAS=2"}})
	must(t, p.Up(t.Context()))
	must(t, p.WaitServers(t.Context(), "web", 2))
	before := names(t, p, "web")
	l := startLoad(t, p.URL)
	renamed := strings.NewReplacer("routers.web.rule: PathPrefix(`/`)", "routers.web2.rule: PathPrefix(`/`) && !Path(`/private`)",
		"services.web.loadbalancer.server.port: \"8080\"", "services.web2.loadbalancer.server.port: \"8080\"\n      traefik.http.services.web2.loadbalancer.sticky.cookie.name: pin")
	must(t, p.Write("compose.yaml", renamed.Replace(app)))
	o := succeeds(t, p, "up", "web")
	l.lost(t)
	replaced(t, p, "web", before, 2)
	if !o.result(t).Proven {
		t.Error("the result does not say that it was proven at Traefik")
	}
}

func TestAChangedNetworkIsRefused(t *testing.T) {
	t.Parallel()
	withNetwork := app + "    networks: [front]\nnetworks:\n  front:\n    labels: {colour: green}\n"
	p := theLab.Project(t, lab.Source{Compose: withNetwork, Env: []string{"REPLICAS=2"}})
	must(t, p.Up(t.Context()))
	must(t, p.WaitServers(t.Context(), "web", 2))
	must(t, p.Write("compose.yaml", strings.Replace(withNetwork, "green", "blue", 1)))
	p.Setenv("VERSION", "v2")
	refused(t, p, []string{"up", "web"}, "docker compose would do more than create replicas", "network "+p.Name+"_front would be removed", "docker compose up -d")
}

func TestTwoNetworksAreRefusedUnlessOneIsNamed(t *testing.T) {
	t.Parallel()
	two := app + "    networks: [back, front]\nnetworks: {back: {}, front: {}}\n"
	p := theLab.Project(t, lab.Source{Compose: two, Env: []string{"REPLICAS=1"}})
	must(t, p.Up(t.Context()))
	must(t, p.WaitServers(t.Context(), "web", 1))
	p.Setenv("VERSION", "v2")
	// Without --traefik, so that Traefik's settings are known.
	o := exits(t, command(t.Context(), p, "up", "web", "--progress", "json"))
	for _, words := range []string{"compose.yaml:18: service web is in several networks", p.Name + "_back and " + p.Name + "_front", "traefik.docker.network"} {
		if o.code != 2 || !strings.Contains(o.stderr, words) {
			t.Errorf("want exit code 2 and %q: %s", words, o)
		}
	}
}
