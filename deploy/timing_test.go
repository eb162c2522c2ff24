package deploy

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// events reads one event a line: seconds, then slot, role and phase, or plan,
// result, or any other kind. A leftover has its name for a slot.
func events(t *testing.T, text string) []Event {
	t.Helper()
	start := time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC)
	var all []Event
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fields := strings.Fields(line)
		seconds, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		e := Event{Time: start.Add(time.Duration(seconds * 1e9)), Kind: Kind(fields[1])}
		if len(fields) == 4 {
			e.Kind, e.Role = KindPhase, Role(fields[2])
			if e.Slot, err = strconv.Atoi(fields[1]); err != nil {
				e.Replica = fields[1]
			}
			for e.Phase = Planned; e.Phase.String() != fields[3]; e.Phase++ {
				if e.Phase > Returned {
					t.Fatalf("no phase %q", fields[3])
				}
			}
		}
		all = append(all, e)
	}
	return all
}

func TestTheTimeOfARollIsSplitAlongItsCriticalPath(t *testing.T) {
	tests := []struct {
		name   string
		events string
		want   string
		path   string
	}{
		{
			"nothing happened", "",
			"", "",
		},
		{
			"a roll that is up to date is all its own", `
			0    plan
			0.01 result`,
			"own 10ms", "",
		},
		{
			"one slot passes every phase, and its probation is the rest", `
			0    plan
			0.1  1 new creating
			1    1 new booting
			2    seen
			3    1 new joining
			5    1 new arrived
			5    1 old flipping
			5.1  1 old sinking
			7.1  1 old leaving
			8    1 old settling
			8.5  1 old draining
			10.5 1 old pre_stop
			11   1 old stopping
			12   1 old removing
			12.2 1 old departed
			15   result`,
			"compose 900ms docker 4.2s app 3.6s traefik 2.9s settle 500ms monitor 2.8s own 100ms",
			"1new creating, 1new booting, 1new joining, 1old flipping, 1old sinking, 1old leaving, 1old settling, 1old draining, 1old pre_stop, 1old stopping, 1old removing",
		},
		{
			"of slots that commit together the last to arrive counts on the way in, and the last to go on the way out", `
			0   plan
			0   1 new creating
			0   2 new creating
			1   1 new booting
			1   2 new booting
			2   1 new joining
			4   2 new joining
			4.5 1 new arrived
			6   2 new arrived
			6   1 old flipping
			6   2 old flipping
			6   2 old sinking
			7   1 old sinking
			8   2 old stopping
			9   2 old departed
			9   1 old stopping
			20  1 old departed
			20  result`,
			"compose 1s docker 5s app 12s traefik 2s",
			"2new creating, 2new booting, 2new joining, 1old flipping, 1old sinking, 1old stopping",
		},
		{
			"a slot set off by one that left its place of the window, while another still stops", `
			0  plan
			0  1 new creating
			1  1 new arrived
			1  1 old leaving
			2  1 old stopping
			2  2 new creating
			3  2 new arrived
			3  2 old leaving
			4  2 old stopping
			4  3 new creating
			4.5 1 old departed
			5  2 old departed
			6  3 new arrived
			6  3 old leaving
			9  3 old departed
			9  result`,
			"compose 4s traefik 5s",
			"1new creating, 1old leaving, 2new creating, 2old leaving, 3new creating, 3old leaving",
		},
		{
			"a stop that outlasts all other slots is the path", `
			0  plan
			0  1 new creating
			1  1 new arrived
			1  1 old flipping
			2  1 old stopping
			2  2 new creating
			3  2 new arrived
			3  2 old stopping
			4  2 old departed
			60 1 old departed
			60 result`,
			"compose 1s app 59s",
			"1new creating, 1old flipping, 1old stopping",
		},
		{
			"time in which nobody is under way is its own, a delay as well", `
			0   plan
			0.5 1 new creating
			1   1 new arrived
			4   2 new creating
			5   2 new arrived
			5.2 result`,
			"compose 1.5s own 3.7s",
			"1new creating, 2new creating",
		},
		{
			"without an old replica that left there is no probation", `
			0 plan
			0 1 old flipping
			1 1 old departed
			1.3 result`,
			"app 1s own 300ms",
			"1old flipping",
		},
		{
			"leftovers are removed first", `
			0 plan
			0 web-9 old removing
			1 web-9 old departed
			1 web-8 old removing
			3 web-8 old departed
			3 1 new creating
			4 1 new arrived
			4 result`,
			"compose 1s docker 3s",
			"0old removing, 0old removing, 1new creating",
		},
		{
			"a roll that turns back counts the way back of the same replicas", `
			0 plan
			0 1 new creating
			1 1 new booting
			2 1 new arrived
			2 1 old flipping
			3 1 old sinking
			4 failure
			4 1 old unflipping
			5 1 old recovering
			7 1 old rejoining
			8 1 old returned
			8 1 new flipping
			9 1 new stopping
			10 1 new departed
			10 result`,
			"compose 1s docker 4s app 4s traefik 1s",
			"1new creating, 1new booting, 1old flipping, 1old sinking, 1old unflipping, 1old recovering, 1old rejoining, 1new flipping, 1new stopping",
		},
		{
			"a replica that is left where it stands counts to the end", `
			0 plan
			0 1 old flipping
			1 1 old sinking
			9 failure
			9 result`,
			"docker 8s app 1s",
			"1old flipping, 1old sinking",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.events == "" {
				if got := Measure(nil); got.Total != 0 || parts(got) != "" {
					t.Errorf("%+v", got)
				}
				return
			}
			got := Measure(events(t, test.events))
			if parts(got) != test.want {
				t.Errorf("got  %s\nwant %s", parts(got), test.want)
			}
			var path []string
			for _, s := range got.Path {
				path = append(path, fmt.Sprintf("%d%s %s", s.Slot, s.Role, s.Phase))
			}
			if text := strings.Join(path, ", "); text != test.path {
				t.Errorf("got path  %s\nwant path %s", text, test.path)
			}
			addsUp(t, got)
		})
	}
}

