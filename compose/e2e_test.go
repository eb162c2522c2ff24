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
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// program is what the replicas run: a server of nothing that ends at SIGTERM,
// its own healthcheck, and a hook.
const program = `package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "health":
		fmt.Println("fine")
		return
	case len(os.Args) > 1 && os.Args[1] == "drain":
		fmt.Println("drained", os.Getenv("WHO"))
		return
	case len(os.Args) > 1 && os.Args[1] == "refuse":
		fmt.Println("not now")
		os.Exit(3)
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	fmt.Println("up")
	select {
	case <-c:
	case <-time.After(time.Hour):
	}
	fmt.Println("down")
}
`

const shop = `services:
  web:
    image: ${IMAGE}
    env_file: web.env
    environment: [PWD_AT=$PWD]
    volumes:
      - ./data.txt:/data.txt:ro
      - data:/data
    networks: [front]
    secrets: [inline, fromenv]
    configs: [settings]
    labels: {tier: front}
    stop_grace_period: 5s
    healthcheck: {test: [CMD, /app, health], interval: 500ms, retries: 2}
    deploy: {replicas: 2}
  built:
    image: ${IMAGE}
    build: .
  tagless:
    build: .
  side:
    image: ${IMAGE}
    network_mode: service:web
networks: {front: {}}
volumes: {data: {}}
secrets:
  inline: {environment: SECRET}
  fromenv: {file: ./data.txt}
configs:
  settings: {content: "x=1"}
`

type world struct {
	dir     string
	environ []string
	name    string
	image   string
	api     *client.Client
	engine  *Engine
	cli     *CLI
	project *Project
	images  []string // ids
}

// open brings an image and a project of its own, and removes both at the end.
func open(t *testing.T, file string) *world {
	t.Helper()
	name := "roll-compose-" + strings.ToLower(rand.Text()[:8])
	w := &world{dir: t.TempDir(), name: name, image: name + ":1"}
	w.environ = append(os.Environ(), "IMAGE="+w.image, "SECRET=hush", "COMPOSE_PROJECT_NAME="+name)
	for path, content := range map[string]string{"compose.yaml": file, "web.env": "A=1\n", "data.txt": "hi\n"} {
		if err := os.WriteFile(filepath.Join(w.dir, path), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.api, err = client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.api.Close() })
	w.engine = NewEngine(w.api)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		w.compose(t, "down", "-v", "--remove-orphans", "-t", "1")
		for _, id := range w.images { // by id: two images may have had the tag
			if _, err := w.api.ImageRemove(ctx, id, image.RemoveOptions{Force: true}); err != nil {
				t.Error(err)
			}
		}
	})
	w.importImage(t, w.image, "")
	options := Options{WorkingDir: w.dir, Environ: w.environ}
	if w.project, err = Load(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	if w.cli, err = Find(t.Context(), Invocation{Options: options}); err != nil {
		t.Fatal(err)
	}
	return w
}

