//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// A user wants to see that his application got its stop signal: the last line of
// a replica that leaves is shown although its container is removed at once.
func TestLogsShowTheLastLinesOfReplicasThatLeave(t *testing.T) {
	t.Parallel()
	p := started(t, 2)
	before := names(t, p, "web")
	p.Setenv("VERSION", "v2")
	o := succeeds(t, p, "up", "web", "--logs")
	last, first := map[string]string{}, map[string]string{}
	for _, l := range o.lines {
		if l.Type == "output" {
			last[l.Replica] = l.Detail
			if first[l.Replica] == "" {
				first[l.Replica] = l.Detail
			}
		}
	}
	for _, name := range before {
		if !strings.HasSuffix(last[name], " bye") {
			t.Errorf("the last line of %s is %q, want what it writes when it ends", name, last[name])
		}
		if strings.Contains(first[name], "serving on") {
			t.Errorf("%s is shown from its start, want it from its turn on", name)
		}
	}
	for _, name := range names(t, p, "web") {
		if !strings.Contains(first[name], "serving on") {
			t.Errorf("the first line of %s is %q, want what it writes when it starts", name, first[name])
		}
	}
}
