package deploy_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/deploy/deploytest"
)

// stage is a world in which a roll is about to begin.
type stage struct {
	t       *testing.T
	w       *deploytest.World
	session *deploytest.Session
	roller  *deploy.Roller
	events  []deploy.Event
	harmful []string // names and addresses of replicas that do harm while they serve
	also    func(deploy.Event)
}

// inWorld sets a stage inside a bubble of virtual time.
func inWorld(t *testing.T, o deploytest.Options, play func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if o.Version.Name == "" {
			o.Version.Name = "v1"
		}
		w := deploytest.New(o)
		defer w.Close()
		w.Settle()
		s := &stage{t: t, w: w, session: w.Session()}
		s.roller = s.session.Roller()
		s.roller.Observer = deploy.ObserverFunc(func(e deploy.Event) { s.events = append(s.events, e) })
		play(s)
		for _, v := range w.Violations() {
			if !slices.ContainsFunc(s.harmful, func(who string) bool { return strings.Contains(v, who) }) {
				t.Error(v)
			}
		}
	})
}

// run declares a version and rolls to it.
func (s *stage) run(ctx context.Context, v deploytest.Version, replicas int, update compose.Update) deploy.Result {
	s.t.Helper()
	s.w.Declare(v, replicas)
	snapshot := s.session.Snapshot()
	snapshot.Service.Update = update
	policy, err := deploy.NewPolicy(snapshot.Service, deploy.Overrides{})
	if err != nil {
		s.t.Fatal(err)
	}
	plan, err := deploy.New(deploy.Goal{Verb: "roll", Target: -1}, snapshot, policy)
	if err != nil {
		s.t.Fatal(err)
	}
	s.w.Watch(plan.Floor, true)
	return s.roller.Run(ctx, plan, snapshot)
}

// on does something the first time that a replica of a role enters a phase.
func (s *stage) on(role deploy.Role, phase deploy.Phase, do func(deploy.Event)) {
	once := false
	s.roller.Observer = deploy.ObserverFunc(func(e deploy.Event) {
		s.events = append(s.events, e)
		if !once && e.Kind == deploy.KindPhase && e.Role == role && e.Phase == phase {
			once = true
			do(e)
		}
	})
}

func (s *stage) expect(result deploy.Result, outcome deploy.Outcome, containers ...string) {
	s.t.Helper()
	if result.Outcome != outcome {
		s.t.Errorf("outcome %s, want %s: %+v", result.Outcome, outcome, result)
	}
	if got := s.w.Containers(); !slices.Equal(got, containers) {
		s.t.Errorf("containers:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(containers, "\n"))
	}
}

var v2 = deploytest.Version{Name: "v2"}

func TestARollLosesNoRequest(t *testing.T) {
	for _, test := range []struct {
		name     string
		replicas int
		old      deploytest.Version
		takes    time.Duration
		update   compose.Update
	}{
		{"one replica that exits at once", 1, deploytest.Version{}, 0, compose.Update{}},
		{"three replicas that exit at once", 3, deploytest.Version{}, 100 * time.Millisecond, compose.Update{}},
		{"requests in flight are finished within the grace", 2, deploytest.Version{Linger: 8 * time.Second, Serves: true}, 7 * time.Second, compose.Update{}},
		{"one at a time", 4, deploytest.Version{}, 0, compose.Update{Parallelism: new(1)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, deploytest.Options{Replicas: test.replicas, Version: test.old, Routers: 2}, func(s *stage) {
				first, second := s.w.Clients(0, 7*time.Millisecond, test.takes), s.w.Clients(1, 7*time.Millisecond, test.takes)
				result := s.run(s.t.Context(), v2, test.replicas, test.update)
				time.Sleep(10 * time.Second)
				for _, c := range []*deploytest.Clients{first, second} {
					if lost := c.Lost(); c.Sent() == 0 || len(lost) > 0 {
						t.Errorf("%d of %d requests were lost, the first: %s", len(lost), c.Sent(), lost[:min(3, len(lost))])
					}
				}
				if !result.Proven || result.Outcome != deploy.Done {
					t.Errorf("outcome %s, proven %v", result.Outcome, result.Proven)
				}
				if s.w.Lowest() < test.replicas {
					t.Errorf("only %d were in service", s.w.Lowest())
				}
			})
		})
	}
}