// parts prints what is not zero.
func parts(t Timing) string {
	var all []string
	for _, p := range []struct {
		name string
		took time.Duration
	}{{"compose", t.Compose}, {"docker", t.Docker}, {"app", t.App}, {"traefik", t.Traefik}, {"settle", t.Settle}, {"monitor", t.Monitor}, {"own", t.Own}} {
		if p.took != 0 {
			all = append(all, p.name+" "+p.took.String())
		}
	}
	return strings.Join(all, " ")
}

func addsUp(t *testing.T, got Timing) {
	t.Helper()
	waits := got.Compose + got.Docker + got.App + got.Traefik + got.Settle + got.Monitor
	if waits != got.Waits() || waits+got.Own != got.Total {
		t.Errorf("%s of waits and %s of its own are not %s in total", waits, got.Own, got.Total)
	}
	var steps time.Duration
	for _, s := range got.Path {
		if s.Took < 0 {
			t.Errorf("%s took %s", s.Phase, s.Took)
		}
		steps += s.Took
	}
	if steps+got.Monitor+got.Own != got.Total {
		t.Errorf("the steps of the path, probation and own are %s, not %s", steps+got.Monitor+got.Own, got.Total)
	}
}

func TestThePartsAddUpWhateverTheEventsAre(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		at := time.Unix(1_000_000_000, 0)
		var all []Event
		for range random.IntN(40) {
			at = at.Add(time.Duration(random.IntN(3)) * time.Second)
			all = append(all, Event{
				Time: at, Kind: []Kind{KindPhase, KindPhase, KindSeen, KindFailure}[random.IntN(4)], Slot: random.IntN(4),
				Role: []Role{NewReplica, OldReplica}[random.IntN(2)], Phase: Phase(random.IntN(int(Returned) + 1)),
			})
		}
		addsUp(t, Measure(all))
	}
}
