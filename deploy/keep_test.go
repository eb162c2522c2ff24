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
		warned bool
	}{
		{"it can after a while", 5 * time.Second, false},
		{"it never can", time.Hour, true},
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
					return deploytest.Fault{}
				}
				result := s.run(s.t.Context(), v2, 2, compose.Update{})
				s.expect(result, deploy.Done, "web-3 v2 running healthy", "web-4 v2 running healthy")
				warned := strings.Contains(strings.Join(result.Warnings, "\n"), "cannot be brought back if the roll fails from here on: "+refusal.Error())
				if warned != test.warned {
					t.Errorf("warnings %q", result.Warnings)
				}
			})
		})
	}
}
