package deploy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/deploy/deploytest"
)

// A roll that has lost its lease begins nothing more, forward or back; it
// waits for what is on its way and names what it leaves.
func TestARollThatLostItsLeaseStopsBeforeItsNextChange(t *testing.T) {
	for _, test := range []struct {
		name  string
		old   deploytest.Version
		role  deploy.Role
		phase deploy.Phase
		left  []string
		there []string
	}{
		{"while the new one starts", deploytest.Version{}, deploy.NewReplica, deploy.Booting,
			[]string{"shop-web-2 new booting"}, []string{"web-1 v1 running healthy", "web-2 v2 running healthy"}},
		{"before the flip", deploytest.Version{}, deploy.NewReplica, deploy.Joining,
			[]string{"shop-web-2 new joining"}, []string{"web-1 v1 running healthy", "web-2 v2 running healthy"}},
		{"after the flip", deploytest.Version{}, deploy.OldReplica, deploy.Sinking,
			[]string{"shop-web-2 new arrived", "shop-web-1 old sinking"}, []string{"web-1 v1 running unhealthy", "web-2 v2 running healthy"}},
		{"while the old one stops", deploytest.Version{Linger: 8 * time.Second}, deploy.OldReplica, deploy.Stopping,
			[]string{"shop-web-2 new arrived", "shop-web-1 old stopping"}, []string{"web-1 v1 exited unhealthy", "web-2 v2 running healthy"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, deploytest.Options{Replicas: 1, Version: test.old}, func(s *stage) {
				lost := make(chan struct{})
				s.roller.Lost = lost
				s.on(test.role, test.phase, func(deploy.Event) {
					if test.phase == deploy.Stopping { // its signal has to be on its way
						time.AfterFunc(time.Second, func() { close(lost) })
						return
					}
					close(lost)
				})
				result := s.run(s.t.Context(), v2, 1, compose.Update{})
				time.Sleep(time.Minute)
				s.expect(result, deploy.Partial, test.there...)
				var left []string
				for _, l := range result.Left {
					left = append(left, l.Replica+" "+string(l.Role)+" "+l.Phase.String())
				}
				if !slices.Equal(left, test.left) {
					s.t.Errorf("left %q, want %q", left, test.left)
				}
				if len(result.Failures) != 1 || result.Failures[0].Err.Error() != "the lease was broken by somebody else" {
					s.t.Errorf("failures %+v", result.Failures)
				}
			})
		})
	}
}

func TestARollWhoseLeaseIsLostFromTheBeginningChangesNothing(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 2}, func(s *stage) {
		lost := make(chan struct{})
		close(lost)
		s.roller.Lost = lost
		result := s.run(s.t.Context(), v2, 2, compose.Update{})
		s.expect(result, deploy.Failed, "web-1 v1 running healthy", "web-2 v1 running healthy")
		for _, e := range s.events {
			if e.Kind == deploy.KindPhase {
				s.t.Errorf("%s entered %s", e.Replica, e.Phase)
			}
		}
	})
}

func TestALeaseThatIsLostAfterTheFirstSlotsLeavesTheRestAsItWas(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 3}, func(s *stage) {
		lost := make(chan struct{})
		s.roller.Lost = lost
		s.on(deploy.OldReplica, deploy.Departed, func(deploy.Event) { close(lost) })
		result := s.run(s.t.Context(), v2, 3, compose.Update{Parallelism: new(1)})
		v1 := 0
		for _, c := range s.w.Containers() {
			if strings.Contains(c, "v1 running healthy") {
				v1++
			}
		}
		if result.Outcome != deploy.Partial || len(result.Created) != 1 || v1 != 2 {
			s.t.Errorf("outcome %s, created %v, containers %q", result.Outcome, result.Created, s.w.Containers())
		}
	})
}
