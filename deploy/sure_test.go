package deploy_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/deploy/deploytest"
)

// While the heartbeat of the lease cannot be written somebody else may be
// about to take it over: nothing is begun, and nothing is given up either.
func TestNothingIsBegunWhileTheLeaseIsInDoubt(t *testing.T) {
	for _, test := range []struct {
		role  deploy.Role
		phase deploy.Phase
	}{{deploy.NewReplica, deploy.Booting}, {deploy.NewReplica, deploy.Arrived}, {deploy.OldReplica, deploy.Sinking}, {deploy.OldReplica, deploy.Settling}} {
		t.Run(test.phase.String(), func(t *testing.T) {
			inWorld(t, deploytest.Options{Replicas: 2}, func(s *stage) {
				var doubtful atomic.Bool
				s.roller.Sure = func() bool { return !doubtful.Load() }
				var from time.Time
				s.on(test.role, test.phase, func(e deploy.Event) {
					from = e.Time
					doubtful.Store(true)
					time.AfterFunc(20*time.Second, func() { doubtful.Store(false) })
				})
				result := s.run(s.t.Context(), v2, 2, compose.Update{})
				s.expect(result, deploy.Done, "web-3 v2 running healthy", "web-4 v2 running healthy")
				late := 0
				for _, e := range s.events {
					if e.Kind != deploy.KindPhase || e.Time.Equal(from) || e.Time.Before(from) {
						continue
					}
					late++
					// What is on its way ends; nobody is told to do anything.
					if e.Phase != deploy.Sinking && e.Phase != deploy.Leaving && e.Time.Before(from.Add(20*time.Second)) {
						t.Errorf("%s was %s %s into the doubt", e.Replica, e.Phase, e.Time.Sub(from))
					}
				}
				if late == 0 {
					t.Error("nothing was left to do")
				}
			})
		})
	}
}
