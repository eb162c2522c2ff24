//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/roll-deploy/roll/internal/lab"
)

// Every refusal names the line, says why and what to write instead, exits 2
// and touches nothing.
func TestWhatWouldLoseRequestsIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	const file = `services:
  web:
    image: roll-lab/replica:${VERSION:-v1}
    healthcheck: {test: ["CMD", "/replica", "health"], interval: 1s, retries: 2}
    labels:
      traefik.enable: "true"
      traefik.http.routers.web.rule: PathPrefix(` + "`/`" + `)
      traefik.http.services.web.loadbalancer.server.port: "8080"
`
	const flip = "      roll.flip.http: /sethealth/ko\n      roll.unflip.http: /sethealth/ok\n"
	for name, c := range map[string]struct {
		compose string
		want    []string
	}{
		"a container name": {
			compose: file + flip + "    container_name: only-one-of-${COMPOSE_PROJECT_NAME}\n",
			want:    []string{"compose.yaml:11", "container_name", "--order stop-first"},
		},
		"a fixed host port": {
			compose: file + flip + "    ports: [\"127.0.0.1:48765:8080\"]\n",
			want:    []string{"compose.yaml:11", "fixed host port 48765", "expose", "--order stop-first"},
		},
		"no way to flip": {
			compose: file,
			want:    []string{"compose.yaml:5", "no way to tell", "roll.flip.file: /tmp/drain", "--accept-loss"},
		},
		"two ways to flip": {
			compose: file + flip + "      roll.flip.signal: SIGUSR1\n      roll.unflip.signal: SIGUSR2\n",
			want:    []string{"compose.yaml:", "roll.flip.http", "roll.flip.signal"},
		},
		"an unknown label": {
			compose: file + flip + "      roll.dran: 10s\n",
			want:    []string{"compose.yaml:11", "roll.dran", "roll.drain"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := theLab.Project(t, lab.Source{Compose: c.compose})
			must(t, p.Up(t.Context()))
			must(t, p.WaitServers(t.Context(), "web", 1))
			p.Setenv("VERSION", "v2")
			before := ids(t, p)
			o := roll(t, p, "up", "web")
			if o.code != 2 {
				t.Errorf("want exit code 2: %s", o)
			}
			for _, want := range c.want {
				if !strings.Contains(o.stderr, want) {
					t.Errorf("stderr does not say %q:\n%s", want, o.stderr)
				}
			}
			if now := ids(t, p); !slices.Equal(now, before) {
				t.Errorf("containers were %v, are %v", before, now)
			}
		})
	}
}
