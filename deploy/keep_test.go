package deploy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/deploy/deploytest"
)

func TestAReplicaThatCannotBeKeptDoesNotHoldUpTheRoll(t *testing.T) {
	refusal := errors.New("the storage driver shows no changes")
	for _, test := range []struct {
		name   string
		gone   time.Duration // when the Engine can do it
		slow   time.Duration // how long it takes every time
		warned string
	}{
		{"it can after a while", 5 * time.Second, 0, ""},
		{"it never can", time.Hour, 0, refusal.Error()},
		{"it takes forever", 0, time.Hour, "what it was could not be read within 20s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, deploytest.Options{Replicas: 2}, func(s *stage) {
				var first time.Time
				s.session.Fault = func(call, _ string) deploytest.Fault {
					if call != "keep" {
						return deploytest.Fault{}
					}
					if first.IsZero() {
						first = time.Now()
					}
					if time.Since(first) < test.gone {
						return deploytest.Fault{Err: refusal}
					}
					return deploytest.Fault{Delay: test.slow}
				}
				result := s.run(s.t.Context(), v2, 2, compose.Update{})
				s.expect(result, deploy.Done, "web-3 v2 running healthy", "web-4 v2 running healthy")
				const unkept = "cannot be brought back if the roll fails from here on: "
				if said := strings.Join(result.Warnings, "\n"); strings.Contains(said, unkept) != (test.warned != "") || !strings.Contains(said, test.warned) {
					t.Errorf("warnings %q", result.Warnings)
				}
			})
		})
	}
}
