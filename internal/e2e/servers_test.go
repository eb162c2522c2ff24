//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/roll-deploy/roll/internal/lab"
	"github.com/roll-deploy/roll/internal/probe"
)

// killed is the exit code of a container that docker ended by SIGKILL.
const killed = 137

// server is one service of examples/servers.
type server struct {
	name string
	with []string // services that it needs besides Traefik
	path string   // of the requests, when it is not the service's name
	exit int      // code with which the broken form ends, while it cuts a request
}

// The exit codes are those that were measured of each program with a request in
// flight (facts of PID 1): 137 where it hangs until SIGKILL, another where it
// ends and takes the request with it.
var servers = []server{
	{name: "tini", exit: killed},
	{name: "npm", exit: 1},
	{name: "nodemon", exit: 143},
	{name: "pm2"},
	{name: "exec", exit: killed},
	{name: "dash", exit: killed},
	{name: "bash", exit: killed},
	{name: "busybox", exit: killed},
	{name: "tini-g", exit: 143},
	{name: "supervisord"},
	{name: "gunicorn"},
	{name: "uwsgi", exit: killed},
	{name: "puma"},
	{name: "unicorn"},
	{name: "nginx"},
	{name: "php-fpm", with: []string{"php"}, path: "php"},
	{name: "apache"},
	{name: "haproxy"},
	{name: "java", exit: 143},
	{name: "go"},
}

func (s server) route() string {
	if s.path != "" {
		return s.path
	}
	return s.name
}

// serversProject is examples/servers with ports that the kernel chooses.
func serversProject(t *testing.T) *lab.Project {
	t.Helper()
	if _, err := theLab.Servers(t.Context()); err != nil {
		t.Fatal(err)
	}
	return theLab.Project(t, lab.Source{
		Dir: filepath.Join("..", "..", "examples", "servers"), NoTraefik: true,
		Env: []string{"HTTP_PORT=0", "API_PORT=0", "MONITOR=1s", "DOCKER_SOCK=" + theLab.Engine.Socket()},
	})
}

// The servers of examples/servers, in their fixed form, are rolled under load
// with requests of 3 s, and none is lost.
func TestServersAreRolledWithoutLoss(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := serversProject(t)
			must(t, p.Up(t.Context(), append([]string{"traefik", s.name}, s.with...)...))
			must(t, p.WaitServers(t.Context(), s.name, 2))
			if s.path != "" {
				must(t, p.WaitServers(t.Context(), s.path, 2))
			}
			before := names(t, p, s.name)
			l := startServerLoad(t, p.URL+"/"+s.route())
			p.Setenv("VERSION", "v2")
			r := succeeds(t, p, "up", s.name).result(t)
			l.lost(t)
			replaced(t, p, s.name, before, 2)
			if !r.Proven {
				t.Error("the result does not say that it was proven at Traefik")
			}
		})
	}
}

// startServerLoad sends 100 requests a second: 2 of them take 3 s, which the
// smallest of the servers bears (6 in flight at two replicas of 6 workers or
// more), and the others are quick, half of them on connections of their own.
func startServerLoad(t *testing.T, url string) *load {
	t.Helper()
	return startProbes(t,
		probe.Config{URL: url + "/slow", Rate: 2},
		probe.Config{URL: url + "/", Rate: 49},
		probe.Config{URL: url + "/", Rate: 49, NoKeepAlive: true},
	)
}

// The same servers as they are often run lose the request that is in flight when
// docker stops them.
func TestServersAsTheyAreOftenRunLoseRequests(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := serversProject(t)
			_, err := p.Compose(t.Context(), append([]string{"-f", "compose.yaml", "-f", "broken.yaml", "up", "-d", "--wait", "--no-deps", s.name}, s.with...)...)
			must(t, err)
			front, err := p.Containers(t.Context(), s.route())
			must(t, err)
			found, err := p.Containers(t.Context(), s.name)
			must(t, err)
			held, err := probe.HoldRequests(t.Context(), probe.Config{URL: address(t, front) + "/slow"}, 1)
			must(t, err)
			must(t, theLab.Docker.ContainerStop(t.Context(), found[0].ID, container.StopOptions{}))
			stopped, err := theLab.Docker.ContainerInspect(t.Context(), found[0].ID)
			must(t, err)
			if held.Err() == nil {
				t.Error("the request in flight was answered: the broken form is not broken")
			}
			if code := stopped.State.ExitCode; code != s.exit {
				t.Errorf("exit code %d, want %d", code, s.exit)
			}
		})
	}
}

