//go:build e2e

package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

const webProject = `
services:
  web:
    image: roll-lab/replica:${VERSION:-v1}
    scale: 2
    stop_grace_period: 5s
    environment:
      TCP_PORT: "9100"
    volumes:
      - data:/data
    healthcheck:
      test: ["CMD", "/replica", "health"]
      interval: 1s
      timeout: 1s
      retries: 1
    labels:
      traefik.enable: "true"
      traefik.http.routers.web.rule: PathPrefix(` + "`/`" + `)
      traefik.http.services.web.loadbalancer.server.port: "8080"
      traefik.tcp.routers.lines.rule: HostSNI(` + "`*`" + `)
      traefik.tcp.routers.lines.entrypoints: tcp
      traefik.tcp.services.lines.loadbalancer.server.port: "9100"
  worker:
    image: roll-lab/replica:${VERSION:-v1}
    command: [worker]
    healthcheck:
      test: ["CMD", "/replica", "health", "heartbeat"]
      interval: 1s
      timeout: 1s
      retries: 1
volumes:
  data:
`

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestAProjectIsServedByItsOwnTraefikAndLeavesNothingBehind(t *testing.T) {
	l := New(t)
	p, err := l.NewProject(Source{Compose: webProject})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.WithoutCancel(t.Context())) })
	if err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"web", "lines"} {
		if err := p.WaitServers(t.Context(), service, 2); err != nil {
			t.Fatal(err)
		}
	}
	if status, text := get(t, p.URL+"/?ms=1"); status != 200 || !strings.HasPrefix(text, "v1 ") {
		t.Errorf("GET / = %d %q, want 200 and v1", status, text)
	}
	resp, err := http.Post(p.URL+"/echo", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(text), `"length":5`) {
		t.Errorf("POST /echo = %q, %v; want length 5", text, err)
	}
	ws, _, err := websocket.Dial(t.Context(), p.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, back, err := ws.Read(t.Context()); err != nil || string(back) != "ping" {
		t.Errorf("WebSocket echo = %q, %v", back, err)
	}

	web, err := p.Containers(t.Context(), "web")
	if err != nil || len(web) != 2 {
		t.Fatalf("web containers = %d, %v; want 2", len(web), err)
	}
	worker, err := p.Containers(t.Context(), "worker")
	if err != nil || len(worker) != 1 {
		t.Fatalf("worker containers = %d, %v; want 1", len(worker), err)
	}
	err = poll(t.Context(), "a healthy worker", 30*time.Second, 200*time.Millisecond, func(ctx context.Context) (bool, string, error) {
		found, err := l.Docker.ContainerInspect(ctx, worker[0].ID)
		if err != nil {
			return false, "", err
		}
		return found.State.Health.Status == container.Healthy, fmt.Sprintf("%+v", found.State.Health), nil
	})
	if err != nil {
		t.Error(err)
	}
	if text, err := p.Logs(t.Context(), web[0].ID); err != nil || !strings.Contains(text, "serving on") {
		t.Errorf("logs = %q, %v; want the line of a replica that serves", text, err)
	}

	// A signal flips a replica out of Traefik, and another one back in.
	if err := l.Docker.ContainerKill(t.Context(), web[0].ID, "SIGUSR1"); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitServers(t.Context(), "web", 1); err != nil {
		t.Error(err)
	}
	if err := l.Docker.ContainerKill(t.Context(), web[0].ID, "SIGUSR2"); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitServers(t.Context(), "web", 2); err != nil {
		t.Error(err)
	}

	if err := p.RestartTraefik(t.Context(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := p.WaitServers(t.Context(), "web", 2); err != nil {
		t.Error(err)
	}

	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := owned(t, l, p.Name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(p.Dir); !os.IsNotExist(err) {
		t.Errorf("folder %s is still there (%v)", p.Dir, err)
	}
}

// owned lists what an engine holds under a project's name.
func owned(t *testing.T, l *Lab, project string) (names []string) {
	t.Helper()
	containers, err := l.Docker.ContainerList(t.Context(), container.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range containers {
		names = append(names, one.Names...)
	}
	networks, err := l.Docker.NetworkList(t.Context(), network.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range networks {
		names = append(names, one.Name)
	}
	volumes, err := l.Docker.VolumeList(t.Context(), volume.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range volumes.Volumes {
		names = append(names, one.Name)
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.Contains(name, project) })
}

func TestReplicaImagesOfDifferentVersionsHaveDifferentIdsAndAreMadeOnce(t *testing.T) {
	l := New(t)
	ids := map[string]string{}
	for range 2 {
		for _, version := range []string{"v1", "v2"} {
			ref, err := l.Replica(t.Context(), version)
			if err != nil {
				t.Fatal(err)
			}
			found, err := l.Docker.ImageInspect(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			if before, ok := ids[version]; ok && before != found.ID {
				t.Errorf("%s was imported again: %s, then %s", ref, before, found.ID)
			}
			ids[version] = found.ID
		}
	}
	if ids["v1"] == ids["v2"] {
		t.Errorf("v1 and v2 share the image id %s", ids["v1"])
	}
}

func TestAProjectIsRemovedWhenItsTestIsInterrupted(t *testing.T) {
	if os.Getenv("LAB_TEST_CHILD") == "1" {
		p := New(t).Project(t, Source{Compose: webProject})
		if err := p.Up(t.Context()); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("project %s\n", p.Name)
		<-t.Context().Done()
		return
	}
	l := New(t)
	var out syncBuffer
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), "LAB_TEST_CHILD=1")
	child.Stdout, child.Stderr = &out, &out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`project (rollt-\S+)`)
	err := poll(t.Context(), "the child's project to be up", time.Minute, 100*time.Millisecond, func(context.Context) (bool, string, error) {
		return pattern.MatchString(out.String()), out.String(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	project := pattern.FindStringSubmatch(out.String())[1]
	if len(owned(t, l, project)) == 0 {
		t.Fatalf("nothing of %s is on the engine", project)
	}
	if err := child.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Error("the interrupted child ended with exit code 0")
	}
	if left := owned(t, l, project); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDownRemovesWhatAKilledTestLeft(t *testing.T) {
	l := New(t)
	dead := exec.CommandContext(t.Context(), "true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	left := fmt.Sprintf("%s-%d-0123abcd", projectPrefix, dead.Process.Pid)
	mine := fmt.Sprintf("%s-%d-0123abcd", projectPrefix, os.Getpid())
	for _, name := range []string{left, mine} {
		if _, err := l.Docker.NetworkCreate(t.Context(), name+"_default", network.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = remove(context.WithoutCancel(t.Context()), l.Docker, name) })
	}
	if err := sweep(t.Context(), l.progress, l.Docker); err != nil {
		t.Fatal(err)
	}
	if found := owned(t, l, left); len(found) > 0 {
		t.Errorf("still there: %v", found)
	}
	if found := owned(t, l, mine); len(found) != 1 {
		t.Errorf("a running test's project has %v, want its network", found)
	}
}

func TestAFailedTestLeavesLogsAndInspectDocuments(t *testing.T) {
	l := New(t)
	p := l.Project(t, Source{Compose: webProject})
	if err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir, err := p.Dump(t.Context(), t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, name := range []string{"traefik.json", "project/compose.yaml", p.Name + "-web-1.log", p.Name + "-web-1.json", p.Name + "-lab-traefik.log"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(bytes.TrimSpace(text)) == 0 {
			t.Errorf("%s has %d bytes, %v", name, len(text), err)
		}
	}
}
