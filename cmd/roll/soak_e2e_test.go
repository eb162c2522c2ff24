//go:build e2e

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"

	"github.com/roll-deploy/roll/internal/lab"
	"github.com/roll-deploy/roll/internal/probe"
)

// soak is a small service that rolls fast, with a volume that nobody names.
const soak = `
services:
  web:
    image: roll-lab/replica:${VERSION:-v1}
    environment: {MARKER: /tmp/drain}
    volumes: [/data]
    stop_grace_period: 5s
    healthcheck: {test: ["CMD", "/replica", "health"], interval: 200ms, timeout: 5s, retries: 1}
    deploy: {replicas: 1, update_config: {monitor: 0s}}
    labels:
      traefik.enable: "true"
      traefik.http.routers.web.rule: PathPrefix(` + "`/`" + `)
      traefik.http.services.web.loadbalancer.server.port: "8080"
      roll.flip.file: /tmp/drain
`

// holding is what this process and the Engine hold.
type holding struct {
	goroutines, files           int
	heap                        uint64
	containers, volumes, images int
}

func (h holding) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %d KiB; %d containers, %d volumes, %d images", h.goroutines, h.files, h.heap>>10, h.containers, h.volumes, h.images)
}

// hold counts, on the Engine, what belongs to a project: its containers and
// roll's, the replicas' volumes and images.
func hold(t *testing.T, l *lab.Lab, p *lab.Project, seen map[string]bool) holding {
	t.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	h := holding{goroutines: runtime.NumGoroutine(), files: len(files), heap: m.HeapAlloc}
	for _, label := range []string{"com.docker.compose.project=" + p.Name, "roll.history=" + p.Name + "/web", "roll.lock=" + p.Name} {
		found, err := l.Docker.ContainerList(t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", label))})
		if err != nil {
			t.Fatal(err)
		}
		h.containers += len(found)
	}
	volumes, err := l.Docker.VolumeList(t.Context(), volume.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	images, err := l.Docker.ImageList(t.Context(), image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", "roll-lab/replica"))})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes.Volumes {
		if seen[v.Name] {
			h.volumes++
		}
	}
	h.images = len(images)
	return h
}

// see notes the volumes of the replicas that are there.
func see(t *testing.T, l *lab.Lab, p *lab.Project, seen map[string]bool) {
	t.Helper()
	found, err := p.Containers(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range found {
		for _, m := range c.Mounts {
			if m.Type == mount.TypeVolume {
				seen[m.Name] = true
			}
		}
	}
}

// One process makes many rolls, as a server that deploys would. SOAK_ROLLS
// says how many; `make soak` makes a thousand.
func TestManyRollsInARowLeaveNothingBehindAndLoseNothing(t *testing.T) {
	rolls := 20
	if n, err := strconv.Atoi(os.Getenv("SOAK_ROLLS")); err == nil {
		rolls = n
	}
	const warm = 8 // the history is full, the client's connections are there
	limit := time.Duration(1<<63 - 1)
	if d, err := time.ParseDuration(os.Getenv("SOAK_TIME")); err == nil {
		limit = d
	}
	l := lab.New(t)
	for _, version := range []string{"v1", "v2"} {
		if _, err := l.Replica(t.Context(), version); err != nil {
			t.Fatal(err)
		}
	}
	p := l.Project(t, lab.Source{Compose: soak, TraefikArgs: []string{"--providers.providersthrottleduration=100ms"}})
	if err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitServers(t.Context(), "web", 1); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	t.Cleanup(func() { // those that the history keeps are nobody else's to remove
		for name := range seen {
			if err := l.Docker.VolumeRemove(context.WithoutCancel(t.Context()), name, false); err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
				t.Error(err)
			}
		}
	})
	load, err := probe.New(probe.Config{URL: p.URL, Rate: 20})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reports := make(chan probe.Report, 1)
	go func() {
		report, err := load.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		reports <- report
	}()

	var early holding
	began, made := time.Now(), 0
	for ; made < rolls && (made <= warm || time.Since(began) < limit); made++ {
		if made == warm {
			early = hold(t, l, p, seen)
		}
		see(t, l, p, seen)
		var out, progress bytes.Buffer
		environ := append(p.Env(), "VERSION=v"+strconv.Itoa(2-made%2))
		code := Run(t.Context(), []string{"roll", "-H", l.Engine.Host, "-f", filepath.Join(p.Dir, "compose.yaml"), "--traefik", p.API, "--progress", "plain", "up", "web"},
			Streams{In: bytes.NewReader(nil), Out: &out, Err: &progress, Environ: environ})
		if code != 0 {
			t.Errorf("roll %d exited with %d:\n%s\n%s", made+1, code, &progress, &out)
			break
		}
	}
	took := time.Since(began)
	stop()
	report := <-reports
	late := hold(t, l, p, seen) // without the requests of the load that are on their way
	t.Logf("%d rolls in %s, %s each\nafter %d: %s\nat the end: %s\n%d requests, %d failed, %d not sent", made, took.Round(time.Second), (took / time.Duration(max(1, made))).Round(time.Millisecond),
		warm, early, late, report.Sent, report.Failed, report.NotSent)
	if report.Failed+report.NotSent > 0 || report.Sent == 0 {
		t.Errorf("requests were lost:\n%s", report)
	}
	if t.Failed() || made <= warm {
		return // there is nothing to compare
	}
	if len(seen) < made {
		t.Errorf("%d rolls, and only %d volumes: replicas were to have one of their own", made, len(seen))
	}
	if late.containers != early.containers || late.volumes > early.volumes || late.images > early.images {
		t.Errorf("the Engine holds more: %s, was %s", late, early)
	}
	// A connection of a client comes and goes.
	const few, heap = 12, 4 << 20
	if late.goroutines > early.goroutines+few || late.files > early.files+few || late.heap > early.heap+heap {
		t.Errorf("this process holds more: %s, was %s", late, early)
		_ = pprof.Lookup("goroutine").WriteTo(t.Output(), 1)
	}
}
