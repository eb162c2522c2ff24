package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

func TestResultsSayWhatHappenedAndWhatToTypeNext(t *testing.T) {
	took := 9800 * time.Millisecond
	fifty := make([]string, 50)
	for i := range fifty {
		fifty[i] = fmt.Sprintf("web-%d", i+1)
	}
	for _, c := range []struct {
		name   string
		result deploy.Result
		plan   deploy.Plan
		want   string
	}{
		{"up to date", deploy.Result{Service: "web", Outcome: deploy.UpToDate}, deploy.Plan{}, `web: up to date, nothing to do`},
		{"done and proven", deploy.Result{
			Service: "web", Outcome: deploy.Done, Proven: true, Took: took,
			Removed: []string{"web-1", "web-2", "web-3"}, Created: []string{"web-4", "web-5", "web-6"}, Exits: map[string]int{"web-1": 0, "web-2": 143},
		}, deploy.Plan{}, `
web: 3 replicas replaced in 9.8s, every change proven at Traefik; web-1 web-2 web-3 -> web-4 web-5 web-6
`},
		{"done but not proven", deploy.Result{
			Service: "web", Outcome: deploy.Done, Unproven: "no Traefik API answers", Took: took, Removed: []string{"web-1"}, Created: []string{"web-2"},
		}, deploy.Plan{}, `
web: 1 replica replaced in 9.8s, NOT PROVEN at Traefik (no Traefik API answers); web-1 -> web-2
  next      roll status web           # to see for yourself
`},
		{"a worker, one killed at its stop timeout", deploy.Result{
			Service: "worker", Outcome: deploy.Done, Took: took, Removed: []string{"worker-1", "worker-2"}, Created: []string{"worker-3"}, Exits: map[string]int{"worker-2": 137, "worker-1": 3},
		}, deploy.Plan{}, `
worker: 1 replica replaced, 1 replica left in 9.8s, not behind Traefik; worker-1 worker-2 -> worker-3
  exits     worker-1 with code 3
            worker-2 with code 137
`},
		{"scaled up", deploy.Result{Service: "web", Outcome: deploy.Done, Proven: true, Took: took, Created: []string{"web-4"}}, deploy.Plan{}, `
web: 1 replica came into service in 9.8s, every change proven at Traefik; in service: web-4
`},
		{"scaled down by many", deploy.Result{Service: "web", Outcome: deploy.Done, Proven: true, Took: 65 * time.Second, Removed: fifty}, deploy.Plan{}, `
web: 50 replicas left in 1m05s, every change proven at Traefik; gone: web-1 web-2 web-3 web-4 web-5 web-6 web-7 web-8 web-9 web-10 and 40 more
`},
		{"only leftovers removed", deploy.Result{Service: "web", Outcome: deploy.Done, Proven: true, Took: took}, deploy.Plan{}, `web: leftovers removed in 9.8s`},
		{"drained", deploy.Result{Service: "web", Outcome: deploy.Done, Proven: true, Took: took, Removed: []string{"web-2"}}, deploy.Plan{Slots: []deploy.Slot{{Old: &compose.Replica{Name: "web-2"}, Keep: true}}}, `
web: web-2 drained in 9.8s, every change proven at Traefik; it goes on running
  next      roll undrain web-2        # to bring it back into service
`},
		{"failed to create", deploy.Result{
			Service: "web", Outcome: deploy.Failed, Took: took, Proven: true,
			Failures: []deploy.Failure{{Slot: 1, Role: deploy.NewReplica, Phase: deploy.Creating, Err: errors.New("create: docker compose up: exit status 1\nno such image: web:2")}},
		}, deploy.Plan{}, `
web: failed after 9.8s: create: docker compose up: exit status 1; nothing was replaced, what was begun is undone
  failed    new, slot 1, while creating: create: docker compose up: exit status 1
            no such image: web:2
  next      roll up web               # once the cause is mended
`},
		{"rolled back with the last words of the new version", rolledBack(), deploy.Plan{}, `
web: rolled back after 9.5s: web-5: it exited with code 1; the old version serves
  failed    web-5, new, slot 2, while arrived: it exited with code 1
              health: exit code 0, ok 2
              health: exit code 0
              health: exit code 1, curl: (7) connection <refused>
              log: listening on :80
              log: panic: no database
  restored  web-2 web-1
  exits     web-5 with code 1
  next      roll up web               # once the new version is mended
`},
		{"rolled back because an old replica could not be flipped", deploy.Result{
			Service: "web", Outcome: deploy.RolledBack, Took: took, Proven: true,
			Failures: []deploy.Failure{{Slot: 1, Replica: "web-1", Role: deploy.OldReplica, Phase: deploy.Sinking, Err: errors.New("web-1: the flip (file /tmp/drain) does nothing"), Last: "healthy"}},
		}, deploy.Plan{}, `
web: rolled back after 9.8s: web-1: the flip (file /tmp/drain) does nothing; the old version serves
  failed    web-1, old, slot 1, while sinking: the flip (file /tmp/drain) does nothing
              last seen: healthy
  next      roll up web               # once the cause is mended
`},
		{"partial, replicas between here and there", deploy.Result{
			Service: "web", Outcome: deploy.Partial, Took: 42 * time.Second, Proven: true, Created: []string{"web-4"}, Removed: []string{"web-1"},
			Failures: []deploy.Failure{{Slot: 2, Replica: "web-5", Role: deploy.NewReplica, Phase: deploy.Joining, Err: errors.New("waited 30s for Traefik to route to it; last seen: not in proxy web@docker")}},
			Left: []deploy.Left{
				{Replica: "web-5", Role: deploy.NewReplica, Phase: deploy.Arrived, Reason: "un-flip: no answer within 30s"},
				{Replica: "web-2", Role: deploy.OldReplica, Phase: deploy.Unflipping, Reason: "un-flip: no answer within 30s"},
				{Replica: "web-3", Role: deploy.OldReplica, Phase: deploy.Stopping, Reason: "stop: the Engine does not answer"},
			},
		}, deploy.Plan{}, `
web: partial after 42.0s: web-5: waited 30s for Traefik to route to it; last seen: not in proxy web@docker; a person is needed for 3 replicas
  failed    web-5, new, slot 2, while joining: waited 30s for Traefik to route to it; last seen: not in proxy web@docker
  in        web-4
  out       web-1
  left      web-5 (new) in phase arrived: un-flip: no answer within 30s
            web-2 (old) in phase unflipping: un-flip: no answer within 30s
            web-3 (old) in phase stopping: stop: the Engine does not answer
  next      roll status web           # to see where each replica stands
            docker logs web-5         # to see what is wrong with it
            roll undrain web-2        # to bring it back into service
            roll up web               # to go on to the new version
`},
		{"partial, paused on the way", deploy.Result{
			Service: "web", Outcome: deploy.Partial, Took: took, Unproven: "no Traefik API answers", Created: []string{"web-4"}, Removed: []string{"web-1"},
			Failures: []deploy.Failure{{Slot: 2, Replica: "web-5", Role: deploy.NewReplica, Phase: deploy.Booting, Err: errors.New("it exited with code 1")}},
		}, deploy.Plan{}, `
web: partial after 9.8s: web-5: it exited with code 1; 1 replica replaced, the rest is as it was
  failed    web-5, new, slot 2, while booting: it exited with code 1
  in        web-4
  out       web-1
  proof     NOT PROVEN at Traefik: no Traefik API answers
  next      roll status web           # to see where each replica stands
            roll up web               # to go on to the new version
`},
		{"partial, given up", deploy.Result{
			Service: "web", Outcome: deploy.Partial, Took: took, Left: []deploy.Left{{Replica: "web-1", Role: deploy.OldReplica, Phase: deploy.Draining, Reason: "given up while its requests to finish (roll.drain)"}},
		}, deploy.Plan{}, `
web: partial after 9.8s: it was given up; a person is needed for 1 replica
  left      web-1 (old) in phase draining: given up while its requests to finish (roll.drain)
  next      roll status web           # to see where each replica stands
            roll undrain web-1        # to bring it back into service
            roll up web               # to go on to the new version
`},
		{"interrupted before anything was committed", deploy.Result{Service: "web", Outcome: deploy.Interrupted, Took: took, Proven: true}, deploy.Plan{}, `
web: interrupted after 9.8s: nothing was replaced, what was begun is undone
  next      roll up web               # to go on
`},
		{"interrupted on the way", deploy.Result{
			Service: "web", Outcome: deploy.Interrupted, Took: took, Proven: true, Created: []string{"web-4"}, Removed: []string{"web-1"}, Restored: []string{"web-2"},
		}, deploy.Plan{}, `
web: interrupted after 9.8s: 1 replica replaced, what was not committed is undone
  in        web-4
  out       web-1
  restored  web-2
  next      roll up web               # to go on
`},
	} {
		t.Run(c.name, func(t *testing.T) { same(t, ending{Result: c.result, plan: c.plan}.String(), c.want) })
	}
}
