package deploy_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/deploy/deploytest"
)

var (
	worlds = flag.Int("worlds", worldsByDefault(), "how many random worlds TestSimulation tries; SIM_WORLDS says so, too")
	first  = flag.Int("first", 0, "the seed that TestSimulation begins with")
	seed   = flag.Int64("seed", -1, "the one world that TestSimulation tries")
)

// worldsByDefault is what fits into an ordinary test run, unless SIM_WORLDS
// asks for more.
func worldsByDefault() int {
	if n, err := strconv.Atoi(os.Getenv("SIM_WORLDS")); err == nil {
		return n
	}
	return 1000
}

// scenario is a random world and what is done in it.
type scenario struct {
	seed     int64
	random   *rand.Rand
	options  deploytest.Options
	next     deploytest.Version
	bad      string // what is wrong with next; empty: nothing
	goal     deploy.Goal
	declared int
	update   compose.Update
	rollback compose.Update
	accept   bool
	faults   float64 // probability of each call to go wrong
	slowness float64 // probability of each call to be slow
	events   []event // what else happens
	keepless bool    // no Keeper: what is removed cannot come back
}

type event struct {
	at   time.Duration
	what string
	n    int
	d    time.Duration
}

func (e event) String() string { return fmt.Sprintf("%s %d for %s at %s", e.what, e.n, e.d, e.at) }

func chance[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)+1))
}

func randomVersion(r *rand.Rand, name string) deploytest.Version {
	v := deploytest.Version{
		Name:    name,
		Check:   &compose.Healthcheck{Test: []string{"CMD", "check"}, Interval: chance(r, 500*time.Millisecond, time.Second, 2*time.Second, 5*time.Second), Timeout: time.Second, StartInterval: 5 * time.Second, Retries: 1 + r.IntN(3)},
		Linger:  chance(r, 0, 0, time.Second, 8*time.Second),
		Serves:  r.IntN(2) == 0,
		Forgets: r.IntN(2) == 0,
		Restart: r.IntN(2) == 0,
	}
	if r.IntN(3) == 0 {
		v.Check.StartPeriod, v.Check.StartInterval = 10*time.Second, chance(r, 250*time.Millisecond, 5*time.Second)
		v.Boot = between(r, 0, 9*time.Second)
	}
	v.Deaf = r.IntN(12) == 0
	return v
}

func newScenario(seed int64) scenario {
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	s := scenario{seed: seed, random: r}
	s.options = deploytest.Options{
		Seed: uint64(seed), Replicas: r.IntN(9), Version: randomVersion(r, "v1"), Routers: 1 + r.IntN(2),
		Worker: r.IntN(10) == 0, NoAPI: r.IntN(10) == 0, Skew: chance(r, 0, 0, 0, time.Hour, -time.Hour),
	}
	s.next = randomVersion(r, "v2")
	if r.IntN(3) == 0 {
		s.bad = chance(r, "sick", "crashes", "crashes late", "unroutable", "ineffective", "old ineffective", "no way", "hollow")
	}
	switch s.bad {
	case "sick":
		s.next.Sick = true
	case "crashes":
		s.next.Crashes = between(r, time.Millisecond, 2*time.Second)
	case "crashes late":
		s.next.Crashes = between(r, 2*time.Second, 20*time.Second)
	case "unroutable":
		s.next.Unroutable = true
	case "ineffective":
		s.next.Ineffective = true
	case "old ineffective":
		s.options.Version.Ineffective = true
	case "no way":
		s.options.Version.NoWay, s.accept = true, true
	case "hollow":
		s.next.Hollow = true
	}
	s.declared = r.IntN(9)
	if r.IntN(2) == 0 {
		s.declared = s.options.Replicas
	}
	s.goal = deploy.Goal{Verb: "roll", Target: -1}
	switch r.IntN(8) {
	case 0:
		s.goal = deploy.Goal{Verb: "scale", Target: r.IntN(9), Replace: deploy.ReplaceNone}
	case 1:
		s.goal = deploy.Goal{Verb: "restart", Target: -1, Replace: deploy.ReplaceAll}
	}
	if r.IntN(2) == 0 {
		n := r.IntN(4)
		s.update.Parallelism = &n
	}
	if r.IntN(4) == 0 {
		d := between(r, 0, 5*time.Second)
		s.update.Delay = &d
	}
	if r.IntN(6) == 0 {
		s.update.Order = compose.StopFirst
	}
	s.update.FailureAction = chance(r, "", "", "", "rollback", "pause", "continue")
	if r.IntN(5) == 0 {
		ratio := r.Float64() / 2
		s.update.MaxFailureRatio = &ratio
	}
	if r.IntN(3) == 0 {
		s.faults = chance(r, 0.002, 0.02, 0.1)
	}
	if r.IntN(3) == 0 {
		s.slowness = chance(r, 0.01, 0.1)
	}
	s.keepless = r.IntN(4) == 0
	if r.IntN(2) == 0 {
		for range 1 + r.IntN(2) {
			e := event{at: between(r, 0, 40*time.Second), d: between(r, time.Second, 40*time.Second), n: r.IntN(12),
				what: chance(r, "kill", "engine", "traefik", "api", "interrupt", "interrupt", "give up", "sever", "sever", "lies", "veto", "lease", "second")}
			if r.IntN(2) == 0 {
				e.at = between(r, 0, 8*time.Second)
			}
			if e.what == "second" && slices.ContainsFunc(s.events, func(o event) bool { return o.what == "second" }) {
				continue // who breaks locks again and again gets what he asked for
			}
			s.events = append(s.events, e)
		}
	}
	if s.bad == "hollow" { // only who watches the requests can notice
		s.events = append(s.events, event{at: between(r, 0, 30*time.Second), what: "veto"})
	}
	if r.IntN(3) == 0 {
		s.rollback = compose.Update{Parallelism: new(r.IntN(3)), Delay: new(between(r, 0, 5*time.Second)), Monitor: new(between(r, 0, 10*time.Second)), FailureAction: chance(r, "", "pause", "continue")}
	}
	return s
}

