package deploy

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/roll-deploy/roll/compose"
)

func TestSnapshotCountsWhoServes(t *testing.T) {
	for _, test := range []struct {
		name     string
		snapshot Snapshot
		want     int
	}{
		{"healthy and routed", seen(webService(2), current(1), outdated(2)), 2},
		{"healthy and not routed does not serve", unrouted(seen(webService(2), current(1), current(2)), 2), 1},
		{"unhealthy does not serve", seen(webService(2), current(1), current(2, being(compose.Unhealthy))), 1},
		{"without an API Docker's word counts", with(seen(webService(2), current(1), current(2)), noAPI), 2},
		{"a worker serves when it is healthy", with(seen(webService(1), current(1)), func(s *Snapshot) { s.Expected, s.Routes = false, nil }), 1},
		{"exited does not serve", seen(webService(1), current(1, exited(0))), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.snapshot.serving(); got != test.want {
				t.Errorf("%d serve, want %d", got, test.want)
			}
		})
	}
}

func TestWantedRoutes(t *testing.T) {
	two := func(s *Snapshot) {
		s.Routes["second web@docker"] = s.Routes["traefik web@docker"]
		s.Routes["traefik admin@docker"] = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:81")}
	}
	other := labelled("traefik.http.routers.web.rule", "Host(`a`)")
	for _, test := range []struct {
		name     string
		snapshot Snapshot
		old      int // number; 0: nobody
		want     []string
	}{
		{"the routes of the one it replaces", with(seen(webService(2), outdated(1), outdated(2)), two), 1, []string{"second web@docker", "traefik web@docker"}},
		{"a replica in a route of its own hands that on, too", with(seen(webService(2), outdated(1), outdated(2)), two), 2, []string{"second web@docker", "traefik admin@docker", "traefik web@docker"}},
		{"none when the labels differ: names may differ, too", seen(webService(1), outdated(1, other)), 1, nil},
		{"those of its siblings when it was not routed", unrouted(seen(webService(2), outdated(1), outdated(2)), 2), 2, []string{"traefik web@docker"}},
		{"those of its siblings when nobody leaves", seen(webService(2), current(1)), 0, []string{"traefik web@docker"}},
		{"a label that Traefik does not read is no difference", with(seen(webService(1), outdated(1)), func(s *Snapshot) { s.Service.Labels = map[string]string{"traefik.enable": "true", "a": "b"} }), 1, []string{"traefik web@docker"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var old *compose.Replica
			for _, r := range test.snapshot.Replicas {
				if r.Number == test.old {
					old = &r
				}
			}
			if got := test.snapshot.wanted(old); !slices.Equal(got, test.want) {
				t.Errorf("wanted %q, want %q", got, test.want)
			}
		})
	}
}
