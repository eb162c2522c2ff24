package deploy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
)

const (
	newHash  = "bbbb2222"
	oldHash  = "aaaa1111"
	newImage = "sha256:2222222222222222"
	oldImage = "sha256:1111111111111111"
)

// quick is a healthcheck that notices a flip within two seconds.
var quick = &compose.Healthcheck{Test: []string{"CMD", "check"}, Interval: time.Second, Timeout: time.Second, Retries: 2}

// webService is what the tests' Compose file declares.
func webService(replicas int) compose.Service {
	return compose.Service{Project: "shop", Name: "web", Image: "web:2", Replicas: replicas, Healthcheck: quick, Labels: map[string]string{"traefik.enable": "true"}}
}

// current is a healthy replica of the new version; edit changes it.
func current(number int, edit ...func(*compose.Replica)) compose.Replica {
	r := compose.Replica{
		ID: fmt.Sprintf("id%02d%s", number, strings.Repeat("0", 20)), Name: fmt.Sprintf("shop-web-%d", number), Project: "shop", Service: "web", Number: number,
		Image: "web:2", ImageID: newImage, ConfigHash: newHash, State: compose.Running, Health: compose.Healthy, Healthcheck: quick,
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(number)})}, Labels: map[string]string{"traefik.enable": "true"},
	}
	for _, e := range edit {
		e(&r)
	}
	return r
}

// outdated is a healthy replica of the old version; edit changes it.
func outdated(number int, edit ...func(*compose.Replica)) compose.Replica {
	return current(number, append([]func(*compose.Replica){func(r *compose.Replica) { r.ConfigHash = oldHash }}, edit...)...)
}

func exited(code int) func(*compose.Replica) {
	return func(r *compose.Replica) {
		r.State, r.ExitCode, r.Health, r.Addresses = compose.Exited, code, compose.Unhealthy, nil
	}
}

func in(state compose.State) func(*compose.Replica) {
	return func(r *compose.Replica) { r.State = state }
}

func being(health compose.Health) func(*compose.Replica) {
	return func(r *compose.Replica) { r.Health = health }
}

func checked(h *compose.Healthcheck) func(*compose.Replica) {
	return func(r *compose.Replica) {
		r.Healthcheck = h
		if h == nil {
			r.Health = compose.NoHealth
		}
	}
}

func labelled(name, value string) func(*compose.Replica) {
	return func(r *compose.Replica) { r.Labels = map[string]string{"traefik.enable": "true", name: value} }
}

// seen is a snapshot behind one Traefik that routes to every healthy replica;
// every replica can be flipped by a file.
func seen(service compose.Service, replicas ...compose.Replica) Snapshot {
	s := Snapshot{
		Service: service, Replicas: replicas, Hash: newHash, ImageID: newImage, Expected: true,
		Routers: []string{"traefik"}, Routes: map[string][]netip.AddrPort{}, Throttle: 2 * time.Second, Ways: map[string]string{},
	}
	for _, r := range replicas {
		s.Ways[r.ID] = "file /tmp/drain"
		if r.Ready() {
			s.Routes["traefik web@docker"] = append(s.Routes["traefik web@docker"], netip.AddrPortFrom(r.Addresses[0], 80))
		}
	}
	return s
}

// with changes a snapshot.
func with(s Snapshot, edit func(*Snapshot)) Snapshot {
	edit(&s)
	return s
}

// unrouted takes a replica out of the snapshot's routes.
func unrouted(s Snapshot, number int) Snapshot {
	servers := []netip.AddrPort{}
	for _, a := range s.Routes["traefik web@docker"] {
		if a.Addr() != netip.AddrFrom4([4]byte{10, 0, 0, byte(number)}) {
			servers = append(servers, a)
		}
	}
	s.Routes = map[string][]netip.AddrPort{"traefik web@docker": servers}
	return s
}

func asking(edit func(*Overrides)) Overrides {
	var o Overrides
	edit(&o)
	return o
}