func TestABadVersionIsUndone(t *testing.T) {
	for _, test := range []struct {
		name string
		bad  deploytest.Version
		why  string
	}{
		{"it crashes at once", deploytest.Version{Name: "v2", Crashes: time.Millisecond}, "it exited with code 1"},
		{"it crashes and restarts", deploytest.Version{Name: "v2", Crashes: time.Millisecond, Restart: true}, "it exited with code 1 and is restarting"},
		{"it never becomes healthy", deploytest.Version{Name: "v2", Sick: true}, "Docker calls it unhealthy: not ok"},
		{"Traefik does not take it", deploytest.Version{Name: "v2", Unroutable: true}, "waited 30s for Traefik to route to it; last seen: not in traefik-1 web@docker"},
		{"it breaks within monitor, when the old ones are gone", deploytest.Version{Name: "v2", Crashes: 6500 * time.Millisecond}, "it exited with code 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, deploytest.Options{Replicas: 2}, func(s *stage) {
				result := s.run(s.t.Context(), test.bad, 2, compose.Update{})
				s.expect(result, deploy.RolledBack, "web-1 v1 running healthy", "web-2 v1 running healthy")
				if len(result.Failures) == 0 || !strings.HasPrefix(result.Failures[0].Err.Error(), test.why) {
					t.Errorf("failures %+v, want %q", result.Failures, test.why)
				}
				if f := result.Failures[0]; len(f.Logs) != 2 {
					t.Errorf("the failure has no log lines: %+v", f)
				}
			})
		})
	}
}

// The old ones get their stop signal and finish their requests for longer than
// `monitor`: that the new ones break meanwhile is not forgotten.
func TestANewVersionThatBreaksWhileOldReplicasFinishIsUndone(t *testing.T) {
	old := deploytest.Version{Linger: 20 * time.Second, Serves: true, Grace: 30 * time.Second}
	inWorld(t, deploytest.Options{Replicas: 2, Version: old}, func(s *stage) {
		result := s.run(s.t.Context(), deploytest.Version{Name: "v2", Crashes: 6500 * time.Millisecond, Restart: true}, 2, compose.Update{})
		s.expect(result, deploy.RolledBack, "web-1 v1 running healthy", "web-2 v1 running healthy")
		if len(result.Failures) == 0 || !strings.Contains(result.Failures[0].Err.Error(), "after it came into service") {
			t.Errorf("failures %+v", result.Failures)
		}
	})
}

func TestAFlipThatDoesNothingIsFoundOutWithinAnInterval(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		old := deploytest.Version{Ineffective: true, Check: &compose.Healthcheck{Test: []string{"CMD", "check"}, Interval: 20 * time.Second, Timeout: time.Second, Retries: 3}}
		inWorld(t, deploytest.Options{Replicas: 1, Version: old, Skew: skew}, func(s *stage) {
			var flipped time.Time
			s.on(deploy.OldReplica, deploy.Sinking, func(e deploy.Event) { flipped = e.Time })
			result := s.run(s.t.Context(), v2, 1, compose.Update{})
			s.expect(result, deploy.RolledBack, "web-1 v1 running healthy")
			var ineffective *deploy.IneffectiveError
			if len(result.Failures) != 1 || !errors.As(result.Failures[0].Err, &ineffective) {
				t.Fatalf("skew %s: failures %+v", skew, result.Failures)
			}
			i := slices.IndexFunc(s.events, func(e deploy.Event) bool { return e.Kind == deploy.KindFailure })
			if after := s.events[i].Time.Sub(flipped); after > 25*time.Second {
				t.Errorf("skew %s: found out after %s", skew, after)
			}
		})
	}
}

func TestAFlipThatFailsButTookEffectIsTakenBack(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 1}, func(s *stage) {
		s.session.Fault = func(call, _ string) deploytest.Fault {
			if call == "flip" {
				return deploytest.Fault{Err: errors.New("connection reset"), Lost: true}
			}
			return deploytest.Fault{}
		}
		result := s.run(s.t.Context(), v2, 1, compose.Update{})
		time.Sleep(10 * time.Second)
		// The new one cannot be flipped either: both stay, and a person is told.
		s.expect(result, deploy.Partial, "web-1 v1 running healthy", "web-2 v2 running unhealthy")
	})
}

