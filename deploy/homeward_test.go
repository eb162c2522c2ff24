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

// goesBack rolls three replicas to v2, one of which dies once every old one is
// gone, so that all of them have to come back as rollback says.
func goesBack(s *stage, rollback compose.Update, fault func(call, replica string) deploytest.Fault) deploy.Result {
	s.t.Helper()
	s.session.Fault = fault
	gone := 0
	s.roller.Observer = deploy.ObserverFunc(func(e deploy.Event) {
		s.events = append(s.events, e)
		if s.also != nil {
			s.also(e)
		}
		if e.Kind == deploy.KindPhase && e.Role == deploy.OldReplica && e.Phase == deploy.Departed {
			if gone++; gone == 3 {
				time.AfterFunc(time.Second, func() { s.w.Kill(4) })
			}
		}
	})
	s.w.Declare(v2, 3)
	snapshot := s.session.Snapshot()
	snapshot.Service.Update, snapshot.Service.Rollback = compose.Update{Monitor: new(time.Minute)}, rollback
	policy, err := deploy.NewPolicy(snapshot.Service, deploy.Overrides{})
	if err != nil {
		s.t.Fatal(err)
	}
	plan, err := deploy.New(deploy.Goal{Verb: "roll", Target: -1}, snapshot, policy)
	if err != nil {
		s.t.Fatal(err)
	}
	floor := plan.Floor
	if rollback.Order == compose.StopFirst {
		floor = 0
	}
	s.w.Watch(floor, true)
	return s.roller.Run(s.t.Context(), plan, snapshot)
}

// at is when a replica of a slot entered a phase for the last time.
func (s *stage) at(slot int, role deploy.Role, phase deploy.Phase) time.Time {
	s.t.Helper()
	for _, e := range slices.Backward(s.events) {
		if e.Kind == deploy.KindPhase && e.Slot == slot && e.Role == role && e.Phase == phase {
			return e.Time
		}
	}
	s.t.Fatalf("the %s replica of slot %d was never %s", role, slot, phase)
	return time.Time{}
}

var allBack = []string{"web-1 v1 running healthy", "web-2 v1 running healthy", "web-3 v1 running healthy"}

