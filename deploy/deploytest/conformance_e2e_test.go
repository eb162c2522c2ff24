//go:build e2e

package deploytest_test

import (
	"context"
	"testing"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/healthflip"
	"github.com/roll-deploy/roll/internal/conformance"
	"github.com/roll-deploy/roll/internal/lab"
	"github.com/roll-deploy/roll/traefik"
)

// realKinds are the services of the conformance test, on a real Engine. A Go
// program dies by SIGHUP, which this one does not listen to; not as PID 1.
const realKinds = `
x-common: &common
  image: roll-lab/replica:v1
  stop_grace_period: 2s
services:
  web:
    <<: *common
    environment: {MARKER: /tmp/drain}
    healthcheck: {test: ["CMD", "/replica", "health"], interval: 1s, timeout: 5s, retries: 2}
    labels:
      traefik.enable: "true"
      traefik.http.routers.web.rule: Host(` + "`web.test`" + `)
      traefik.http.services.web.loadbalancer.server.port: "8080"
      roll.flip.file: /tmp/drain
  deaf:
    <<: *common
    environment: {GRACE: ignore}
    labels:
      traefik.enable: "true"
      traefik.http.routers.deaf.rule: Host(` + "`deaf.test`" + `)
      traefik.http.services.deaf.loadbalancer.server.port: "8080"
  abrupt:
    <<: *common
    init: true
    stop_signal: SIGHUP
    labels:
      traefik.enable: "true"
      traefik.http.routers.abrupt.rule: Host(` + "`abrupt.test`" + `)
      traefik.http.services.abrupt.loadbalancer.server.port: "8080"
  crashing:
    <<: *common
    environment: {CRASH: "true"}
    restart: always
    labels:
      traefik.enable: "true"
      traefik.http.routers.crashing.rule: Host(` + "`crashing.test`" + `)
      traefik.http.services.crashing.loadbalancer.server.port: "8080"
`

// kept is the Engine's memory of replicas, as rolls use it.
type kept struct{ engine *compose.Engine }

func (k kept) Keep(ctx context.Context, id string) (any, error) { return k.engine.Keep(ctx, id) }
func (k kept) Restore(ctx context.Context, what any) (id, name string, err error) {
	return k.engine.Restore(ctx, what.(*compose.Kept))
}

// bell rings for one project.
type bell struct {
	engine  *compose.Engine
	project string
}

func (b bell) Changes(ctx context.Context) <-chan struct{} { return b.engine.Changes(ctx, b.project) }

func TestTheRealWorldBehavesAsTheOneInMemory(t *testing.T) {
	l := lab.New(t)
	if _, err := l.Replica(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	p := l.Project(t, lab.Source{Compose: realKinds})
	if err := p.Up(t.Context(), "--scale", "web=0", "--scale", "deaf=0", "--scale", "abrupt=0", "--scale", "crashing=0"); err != nil {
		t.Fatal(err)
	}
	options := compose.Options{WorkingDir: p.Dir, Environ: p.Env()}
	cli, err := compose.Find(t.Context(), compose.Invocation{Options: options})
	if err != nil {
		t.Fatal(err)
	}
	find := func(ctx context.Context) ([]traefik.Instance, error) {
		return traefik.Discover(ctx, l.Docker, traefik.Options{URLs: []string{p.API}})
	}
	instances, err := find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	engine := compose.NewEngine(l.Docker)
	for _, b := range conformance.Behaviours() {
		t.Run(b.Name, func(t *testing.T) {
			b.Try(t, conformance.World{
				Engine: engine, Creator: cli, Router: traefik.NewRouter(instances, find), Flipper: healthflip.New(l.Docker),
				Keeper: kept{engine}, Logs: engine, Hooks: engine, Notifier: bell{engine, p.Name},
				Project: p.Name, Service: string(b.Kind), StopSignal: 1,
			})
		})
	}
}