func TestAnUnflipWaitsForTheFlipThatIsStillOnItsWay(t *testing.T) {
	for name, fault := range map[string]deploytest.Fault{
		"the flip takes effect late":                     {Delay: 10 * time.Second},
		"the flip fails late, which matters nobody then": {Delay: 10 * time.Second, Err: errors.New("connection reset")},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, deploytest.Options{Replicas: 1}, func(s *stage) {
				s.session.Fault = func(call, replica string) deploytest.Fault {
					if call == "flip" && strings.HasSuffix(replica, "v1") {
						return fault
					}
					return deploytest.Fault{}
				}
				s.on(deploy.OldReplica, deploy.Flipping, func(deploy.Event) { time.AfterFunc(time.Second, func() { s.w.Kill(2) }) })
				result := s.run(s.t.Context(), v2, 1, compose.Update{})
				time.Sleep(10 * time.Second)
				s.expect(result, deploy.RolledBack, "web-1 v1 running healthy")
			})
		})
	}
}

func TestAnUnflipThatDoesNothingIsNotBelieved(t *testing.T) {
	slow := deploytest.Version{Check: &compose.Healthcheck{Test: []string{"CMD", "check"}, Interval: 5 * time.Second, Timeout: time.Second, Retries: 3}}
	inWorld(t, deploytest.Options{Replicas: 2, Version: slow}, func(s *stage) {
		s.session.Fault = func(call, _ string) deploytest.Fault { return deploytest.Fault{Void: call == "unflip"} }
		s.on(deploy.OldReplica, deploy.Sinking, func(deploy.Event) { time.AfterFunc(time.Second, func() { s.w.Kill(4) }) })
		result := s.run(s.t.Context(), v2, 2, compose.Update{})
		time.Sleep(time.Minute)
		// Of the two flipped old ones none comes back: the new one that lives stays.
		s.expect(result, deploy.Partial, "web-1 v1 running unhealthy", "web-2 v1 running unhealthy", "web-3 v2 running healthy", "web-4 v2 exited unhealthy")
	})
}

func TestAReplicaThatComesBackIntoTheRoutersIsNotStopped(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 1}, func(s *stage) {
		s.on(deploy.OldReplica, deploy.Draining, func(deploy.Event) {
			id := s.session.Snapshot().Replicas[0].ID
			time.AfterFunc(time.Second, func() {
				if err := s.w.Session().Unflip(s.t.Context(), id); err != nil { // somebody else does
					s.t.Error(err)
				}
			})
		})
		drained := deploytest.Version{Name: "v2", Labels: map[string]string{"roll.drain": "20s"}}
		result := s.run(s.t.Context(), drained, 1, compose.Update{})
		s.expect(result, deploy.Done, "web-2 v2 running healthy")
		if !slices.ContainsFunc(result.Warnings, func(w string) bool { return strings.Contains(w, "came back into the routers") }) {
			t.Errorf("warnings %q", result.Warnings)
		}
	})
}

func TestTheLastReplicaInServiceDoesNotLeave(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 2}, func(s *stage) {
		snapshot := s.session.Snapshot()
		policy, err := deploy.NewPolicy(snapshot.Service, deploy.Overrides{})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := deploy.New(deploy.Goal{Verb: "scale", Target: 1, Replace: deploy.ReplaceNone, Remove: []string{"2"}}, snapshot, policy)
		if err != nil {
			t.Fatal(err)
		}
		s.w.Kill(1) // after it was planned
		result := s.roller.Run(s.t.Context(), plan, snapshot)
		s.expect(result, deploy.RolledBack, "web-1 v1 exited unhealthy", "web-2 v1 running healthy")
		if len(result.Failures) != 1 || result.Failures[0].Err.Error() != "waited 30s for 1 replica in service without it; last seen: 1 replica in service with it" {
			t.Errorf("failures %+v", result.Failures)
		}
	})
}

