//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/roll-deploy/roll/internal/lab"
)

// brokenCompose makes roll call Compose through a script of the project that
// does as script says with a call that creates containers, "$@" being its
// arguments, and passes everything else on.
func brokenCompose(t *testing.T, p *lab.Project, script string) {
	t.Helper()
	path := filepath.Join(p.Dir, "compose.sh")
	text := "#!/bin/sh\ncase \" $* \" in\n*\" --dry-run \"*) ;;\n*\" up \"*)\n" + script + "\n;;\nesac\nexec docker compose \"$@\"\n"
	must(t, os.WriteFile(path, []byte(text), 0o755))
	p.Setenv("ROLL_COMPOSE", path)
}

// What fails before a new replica runs changes nothing: the same containers
// serve, and the message names the cause.
func TestWhatFailsBeforeAReplicaRunsChangesNothing(t *testing.T) {
	t.Parallel()
	p := started(t, 3)
	was := standing(t, p)
	l := loadOf(t, p.URL, 12)
	for _, test := range []struct {
		name    string
		version string
		compose string // what it does instead
		says    []string
	}{
		{"an image that cannot be pulled", "no-such-version", "", []string{"roll-lab/replica:no-such-version"}},
		{"Compose fails before it creates anything", "v2", `echo "Error response from daemon: no space left on device" >&2; exit 1`, []string{"no space left on device"}},
		{
			"Compose fails after the first of three", "v2",
			`shift_scale() { for a in "$@"; do case "$a" in web=*) echo web=4;; *) echo "$a";; esac; done; }
			docker compose $(shift_scale "$@"); echo "Error response from daemon: no space left on device" >&2; exit 1`,
			[]string{"no space left on device"},
		},
		{"Compose fails although all three run", "v2", `docker compose "$@"; echo "post_start hook exited with status 1" >&2; exit 1`, []string{"post_start hook exited with status 1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.Setenv("VERSION", test.version)
			p.Setenv("ROLL_COMPOSE", "")
			if test.compose != "" {
				brokenCompose(t, p, test.compose)
			}
			l.mark(test.name)
			o := plain(t, p, "up", "web")
			if o.code != 1 && o.code != 2 {
				t.Errorf("want exit code 1 or 2: %s", o)
			}
			for _, says := range test.says {
				if !strings.Contains(o.stdout+o.stderr, says) {
					t.Errorf("the output does not say %q: %s", says, o)
				}
			}
			if now := standing(t, p); !slices.Equal(now, was) {
				t.Errorf("containers were %v, are %v", was, now)
			}
			isUnlocked(t, p)
		})
	}
	l.lost(t)
	p.Setenv("ROLL_COMPOSE", "")
	p.Setenv("VERSION", "v2")
	succeeds(t, p, "up", "web")
}

// standing are the ids of the service's containers and their states.
func standing(t *testing.T, p *lab.Project) []string {
	t.Helper()
	found, err := p.Containers(t.Context(), "web")
	must(t, err)
	var all []string
	for _, c := range found {
		all = append(all, c.ID[:12]+" "+c.State)
	}
	return all
}
