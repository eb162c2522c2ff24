//go:build e2e

package compose

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// leases brings a store on the Engine with an image of one file, which carries
// the labels of an image that Compose built, and a project of its own.
func leases(t *testing.T) (store *Leases, api *client.Client, project string) {
	t.Helper()
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	project = "rolllease-" + strings.ToLower(rand.Text()[:8])
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "mark", Mode: 0o644, Size: int64(len(project))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(project)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ref := project + ":1"
	answer, err := api.ImageImport(t.Context(), image.ImportSource{Source: &layer, SourceName: "-"}, ref, image.ImportOptions{Changes: []string{
		"LABEL com.docker.compose.project=" + project + " com.docker.compose.service=web traefik.enable=true", "VOLUME /data",
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer)
	_ = answer.Close()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := api.ContainerRemove(ctx, leaseName(project), container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !cerrdefs.IsNotFound(err) {
			t.Error(err)
		}
		if _, err := api.ImageRemove(ctx, ref, image.RemoveOptions{}); err != nil {
			t.Error(err)
		}
		_ = api.Close()
	})
	return NewLeases(api, "roll-no-such-image:1", ref), api, project
}

func TestALeaseIsClaimedReadWrittenAndReleasedOnARealEngine(t *testing.T) {
	store, api, project := leases(t)
	ctx := t.Context()
	if _, _, err := store.Read(ctx, project); !errors.Is(err, ErrGone) {
		t.Fatalf("read before anybody claimed it: %v, want ErrGone", err)
	}
	id, err := store.Claim(ctx, project, []byte("first\n"))
	if err != nil {
		t.Fatal(err)
	}
	reads := func(want string) {
		t.Helper()
		got, content, err := store.Read(ctx, project)
		if err != nil || got != id || string(content) != want {
			t.Errorf("read %s %q, %v; want %s %q", got, content, err, id, want)
		}
	}
	reads("first\n")
	for _, content := range []string{`{"beat":1}`, `{"beat":2,"phase":"a longer one"}`, "", "short"} {
		if err := store.Write(ctx, id, []byte(content)); err != nil {
			t.Fatal(err)
		}
		reads(content)
	}
	if _, err := store.Claim(ctx, project, nil); !errors.Is(err, ErrTaken) {
		t.Errorf("second claim: %v, want ErrTaken", err)
	}

	// Nobody takes it for a replica.
	c, err := api.ContainerInspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if c.State.Status != "created" || c.Config.Labels[labelLease] != project || c.Config.Labels[labelProject] != "" || c.Config.Labels["traefik.enable"] != "" {
		t.Errorf("state %s, labels %v", c.State.Status, c.Config.Labels)
	}
	if replicas, err := NewEngine(api).AllReplicas(ctx, project); err != nil || len(replicas) != 0 {
		t.Errorf("replicas %+v, %v", replicas, err)
	}
	if err := api.ContainerStart(ctx, id, container.StartOptions{}); err == nil {
		t.Error("the container of the lease started")
	}

	var volumes []string
	for _, m := range c.Mounts {
		volumes = append(volumes, m.Name)
	}
	if err := store.Release(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := store.Release(ctx, id); err != nil {
		t.Errorf("second release: %v", err)
	}
	if err := store.Write(ctx, id, []byte("x")); !errors.Is(err, ErrGone) {
		t.Errorf("write after the release: %v, want ErrGone", err)
	}
	if _, _, err := store.Read(ctx, project); !errors.Is(err, ErrGone) {
		t.Errorf("read after the release: %v, want ErrGone", err)
	}
	for _, v := range volumes {
		if _, err := api.VolumeInspect(ctx, v); !cerrdefs.IsNotFound(err) {
			t.Errorf("volume %s of the lease is still there (%v)", v, err)
		}
	}
	if len(volumes) != 1 {
		t.Errorf("volumes %v, want one", volumes)
	}
}

func TestOfManyClaimsAtOnceOneSucceedsOnARealEngine(t *testing.T) {
	store, _, project := leases(t)
	const many = 8
	for round := range 3 {
		ids := make([]string, many)
		errs := make([]error, many)
		var group sync.WaitGroup
		for i := range many {
			group.Go(func() { ids[i], errs[i] = store.Claim(t.Context(), project, fmt.Append(nil, i)) })
		}
		group.Wait()
		winner := slices.Index(errs, nil)
		for i, err := range errs {
			if (i == winner) != (err == nil) || err != nil && !errors.Is(err, ErrTaken) {
				t.Errorf("round %d, claim %d: %v", round, i, err)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody got it", round)
		}
		id, content, err := store.Read(t.Context(), project)
		if err != nil || id != ids[winner] || string(content) != fmt.Sprint(winner) {
			t.Errorf("round %d: read %s %q, %v; want %s %d", round, id, content, err, ids[winner], winner)
		}
		if err := store.Release(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAContainerOfOthersWithTheNameOfTheLeaseIsLeftAlone(t *testing.T) {
	store, api, project := leases(t)
	created, err := api.ContainerCreate(t.Context(), &container.Config{Image: project + ":1", Entrypoint: []string{"/mark"}}, nil, nil, nil, leaseName(project))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Read(t.Context(), project); err == nil || errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "it is not roll's") {
		t.Errorf("read: %v", err)
	}
	if _, err := api.ContainerInspect(t.Context(), created.ID); err != nil {
		t.Error(err)
	}
}

func TestADaemonWithoutTheImagesThatWereNamedUsesAnyOther(t *testing.T) {
	_, api, project := leases(t)
	store := NewLeases(api, "roll-no-such-image:1")
	id, err := store.Claim(t.Context(), project, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Write(t.Context(), id, []byte("now")); err != nil {
		t.Error(err)
	}
	if err := store.Release(t.Context(), id); err != nil {
		t.Error(err)
	}
}
