//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/roll-deploy/roll/internal/lab"
)

// fallible is the app with what the tests of bad versions need beside it: a
// folder in which starts are counted, and what a restored replica must have
// again.
var fallible = strings.NewReplacer(
	"    stop_grace_period", "    volumes: [\"./shared:/shared\", /own]\n    configs: [settings]\n    stop_grace_period",
	"        parallelism: ${PARALLELISM:-0}\n", "        parallelism: ${PARALLELISM:-0}\n        monitor: ${MONITOR:-5s}\n",
).Replace(app) + `
configs:
  settings:
    content: "listen: 8080"
`

// bad brings up n replicas of v1 and points the project at a version that
// fails in the way that env says.
func bad(t *testing.T, n int, version string, env ...string) *lab.Project {
	t.Helper()
	_, err := theLab.Replica(t.Context(), version, env...)
	must(t, err)
	p := theLab.Project(t, lab.Source{Compose: fallible, Env: []string{fmt.Sprintf("REPLICAS=%d", n)}})
	must(t, os.MkdirAll(filepath.Join(p.Dir, "shared"), 0o777))
	must(t, p.Up(t.Context()))
	must(t, p.WaitServers(t.Context(), "web", n))
	p.Setenv("VERSION", version)
	return p
}

// serves fails the test unless the service consists of n healthy replicas of a
// version, all of them routed, and nothing else.
func serves(t *testing.T, p *lab.Project, n int, version string) {
	t.Helper()
	must(t, p.WaitServers(t.Context(), "web", n))
	found, err := p.Containers(t.Context(), "web")
	must(t, err)
	if len(found) != n {
		t.Errorf("there are %v, want %d", names(t, p, "web"), n)
	}
	for _, c := range found {
		full, err := theLab.Docker.ContainerInspect(t.Context(), c.ID)
		must(t, err)
		if full.State.Health == nil || full.State.Health.Status != "healthy" || !slices.Contains(full.Config.Env, "VERSION="+version) {
			t.Errorf("%s: %s, environment %v; want a healthy one of %s", full.Name, full.State.Status, full.Config.Env, version)
		}
	}
	for range 2 * n {
		resp, err := http.Get(p.URL + "/")
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		must(t, err)
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), version+" ") {
			t.Errorf("answer %s %q, want %s", resp.Status, body, version)
		}
	}
}

// plain runs roll as a person sees it.
func plain(t *testing.T, p *lab.Project, args ...string) outcome {
	t.Helper()
	return exits(t, command(t.Context(), p, append(args, "--progress", "plain", "--traefik", p.API)...))
}