// importImage builds the program and imports it; mark makes images differ.
func (w *world) importImage(t *testing.T, ref, mark string) string {
	t.Helper()
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "app")
	if err := os.WriteFile(source, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	for name, content := range map[string][]byte{"app": content, "mark": []byte(mark)} {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	answer, err := w.api.ImageImport(t.Context(), image.ImportSource{Source: &layer, SourceName: "-"}, ref,
		image.ImportOptions{Changes: []string{"ENTRYPOINT [\"/app\"]"}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer)
	_ = answer.Close()
	id, err := w.engine.ImageID(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	w.images = append(w.images, id)
	return id
}

// compose calls the user's own program, as the user would.
func (w *world) compose(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", append([]string{"compose", "--progress", "plain"}, args...)...)
	cmd.Dir, cmd.Env = w.dir, w.environ
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker compose %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (w *world) replicas(t *testing.T, service string) []Replica {
	t.Helper()
	all, err := w.engine.Replicas(t.Context(), w.name, service)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// until waits for a condition on the replicas of web.
func (w *world) until(t *testing.T, what string, ok func([]Replica) bool) []Replica {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		all, err := w.engine.Replicas(ctx, w.name, "web")
		if err != nil {
			t.Fatalf("wait until %s: %v", what, err)
		}
		if ok(all) {
			return all
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited a minute until %s; last seen %+v", what, all)
		case <-ticker.C:
		}
	}
}

func allReady(all []Replica) bool {
	return !slices.ContainsFunc(all, func(r Replica) bool { return r.Health != Healthy })
}

func TestEngineOfOneRoll(t *testing.T) {
	w := open(t, shop)
	ctx := t.Context()

	// Nothing there yet: the rehearsal shows the first replicas, and what they need.
	actions, err := w.cli.Rehearse(ctx, "web", 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := Unexpected(actions, "web", nil, 2); len(got) > 0 {
		t.Errorf("first rehearsal: %q", got)
	}
	if got := w.replicas(t, "web"); len(got) != 0 {
		t.Fatalf("the rehearsal created %+v", got)
	}
	if err := w.cli.Create(ctx, "web", 2); err != nil {
		t.Fatal(err)
	}
	old := w.until(t, "two are healthy", func(all []Replica) bool { return len(all) == 2 && allReady(all) })

	// A quiet look costs one request while changes are heard.
	<-w.engine.Changes(ctx, w.name)
	w.replicas(t, "web")
	before := w.engine.Calls()
	w.replicas(t, "web")
	if got := w.engine.Calls() - before; got != 1 {
		t.Errorf("a look at unchanged replicas cost %d requests", got)
	}

	service, err := w.project.Service("web")
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range old {
		if r.Number != i+1 || r.Name != fmt.Sprintf("%s-web-%d", w.name, i+1) || r.Image != service.Image || r.Grace() != 5*time.Second ||
			r.Healthcheck.Interval != 500*time.Millisecond || len(r.Addresses) != 1 || len(r.Probes) == 0 || r.Labels["tier"] != "front" {
			t.Errorf("replica: %+v", r)
		}
		if !slices.Equal(r.Networks, service.Networks) {
			t.Errorf("networks %v, declared %v", r.Networks, service.Networks)
		}
		for _, m := range service.Volumes {
			if !slices.Contains(r.Mounts, m) {
				t.Errorf("mounts %+v lack %+v", r.Mounts, m)
			}
		}
	}

	id, err := w.engine.ImageID(ctx, w.image)
	if err != nil {
		t.Fatal(err)
	}
	current, err := w.cli.Stale(ctx, "web", 2)
	if err != nil {
		t.Fatal(err)
	}
	if reason, outdated := current.Outdated(old[0], id); outdated {
		t.Errorf("a new replica is outdated: %s", reason)
	}
	if old[0].Version != w.cli.Version() {
		t.Errorf("labelled by %s, version %s", old[0].Version, w.cli.Version())
	}

	// A new image behind the tag, then new replicas beside the old ones.
	newID := w.importImage(t, w.image, "second")
	if reason, outdated := current.Outdated(old[0], newID); !outdated || !strings.Contains(reason, "is now sha256:") {
		t.Errorf("got %q", reason)
	}
	if moved, err := w.cli.Stale(ctx, "web", 2); err != nil || len(moved) != 2 {
		t.Errorf("the tag moved: stale %v, %v", moved, err)
	}
	actions, err = w.cli.Rehearse(ctx, "web", 4)
	if err != nil {
		t.Fatal(err)
	}
	if got := Unexpected(actions, "web", old, 2); len(got) > 0 {
		t.Errorf("second rehearsal: %q", got)
	}
	if err := w.cli.Create(ctx, "web", 4); err != nil {
		t.Fatal(err)
	}
	all := w.until(t, "four are healthy", func(all []Replica) bool { return len(all) == 4 && allReady(all) })
	for i, r := range all {
		if fresh := i >= 2; (r.ImageID == newID) != fresh || r.Number != i+1 {
			t.Errorf("replica %d: number %d, image %s", i, r.Number, r.ImageID)
		}
	}

	if half, err := w.cli.Stale(ctx, "web", 4); err != nil || !slices.Equal(slices.Sorted(slices.Values(half)), []string{old[0].Name, old[1].Name}) {
		t.Errorf("two of four are outdated: stale %v, %v", half, err)
	}

	// The old ones leave.
	for _, r := range old {
		output, err := w.engine.Hook(ctx, r.ID, Hook{Command: []string{"/app", "drain"}, Environment: []string{"WHO=me"}})
		if err != nil || output != "drained me" {
			t.Errorf("hook: %q, %v", output, err)
		}
		if _, err := w.engine.Hook(ctx, r.ID, Hook{Command: []string{"/app", "refuse"}}); err == nil || !strings.Contains(err.Error(), "exit code 3: not now") {
			t.Errorf("failing hook: %v", err)
		}
		if _, err := w.engine.Hook(ctx, r.ID, Hook{Command: []string{"/nope"}}); err == nil {
			t.Error("hook without a program: no error")
		}
		if err := w.engine.Remove(ctx, r.ID); err == nil {
			t.Error("a running container was removed")
		}
		if err := w.engine.Stop(ctx, r.ID, nil); err != nil {
			t.Error(err)
		}
		if err := w.engine.Stop(ctx, r.ID, nil); err != nil {
			t.Errorf("stop what has ended: %v", err)
		}
		stopped, err := w.engine.Inspect(ctx, r.ID)
		if err != nil || stopped.State != Exited || stopped.ExitCode != 0 || stopped.Finished.IsZero() {
			t.Errorf("stopped: %+v, %v", stopped, err)
		}
		if lines, err := w.engine.Logs(ctx, r.ID, 1); err != nil || !slices.Equal(lines, []string{"down"}) {
			t.Errorf("logs: %q, %v", lines, err)
		}
		if _, err := w.engine.Hook(ctx, r.ID, Hook{Command: []string{"/app", "refuse"}}); err != nil {
			t.Errorf("hook in what has ended: %v", err)
		}
		if err := w.engine.Remove(ctx, r.ID); err != nil {
			t.Error(err)
		}
		if err := w.engine.Remove(ctx, r.ID); err != nil {
			t.Errorf("remove what is gone: %v", err)
		}
		if _, err := w.engine.Inspect(ctx, r.ID); !errors.Is(err, ErrGone) {
			t.Errorf("inspect what is gone: %v", err)
		}
	}
	if got := w.replicas(t, "web"); len(got) != 2 || got[0].Number != 3 {
		t.Errorf("left: %+v", got)
	}

	// Compose agrees: nothing to do.
	kept := w.replicas(t, "web")
	said := w.compose(t, "up", "-d", "--no-deps", "web")
	if strings.Contains(said, "Recreat") || strings.Contains(said, "Creat") || strings.Count(said, "Running") != 2 {
		t.Errorf("docker compose up after it: %s", said)
	}
	for i, r := range w.replicas(t, "web") {
		if r.ID != kept[i].ID || r.Started != kept[i].Started {
			t.Errorf("%s was touched", r.Name)
		}
	}
	if got, err := w.engine.AllReplicas(ctx, w.name); err != nil || len(got) != 2 {
		t.Errorf("all: %+v, %v", got, err)
	}
}

func TestStaleIsWhatComposeWouldReplaceForAllKindsOfServices(t *testing.T) {
	w := open(t, shop)
	w.importImage(t, w.name+"-tagless", "other")
	w.compose(t, "up", "-d", "--no-build")
	hashes, err := w.cli.Hash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	all, err := w.engine.AllReplicas(t.Context(), w.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		count[r.Service]++
		_, differs := Outdated(r, hashes[r.Service], "")
		t.Logf("%s: config --hash differs from the label: %v", r.Service, differs)
		if r.Service == "tagless" && differs {
			t.Errorf("the hash of a plain service differs: label %s, told %s", r.ConfigHash, hashes[r.Service])
		}
	}
	if len(all) != 5 {
		t.Errorf("got %d containers", len(all))
	}
	stale := func(service string) Stale {
		t.Helper()
		names, err := w.cli.Stale(t.Context(), service, count[service])
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	for service := range count {
		if got := stale(service); len(got) != 0 {
			t.Errorf("nothing changed: stale %v", got)
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, "web.env"), []byte("A=2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := stale("web"); len(got) != 2 {
		t.Errorf("its env_file changed: stale %v", got)
	}
	if got := stale("built"); len(got) != 0 {
		t.Errorf("another service's env_file changed: stale %v", got)
	}
}

func TestRehearsalShowsWhatWouldHurt(t *testing.T) {
	const plain = `services:
  web: {image: "${IMAGE}", networks: [front], volumes: ["data:/data"]}
networks: {front: {LABELS}}
volumes: {data: {VOLUMELABELS}}
`
	w := open(t, strings.NewReplacer("VOLUMELABELS", "", "LABELS", "").Replace(plain))
	ctx := t.Context()
	if err := w.cli.Create(ctx, "web", 1); err != nil {
		t.Fatal(err)
	}
	existing := w.replicas(t, "web")
	rehearse := func(total int) []string {
		t.Helper()
		actions, err := w.cli.Rehearse(ctx, "web", total)
		if err != nil {
			t.Fatal(err)
		}
		return Unexpected(actions, "web", existing, total-len(existing))
	}
	rewrite := func(network, volume string) {
		t.Helper()
		text := strings.NewReplacer("VOLUMELABELS", volume, "LABELS", network).Replace(plain)
		if err := os.WriteFile(filepath.Join(w.dir, "compose.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := rehearse(3); len(got) != 0 {
		t.Errorf("unchanged: %q", got)
	}
	rewrite(`labels: {x: "1"}`, "")
	if got := strings.Join(rehearse(3), "\n"); !strings.Contains(got, "replica "+w.name+"-web-1 would be stopped") ||
		!strings.Contains(got, "network "+w.name+"_front would be removed") {
		t.Errorf("a network that changed: %q", got)
	}
	rewrite("", `labels: {x: "1"}`)
	if got := strings.Join(rehearse(3), "\n"); !strings.Contains(got, "volume "+w.name+"_data differs") {
		t.Errorf("a volume that changed: %q", got)
	}
	rewrite("", "")

	// A leftover counts, and would be started.
	if err := w.cli.Create(ctx, "web", 2); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.Stop(ctx, w.replicas(t, "web")[1].ID, new(time.Duration(0))); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(rehearse(2), "\n"); !strings.Contains(got, w.name+"-web-2, which roll does not know, would be started") {
		t.Errorf("a leftover nobody told of: %q", got)
	}
	existing = w.replicas(t, "web")
	if got := rehearse(3); len(got) != 0 {
		t.Errorf("a leftover that is known: %q", got)
	}
	if again := w.replicas(t, "web"); len(again) != 2 || again[1].State != Exited {
		t.Errorf("a rehearsal touched something: %+v", again)
	}
}

func TestCreationNeverAsksARegistry(t *testing.T) {
	w := open(t, "services:\n  web: {image: \"${IMAGE}-absent\", pull_policy: always}\n")
	err := w.cli.Create(t.Context(), "web", 1)
	var failed *CommandError
	if !errors.As(err, &failed) || !strings.Contains(failed.Stderr, "No such image") && !strings.Contains(failed.Stderr, "not found") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(err.Error(), "registry") || strings.Contains(err.Error(), "lookup") {
		t.Errorf("it asked a registry: %v", err)
	}
	if _, err := w.engine.ImageID(t.Context(), w.image+"-absent"); !errors.Is(err, ErrNoImage) {
		t.Errorf("got %v", err)
	}
}

func TestChangesOfARealDaemonAreTold(t *testing.T) {
	w := open(t, "services:\n  web: {image: \"${IMAGE}\"}\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	changes := w.engine.Changes(ctx, w.name)
	wait := func(what string) {
		t.Helper()
		select {
		case <-changes:
		case <-ctx.Done():
			t.Fatalf("not told: %s", what)
		}
	}
	wait("the connection")
	if err := w.cli.Create(ctx, "web", 1); err != nil {
		t.Fatal(err)
	}
	wait("the start")
	if err := w.engine.Stop(ctx, w.replicas(t, "web")[0].ID, nil); err != nil {
		t.Fatal(err)
	}
	wait("the end")
}
