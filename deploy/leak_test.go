package deploy_test

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/deploy/deploytest"
)

var rolls = flag.Int("rolls", rollsByDefault(), "how many rolls TestAThousandRollsInARowLeaveNothingBehind makes; SOAK_ROLLS says so, too")

func rollsByDefault() int {
	if n, err := strconv.Atoi(os.Getenv("SOAK_ROLLS")); err == nil {
		return n
	}
	return 1000
}

// use is what a process holds.
type use struct {
	goroutines int
	heap       uint64
}

func inUse() use {
	runtime.GC()
	runtime.GC() // what finalizers have let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return use{runtime.NumGoroutine(), m.HeapAlloc}
}

// One process makes one roll after the other, as a server that deploys would.
func TestAThousandRollsInARowLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		check := &compose.Healthcheck{Test: []string{"CMD", "check"}, Interval: 100 * time.Millisecond, Timeout: time.Second, Retries: 1}
		versions := []deploytest.Version{{Name: "v1", Check: check}, {Name: "v2", Check: check}}
		w := deploytest.New(deploytest.Options{Replicas: 1, Version: versions[0], Throttle: 100 * time.Millisecond})
		defer w.Close()
		w.Settle()
		w.Watch(1, true)
		store := &leases{}
		monitor := time.Duration(0)
		var early use
		for i := 1; i <= *rolls; i++ {
			w.Declare(versions[i%2], 1)
			lease, err := deploy.Acquire(t.Context(), store, "shop", deploy.Owner{Who: "ann"}, 0, func(string) {})
			if err != nil {
				t.Fatalf("roll %d: %v", i, err)
			}
			s := w.Session()
			snapshot := s.Snapshot()
			policy, err := deploy.NewPolicy(snapshot.Service, deploy.Overrides{Monitor: &monitor})
			if err != nil {
				t.Fatal(err)
			}
			plan, err := deploy.New(deploy.Goal{Verb: "roll", Target: -1}, snapshot, policy)
			if err != nil {
				t.Fatal(err)
			}
			roller := s.Roller()
			roller.Lost = lease.Lost()
			result := roller.Run(t.Context(), plan, snapshot)
			if err := lease.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			if result.Outcome != deploy.Done || len(w.Containers()) != 1 {
				t.Fatalf("roll %d: %+v, containers %q", i, result, w.Containers())
			}
			synctest.Wait()
			if i == min(100, *rolls) {
				early = inUse()
			}
		}
		late := inUse()
		if violations := w.Violations(); len(violations) > 0 || w.Lowest() < 1 {
			t.Errorf("lowest %d, violations %q", w.Lowest(), violations)
		}
		const slack = 512 << 10 // the world itself remembers the address of each replica
		if late.goroutines > early.goroutines || late.heap > early.heap+slack {
			t.Errorf("after %d rolls: %+v; after the first 100: %+v", *rolls, late, early)
		}
		t.Logf("after %d rolls: %+v; after the first 100: %+v", *rolls, late, early)
	})
}
