//go:build e2e

package e2e

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/roll-deploy/roll/internal/lab"
)

// example copies a folder of examples into a project with ports that the
// kernel chooses, and brings it up as its README says.
func example(t *testing.T, name string) *lab.Project {
	t.Helper()
	p := theLab.Project(t, lab.Source{
		Dir: filepath.Join("..", "..", "examples", name), NoTraefik: true,
		Env: []string{"HTTP_PORT=0", "API_PORT=0", "TCP_PORT=0", "DOCKER_SOCK=" + theLab.Engine.Socket()},
	})
	must(t, p.Up(t.Context()))
	return p
}

func TestExamples(t *testing.T) {
	t.Run("basic", func(t *testing.T) { t.Parallel(); httpExample(t, "basic", 3) })
	t.Run("marker-file", func(t *testing.T) { t.Parallel(); httpExample(t, "marker-file", 2) })
	t.Run("one-replica", func(t *testing.T) { t.Parallel(); httpExample(t, "one-replica", 1) })
	t.Run("roll-init", func(t *testing.T) { t.Parallel(); initExample(t) })
	t.Run("worker", func(t *testing.T) { t.Parallel(); workerExample(t) })
	t.Run("tcp", func(t *testing.T) { t.Parallel(); tcpExample(t) })
}

// Every example is an end-to-end test, and every such test an example. That of
// the servers has a file of its own.
func TestEveryExampleIsTested(t *testing.T) {
	source, err := os.ReadFile("examples_test.go")
	must(t, err)
	folders, err := os.ReadDir(filepath.Join("..", "..", "examples"))
	must(t, err)
	for _, f := range folders {
		if f.Name() != "servers" && !strings.Contains(string(source), `t.Run("`+f.Name()+`"`) {
			t.Errorf("examples/%s has no test", f.Name())
		}
	}
}

func httpExample(t *testing.T, name string, replicas int) {
	p := example(t, name)
	must(t, p.WaitServers(t.Context(), "web", replicas))
	before := names(t, p, "web")
	l := startLoad(t, p.URL)
	p.Setenv("VERSION", "v2")
	r := succeeds(t, p, "up", "web").result(t)
	l.lost(t)
	replaced(t, p, "web", before, replicas)
	if !r.Proven {
		t.Error("the result does not say that it was proven at Traefik")
	}
}

// initExample rolls replicas that are flipped by their PID 1, and then stops one
// as platforms do that know nothing but a signal.
func initExample(t *testing.T) {
	p := example(t, "roll-init")
	must(t, p.WaitServers(t.Context(), "web", 3))
	before := names(t, p, "web")
	l := startLoad(t, p.URL)
	p.Setenv("VERSION", "v2")
	r := succeeds(t, p, "up", "web").result(t)
	now := names(t, p, "web")
	replaced(t, p, "web", before, 3)
	if !r.Proven {
		t.Error("the result does not say that it was proven at Traefik")
	}
	l.mark("docker stop")
	must(t, theLab.Docker.ContainerStop(t.Context(), now[0], container.StopOptions{}))
	l.lost(t)
	stopped, err := theLab.Docker.ContainerInspect(t.Context(), now[0])
	must(t, err)
	logs, err := p.Logs(t.Context(), now[0])
	must(t, err)
	if stopped.State.ExitCode != 0 || !strings.Contains(logs, "the drain of 8s is over") {
		t.Errorf("exit code %d, want 0 after the whole drain:\n%s", stopped.State.ExitCode, logs)
	}
}

// replaced fails the test unless n other containers stand in for those before.
func replaced(t *testing.T, p *lab.Project, service string, before []string, n int) {
	t.Helper()
	now := names(t, p, service)
	if len(now) != n || slices.ContainsFunc(now, func(name string) bool { return slices.Contains(before, name) }) {
		t.Errorf("before %v, now %v, want %d others", before, now, n)
	}
}

func workerExample(t *testing.T) {
	p := example(t, "worker")
	before := names(t, p, "worker")
	p.Setenv("VERSION", "v2")
	o := succeeds(t, p, "up", "worker")
	replaced(t, p, "worker", before, 2)
	healthyFirst(t, o)
}

// healthyFirst checks in the events that no old replica got its stop signal
// before every new one was in service.
func healthyFirst(t *testing.T, o outcome) {
	t.Helper()
	arrived, stopping := 0, 0
	for _, l := range o.lines {
		switch {
		case l.Type == "phase" && l.Phase == "arrived":
			arrived++
			if stopping > 0 {
				t.Errorf("%s arrived after an old replica was stopped", l.Replica)
			}
		case l.Type == "phase" && l.Phase == "stopping":
			stopping++
		}
	}
	if arrived == 0 || stopping == 0 {
		t.Errorf("%d new replicas arrived and %d old ones were stopped", arrived, stopping)
	}
}

func tcpExample(t *testing.T) {
	p := example(t, "tcp")
	must(t, p.WaitServers(t.Context(), "echo", 2))
	before := names(t, p, "echo")
	address := tcpAddress(t, p)
	open, err := net.Dial("tcp", address)
	must(t, err)
	defer open.Close()
	lines := bufio.NewReader(open)
	if greeting, err := lines.ReadString('\n'); err != nil || !strings.Contains(greeting, "v1") {
		t.Fatalf("greeting %q, %v; want one of v1", greeting, err)
	}
	p.Setenv("VERSION", "v2")
	done := make(chan outcome)
	go func() { done <- roll(t, p, "up", "echo") }()
	echoed := 0
	for rolling := true; rolling; {
		select {
		case o := <-done:
			if o.code != 0 {
				t.Fatalf("roll up echo: %s", o)
			}
			rolling = false
		default:
			fresh, err := net.Dial("tcp", address)
			must(t, err)
			if greeting, err := bufio.NewReader(fresh).ReadString('\n'); err != nil {
				t.Fatalf("new connection during the roll: greeting %q, %v", greeting, err)
			}
			fresh.Close()
			echoed++
		}
	}
	replaced(t, p, "echo", before, 2)
	t.Logf("%d connections during the roll, each greeted", echoed)
}

// tcpAddress is where the project's Traefik listens for TCP.
func tcpAddress(t *testing.T, p *lab.Project) string {
	t.Helper()
	found, err := p.Containers(t.Context(), "traefik")
	must(t, err)
	for _, port := range found[0].Ports {
		if port.PrivatePort == 9000 {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port.PublicPort)))
		}
	}
	t.Fatal("Traefik publishes no port 9000")
	return ""
}