var (
	rollGoal = Goal{Verb: "roll", Target: -1}
	noAPI    = func(s *Snapshot) { s.Routers, s.Routes, s.Unprovable = nil, nil, "no Traefik answers" }
)

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		name      string
		goal      Goal
		snapshot  Snapshot
		overrides Overrides
		want      string
	}{
		{
			name:     "a service that was never up is created",
			goal:     rollGoal,
			snapshot: seen(webService(3)),
			want: `
roll web to 3 replicas: create 3 replicas
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 0 replicas in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: 3 replicas declared
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in a service of every router, within 30s
  slot 2
    create     a new replica: 3 replicas declared
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in a service of every router, within 30s
  slot 3
    create     a new replica: 3 replicas declared
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in a service of every router, within 30s
`,
		},
		{
			name:     "outdated replicas are replaced one for one, newest first",
			goal:     rollGoal,
			snapshot: seen(webService(3), outdated(1), outdated(2), outdated(3)),
			want: `
roll web to 3 replicas: create 3 replicas, drain and stop 3
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 3 replicas in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-3
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-3 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  slot 2
    create     a new replica: replaces shop-web-2
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-2 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  slot 3
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
`,
		},
		{
			name:     "a replica whose image changed is outdated",
			goal:     rollGoal,
			snapshot: seen(webService(1), current(1, func(r *compose.Replica) { r.ImageID = oldImage })),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-1 (file /tmp/drain): image web:2 is now sha256:222222222222… (this one runs sha256:111111111111…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
`,
		},
		{
			name:     "a service that is as declared has nothing to do",
			goal:     rollGoal,
			snapshot: seen(webService(2), current(1), current(2)),
			want: `
web is up to date: 2 replicas
`,
		},
		{
			name:     "leftovers that Compose would start again are removed first",
			goal:     rollGoal,
			snapshot: seen(webService(1), current(1), current(2, exited(137)), current(3, in(compose.Created)), current(4, exited(137), func(r *compose.Replica) { r.OOMKilled = true })),
			want: `
roll web to 1 replica: remove 3 leftovers, keep 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  clean        remove shop-web-2: exited with code 137; Compose would start it again
  clean        remove shop-web-3: created but never started, left by an interrupted deploy
  clean        remove shop-web-4: killed for want of memory; Compose would start it again
  stay         shop-web-1: current
`,
		},
		{
			name:     "an interrupted roll is finished by adopting its new replicas",
			goal:     rollGoal,
			snapshot: unrouted(seen(webService(3), outdated(1), outdated(2), outdated(3), current(4), current(5), current(6, being(compose.Starting))), 5),
			want: `
roll web to 3 replicas: adopt 2, drain and stop 3, keep 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 3 replicas in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    adopt      shop-web-6: it is starting; replaces shop-web-3
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-3 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  slot 2
    adopt      shop-web-5: no router sends requests to it yet; replaces shop-web-2
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-2 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  slot 3
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  stay         shop-web-4: current
`,
		},
		{
			name:     "an unhealthy current replica is un-flipped, for an interrupted roll may have flipped it",
			goal:     rollGoal,
			snapshot: seen(webService(2), current(1), current(2, being(compose.Unhealthy))),
			want: `
roll web to 2 replicas: adopt 1, keep 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    un-flip    shop-web-2: it is unhealthy, perhaps told so by an interrupted roll
    healthy    within 14s (interval 1s)
    routed     in traefik web@docker, within 30s
  stay         shop-web-1: current
`,
		},
		{
			name:     "a current replica whose last probe failed is un-flipped too: it may be on its way out of service",
			goal:     rollGoal,
			snapshot: seen(webService(2), current(1), current(2, func(r *compose.Replica) { r.FailingStreak = 1 })),
			want: `
roll web to 2 replicas: adopt 1, keep 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 2 replicas in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    un-flip    shop-web-2: its last probe failed, perhaps told to by an interrupted roll
    healthy    within 14s (interval 1s)
    routed     in traefik web@docker, within 30s
  stay         shop-web-1: current
`,
		},
		{
			name:     "an unhealthy current replica that nobody can un-flip is replaced",
			goal:     rollGoal,
			snapshot: with(seen(webService(2), current(1), current(2, being(compose.Unhealthy))), func(s *Snapshot) { s.Ways = map[string]string{} }),
			want: `
roll web to 2 replicas: create 1 replica, drain and stop 1, keep 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-2
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    stop       shop-web-2 without a flip: it is unhealthy
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  stay         shop-web-1: current
`,
		},
		{
			name:     "a current replica that restarts again and again is replaced",
			goal:     rollGoal,
			snapshot: seen(webService(1), current(1, in(compose.Restarting))),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 0 replicas in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in a service of every router, within 30s
    flip       shop-web-1 (file /tmp/drain): it is restarting
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
`,
		},
		{
			name:     "scaling down takes the newest numbers",
			goal:     Goal{Verb: "scale", Target: 1, Replace: ReplaceNone},
			snapshot: seen(webService(3), current(1), current(2), current(3)),
			want: `
scale web to 1 replica: drain and stop 2, keep 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    flip       shop-web-3 (file /tmp/drain): newest number (3)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  slot 2
    flip       shop-web-2 (file /tmp/drain): newest number (2)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  stay         shop-web-1: current
`,
		},
		{
			name:     "scaling down takes the unhealthy, then the unrouted, then the newest",
			goal:     Goal{Verb: "scale", Target: 1, Replace: ReplaceNone},
			snapshot: unrouted(seen(webService(4), current(1), current(2), current(3, being(compose.Unhealthy)), current(4)), 2),
			want: `
scale web to 1 replica: drain and stop 3, keep 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    flip       shop-web-3 (file /tmp/drain): it is unhealthy
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  slot 2
    flip       shop-web-2 (file /tmp/drain): no router sends requests to it
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  slot 3
    flip       shop-web-4 (file /tmp/drain): newest number (4)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  stay         shop-web-1: current
`,
		},
		{
			name:     "scaling down takes outdated ones before current ones",
			goal:     Goal{Verb: "scale", Target: 2, Replace: ReplaceNone},
			snapshot: seen(webService(3), outdated(1), current(2), current(3)),
			want: `
scale web to 2 replicas: drain and stop 1, keep 2
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 2 replicas in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  stay         shop-web-2: current
  stay         shop-web-3: current
`,
		},
		{
			name:     "scaling down takes the named replicas, by name, number or id",
			goal:     Goal{Verb: "scale", Target: 1, Replace: ReplaceNone, Remove: []string{"shop-web-1", "id02"}},
			snapshot: seen(webService(3), current(1), current(2), current(3)),
			want: `
scale web to 1 replica: drain and stop 2, keep 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    flip       shop-web-2 (file /tmp/drain): named with --remove
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  slot 2
    flip       shop-web-1 (file /tmp/drain): named with --remove
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  stay         shop-web-3: current
`,
		},
		{
			name:     "scaling down with too few names takes the newest beside them",
			goal:     Goal{Verb: "scale", Target: 1, Replace: ReplaceNone, Remove: []string{"1"}},
			snapshot: seen(webService(3), current(1), current(2), current(3)),
			want: `
scale web to 1 replica: drain and stop 2, keep 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    flip       shop-web-1 (file /tmp/drain): named with --remove
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  slot 2
    flip       shop-web-3 (file /tmp/drain): newest number (3)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  stay         shop-web-2: current
`,
		},
		{
			name:     "a name that nobody has is refused",
			goal:     Goal{Verb: "scale", Target: 1, Replace: ReplaceNone, Remove: []string{"shop-web-9"}},
			snapshot: seen(webService(2), current(1), current(2)),
			want: `
no replica "shop-web-9"; there are shop-web-1, shop-web-2
`,
		},
		{
			name:     "more names than leave are refused",
			goal:     Goal{Verb: "scale", Target: 1, Replace: ReplaceNone, Remove: []string{"1", "2"}},
			snapshot: seen(webService(2), current(1), current(2)),
			want: `
--remove names 2 replicas, but scaling web from 2 to 1 removes 1
`,
		},
		{
			name:     "scaling to nothing drains everybody",
			goal:     Goal{Verb: "scale", Target: 0, Replace: ReplaceNone},
			snapshot: seen(webService(1), current(1)),
			want: `
scale web to 0 replicas: drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 0 replicas in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    flip       shop-web-1 (file /tmp/drain): newest number (1)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
`,
		},
		{
			name:     "scaling up leaves outdated replicas alone",
			goal:     Goal{Verb: "scale", Target: 3, Replace: ReplaceNone},
			snapshot: seen(webService(3), outdated(1), current(2)),
			want: `
scale web to 3 replicas: create 1 replica, keep 2
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 2 replicas in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: 3 replicas declared
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
  stay         shop-web-1: stays, though outdated: configuration changed (hash aaaa… -> bbbb…)
  stay         shop-web-2: current
`,
		},
		{
			name:     "a roll removes the surplus",
			goal:     rollGoal,
			snapshot: seen(webService(1), current(1), current(2), outdated(3)),
			want: `
roll web to 1 replica: drain and stop 2, keep 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    flip       shop-web-3 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  slot 2
    flip       shop-web-2 (file /tmp/drain): newest number (2)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  stay         shop-web-1: current
`,
		},
		{
			name:     "a restart replaces current replicas, too",
			goal:     Goal{Verb: "restart", Target: -1, Replace: ReplaceAll},
			snapshot: seen(webService(1), current(1)),
			want: `
restart web to 1 replica: create 1 replica, drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-1 (file /tmp/drain): asked to replace every replica
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
`,
		},
		{
			name: "update_config decides the window, the delay and the action",
			goal: rollGoal,
			snapshot: with(seen(webService(2), outdated(1), outdated(2)), func(s *Snapshot) {
				s.Service.Update = compose.Update{Parallelism: new(1), Delay: new(10 * time.Second), FailureAction: "pause"}
			}),
			want: `
roll web to 2 replicas: create 2 replicas, drain and stop 2
  order        start-first (default)
  window       1 at a time (deploy.update_config)
  delay        10s between slots (deploy.update_config)
  strength     never fewer than 2 replicas in service
  proof        asks traefik
  on failure   pause (deploy.update_config)
  slot 1
    create     a new replica: replaces shop-web-2
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-2 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  slot 2
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
`,
		},
		{
			name:      "stop-first prints the stop first",
			goal:      rollGoal,
			snapshot:  seen(webService(1), outdated(1)),
			overrides: asking(func(o *Overrides) { o.Order = compose.StopFirst }),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        stop-first (command line)
  window       all at once (default)
  strength     never fewer than 0 replicas in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
  warning      stop-first: replicas leave before their successors serve
`,
		},
		{
			name:     "drain, hooks and stop timeouts are shown with their sources",
			goal:     rollGoal,
			snapshot: with(seen(webService(1), outdated(1, func(r *compose.Replica) { r.StopSignal, r.StopTimeout = "SIGQUIT", new(90*time.Second) })), func(s *Snapshot) { s.Service.Labels["roll.drain"] = "10s"; s.Service.PreStop = []compose.Hook{{}} }),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms + drain 10s (label roll.drain)
    pre_stop   1 hook
    remove     after SIGQUIT and up to 1m30s (its own stop timeout)
`,
		},
		{
			name:     "a worker is proven by Docker alone",
			goal:     rollGoal,
			snapshot: with(seen(webService(1), outdated(1)), func(s *Snapshot) { s.Expected, s.Routers, s.Routes, s.Unprovable = false, nil, nil, "no Traefik runs" }),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        not behind Traefik: Docker's word is enough
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    remove     after SIGTERM and up to 10s (Docker's default)
`,
		},
		{
			name:     "without a healthcheck a worker is ready when it stays up for monitor",
			goal:     rollGoal,
			snapshot: with(seen(webService(1), outdated(1, checked(nil))), func(s *Snapshot) { s.Expected, s.Routers, s.Routes, s.Service.Healthcheck = false, nil, nil, nil }),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        not behind Traefik: Docker's word is enough
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-1
    healthy    within 15s (no healthcheck: running for monitor 5s)
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    remove     after SIGTERM and up to 10s (Docker's default)
`,
		},
		{
			name:     "without a Traefik API the plan says NOT PROVEN",
			goal:     rollGoal,
			snapshot: with(seen(webService(1), outdated(1)), noAPI),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        NOT PROVEN: no Traefik answers; waits 3s instead
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  warning      that no request is lost cannot be proven: no Traefik answers
`,
		},
		{
			name:      "with --require-proof a Traefik API is needed",
			goal:      rollGoal,
			snapshot:  with(seen(webService(1), outdated(1)), noAPI),
			overrides: asking(func(o *Overrides) { o.RequireProof = true }),
			want: `
refused to roll web: nothing was changed
  no Traefik can be asked where it routes: no Traefik answers, and --require-proof was given; instead: switch Traefik's API on, or name it with --traefik URL
`,
		},
		{
			name:     "different Traefik labels: any service of the router will do",
			goal:     rollGoal,
			snapshot: seen(webService(1), outdated(1, labelled("traefik.http.routers.web.rule", "Host(`a`)"))),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in a service of every router, within 30s
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
`,
		},
		{
			name:     "container_name cannot overlap",
			goal:     rollGoal,
			snapshot: with(seen(webService(1), outdated(1)), func(s *Snapshot) { s.Service.ContainerName = "web" }),
			want: `
refused to roll web: nothing was changed
  service web has container_name: web: two containers cannot have one name, so the new replica cannot start before the old one is gone; instead: remove container_name, or accept a gap with --order stop-first
(overlap)
`,
		},
		{
			name:     "a fixed host port cannot overlap",
			goal:     rollGoal,
			snapshot: with(seen(webService(1), outdated(1)), func(s *Snapshot) { s.Service.Ports = []compose.Port{{Published: "8080", Target: 80}} }),
			want: `
refused to roll web: nothing was changed
  service web publishes the fixed host port 8080: two replicas cannot listen on one port of the host, so the new one cannot start before the old one is gone; instead: let Traefik lead requests to it (expose: ["80"]), or accept a gap with --order stop-first
(overlap)
`,
		},
		{
			name:     "the host network cannot overlap",
			goal:     rollGoal,
			snapshot: with(seen(webService(1), outdated(1)), func(s *Snapshot) { s.Service.NetworkMode = "host" }),
			want: `
refused to roll web: nothing was changed
  service web has network_mode: host: two replicas would listen on the same ports of the host; instead: put it into a network of the project, or accept a gap with --order stop-first
(overlap)
`,
		},
		{
			name:      "container_name is no matter under stop-first",
			goal:      rollGoal,
			snapshot:  with(seen(webService(1), outdated(1)), func(s *Snapshot) { s.Service.ContainerName = "web" }),
			overrides: asking(func(o *Overrides) { o.Order = compose.StopFirst }),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        stop-first (command line)
  window       all at once (default)
  strength     never fewer than 0 replicas in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
  warning      stop-first: replicas leave before their successors serve
`,
		},
		{
			name:     "a replica without a flip is refused",
			goal:     rollGoal,
			snapshot: with(seen(webService(2), outdated(1), outdated(2)), func(s *Snapshot) { s.Ways = map[string]string{} }),
			want: `
refused to roll web: nothing was changed
  no way to tell shop-web-2, shop-web-1 to report unhealthy: without a flip Traefik goes on routing to a replica until it is dead, and those requests are lost; instead: a label on the service, as roll.flip.http: /sethealth/ko with roll.unflip.http: /sethealth/ok, or roll.flip.file: /tmp/drain; for replicas that were created without one, once: roll up --accept-loss web
`,
		},
		{
			name:      "a replica without a flip is stopped all the same with --accept-loss",
			goal:      rollGoal,
			snapshot:  with(seen(webService(1), outdated(1)), func(s *Snapshot) { s.Ways = map[string]string{} }),
			overrides: asking(func(o *Overrides) { o.AcceptLoss = true }),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    stop       shop-web-1 without a flip: configuration changed (hash aaaa… -> bbbb…)
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  warning      shop-web-1 is stopped while Traefik still routes to it: requests will be lost
`,
		},
		{
			name:     "a replica without a healthcheck cannot show a flip",
			goal:     rollGoal,
			snapshot: seen(webService(1), outdated(1, checked(nil))),
			want: `
refused to roll web: nothing was changed
  shop-web-1 has no healthcheck: nobody would notice the flip: Traefik drops a container when Docker calls it unhealthy; instead: healthcheck: {test: ["CMD", ...], interval: 1s, retries: 2} on the service; for replicas that were created without one, once: roll up --accept-loss web
`,
		},
		{
			name:     "a paused replica is refused",
			goal:     rollGoal,
			snapshot: seen(webService(1), outdated(1, in(compose.Paused))),
			want: `
refused to roll web: nothing was changed
  shop-web-1 is paused: it cannot finish its requests, and Compose cannot start beside it; instead: docker unpause shop-web-1, or docker rm -f shop-web-1
`,
		},
		{
			name:     "a long flip is warned about",
			goal:     rollGoal,
			snapshot: seen(webService(1), outdated(1, checked(&compose.Healthcheck{Test: []string{"CMD", "x"}, Interval: 30 * time.Second, Timeout: 5 * time.Second, Retries: 3}))),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-1
    healthy    within 14s (2 x (interval 1s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 1m30s (3 x interval 30s), within 1m55s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  warning      a flipped replica is unhealthy only after 1m30s (3 x interval 30s): shorten healthcheck.interval or retries
`,
		},
		{
			name: "a slow start_interval and a shared volume are warned about",
			goal: rollGoal,
			snapshot: with(seen(webService(1), outdated(1)), func(s *Snapshot) {
				s.Service.Healthcheck = &compose.Healthcheck{Test: []string{"CMD", "x"}, Interval: 10 * time.Second, Timeout: time.Second, StartPeriod: time.Minute, StartInterval: 5 * time.Second, Retries: 1}
				s.Service.Volumes = []compose.Mount{{Type: "volume", Source: "data", Destination: "/data"}}
			}),
			want: `
roll web to 1 replica: create 1 replica, drain and stop 1
  order        start-first (default)
  window       all at once (default)
  strength     never fewer than 1 replica in service
  proof        asks traefik
  on failure   rollback (default)
  slot 1
    create     a new replica: replaces shop-web-1
    healthy    within 1m21s (start_period 1m + 1 x (interval 10s + timeout 1s) + 10s)
    routed     in traefik web@docker, within 30s
    flip       shop-web-1 (file /tmp/drain): configuration changed (hash aaaa… -> bbbb…)
    unhealthy  in about 2s (2 x interval 1s), within 14s
    unrouted   in every router, within 30s
    settle     500ms
    remove     after SIGTERM and up to 10s (Docker's default)
  warning      with a start_period Docker probes a new replica every 5s (start_interval): set healthcheck.start_interval: 250ms to be healthy sooner
  warning      old and new replicas write to the volume data at the same time; if its files have a single writer, use --order stop-first
`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy, err := NewPolicy(test.snapshot.Service, test.overrides)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for range 3 { // the same snapshot gives the same plan
				plan, err := New(test.goal, test.snapshot, policy)
				text := plan.String()
				if err != nil {
					text = err.Error() + "\n"
					var refused *RefusedError
					if errors.As(err, &refused) && refused.Overlap {
						text += "(overlap)\n"
					}
				}
				if got != "" && text != got {
					t.Fatalf("the same snapshot gave two plans:\n%s\nand\n%s", got, text)
				}
				got = text
			}
			if want := strings.TrimPrefix(test.want, "\n"); got != want {
				t.Errorf("plan:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
