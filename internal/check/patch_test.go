package check

import (
	"strings"
	"testing"
)

func TestAPatchKeepsTheFile(t *testing.T) {
	const file = `# the shop
services:
  web: # in front
    image: shop/web:2   # pinned

    # signals
    stop_grace_period: 5s # too short?
    command: ["sh", "-c", "node server.js"]
    healthcheck:
      # asks the application
      test: ["CMD", "curl", "-f", "http://localhost/"]
      interval: "30s"
  db: {image: postgres}
  "odd name":
      image: odd
  # the end
`
	for _, c := range []struct {
		name  string
		edits []Edit
		want  string // lines that change
		left  int    // edits that were not made
	}{
		{"a key that is not there comes first", []Edit{{"web", []string{"stop_signal"}, "SIGQUIT"}}, "+    stop_signal: SIGQUIT", 0},
		{"a value keeps its comment", []Edit{{"web", []string{"stop_grace_period"}, "35s"}}, "-    stop_grace_period: 5s # too short?\n+    stop_grace_period: 35s # too short?", 0},
		{"a quoted value, in a section that is there", []Edit{{"web", []string{"healthcheck", "interval"}, "2s"}}, `-      interval: "30s"` + "\n+      interval: 2s", 0},
		{"a key in a section that is there", []Edit{{"web", []string{"healthcheck", "retries"}, "2"}}, "+      retries: 2", 0},
		{"a list on one line", []Edit{{"web", []string{"command"}, `["node", "server.js"]`}}, "-    command: [\"sh\", \"-c\", \"node server.js\"]\n+    command: [\"node\", \"server.js\"]", 0},
		{"a section that is not there", []Edit{{"odd name", []string{"healthcheck", "interval"}, "2s"}}, "+      healthcheck:\n+        interval: 2s", 0},
		{"two changes of one key are one", []Edit{{"web", []string{"init"}, "true"}, {"web", []string{"init"}, "true"}}, "+    init: true", 0},
		{"several", []Edit{{"web", []string{"init"}, "true"}, {"web", []string{"stop_grace_period"}, "35s"}}, "+    init: true\n-    stop_grace_period: 5s # too short?\n+    stop_grace_period: 35s # too short?", 0},
		{"a service in the flow style is left to a person", []Edit{{"db", []string{"stop_signal"}, "SIGINT"}}, "", 1},
		{"so is a list over several lines", []Edit{{"web", []string{"healthcheck"}, "x"}}, "", 1},
		{"a service that is not there", []Edit{{"none", []string{"init"}, "true"}}, "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			patch, unmade, err := Patch("compose.yaml", []byte(file), c.edits)
			if err != nil {
				t.Fatal(err)
			}
			var changed []string
			for line := range strings.Lines(string(patch)) {
				if line = strings.TrimRight(line, "\n"); strings.HasPrefix(line, "+") && !strings.HasPrefix(line, "+++") || strings.HasPrefix(line, "-") && !strings.HasPrefix(line, "---") {
					changed = append(changed, line)
				}
			}
			if got := strings.Join(changed, "\n"); got != c.want || len(unmade) != c.left {
				t.Errorf("got\n%s\nwant\n%s\nunmade %v\n%s", got, c.want, unmade, patch)
			}
		})
	}
}

func TestAPatchOfAFileThatDoesNotEndInALine(t *testing.T) {
	patch, unmade, err := Patch("compose.yaml", []byte("services:\n  web:\n    image: web"), []Edit{{"web", []string{"init"}, "true"}})
	if err != nil || len(unmade) > 0 || !strings.Contains(string(patch), "+    init: true") {
		t.Errorf("%v %v\n%s", err, unmade, patch)
	}
}
