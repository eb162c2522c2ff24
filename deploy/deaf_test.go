package deploy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/deploy/deploytest"
)

// refusal is a replica's own no to a flip.
type refusal struct{}

func (refusal) Error() string { return "GET /sethealth/ko: status 404 Not Found" }
func (refusal) Refused() bool { return true }

// Replicas that are deaf to their flip cannot be taken out of the routers. The
// old ones never left, so they stay; the new ones leave with a warning.
func TestReplicasThatDoNotHearTheirFlipLeaveTheOldVersionInService(t *testing.T) {
	for _, test := range []struct {
		name   string
		old    deploytest.Version
		new    deploytest.Version
		refuse string // calls that the replicas refuse
		update compose.Update
		why    string
		lossy  bool
	}{
		{name: "the flip does nothing, in either version", old: deploytest.Version{Ineffective: true}, new: deploytest.Version{Name: "v2", Ineffective: true}, why: "does nothing", lossy: true},
		{name: "the flip does nothing, one at a time", old: deploytest.Version{Ineffective: true}, new: deploytest.Version{Name: "v2", Ineffective: true}, update: compose.Update{Parallelism: new(1)}, why: "does nothing", lossy: true},
		{name: "the flip does nothing in the old version alone", old: deploytest.Version{Ineffective: true}, new: deploytest.Version{Name: "v2"}, why: "does nothing"},
		{name: "flip and un-flip are refused", old: deploytest.Version{Ineffective: true}, new: deploytest.Version{Name: "v2", Ineffective: true}, refuse: "flip unflip", why: "404", lossy: true},
		{name: "the flip is refused", old: deploytest.Version{Ineffective: true}, new: deploytest.Version{Name: "v2", Ineffective: true}, refuse: "flip", why: "404", lossy: true},
		{name: "the flip is refused when the new one is bad, too", old: deploytest.Version{}, new: deploytest.Version{Name: "v2", Ineffective: true, Crashes: 20 * time.Second}, why: "exited with code 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, deploytest.Options{Replicas: 3, Version: test.old}, func(s *stage) {
				s.session.Fault = func(call, _ string) deploytest.Fault {
					if test.refuse != "" && slices.Contains(strings.Fields(test.refuse), call) {
						return deploytest.Fault{Err: refusal{}}
					}
					return deploytest.Fault{}
				}
				update := test.update
				update.Monitor = new(30 * time.Second)
				clients := s.w.Clients(0, 10*time.Millisecond, 5*time.Millisecond)
				result := s.run(s.t.Context(), test.new, 3, update)
				time.Sleep(10 * time.Second)
				// Traefik needs up to 40 ms to hear of an exit, and sends a sixth of them there.
				if lost := clients.Lost(); s.w.Deaths() == 0 && len(lost) > 10 || !test.lossy && s.w.Deaths() == 0 && len(lost) > 0 {
					t.Errorf("%d of %d requests were lost: %s", len(lost), clients.Sent(), lost[:3])
				}
				s.expect(result, deploy.RolledBack, "web-1 v1 running healthy", "web-2 v1 running healthy", "web-3 v1 running healthy")
				if len(result.Failures) == 0 || !strings.Contains(result.Failures[0].Err.Error(), test.why) {
					t.Errorf("failures %+v, want %q", result.Failures, test.why)
				}
				warned := slices.ContainsFunc(result.Warnings, func(w string) bool { return strings.Contains(w, "it is stopped all the same") })
				if warned != test.lossy || result.Proven == test.lossy {
					t.Errorf("proven %v, warnings %q", result.Proven, result.Warnings)
				}
			})
		})
	}
}

// A flip that fails for another reason than the replica's own proves nothing:
// neither that it is deaf nor that it may be stopped.
func TestANewReplicaThatWasNotProvenDeafIsNotStoppedWhileItIsRouted(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 1, Version: deploytest.Version{Ineffective: true}}, func(s *stage) {
		s.session.Fault = func(call, replica string) deploytest.Fault {
			if call == "flip" && strings.HasSuffix(replica, "v2") {
				return deploytest.Fault{Err: errors.New("connection refused")}
			}
			return deploytest.Fault{}
		}
		result := s.run(s.t.Context(), v2, 1, compose.Update{})
		s.expect(result, deploy.Partial, "web-1 v1 running healthy", "web-2 v2 running healthy")
	})
}

// As long as too few of the old version serve, a deaf new one stays.
func TestADeafReplicaIsNotStoppedBelowTheStrength(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 1, Version: deploytest.Version{Ineffective: true}}, func(s *stage) {
		s.on(deploy.NewReplica, deploy.Sinking, func(deploy.Event) { s.w.Kill(1) })
		s.harmful = []string{"below the strength"}
		result := s.run(s.t.Context(), deploytest.Version{Name: "v2", Ineffective: true}, 1, compose.Update{})
		s.expect(result, deploy.Partial, "web-1 v1 exited unhealthy", "web-2 v2 running healthy")
	})
}