func TestWithoutAKeeperNothingIsTakenFromAServiceThatCannotBeGivenBack(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 2}, func(s *stage) {
		s.roller.Keeper = nil
		result := s.run(s.t.Context(), deploytest.Version{Name: "v2", Crashes: 6500 * time.Millisecond, Restart: true}, 2, compose.Update{})
		if result.Outcome != deploy.Partial || len(s.w.Containers()) < 2 || len(result.Left) == 0 {
			t.Errorf("outcome %s, left %+v, containers %q", result.Outcome, result.Left, s.w.Containers())
		}
	})
}

func TestWithoutAKeeperASlotWhoseOldReplicaStopsIsFinished(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 2, Version: deploytest.Version{Linger: 9 * time.Second, Serves: true}}, func(s *stage) {
		s.roller.Keeper = nil
		creations := 0
		s.session.Fault = func(call, _ string) deploytest.Fault {
			if call == "create" {
				if creations++; creations == 2 {
					return deploytest.Fault{Err: errors.New("no space left on device")}
				}
			}
			return deploytest.Fault{}
		}
		result := s.run(s.t.Context(), v2, 2, compose.Update{Parallelism: new(1), Delay: new(2 * time.Second)})
		s.expect(result, deploy.Partial, "web-1 v1 running healthy", "web-3 v2 running healthy")
	})
}

func TestStopFirstWithoutAKeeperNeverEndsWithNobody(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 2}, func(s *stage) {
		s.roller.Keeper = nil
		late := &compose.Healthcheck{Test: []string{"CMD", "check"}, Interval: 5 * time.Second, Timeout: time.Second, Retries: 2}
		result := s.run(s.t.Context(), deploytest.Version{Name: "v2", Sick: true, Check: late}, 3, compose.Update{Order: compose.StopFirst})
		// The third replaced nobody and is undone; for the others there is no way back.
		if n := len(s.w.Containers()); result.Outcome != deploy.Partial || n != 2 || len(result.Left) != 2 {
			t.Errorf("outcome %s, %d containers, left %+v", result.Outcome, n, result.Left)
		}
	})
}

func TestWhatComposeStartsAgainLeavesOnceMore(t *testing.T) {
	slow := deploytest.Version{Linger: 9 * time.Second, Serves: true, Forgets: true, Grace: time.Minute}
	inWorld(t, deploytest.Options{Replicas: 2, Version: slow}, func(s *stage) {
		s.session.Fault = func(call, _ string) deploytest.Fault {
			if call == "create" {
				return deploytest.Fault{Delay: 11 * time.Second} // the first old one exits meanwhile
			}
			return deploytest.Fault{}
		}
		result := s.run(s.t.Context(), v2, 2, compose.Update{Parallelism: new(1), Delay: new(5 * time.Second)})
		s.expect(result, deploy.Done, "web-3 v2 running healthy", "web-4 v2 running healthy")
		if !slices.ContainsFunc(result.Warnings, func(w string) bool { return strings.Contains(w, "started again while it left") }) {
			t.Errorf("the restart was not even seen: %q", result.Warnings)
		}
	})
}

func TestAnInterruptionUndoesWhatIsNotCommitted(t *testing.T) {
	for _, test := range []struct {
		name  string
		role  deploy.Role
		phase deploy.Phase
		want  deploy.Outcome
		left  string
	}{
		{"before Compose has answered", deploy.NewReplica, deploy.Creating, deploy.Interrupted, "web-1 v1 running healthy"},
		{"while it boots", deploy.NewReplica, deploy.Booting, deploy.Interrupted, "web-1 v1 running healthy"},
		{"while it joins", deploy.NewReplica, deploy.Joining, deploy.Interrupted, "web-1 v1 running healthy"},
		{"after the commit it is finished", deploy.OldReplica, deploy.Flipping, deploy.Done, "web-2 v2 running healthy"},
		{"while the old one stops it is finished", deploy.OldReplica, deploy.Stopping, deploy.Done, "web-2 v2 running healthy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, deploytest.Options{Replicas: 1}, func(s *stage) {
				ctx, cancel := context.WithCancel(s.t.Context())
				s.on(test.role, test.phase, func(deploy.Event) { time.AfterFunc(time.Millisecond, cancel) })
				result := s.run(ctx, v2, 1, compose.Update{})
				s.expect(result, test.want, test.left)
			})
		})
	}
}

