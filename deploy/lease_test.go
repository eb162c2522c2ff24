package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// leases is a store in memory.
type leases struct {
	mu      sync.Mutex
	made    int
	id      string // empty: nobody holds the lease
	content []byte
	writes  int
	fails   func(call string) error         // before the effect; nil: never
	claimed func(ctx context.Context) error // after a claim: an error is a lost answer; nil: never
}

func (s *leases) trouble(call string) error {
	s.mu.Lock()
	fails := s.fails
	s.mu.Unlock()
	if fails == nil {
		return nil
	}
	return fails(call)
}

func (s *leases) setFails(fails func(call string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = fails
}

func (s *leases) Claim(ctx context.Context, _ string, content []byte) (string, error) {
	if err := s.trouble("claim"); err != nil {
		return "", err
	}
	if !s.put(content) {
		return "", fmt.Errorf("claim: %w", compose.ErrTaken)
	}
	if s.claimed != nil {
		if err := s.claimed(ctx); err != nil {
			return "", err
		}
	}
	return s.id, nil
}

// put makes a lease, unless there is one.
func (s *leases) put(content []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id != "" {
		return false
	}
	s.made++
	s.id, s.content = fmt.Sprintf("lease %d", s.made), content
	return true
}

func (s *leases) Read(context.Context, string) (string, []byte, error) {
	if err := s.trouble("read"); err != nil {
		return "", nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id == "" {
		return "", nil, fmt.Errorf("read: %w", compose.ErrGone)
	}
	return s.id, s.content, nil
}

func (s *leases) Write(_ context.Context, id string, content []byte) error {
	if err := s.trouble("write"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id != id {
		return fmt.Errorf("write: %w", compose.ErrGone)
	}
	s.content = content
	s.writes++
	return nil
}

func (s *leases) Release(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.trouble("release"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id == id {
		s.id, s.content = "", nil
	}
	return nil
}

func (s *leases) held() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id != ""
}

// sayings are what a person was told.
type sayings struct {
	mu    sync.Mutex
	lines []string
}

func (s *sayings) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, text)
}

func (s *sayings) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func owner(who string) deploy.Owner {
	return deploy.Owner{Who: who, Host: "build-7", PID: 4711, Command: "roll up web", Since: time.Now()}
}

func silent(string) {}

func acquired(t *testing.T, store deploy.LeaseStore, who string) *deploy.Lease {
	t.Helper()
	lease, err := deploy.Acquire(t.Context(), store, "shop", owner(who), 0, silent)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func released(t *testing.T, lease *deploy.Lease) {
	t.Helper()
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func isLost(lease *deploy.Lease) bool {
	synctest.Wait()
	select {
	case <-lease.Lost():
		return true
	default:
		return false
	}
}

var errRefused = errors.New("connection refused")

func TestOfManyAtTheSameInstantOneGetsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		const many = 8
		got := make([]*deploy.Lease, many)
		errs := make([]error, many)
		var group sync.WaitGroup
		began := time.Now()
		for i := range many {
			group.Go(func() {
				got[i], errs[i] = deploy.Acquire(t.Context(), store, "shop", owner(fmt.Sprint("user ", i)), 0, silent)
			})
		}
		group.Wait()
		if waited := time.Since(began); waited > 5*time.Second {
			t.Errorf("it took %s to see that the holder lives", waited)
		}
		var winner *deploy.Lease
		for i := range many {
			var locked *deploy.LockedError
			switch {
			case errs[i] == nil && winner == nil:
				winner = got[i]
			case errs[i] == nil:
				t.Error("two have the lease")
			case !errors.As(errs[i], &locked):
				t.Errorf("user %d: %v, want a LockedError", i, errs[i])
			case locked.Project != "shop" || locked.Host != "build-7" || locked.PID != 4711 || !locked.Since.Equal(began) || locked.Phase != "planning":
				t.Errorf("user %d was told of %+v", i, locked)
			}
		}
		if winner == nil {
			t.Fatal("nobody got the lease")
		}
		released(t, winner)
		if store.held() {
			t.Error("the lease is still there after its release")
		}
	})
}

