//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/roll-deploy/roll/internal/lab"
)

// remembered is one line of roll history --format json.
type remembered struct {
	Number int `json:"number"`
	By     struct {
		Who     string `json:"who"`
		Host    string `json:"host"`
		Command string `json:"command"`
	} `json:"by"`
	Kept   any     `json:"kept"`
	Before version `json:"was"`
	Then   version `json:"became"`
	Count  int     `json:"replicas"`
}

type version struct {
	ImageID string `json:"image_id"`
	Hash    string `json:"hash"`
}

func history(t *testing.T, p *lab.Project) []remembered {
	t.Helper()
	o := exits(t, command(t.Context(), p, "history", "web", "--format", "json", "--traefik", p.API))
	var all []remembered
	if err := json.Unmarshal([]byte(o.stdout), &all); err != nil || o.code != 0 {
		t.Fatalf("roll history: %v: %s", err, o)
	}
	return all
}

// The tag moves from one version to the other, so that nothing but what roll
// has kept leads back to the first one.
func TestARollbackBringsBackWhatRanBeforeAndLosesNoRequest(t *testing.T) {
	t.Parallel()
	tag := "roll-lab/rollback:" + strings.ToLower(rand.Text()[:10])
	moveTo := func(version string) string {
		t.Helper()
		must(t, theLab.Docker.ImageTag(t.Context(), "roll-lab/replica:"+version, tag))
		found, err := theLab.Docker.ImageInspect(t.Context(), tag)
		must(t, err)
		return found.ID
	}
	first := moveTo("v1")
	t.Cleanup(func() {
		if _, err := theLab.Docker.ImageRemove(context.WithoutCancel(t.Context()), tag, image.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	p := theLab.Project(t, lab.Source{Compose: strings.Replace(fallible, "roll-lab/replica:${VERSION:-v1}", tag, 1), Env: []string{"REPLICAS=3", "GRACE_FOR=10s"}})
	must(t, os.MkdirAll(filepath.Join(p.Dir, "shared"), 0o777))
	must(t, p.Up(t.Context()))
	must(t, p.WaitServers(t.Context(), "web", 3))
	if o := roll(t, p, "rollback", "web"); o.code != 2 || !strings.Contains(o.stderr, "nothing is known of what ran before") {
		t.Errorf("a rollback without a history: %s", o)
	}
	before := kept(t, p)

	l := startLoad(t, p.URL)
	second := moveTo("v2")
	// The way back must not depend on the file, either.
	p.Setenv("GRACE_FOR", "11s")
	l.mark("roll")
	succeeds(t, p, "up", "web")
	serves(t, p, 3, "v2")
	entries := history(t, p)
	if len(entries) != 1 || entries[0].Number != 1 || entries[0].Before.ImageID != first || entries[0].Then.ImageID != second || entries[0].Count != 3 || entries[0].By.Host == "" || !strings.Contains(entries[0].By.Command, "up") {
		t.Errorf("history %+v", entries)
	}
	if entries[0].Kept != nil {
		t.Error("the history shows what the replicas were given")
	}
	references(t, p, first)

	l.mark("rollback")
	o := succeeds(t, p, "rollback", "web")
	if r := o.result(t); r.Outcome != "done" || !r.Proven || len(r.Created) != 3 || len(r.Removed) != 3 {
		t.Errorf("rollback: %+v", r)
	}
	serves(t, p, 3, "v1")
	l.lost(t)
	for name, now := range kept(t, p) {
		if _, there := before[name]; there {
			t.Errorf("%s has a number that was used before", name)
		}
		for _, was := range before {
			if now.image != was.image || now.hash != was.hash || now.files != was.files || now.volume == was.volume {
				t.Errorf("%s is %+v, was %+v", name, now, was)
			}
		}
	}
	entries = history(t, p)
	if len(entries) != 2 || entries[0].Before.ImageID != second || entries[0].Then.ImageID != first || entries[1].Number != 1 {
		t.Errorf("history after the rollback %+v", entries)
	}
	references(t, p, first, second)
	if o := roll(t, p, "rollback", "web", "--to", "1"); o.code != 0 || o.result(t).Outcome != "up_to_date" {
		t.Errorf("a rollback to what runs already: %s", o)
	}
	if o := roll(t, p, "rollback", "web", "--to", "9"); o.code != 2 || !strings.Contains(o.stderr, "has no entry 9") {
		t.Errorf("a rollback to nothing: %s", o)
	}
	succeeds(t, p, "up", "web")
	serves(t, p, 3, "v2")
}

// references fails the test unless there is a container for each image that
// keeps it from `docker image prune`, and that Compose does not know of.
func references(t *testing.T, p *lab.Project, images ...string) {
	t.Helper()
	found, err := theLab.Docker.ContainerList(t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "roll.history="+p.Name+"/web"))})
	must(t, err)
	var kept []string
	for _, c := range found {
		kept = append(kept, c.ImageID)
		if c.State != "created" || c.Labels["com.docker.compose.project"] != "" {
			t.Errorf("%v is %s, labels %v", c.Names, c.State, c.Labels)
		}
	}
	for _, id := range images {
		if !slices.Contains(kept, id) {
			t.Errorf("no container keeps image %s; there are %v", id, kept)
		}
	}
}
