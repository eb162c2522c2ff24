//go:build e2e

package e2e

import (
	"encoding/json"
	"testing"
	"time"
)

func TestARehearsalFlipsOneReplicaAndPutsItBack(t *testing.T) {
	t.Parallel()
	p := started(t, 2)
	before := names(t, p, "web")
	o := exits(t, command(t.Context(), p, "check", "--rehearse", "web", "--format", "json", "--traefik", p.API, "--progress", "plain", "--probe", p.URL+"/", "--probe-rate", "50"))
	t.Log(o)
	var took struct {
		Told, Failing, Unhealthy, Unrouted, Healthy, Routed time.Duration
	}
	_ = json.Unmarshal([]byte(o.stdout), &took)
	t.Log(before)
}