func TestWhoHoldsTheLeaseIsSaidInWordsThatPeopleUnderstand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock begins with the year 2000
		store := &leases{}
		lease := acquired(t, store, "ann")
		defer released(t, lease)
		lease.Phase("web: stopping shop-web-2")
		time.Sleep(4 * time.Second)
		_, err := deploy.Acquire(t.Context(), store, "shop", owner("bob"), 0, silent)
		const want = "another roll is at work on project shop: ann on build-7 (pid 4711, roll up web, since 2000-01-01 00:00:00 UTC), now web: stopping shop-web-2; its heartbeat moved 0s ago"
		if err == nil || err.Error() != want {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	})
}

func TestWhoWaitsGetsTheLeaseWhenItIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		first := acquired(t, store, "ann")
		go func() {
			time.Sleep(3 * time.Minute)
			_ = first.Release(t.Context())
		}()
		began := time.Now()
		var told sayings
		second, err := deploy.Acquire(t.Context(), store, "shop", owner("bob"), 10*time.Minute, told.say)
		if err != nil {
			t.Fatal(err)
		}
		defer released(t, second)
		if waited := time.Since(began); waited < 3*time.Minute || waited > 3*time.Minute+2*time.Second {
			t.Errorf("waited %s for a lease that was released after 3m", waited)
		}
		const want = "project shop is locked by ann on build-7 (pid 4711, roll up web, since 2000-01-01 00:00:00 UTC), now planning; waiting up to 10m for it"
		if told.String() != want {
			t.Errorf("told %q, want %q", told.String(), want)
		}
	})
}

func TestWaitingEndsAfterTheTimeThatWasGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		first := acquired(t, store, "ann")
		defer released(t, first)
		began := time.Now()
		_, err := deploy.Acquire(t.Context(), store, "shop", owner("bob"), time.Minute, silent)
		var locked *deploy.LockedError
		if !errors.As(err, &locked) || locked.Beat > 3*time.Second {
			t.Errorf("error %v, want a LockedError with a recent heartbeat", err)
		}
		if waited := time.Since(began); waited < time.Minute || waited > time.Minute+2*time.Second {
			t.Errorf("waited %s of 1m", waited)
		}
	})
}