func TestABadVersionIsRolledBackWithoutALostRequest(t *testing.T) {
	for _, test := range []struct {
		name     string
		replicas int
		env      []string
		settings []string
		wants    []string // what the output says
		restored int      // at least so many old replicas were removed and made again
		abrupt   bool     // it dies while it is routed: what Traefik sends it until it notices is lost, whatever roll does
	}{
		{
			name: "it crashes at its start", replicas: 3, env: []string{"CRASH=true"},
			wants: []string{"exited with code 3", "log: ", "crashing as asked"},
		},
		{
			name: "it never becomes healthy", replicas: 3, env: []string{"NEVER_HEALTHY=true"},
			wants: []string{"unhealthy", "health: exit code 1", "answered 503", "serving on"},
		},
		{
			name: "one dies after the old ones are gone", replicas: 3, env: []string{"DIE_AFTER=40s", "FAULTS_FROM=3:/shared/start"}, settings: []string{"MONITOR=2m"},
			wants: []string{"exited with code 1", "after it came into service", "dying as asked"}, restored: 3, abrupt: true,
		},
		{
			name: "one turns unhealthy after the old ones are gone, and then dies", replicas: 3, env: []string{"SICK_AFTER=40s", "DIE_AFTER=52s", "FAULTS_FROM=3:/shared/start"}, settings: []string{"MONITOR=2m"},
			wants: []string{"unhealthy", "after it came into service", "answered 503"}, restored: 3,
		},
		{
			name: "the fifth of six crashes, two at a time", replicas: 6, env: []string{"CRASH=true", "FAULTS_FROM=5:/shared/start"}, settings: []string{"PARALLELISM=2"},
			wants: []string{"exited with code 3", "crashing as asked"}, restored: 2,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			version := "bad-" + strings.ReplaceAll(test.name, " ", "-")
			version = strings.ReplaceAll(version, ",", "")
			p := bad(t, test.replicas, version, test.env...)
			before := kept(t, p)
			for _, setting := range test.settings {
				name, value, _ := strings.Cut(setting, "=")
				p.Setenv(name, value)
			}
			l := startLoad(t, p.URL)
			o := plain(t, p, "up", "web", "--keep-failed")
			serves(t, p, test.replicas, "v1")
			if test.abrupt {
				l.end(t)
			} else {
				l.lost(t)
			}
			t.Logf("%s", o)
			if o.code != 3 {
				t.Errorf("exit code %d, want 3", o.code)
			}
			for _, want := range append(test.wants, "the old version serves") {
				if !strings.Contains(o.stdout+o.stderr, want) {
					t.Errorf("the output does not say %q", want)
				}
			}
			exhibit(t, p, o)
			after := kept(t, p)
			changed := 0
			for name, was := range before {
				now, there := after[name]
				if now.id != was.id {
					changed++
				}
				now.id = was.id
				if !there || now != was {
					t.Errorf("%s is %+v, was %+v", name, now, was)
				}
			}
			if changed < test.restored {
				t.Errorf("%d replicas were made again, want %d: the fault came too early to show anything", changed, test.restored)
			}
		})
	}
}

// replica is what must be the same of an old replica before and after.
type replica struct{ id, image, hash, number, volume, files string }

func kept(t *testing.T, p *lab.Project) map[string]replica {
	t.Helper()
	found, err := p.Containers(t.Context(), "web")
	must(t, err)
	all := map[string]replica{}
	for _, c := range found {
		full, err := theLab.Docker.ContainerInspect(t.Context(), c.ID)
		must(t, err)
		settings, err := theLab.Docker.ContainerStatPath(t.Context(), c.ID, "/settings")
		must(t, err)
		volume := ""
		for _, m := range full.Mounts {
			if m.Destination == "/own" {
				volume = m.Name
			}
		}
		label := func(name string) string { return full.Config.Labels["com.docker.compose."+name] }
		all[full.Name] = replica{c.ID, full.Image, label("config-hash"), label("container-number"), volume, fmt.Sprint("/settings: ", settings.Size, " ", settings.Mode)}
	}
	return all
}

// exhibit fails the test unless --keep-failed left one copy of a failed
// replica, that is nobody's replica and tells why it failed.
func exhibit(t *testing.T, p *lab.Project, o outcome) {
	t.Helper()
	found, err := theLab.Docker.ContainerList(t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("name", "roll-failed-"+p.Name))})
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("%d copies of failed replicas", len(found))
	}
	name := strings.TrimPrefix(found[0].Names[0], "/")
	if found[0].State != "created" || found[0].Labels["com.docker.compose.project"] != "" || found[0].Labels["traefik.enable"] != "" || !strings.Contains(o.stderr, "docker start -a "+name) {
		t.Errorf("%s is %s, labels %v", name, found[0].State, found[0].Labels)
	}
	body, _, err := theLab.Docker.CopyFromContainer(t.Context(), name, "/roll-failed.log")
	must(t, err)
	defer body.Close()
	text, err := io.ReadAll(body)
	must(t, err)
	if !strings.Contains(string(text), "bad-") {
		t.Errorf("its log: %q", text)
	}
	_, err = theLab.Docker.ContainerStatPath(t.Context(), name, "/settings")
	must(t, err)
}