// dice are thrown anew for each occasion.
func (s scenario) dice(call, replica string, n int) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(call + replica))
	return rand.New(rand.NewPCG(h.Sum64()^uint64(s.seed), uint64(n)))
}

func (s scenario) String() string {
	return fmt.Sprintf("seed %d: %d replicas -> %d (%s), worker %v, no API %v, %d routers, skew %s, bad %q, %s parallelism %s delay %s action %q ratio %s, faults %g, slowness %g, no keeper %v, events %v\n  v1 %s\n  v2 %s",
		s.seed, s.options.Replicas, s.declared, s.goal.Verb, s.options.Worker, s.options.NoAPI, s.options.Routers, s.options.Skew, s.bad, s.update.Order,
		show(s.update.Parallelism), show(s.update.Delay), s.update.FailureAction, show(s.update.MaxFailureRatio), s.faults, s.slowness, s.keepless, s.events, versionText(s.options.Version), versionText(s.next))
}

func versionText(v deploytest.Version) string {
	check := *v.Check
	v.Check = nil
	return fmt.Sprintf("%+v check %+v", v, check)
}

func show[T any](v *T) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprint(*v)
}

func TestSimulation(t *testing.T) {
	if *seed >= 0 {
		simulate(t, newScenario(*seed))
		return
	}
	i := *first
	defer func() { // a bubble that fails ends the test
		if t.Failed() {
			t.Logf("replay it: go test ./deploy -run TestSimulation -seed %d", i)
		}
	}()
	outcomes := map[deploy.Outcome]int{}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // worlds are small and many
	for ; i < *first+*worlds; i++ {
		outcomes[simulate(t, newScenario(int64(i)))]++
	}
	t.Logf("outcomes of %d worlds: %v", *worlds, outcomes)
}

// warnedOf reports whether a violation is about a replica of which the roll
// says that it was stopped in the routers: it failed requests there, or did not
// hear its flip.
func warnedOf(result deploy.Result, violation string) bool {
	return slices.ContainsFunc(result.Warnings, func(warning string) bool {
		for _, reason := range []string{" cannot be taken out of the routers", " does not hear its flip"} {
			if name, _, ok := strings.Cut(warning, reason); ok && (strings.Contains(violation, name+" ") || strings.Contains(violation, name+",")) {
				return true
			}
		}
		return false
	})
}

// changes are the calls that a roll makes to change something.
var changes = []string{"create", "stop", "remove", "flip", "unflip", "restore"}

// again is another process of roll that does the same, now.
func again(t *testing.T, w *deploytest.World, s scenario) deploy.Outcome {
	session := w.Session()
	snapshot := session.Snapshot()
	policy, err := deploy.NewPolicy(snapshot.Service, deploy.Overrides{AcceptLoss: s.accept})
	if err != nil {
		t.Errorf("policy: %v", err)
		return deploy.Failed
	}
	plan, err := deploy.New(s.goal, snapshot, policy)
	if err != nil {
		t.Errorf("plan: %v", err)
		return deploy.Failed
	}
	return session.Roller().Run(t.Context(), plan, snapshot).Outcome
}