func TestARollThatIsInterruptedBeforeItBeginsChangesNothing(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 1}, func(s *stage) {
		ctx, cancel := context.WithCancel(s.t.Context())
		cancel()
		s.expect(s.run(ctx, v2, 1, compose.Update{}), deploy.Interrupted, "web-1 v1 running healthy")
	})
}

func TestGivingUpReturnsAtOnceAndSaysWhatIsLeft(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 1, Version: deploytest.Version{Deaf: true, Grace: time.Hour}}, func(s *stage) {
		giveUp := make(chan struct{})
		s.roller.GiveUp = giveUp
		s.on(deploy.OldReplica, deploy.Stopping, func(deploy.Event) { time.AfterFunc(time.Minute, func() { close(giveUp) }) })
		start := time.Now()
		result := s.run(s.t.Context(), v2, 1, compose.Update{})
		if took := time.Since(start); took > 5*time.Minute {
			t.Errorf("it took %s", took)
		}
		if result.Outcome != deploy.Partial || len(result.Left) != 2 {
			t.Errorf("outcome %s, left %+v", result.Outcome, result.Left)
		}
	})
}

func TestTheDelayRestsAPlaceOfTheWindow(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 2}, func(s *stage) {
		s.run(s.t.Context(), v2, 2, compose.Update{Parallelism: new(1), Delay: new(time.Minute)})
		var served, next time.Time
		for _, e := range s.events {
			switch {
			case served.IsZero() && e.Kind == deploy.KindPhase && e.Slot == 1 && e.Role == deploy.OldReplica && e.Phase >= deploy.Draining:
				served = e.Time
			case e.Kind == deploy.KindPhase && e.Slot == 2 && e.Phase == deploy.Creating:
				next = e.Time
			}
		}
		if rest := next.Sub(served); rest < time.Minute || rest > time.Minute+time.Second {
			t.Errorf("the second slot began %s after the first was out of the routers", rest)
		}
	})
}

func TestASilentTraefikHoldsBackTheStop(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 1, Routers: 2}, func(s *stage) {
		s.on(deploy.OldReplica, deploy.Leaving, func(deploy.Event) { s.w.LoseAPI(1, 20*time.Second) })
		s.expect(s.run(s.t.Context(), v2, 1, compose.Update{}), deploy.Done, "web-2 v2 running healthy")
	})
}

func TestAVetoTurnsTheRollBackAlsoAfterOldReplicasAreGone(t *testing.T) {
	for _, at := range []deploy.Phase{deploy.Joining, deploy.Leaving, deploy.Departed} {
		inWorld(t, deploytest.Options{Replicas: 2}, func(s *stage) {
			veto := make(chan error, 1)
			s.roller.Veto = veto
			told := false
			role := deploy.OldReplica
			if at == deploy.Joining {
				role = deploy.NewReplica
			}
			s.on(role, at, func(deploy.Event) {
				if !told {
					told = true
					veto <- errors.New("3 of 10 requests failed")
				}
			})
			result := s.run(s.t.Context(), v2, 2, compose.Update{})
			if result.Outcome != deploy.RolledBack || len(result.Created) != 0 {
				t.Errorf("vetoed while %s: outcome %s, created %v", at, result.Outcome, result.Created)
			}
		})
	}
}

func TestAVetoedReplicaThatDoesNotHearItsFlipIsStoppedAllTheSame(t *testing.T) {
	inWorld(t, deploytest.Options{Replicas: 2}, func(s *stage) {
		veto := make(chan error, 1)
		s.roller.Veto = veto
		told := false
		s.on(deploy.NewReplica, deploy.Arrived, func(deploy.Event) {
			if !told {
				told = true
				veto <- errors.New("3 of 10 requests failed")
			}
		})
		s.harmful = []string{"web-3", "web-4", "10.0.0.4", "10.0.0.5"}
		result := s.run(s.t.Context(), deploytest.Version{Name: "v2", Ineffective: true, Boot: time.Second}, 2, compose.Update{})
		s.expect(result, deploy.RolledBack, "web-1 v1 running healthy", "web-2 v1 running healthy")
	})
}