func TestTheWayBackIsWalkedAsRollbackConfigSays(t *testing.T) {
	t.Run("without it all come back at once, before their successors leave", func(t *testing.T) {
		inWorld(t, deploytest.Options{Replicas: 3}, func(s *stage) {
			s.expect(goesBack(s, compose.Update{}, nil), deploy.RolledBack, allBack...)
			first := s.at(1, deploy.OldReplica, deploy.Creating)
			for slot := 1; slot <= 3; slot++ {
				if made := s.at(slot, deploy.OldReplica, deploy.Creating); made.Sub(first) > time.Second {
					t.Errorf("slot %d began its way back %s after the first", slot, made.Sub(first))
				}
				if back, left := s.at(slot, deploy.OldReplica, deploy.Arrived), s.at(slot, deploy.NewReplica, deploy.Flipping); left.Before(back) {
					t.Errorf("slot %d: the new one left %s before the old one was back", slot, back.Sub(left))
				}
			}
		})
	})
	t.Run("parallelism and delay", func(t *testing.T) {
		inWorld(t, deploytest.Options{Replicas: 3}, func(s *stage) {
			s.expect(goesBack(s, compose.Update{Parallelism: new(1), Delay: new(20 * time.Second)}, nil), deploy.RolledBack, allBack...)
			for slot := 2; slot <= 3; slot++ {
				ended, began := s.at(slot-1, deploy.NewReplica, deploy.Departed), s.at(slot, deploy.OldReplica, deploy.Creating)
				if rest := began.Sub(ended); rest < 20*time.Second || rest > 21*time.Second {
					t.Errorf("slot %d began its way back %s after the one before had ended", slot, rest)
				}
			}
		})
	})
	t.Run("monitor", func(t *testing.T) {
		inWorld(t, deploytest.Options{Replicas: 3}, func(s *stage) {
			s.expect(goesBack(s, compose.Update{Monitor: new(40 * time.Second)}, nil), deploy.RolledBack, allBack...)
			if served := s.at(1, deploy.NewReplica, deploy.Flipping).Sub(s.at(1, deploy.OldReplica, deploy.Arrived)); served < 40*time.Second {
				t.Errorf("the new one left when the old one had served for %s", served)
			}
		})
	})
	t.Run("an old one that dies within monitor leaves its successor in service", func(t *testing.T) {
		inWorld(t, deploytest.Options{Replicas: 3}, func(s *stage) {
			killed := false
			s.also = func(e deploy.Event) {
				if !killed && e.Kind == deploy.KindPhase && e.Slot == 2 && e.Role == deploy.OldReplica && e.Phase == deploy.Arrived {
					killed = true
					time.AfterFunc(3*time.Second, func() { s.w.Kill(2) })
				}
			}
			result := goesBack(s, compose.Update{Monitor: new(40 * time.Second)}, nil)
			if result.Outcome != deploy.Partial || len(s.w.Containers()) != 4 || len(result.Left) != 2 {
				t.Errorf("outcome %s, left %+v, containers %q", result.Outcome, result.Left, s.w.Containers())
			}
		})
	})
	t.Run("order", func(t *testing.T) {
		inWorld(t, deploytest.Options{Replicas: 3}, func(s *stage) {
			s.harmful = []string{"does not answer"}
			s.expect(goesBack(s, compose.Update{Order: compose.StopFirst}, nil), deploy.RolledBack, allBack...)
			for slot := 1; slot <= 3; slot++ {
				if left, made := s.at(slot, deploy.NewReplica, deploy.Departed), s.at(slot, deploy.OldReplica, deploy.Creating); made.Before(left) {
					t.Errorf("slot %d: the old one came back %s before the new one had left", slot, left.Sub(made))
				}
			}
		})
	})
	broken := func(call, replica string) deploytest.Fault {
		if call == "restore" && replica == "shop-web-3" {
			return deploytest.Fault{Err: errors.New("no space left on device")}
		}
		return deploytest.Fault{}
	}
	for _, test := range []struct {
		name     string
		rollback compose.Update
		back     int
	}{
		{"one that cannot come back keeps no other from it", compose.Update{Parallelism: new(1)}, 2},
		{"failure_action pause leaves the rest as it is", compose.Update{Parallelism: new(1), FailureAction: "pause"}, 0},
		{"failure_action pause counts by max_failure_ratio", compose.Update{Parallelism: new(1), FailureAction: "pause", MaxFailureRatio: new(0.4)}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, deploytest.Options{Replicas: 3}, func(s *stage) {
				result := goesBack(s, test.rollback, broken)
				old := 0
				for _, c := range s.w.Containers() {
					if strings.Contains(c, "v1 running healthy") {
						old++
					}
				}
				if result.Outcome != deploy.Partial || old != test.back || len(result.Restored) != test.back {
					t.Errorf("outcome %s, restored %v, containers %q", result.Outcome, result.Restored, s.w.Containers())
				}
				paused := 0
				for _, l := range result.Left {
					if strings.Contains(l.Reason, "rollback_config.failure_action is pause") {
						paused++
					}
				}
				if want := 2 - test.back; paused != want {
					t.Errorf("%d were left because of pause, want %d: %+v", paused, want, result.Left)
				}
			})
		})
	}
}

func TestRollbackConfigIsInThePlanAndInThePolicy(t *testing.T) {
	rollback := compose.Update{Parallelism: new(1), Delay: new(5 * time.Second), Order: compose.StopFirst, Monitor: new(9 * time.Second), FailureAction: "pause", MaxFailureRatio: new(0.25)}
	for _, test := range []struct {
		name            string
		update, roll    compose.Update
		want, errorText string
	}{
		{name: "nothing is said", want: ""},
		{name: "everything is said", roll: rollback, want: "1 at a time, delay 5s, stop-first, monitor 9s, on failure pause, max_failure_ratio 0.25 (deploy.rollback_config)"},
		{name: "all at once may be said", roll: compose.Update{Parallelism: new(0)}, want: "all at once (deploy.rollback_config)"},
		{name: "what cannot overlap cannot do so on the way back", update: compose.Update{Order: compose.StopFirst}, roll: compose.Update{Order: compose.StartFirst, Delay: new(time.Second)}, want: "delay 1s (deploy.rollback_config)"},
		{name: "a rollback is not rolled back", roll: compose.Update{FailureAction: "rollback"}, errorText: `failure_action is "rollback": a roll that goes back can continue or pause; instead: failure_action: pause`},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy, err := deploy.NewPolicy(compose.Service{Name: "web", Update: test.update, Rollback: test.roll}, deploy.Overrides{})
			switch {
			case test.errorText != "":
				if err == nil || !strings.Contains(err.Error(), test.errorText) {
					t.Errorf("error %v, want %q", err, test.errorText)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			if got := policy.Back.String(); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			if test.update.Order == compose.StopFirst && policy.Back.Order.Value != compose.StopFirst {
				t.Errorf("order back %s", policy.Back.Order.Value)
			}
			text := deploy.Plan{Policy: policy, Clean: make([]deploy.Leftover, 1)}.String()
			if strings.Contains(text, "way back") != (test.want != "") || !strings.Contains(text, test.want) {
				t.Errorf("the plan says\n%s", text)
			}
		})
	}
}