func simulate(t *testing.T, s scenario) (outcome deploy.Outcome) {
	synctest.Test(t, func(t *testing.T) {
		w := deploytest.New(s.options)
		defer w.Close()
		w.Settle()
		before := w.Serving()
		had := len(w.Containers())
		w.Declare(s.next, s.declared)
		session := w.Session()
		var quiet, severed, interrupted, gaveUp, hung, lost, late atomic.Bool
		var lostAt time.Time
		var mu sync.Mutex
		var log []string
		start := time.Now()
		note := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			log = append(log, fmt.Sprintf("%8.3f ", time.Since(start).Seconds())+fmt.Sprintf(format, args...))
		}
		times := map[string]int{}
		session.Fault = func(call, replica string) deploytest.Fault {
			if lost.Load() && time.Now().After(lostAt) && slices.Contains(changes, call) {
				note("begun    %s %s, although the lease is lost", call, replica)
				late.Store(true)
			}
			if quiet.Load() || s.faults == 0 && s.slowness == 0 {
				return deploytest.Fault{}
			}
			// What goes wrong with a call hangs on the call alone, not on the
			// order of those that happen at the same instant.
			times[call+replica]++
			r := s.dice(call, replica, times[call+replica])
			var f deploytest.Fault
			if r.Float64() < s.faults {
				f.Err, f.Lost = fmt.Errorf("injected fault of %s %s", call, replica), r.IntN(2) == 0
			}
			if r.Float64() < s.slowness {
				f.Delay = between(r, time.Millisecond, 3*time.Second)
			}
			if f != (deploytest.Fault{}) {
				note("fault    %s %s: %v (lost %v) after %s", call, replica, f.Err, f.Lost, f.Delay)
			}
			return f
		}
		snapshot := session.Snapshot()
		snapshot.Service.Update, snapshot.Service.Rollback = s.update, s.rollback
		policy, err := deploy.NewPolicy(snapshot.Service, deploy.Overrides{AcceptLoss: s.accept})
		if err != nil {
			t.Fatalf("%s\npolicy: %v", s, err)
		}
		plan, err := deploy.New(s.goal, snapshot, policy)
		if err != nil {
			t.Fatalf("%s\nplan: %v", s, err)
		}
		strict := s.bad != "no way" && s.bad != "hollow"
		// Without an API nobody can know that a version is not routed; that one
		// answers nothing although it is healthy, is for nobody to know.
		blind := s.bad == "unroutable" && s.options.NoAPI || s.bad == "hollow"
		floor := plan.Floor
		if blind {
			floor = 0
		}
		w.Watch(floor, strict)

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		giveUp, leaseLost, veto := make(chan struct{}), make(chan struct{}), make(chan error, 4)
		loseLease := sync.OnceFunc(func() {
			lostAt = time.Now()
			lost.Store(true)
			close(leaseLost)
		})
		var others sync.WaitGroup
		leave := sync.OnceFunc(func() { close(giveUp) })
		over, ended := context.WithCancel(t.Context())
		at := func(d time.Duration, f func()) {
			time.AfterFunc(d, func() {
				if over.Err() == nil {
					f()
				}
			})
		}
		for _, e := range s.events {
			at(e.at, func() {
				note("event    %s", e)
				switch e.what {
				case "kill":
					if numbers := w.Numbers(); len(numbers) > 0 {
						w.Kill(numbers[e.n%len(numbers)])
					}
				case "engine":
					w.StopEngine(e.d)
				case "traefik":
					if !s.options.Worker {
						w.RestartTraefik(e.n%s.options.Routers, e.d)
					}
				case "api":
					if !s.options.Worker {
						w.LoseAPI(e.n%s.options.Routers, e.d)
					}
				case "interrupt":
					interrupted.Store(true)
					cancel()
				case "give up":
					interrupted.Store(true)
					cancel()
					at(e.d, func() { gaveUp.Store(true); leave() })
				case "sever":
					severed.Store(true)
					session.Sever(e.n%2 == 0)
					leave()
				case "lies":
					w.Lie(0.3, e.d)
				case "veto":
					veto <- errors.New("requests fail")
				case "lease":
					loseLease()
				case "second":
					loseLease()
					session.Usurp()
					others.Go(func() {
						time.Sleep(time.Duration(e.n) * 100 * time.Millisecond)
						if s.options.NoAPI { // nobody can tell whether Traefik has noticed who is healthy
							time.Sleep(4 * time.Second)
						}
						note("second   %s", again(t, w, s))
					})
				}
			})
		}
		at(6*time.Hour, func() { hung.Store(true); leave() })
		roller := session.Roller()
		roller.GiveUp, roller.Lost, roller.Veto = giveUp, leaseLost, veto
		if s.keepless {
			roller.Keeper = nil
		}
		observe := deploy.ObserverFunc(func(e deploy.Event) {
			note("%-8s slot %d %-4s %-12s %-10s %s", e.Kind, e.Slot, e.Role, e.Replica, e.Phase, e.Detail)
		})
		roller.Observer = observe
		result := roller.Run(ctx, plan, snapshot)
		others.Wait()
		outcome = result.Outcome
		ended()
		took := time.Since(start)
		after := w.Containers()
		quiet.Store(true)
		failed := false
		fail := func(format string, args ...any) {
			t.Helper()
			if failed {
				return
			}
			failed = true
			t.Errorf("%s\n%s\nresult %+v after %s\ncontainers %q\n%s", s, fmt.Sprintf(format, args...), result, took, after, strings.Join(log, "\n"))
		}
		if hung.Load() {
			fail("the roll did not end")
			return
		}
		if late.Load() {
			fail("it began something after its lease was lost")
		}
		forgiven := 0
		for _, v := range w.Violations() {
			if warnedOf(result, v) {
				forgiven++
				continue
			}
			fail("%s", v)
		}
		disturbed := len(s.events) > 0 || s.faults > 0
		calm := !disturbed && s.slowness == 0
		w.Settle()
		time.Sleep(time.Minute) // an Engine or Traefik that was away is back
		w.Settle()
		now := w.Serving()
		after = w.Containers()

		// The outcome is true.
		switch {
		case severed.Load() || gaveUp.Load() || lost.Load():
		case result.Outcome == deploy.Done || result.Outcome == deploy.UpToDate:
			if w.Deaths() == 0 && len(after) != plan.Target {
				fail("%s, but not %d containers", result.Outcome, plan.Target)
			}
			if w.Deaths() == 0 && s.bad == "" && len(now) != plan.Target {
				fail("%s, but %q serve", result.Outcome, now)
			}
			if s.goal.Replace != deploy.ReplaceNone && slices.Contains(now, "v1") && s.next.Name != "v1" {
				fail("%s, but an old replica serves", result.Outcome)
			}
		case result.Outcome == deploy.Failed || result.Outcome == deploy.RolledBack:
			if w.Deaths() == 0 && !slices.Equal(now, before) {
				fail("%s, but %q serve where %q did", result.Outcome, now, before)
			}
			if w.Deaths() == 0 && len(after) != had {
				fail("%s, but it left something", result.Outcome)
			}
		case result.Outcome == deploy.Interrupted:
			if !interrupted.Load() {
				fail("nobody interrupted it")
			}
			if w.Deaths() == 0 && len(now) < floor {
				fail("interrupted below its strength: %q", now)
			}
		case result.Outcome == deploy.Partial:
			if len(result.Left) == 0 && len(result.Failures) == 0 {
				fail("partial without a word")
			}
		}
		if calm && s.bad == "" && result.Outcome != deploy.Done && result.Outcome != deploy.UpToDate {
			fail("nothing was wrong")
		}
		if calm && slices.Contains([]string{"sick", "crashes", "unroutable"}, s.bad) && plan.Creates() > 0 && result.Outcome == deploy.Done &&
			(s.bad != "unroutable" || !s.options.Worker && !s.options.NoAPI) && (s.bad != "crashes" || slices.ContainsFunc(plan.Slots, func(s deploy.Slot) bool { return s.Old != nil })) {
			fail("a version that is bad (%s) was deployed", s.bad)
		}

		// Whatever happened, rolling again with a good version gets there.
		if s.bad == "ineffective" || s.bad == "old ineffective" {
			return
		}
		good := s.next
		if s.bad != "" {
			good = randomVersion(s.random, "v3")
		}
		w.Declare(good, s.declared)
		for round := 0; ; round++ {
			again := w.Session()
			snapshot := again.Snapshot()
			policy, err := deploy.NewPolicy(snapshot.Service, deploy.Overrides{AcceptLoss: s.accept})
			if err != nil {
				t.Fatal(err)
			}
			plan, err := deploy.New(deploy.Goal{Verb: "roll", Target: -1}, snapshot, policy)
			if err != nil {
				fail("again: %v", err)
				return
			}
			if plan.Empty() {
				break
			}
			if round == 3 {
				fail("rolled again %d times, and there is still something to do:\n%s", round, plan)
				return
			}
			if !blind {
				w.Watch(plan.Floor, strict)
			}
			start = time.Now()
			note("again, %d:\n%s", round, plan)
			roller := again.Roller()
			roller.Observer = observe
			result = roller.Run(t.Context(), plan, snapshot)
			after = w.Containers()
			for _, v := range w.Violations()[forgiven:] {
				fail("again: %s", v)
				return
			}
		}
		w.Settle()
		if now := w.Serving(); len(now) != s.declared || slices.ContainsFunc(now, func(v string) bool { return v != good.Name }) {
			fail("rolled again, and %q serve", now)
		}
	})
	return outcome
}
