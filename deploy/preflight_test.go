package deploy

import (
	"errors"
	"strings"
	"testing"

	"github.com/roll-deploy/roll/compose"
)

// What whoever took the snapshot found out is refused when the plan would run
// into it, and only then.
func TestPreflight(t *testing.T) {
	clash := Refusal{Path: []string{"labels"}, What: "router web@docker would be defined twice", Why: "404", Instead: "another name"}
	clashing := func(s Snapshot, replicas ...int) Snapshot {
		s.Clashes = map[string][]Refusal{}
		for _, n := range replicas {
			s.Clashes[s.Replicas[n-1].ID] = []Refusal{clash}
		}
		return s
	}
	unfit := func(s *Snapshot) { s.Unfit = []Refusal{{What: "two networks", Why: "timeouts", Instead: "a label"}} }
	untold := func(s *Snapshot) {
		s.Untold = map[string]Refusal{}
		for _, r := range s.Replicas {
			s.Untold[r.ID] = Refusal{What: "autoheal restarts replicas", Why: "with requests in them", Instead: "docker stop autoheal"}
		}
	}
	check := func(test ...string) func(*compose.Replica) {
		return func(r *compose.Replica) {
			h := *r.Healthcheck
			h.Test = test
			r.Healthcheck = &h
		}
	}
	const never = `  the healthcheck can never fail: %s: nobody would notice the flip (file /tmp/drain), so the replica would be stopped while requests are on their way to it; instead: a test that asks the application, as ["CMD", "curl", "-f", "http://localhost/health"]; for replicas that were created without one, once: roll up --accept-loss web
`
	for _, test := range []struct {
		name      string
		goal      Goal
		snapshot  Snapshot
		overrides Overrides
		want      string // the refusal without its first line; empty: not refused
	}{
		{
			name: "replicas that clash are refused once, with the gap as a way out", goal: rollGoal,
			snapshot: clashing(seen(webService(2), outdated(1), outdated(2)), 1, 2),
			want:     "  router web@docker would be defined twice: 404; instead: another name; or accept a gap with --order stop-first\n",
		},
		{
			name: "a gap in which all leave first is accepted", goal: rollGoal,
			snapshot:  clashing(seen(webService(2), outdated(1), outdated(2)), 1, 2),
			overrides: Overrides{Order: compose.StopFirst},
		},
		{
			name: "stop-first in batches leaves old ones beside new ones", goal: rollGoal,
			snapshot:  clashing(seen(webService(2), outdated(1), outdated(2)), 1, 2),
			overrides: Overrides{Order: compose.StopFirst, Parallelism: new(1)},
			want:      "  router web@docker would be defined twice: 404; instead: another name; or accept a gap with --order stop-first --parallelism 0\n",
		},
		{
			name: "batches are not a way out of start-first either", goal: rollGoal,
			snapshot:  clashing(seen(webService(2), outdated(1), outdated(2)), 1, 2),
			overrides: Overrides{Parallelism: new(1)},
			want:      "  router web@docker would be defined twice: 404; instead: another name; or accept a gap with --order stop-first --parallelism 0\n",
		},
		{
			name: "an old replica that no router takes clashes with nobody", goal: rollGoal,
			snapshot: clashing(seen(webService(1), outdated(1, func(r *compose.Replica) { r.Health = compose.Unhealthy })), 1),
		},
		{
			name: "a new replica beside outdated ones that stay", goal: Goal{Verb: "scale", Target: 2, Replace: ReplaceNone},
			snapshot:  clashing(seen(webService(2), outdated(1)), 1),
			overrides: Overrides{Order: compose.StopFirst},
			want:      "  router web@docker would be defined twice: 404; instead: another name; or accept a gap with roll up --order stop-first web\n",
		},
		{
			name: "who only leaves clashes with nobody", goal: Goal{Verb: "scale", Target: 1, Replace: ReplaceNone},
			snapshot: with(clashing(seen(webService(2), outdated(1), outdated(2)), 1, 2), unfit),
		},
		{
			name: "a new replica that would not serve as it should", goal: rollGoal,
			snapshot: with(seen(webService(1), outdated(1)), unfit),
			want:     "  two networks: timeouts; instead: a label\n",
		},
		{
			name: "replicas that must not be flipped", goal: rollGoal,
			snapshot: with(seen(webService(2), outdated(1), outdated(2)), untold),
			want:     "  autoheal restarts replicas: with requests in them; instead: docker stop autoheal\n",
		},
		{
			name: "replicas that must not be flipped, and losses are accepted", goal: rollGoal,
			snapshot:  with(seen(webService(1), outdated(1)), untold),
			overrides: Overrides{AcceptLoss: true},
		},
		{
			name: "a healthcheck that passes whatever happens", goal: rollGoal,
			snapshot: seen(webService(1), outdated(1, check("CMD", "/bin/true"))),
			want:     strings.Replace(never, "%s", "/bin/true", 1),
		},
		{
			name: "a healthcheck that swallows its failures", goal: rollGoal,
			snapshot: seen(webService(1), outdated(1, check("CMD-SHELL", "curl -f localhost || exit 0"))),
			want:     strings.Replace(never, "%s", "curl -f localhost || exit 0", 1),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy, err := NewPolicy(test.snapshot.Service, test.overrides)
			if err != nil {
				t.Fatal(err)
			}
			_, err = New(test.goal, test.snapshot, policy)
			got := ""
			var refused *RefusedError
			if errors.As(err, &refused) {
				got = strings.TrimPrefix(err.Error()+"\n", "refused to roll web: nothing was changed\n")
			} else if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("refused:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestHealthchecksThatCannotNoticeAFlip(t *testing.T) {
	for _, test := range []struct {
		name    string
		test    []string
		way     string
		blind   bool
		warning string
	}{
		{"a route", []string{"CMD", "curl", "-f", "http://localhost/health"}, "http GET /ko", false, ""},
		{"true", []string{"CMD", "true"}, "file /drain", true, ""},
		{"a shell's nothing", []string{"CMD-SHELL", " exit 0 ;"}, "file /drain", true, ""},
		{"failure swallowed in a shell of its own", []string{"CMD", "sh", "-c", "wget -q localhost || true"}, "file /drain", true, ""},
		{"failure swallowed after an exit of its own", []string{"CMD-SHELL", "test -f /drain && exit 1 || true"}, "file /drain", false, ""},
		{"words that only look like a shell's", []string{"CMD", "check", "||", "true"}, "file /drain", false, ""},
		{"failure passed on", []string{"CMD-SHELL", "curl -f localhost || exit 1"}, "file /drain", false, ""},
		{"a look for the process", []string{"CMD-SHELL", "pgrep nginx || exit 1"}, "file /drain", false,
			"the healthcheck (pgrep nginx) only looks whether the application is there, and a flipped one still is: the flip (file /drain) may not reach it"},
		{"a look for the process and for the marker", []string{"CMD-SHELL", "pgrep nginx && ! test -f /drain"}, "file /drain", false, ""},
		{"a look for the port, and a command that may close it", []string{"CMD", "nc", "-z", "localhost", "80"}, "exec close", false, ""},
		{"roll-init's own", []string{"CMD", "/roll-init", "health", "--", "curl", "localhost"}, "init", false, ""},
		{"not roll-init's", []string{"CMD", "curl", "localhost"}, "init", false,
			`the healthcheck (curl localhost) is not run by roll-init, which has to let it fail after the flip: test: ["CMD", "/roll-init", "health", "--", ...]`},
		{"a script that may be roll-init's", []string{"CMD", "/health.sh"}, "init", false, ""},
		{"none", nil, "init", false, ""},
	} {
		if got := blind(test.test); got != test.blind {
			t.Errorf("%s: blind is %t", test.name, got)
		}
		if got := unsure(test.way, test.test); got != test.warning {
			t.Errorf("%s: got warning %q, want %q", test.name, got, test.warning)
		}
	}
}