func TestALeaseWhoseOwnerDiedIsTakenOverByOneReader(t *testing.T) {
	const readable = `{"token":"T","beat":7,"who":"ann","host":"build-7","pid":1,"command":"roll up","since":"2026-03-01T14:05:08Z","phase":"web: leaving"}`
	for name, content := range map[string]string{
		"as it was left":  readable,
		"nothing in it":   "",
		"garbage":         "\x1b[2J\x00 not { JSON",
		"JSON of others":  `[1,2,3]`,
		"of wrong kinds":  `{"token":"T","beat":"many"}`,
		"null":            `null`,
		"without a token": `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &leases{}
				store.put([]byte(content))
				began := time.Now()
				const many = 4
				got := make([]*deploy.Lease, many)
				errs := make([]error, many)
				var told sayings
				var group sync.WaitGroup
				for i := range many {
					group.Go(func() {
						got[i], errs[i] = deploy.Acquire(t.Context(), store, "shop", owner(fmt.Sprint("user ", i)), 0, told.say)
						if waited := time.Since(began); errs[i] == nil && (waited < 30*time.Second || waited > 33*time.Second) {
							t.Errorf("taken over after %s", waited)
						}
					})
				}
				group.Wait()
				winners := 0
				for i := range many {
					var locked *deploy.LockedError
					switch {
					case errs[i] == nil:
						winners++
						released(t, got[i])
					case !errors.As(errs[i], &locked) || !strings.HasPrefix(locked.Who, "user "):
						t.Errorf("user %d: %v, want a LockedError that names who took it over", i, errs[i])
					}
				}
				if winners != 1 {
					t.Errorf("%d took it over", winners)
				}
				if !strings.Contains(told.String(), "has stood still for 30s: taking it over") {
					t.Errorf("told %q", told.String())
				}
				if unread := strings.Contains(told.String(), "cannot be read"); unread == (content == readable) {
					t.Errorf("said that it cannot be read: %v; told %q", unread, told.String())
				}
			})
		})
	}
}

func TestWhatALeaseSaysIsTamedBeforeAnybodySeesIt(t *testing.T) {
	store := &leases{}
	store.put([]byte(`{"token":"T","who":"\u001b[31mann\u0007","host":"a\nb","command":"` + strings.Repeat("x", 1000) + `","phase":"\u202eweb"}`))
	holder, held, err := deploy.Held(t.Context(), store, "shop")
	if err != nil || !held {
		t.Fatalf("held %v, error %v", held, err)
	}
	want := "?[31mann? on a?b (" + strings.Repeat("x", 200) + "...), now ?web"
	if holder.String() != want {
		t.Errorf("holder %q, want %q", holder, want)
	}
}

func TestALivingOwnerIsNotTakenOverHoweverSlowItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		store.put([]byte("0"))
		var group sync.WaitGroup
		defer group.Wait()
		slow, stop := context.WithCancel(t.Context())
		defer stop()
		group.Go(func() {
			for i := 1; slow.Err() == nil; i++ {
				time.Sleep(24 * time.Second)
				_ = store.Write(slow, "lease 1", fmt.Append(nil, i))
			}
		})
		_, err := deploy.Acquire(t.Context(), store, "shop", owner("bob"), 10*time.Minute, silent)
		var locked *deploy.LockedError
		if !errors.As(err, &locked) {
			t.Errorf("error %v, want a LockedError", err)
		}
	})
}

// An Engine that answers nobody keeps the owner from its heartbeat as well as
// the reader from seeing it.
func TestAnEngineThatWasAwayIsNoProofThatTheOwnerIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		store.put([]byte("0"))
		began := time.Now()
		store.fails = func(string) error {
			if at := time.Since(began); at > 20*time.Second && at < 38*time.Second {
				return errRefused
			}
			return nil
		}
		lease := acquired(t, store, "bob")
		defer released(t, lease)
		if waited := time.Since(began); waited < 67*time.Second || waited > 70*time.Second {
			t.Errorf("taken over after %s, want 30s after the Engine came back", waited)
		}
	})
}

func TestALeaseThatSomebodyBrokeIsNoticedWithinOneHeartbeat(t *testing.T) {
	for name, replaced := range map[string]bool{"removed": false, "replaced": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &leases{}
				var told sayings
				lease, err := deploy.Acquire(t.Context(), store, "shop", owner("ann"), 0, told.say)
				if err != nil {
					t.Fatal(err)
				}
				if isLost(lease) {
					t.Fatal("lost at once")
				}
				began := time.Now()
				if broken, err := deploy.Unlock(t.Context(), store, "shop", true, silent); err != nil || !broken {
					t.Fatalf("broken %v, error %v", broken, err)
				}
				var other *deploy.Lease
				if replaced {
					other = acquired(t, store, "bob")
				}
				<-lease.Lost()
				if waited := time.Since(began); waited > 4*time.Second {
					t.Errorf("noticed after %s", waited)
				}
				if told.String() != "the lease of project shop is lost: somebody removed it" {
					t.Errorf("told %q", told.String())
				}
				released(t, lease)
				if replaced {
					if isLost(other) || !store.held() {
						t.Error("the release of the broken lease removed the other one")
					}
					released(t, other)
				}
			})
		})
	}
}

func TestTheOwnerGivesUpBeforeAReaderMayTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := cutOff{&leases{}, make(chan struct{})}
		began := time.Now()
		var told sayings
		lease, err := deploy.Acquire(t.Context(), store, "shop", owner("ann"), 0, told.say)
		if err != nil {
			t.Fatal(err)
		}
		close(store.from)
		other := acquired(t, store.LeaseStore, "bob")
		takenAt := time.Since(began)
		if lease.Sure() || takenAt < 30*time.Second {
			t.Errorf("taken over after %s, its owner is sure of it: %v", takenAt, lease.Sure())
		}
		<-lease.Lost()
		if lostAt := time.Since(began); lostAt < 119*time.Second || lostAt > 2*time.Minute {
			t.Errorf("given up after %s", lostAt)
		}
		for _, want := range []string{
			"the heartbeat of the lease of project shop could not be written for 25s, nothing is begun until it can be: no route to host",
			"the lease of project shop is lost: its heartbeat could not be written for 2m: no route to host",
		} {
			if !strings.Contains(told.String(), want) {
				t.Errorf("told %q, want %q", told.String(), want)
			}
		}
		released(t, other)
	})
}

// cutOff is a store that one owner cannot reach any more once from is closed.
type cutOff struct {
	deploy.LeaseStore
	from chan struct{}
}

func (c cutOff) Write(ctx context.Context, id string, content []byte) error {
	select {
	case <-c.from:
		return errors.New("no route to host")
	default:
		return c.LeaseStore.Write(ctx, id, content)
	}
}

// An Engine that is restarted is away for longer than a heartbeat: its owner
// goes on once it is back, as nobody could take the lease over meanwhile.
func TestAnOwnerGoesOnAfterItsEngineWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		began := time.Now()
		var told sayings
		lease, err := deploy.Acquire(t.Context(), store, "shop", owner("ann"), 0, told.say)
		if err != nil {
			t.Fatal(err)
		}
		store.setFails(func(string) error {
			if time.Since(began) < 90*time.Second {
				return errRefused
			}
			return nil
		})
		time.Sleep(80 * time.Second)
		if lease.Sure() || isLost(lease) {
			t.Errorf("after 80s without an Engine: sure %v, lost %v", lease.Sure(), isLost(lease))
		}
		time.Sleep(20 * time.Second)
		if !lease.Sure() || isLost(lease) || !strings.HasSuffix(told.String(), "the lease of project shop is still held") {
			t.Errorf("after it came back: sure %v, lost %v, told %q", lease.Sure(), isLost(lease), told.String())
		}
		released(t, lease)
	})
}

// hangs is a store whose Write hangs once from is closed.
type hangs struct {
	deploy.LeaseStore
	from chan struct{}
}

func (h hangs) Write(ctx context.Context, id string, content []byte) error {
	select {
	case <-h.from:
		<-ctx.Done()
		return ctx.Err()
	default:
		return h.LeaseStore.Write(ctx, id, content)
	}
}

func TestAHeartbeatThatHangsIsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := hangs{&leases{}, make(chan struct{})}
		began := time.Now()
		lease := acquired(t, store, "ann")
		close(store.from)
		time.Sleep(25 * time.Second)
		if lease.Sure() {
			t.Error("sure of it without a heartbeat for 25s")
		}
		<-lease.Lost()
		if at := time.Since(began); at > 2*time.Minute {
			t.Errorf("given up after %s", at)
		}
		released(t, lease)
	})
}

func TestShortTroublesOfTheEngineCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		began := time.Now()
		store.fails = func(string) error {
			if time.Since(began)%(30*time.Second) < 15*time.Second {
				return errRefused
			}
			return nil
		}
		lease := acquired(t, store, "ann")
		time.Sleep(5 * time.Minute)
		if isLost(lease) {
			t.Error("lost although every trouble was short")
		}
		released(t, lease)
		if store.held() {
			t.Error("still held after its release")
		}
	})
}

func TestAnEngineThatFailsForLongIsAnErrorThatSaysForHowLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		lease := acquired(t, store, "ann")
		store.setFails(func(string) error { return errRefused })
		_, acquire := deploy.Acquire(t.Context(), store, "shop", owner("bob"), 0, silent)
		_, unlock := deploy.Unlock(t.Context(), store, "shop", true, silent)
		for want, err := range map[string]error{
			"take the lease of project shop: waited 20s for the Engine: connection refused":    acquire,
			"unlock project shop: waited 20s for the Engine: connection refused":               unlock,
			"release the lease of project shop: waited 20s for the Engine: connection refused": lease.Release(t.Context()),
		} {
			if err == nil || err.Error() != want || !errors.Is(err, errRefused) {
				t.Errorf("error %v, want %s", err, want)
			}
		}
	})
}

func TestADaemonWithoutImagesIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		store := &leases{fails: func(call string) error {
			if call == "claim" {
				return compose.ErrNoImage
			}
			return nil
		}}
		if _, err := deploy.Acquire(t.Context(), store, "shop", owner("ann"), 0, silent); !errors.Is(err, compose.ErrNoImage) || !time.Now().Equal(began) {
			t.Errorf("error %v after %s", err, time.Since(began))
		}
	})
}

func TestAClaimWhoseAnswerWasLostIsRecognised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{claimed: func(context.Context) error { return errors.New("connection reset by peer") }}
		began := time.Now()
		lease := acquired(t, store, "ann")
		if waited := time.Since(began); waited > 2*time.Second || store.made != 1 {
			t.Errorf("held after %s, %d leases were made", waited, store.made)
		}
		time.Sleep(time.Minute)
		if isLost(lease) {
			t.Error("lost its own lease")
		}
		released(t, lease)
	})
}

func TestAnInterruptedClaimLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("interrupted")
		store := &leases{claimed: func(ctx context.Context) error {
			cancel(why)
			return ctx.Err()
		}}
		if _, err := deploy.Acquire(ctx, store, "shop", owner("ann"), 0, silent); !errors.Is(err, why) {
			t.Errorf("error %v, want %v", err, why)
		}
		if store.made != 1 || store.held() {
			t.Errorf("%d leases were made, still held: %v", store.made, store.held())
		}
	})
}

func TestInterruptionNeitherEndsALeaseNorKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		ctx, cancel := context.WithCancel(t.Context())
		lease, err := deploy.Acquire(ctx, store, "shop", owner("ann"), 0, silent)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		time.Sleep(time.Minute) // what was begun is being undone
		if isLost(lease) || store.writes < 20 {
			t.Errorf("lost %v, %d heartbeats in a minute after the interruption", isLost(lease), store.writes)
		}
		if err := lease.Release(ctx); err != nil || store.held() {
			t.Errorf("release after the interruption: %v, held %v", err, store.held())
		}
		if err := lease.Release(ctx); err != nil {
			t.Errorf("second release: %v", err)
		}
	})
}

func TestUnlock(t *testing.T) {
	for _, c := range []struct {
		name   string
		moving bool
		none   bool
		force  bool
		broken bool
		locked bool
		after  time.Duration
	}{
		{name: "nobody holds it", none: true},
		{name: "its heartbeat moves", moving: true, locked: true, after: 3 * time.Second},
		{name: "its heartbeat moves, by force", moving: true, force: true, broken: true},
		{name: "its heartbeat stands still", broken: true, after: 30 * time.Second},
		{name: "its heartbeat stands still, by force", force: true, broken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &leases{}
				switch {
				case c.moving:
					lease := acquired(t, store, "ann")
					defer released(t, lease)
				case !c.none:
					store.put([]byte(`{"token":"T","who":"ann"}`))
				}
				began := time.Now()
				var told sayings
				broken, err := deploy.Unlock(t.Context(), store, "shop", c.force, told.say)
				var locked *deploy.LockedError
				if broken != c.broken || errors.As(err, &locked) != c.locked || err != nil && !c.locked {
					t.Errorf("broken %v, error %v", broken, err)
				}
				if waited := time.Since(began); waited < c.after || waited > c.after+time.Second {
					t.Errorf("took %s, want %s", waited, c.after)
				}
				if !c.none && !strings.Contains(told.String(), "project shop is locked by ann") {
					t.Errorf("told %q", told.String())
				}
				if store.held() != c.locked {
					t.Errorf("held afterwards: %v", store.held())
				}
			})
		})
	}
}

func TestWhoHoldsTheLeaseCanBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leases{}
		if _, held, err := deploy.Held(t.Context(), store, "shop"); held || err != nil {
			t.Errorf("held %v, error %v before anybody took it", held, err)
		}
		lease := acquired(t, store, "ann")
		defer released(t, lease)
		lease.Phase("web: joining shop-web-4")
		time.Sleep(4 * time.Second)
		holder, held, err := deploy.Held(t.Context(), store, "shop")
		if !held || err != nil || holder.Who != "ann" || holder.Phase != "web: joining shop-web-4" {
			t.Errorf("held %v, holder %+v, error %v", held, holder, err)
		}
		store.setFails(func(string) error { return errRefused })
		_, _, err = deploy.Held(t.Context(), store, "shop")
		if want := "read the lease of project shop: connection refused"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		store.setFails(nil)
	})
}
