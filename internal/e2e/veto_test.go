//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/roll-deploy/roll/internal/lab"
)

// A replica that is healthy and routed, but at a port where nobody listens,
// fools Docker and Traefik. Only requests find it out.
func TestAProbeThatLosesRequestsTurnsTheRollBack(t *testing.T) {
	t.Parallel()
	p := theLab.Project(t, lab.Source{Compose: strings.Replace(app, `server.port: "8080"`, `server.port: "${TARGET:-8080}"`, 1), Env: []string{"REPLICAS=2"}})
	must(t, p.Up(t.Context()))
	must(t, p.WaitServers(t.Context(), "web", 2))
	before := names(t, p, "web")
	p.Setenv("TARGET", "9999")
	p.Setenv("VERSION", "v2")
	o := roll(t, p, "up", "web", "--probe", p.URL+"/", "--probe-rate", "100")
	if o.code != 3 || o.result(t).Outcome != "rolled_back" || !strings.Contains(o.stdout+o.stderr, "status 502") {
		t.Errorf("want exit code 3, rolled back, because of status 502: %s", o)
	}
	if now := names(t, p, "web"); !slices.Equal(now, before) {
		t.Errorf("replicas were %v, are %v", before, now)
	}
	l := startLoad(t, p.URL)
	must(t, p.WaitServers(t.Context(), "web", 2))
	l.lost(t)
}
