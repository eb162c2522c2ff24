//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/roll-deploy/roll/internal/lab"
)

// A flip that does nothing is found out by the first probe that passes after
// it; the old version is put back and the new one leaves, with a warning.
func TestAFlipThatDoesNothingIsFoundOutAndUndone(t *testing.T) {
	t.Parallel()
	const labels = "      roll.flip.http: /sethealth/ko\n      roll.unflip.http: /sethealth/ok\n"
	for _, test := range []struct{ name, labels, says string }{
		{"a command without effect", `      roll.flip.exec: "/replica health"` + "\n" + `      roll.unflip.exec: "/replica health"` + "\n", "the flip (exec /replica health) does nothing"},
		{"a route that is not there", "      roll.flip.http: /no/such/ko\n      roll.unflip.http: /no/such/ok\n", "status 404 Not Found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := theLab.Project(t, lab.Source{Compose: strings.Replace(app, labels, test.labels, 1), Env: []string{"REPLICAS=2", "INTERVAL=3s"}})
			must(t, p.Up(t.Context()))
			must(t, p.WaitServers(t.Context(), "web", 2))
			was := names(t, p, "web")
			p.Setenv("VERSION", "v2")
			l := loadOf(t, p.URL, 12)
			o := roll(t, p, "up", "web")
			l.end(t)
			result := o.result(t)
			if o.code != 3 || result.Outcome != "rolled_back" || result.Proven || !strings.Contains(o.stdout, test.says) {
				t.Errorf("want exit code 3 because of %q: %s", test.says, o)
			}
			if now := names(t, p, "web"); !slices.Equal(now, was) {
				t.Errorf("replicas were %v, are %v", was, now)
			}
			for _, l := range o.lines {
				if l.Type == "phase" && l.Role == "old" && l.Phase == "stopping" {
					t.Errorf("%s was stopped", l.Replica)
				}
			}
			if !strings.Contains(o.stdout, "does not hear its flip") {
				t.Errorf("roll did not say what it stopped: %s", o)
			}
			// What was lost is what Traefik sent to the new ones until it noticed.
			if l.failed > l.sent/10 {
				t.Errorf("%d of %d requests failed:\n%s", l.failed, l.sent, strings.Join(l.texts, "\n"))
			}
			serves(t, p, 2, "v1")
		})
	}
}

func TestThePlanShowsHowLongASlowHealthcheckTakes(t *testing.T) {
	t.Parallel()
	p := theLab.Project(t, lab.Source{Compose: strings.Replace(app, "      timeout:", "      start_period: 1s\n      timeout:", 1), Env: []string{"REPLICAS=1", "RETRIES=3"}})
	must(t, p.Up(t.Context()))
	must(t, p.WaitServers(t.Context(), "web", 1))
	p.Setenv("INTERVAL", "90s") // of the new ones: the old one is told by its own
	p.Setenv("VERSION", "v2")
	o := plain(t, p, "up", "web", "--dry-run")
	if o.code != 0 || !strings.Contains(o.stdout, "3 x interval 1s") || !strings.Contains(o.stdout, "3 x (interval 1m30s + timeout 5s)") {
		t.Errorf("the plan does not show the budgets: %s", o)
	}
}