// address is where the only container of a service listens, beside Traefik.
func address(t *testing.T, found []container.Summary) string {
	t.Helper()
	if len(found) != 1 {
		t.Fatalf("%d containers, want 1", len(found))
	}
	for _, network := range found[0].NetworkSettings.Networks {
		return "http://" + network.IPAddress + ":8080"
	}
	t.Fatalf("%s is in no network", found[0].Names[0])
	return ""
}

// Celery has no requests: what counts is that the tasks that have begun finish.
func TestCeleryFinishesItsTasks(t *testing.T) {
	t.Parallel()
	p := serversProject(t)
	_, err := p.Compose(t.Context(), "up", "-d", "--wait", "redis", "celery")
	must(t, err)
	before := names(t, p, "celery")
	const tasks = 12 // of 3 s, four at a time
	send(t, p, tasks)
	counted(t, p, "began", 4)
	p.Setenv("VERSION", "v2")
	succeeds(t, p, "up", "celery")
	replaced(t, p, "celery", before, 2)
	counted(t, p, "finished", tasks)
	if began := counted(t, p, "began", tasks); began != tasks {
		t.Errorf("%d tasks began, want each of %d once", began, tasks)
	}
}

// As it is often run, Celery loses the tasks that have begun.
func TestCeleryInAProcessGroupLosesItsTasks(t *testing.T) {
	t.Parallel()
	p := serversProject(t)
	_, err := p.Compose(t.Context(), "-f", "compose.yaml", "-f", "broken.yaml", "up", "-d", "--wait", "redis", "celery")
	must(t, err)
	send(t, p, 2)
	counted(t, p, "began", 2)
	found, err := p.Containers(t.Context(), "celery")
	must(t, err)
	must(t, theLab.Docker.ContainerStop(t.Context(), found[0].ID, container.StopOptions{}))
	if n := counted(t, p, "finished", 0); n != 0 {
		t.Errorf("%d tasks finished: the broken form is not broken", n)
	}
}

// send queues tasks.
func send(t *testing.T, p *lab.Project, n int) {
	t.Helper()
	code := fmt.Sprintf("import tasks\nfor _ in range(%d): tasks.slow.delay()", n)
	_, err := p.Compose(t.Context(), "exec", "-T", "celery", "python3", "-c", code)
	must(t, err)
}

// counted waits until a counter of the tasks is at least n, and returns it.
func counted(t *testing.T, p *lab.Project, counter string, n int) int {
	t.Helper()
	const limit = time.Minute
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("fewer than %d tasks %s in %s", n, counter, limit))
	defer cancel()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := p.Compose(ctx, "exec", "-T", "redis", "redis-cli", "-n", "1", "get", counter)
		got := 0
		if text = strings.TrimSpace(text); err == nil && text != "" {
			if got, err = strconv.Atoi(text); err != nil {
				t.Fatal(err)
			}
		}
		if err == nil && got >= n {
			return got
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%v: %d now (%v)", context.Cause(ctx), got, err)
		}
	}
}

// Every service of examples/servers is tested.
func TestEveryServerIsTested(t *testing.T) {
	p := serversProject(t)
	text, err := p.Compose(t.Context(), "config", "--services")
	must(t, err)
	tested := []string{"traefik", "redis", "celery"}
	for _, s := range servers {
		tested = append(append(tested, s.name), s.with...)
	}
	for name := range strings.FieldsSeq(text) {
		if !slices.Contains(tested, name) {
			t.Errorf("examples/servers has %s, which no test runs", name)
		}
	}
}
