//go:build e2e

package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/roll-deploy/roll/internal/lab"
)

const app = `
services:
  web:
    image: roll-lab/replica:${VERSION:-v1}
    stop_grace_period: 30s
    healthcheck:
      test: ["CMD", "/replica", "health"]
      interval: 1s
      timeout: 5s
      retries: 2
    deploy:
      replicas: ${REPLICAS}
      update_config:
        parallelism: ${PARALLELISM:-0}
    labels:
      traefik.enable: "true"
      traefik.http.routers.web.rule: PathPrefix(` + "`/`" + `)
      traefik.http.services.web.loadbalancer.server.port: "8080"
      roll.flip.http: /sethealth/ko
      roll.unflip.http: /sethealth/ok
`

// legend explains the table.
const legend = `
Seconds, on average. total = compose + docker + app + traefik + settle + monitor + own, along the critical path from
plan to result. late is the part of docker and app that went on after the Engine had done what was waited for; for the
bars it counts as roll's own: own + late <= 0.5, and total <= 1.1 x (total - own - late). prepare lies before the plan,
of-compose is its share of Compose, wall is the whole command. Where there is nothing to do the second bar is wall < 1.
The last three are calls. A busy machine takes longer for everything: compare runs at a like load.
`

// BenchmarkRoll rolls until -benchtime is over, at least once for each
// scenario, and prints a table in the end. With -v it prints every critical
// path.
func BenchmarkRoll(b *testing.B) {
	if _, running := lab.Running(b.Context()); !running {
		ctx := context.WithoutCancel(b.Context())
		b.Cleanup(func() {
			if err := lab.Stop(ctx, os.Stderr); err != nil {
				b.Errorf("stop the engine: %v", err)
			}
		})
	}
	l := lab.New(b)
	roll := build(b)
	var all []series
	add := func(b *testing.B, name string, runs []measurement) {
		report(b, name, runs)
		all = append(all, series{name, runs})
	}
	for _, s := range []struct {
		name string
		env  []string
	}{
		{"up, 3 replicas", []string{"REPLICAS=3"}},
		{"up, 1 replica", []string{"REPLICAS=1"}},
		{"up, 6 replicas one by one", []string{"REPLICAS=6", "PARALLELISM=1"}},
	} {
		b.Run(s.name, func(b *testing.B) {
			p := started(b, l, s.env)
			var runs []measurement
			for b.Loop() {
				p.Setenv("VERSION", []string{"v2", "v1"}[len(runs)%2])
				runs = append(runs, run(b, l, p, roll, "up", "web"))
			}
			add(b, s.name, runs)
		})
	}
	b.Run("scale", func(b *testing.B) {
		p := started(b, l, []string{"REPLICAS=4"})
		var in, out []measurement
		for b.Loop() {
			in = append(in, run(b, l, p, roll, "scale", "web=1"))
			out = append(out, run(b, l, p, roll, "scale", "web=4"))
		}
		add(b, "scale 4 to 1", in)
		add(b, "scale 1 to 4", out)
	})
	b.Run("up to date", func(b *testing.B) {
		p := started(b, l, []string{"REPLICAS=3"})
		var runs []measurement
		for b.Loop() {
			runs = append(runs, run(b, l, p, roll, "up", "web"))
		}
		add(b, "up to date", runs)
	})
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		load = []byte("unknown")
	}
	average, _, _ := strings.Cut(string(load), " ")
	fmt.Printf("\nEngine %s, Compose %s, %d cores, load average %s\n\n%s%s\n", l.Engine.Version, l.Compose, runtime.NumCPU(), average, table(all), legend)
}

// build makes the roll program.
func build(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "roll")
	out, err := exec.CommandContext(b.Context(), "go", "build", "-o", path, "github.com/roll-deploy/roll/cmd/roll").CombinedOutput()
	if err != nil {
		b.Fatalf("build roll: %v\n%s", err, out)
	}
	return path
}

// started is a project whose replicas are all in service.
func started(b *testing.B, l *lab.Lab, env []string) *lab.Project {
	b.Helper()
	p := l.Project(b, lab.Source{Compose: app, Env: env})
	if err := p.Up(b.Context()); err != nil {
		b.Fatal(err)
	}
	n := 0
	if _, err := fmt.Sscanf(env[0], "REPLICAS=%d", &n); err != nil {
		b.Fatal(err)
	}
	if err := p.WaitServers(b.Context(), "web", n); err != nil {
		b.Fatal(err)
	}
	return p
}

// run measures one command.
func run(b *testing.B, l *lab.Lab, p *lab.Project, roll string, args ...string) measurement {
	b.Helper()
	ended := watch(b, l, p)
	cmd := exec.CommandContext(b.Context(), roll, append(args, "--progress", "json", "--traefik", p.API)...)
	cmd.Dir, cmd.Env = p.Dir, p.Env()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	wall := time.Since(began)
	changes := ended()
	if err != nil {
		b.Fatalf("roll %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	m, err := measure(stdout.Bytes(), wall, changes)
	if err != nil {
		b.Fatalf("roll %s: %v\n%s", strings.Join(args, " "), err, &stdout)
	}
	if testing.Verbose() {
		fmt.Printf("%s\n%s", strings.Join(args, " "), m.path)
	}
	return m
}

// watch notes what the Engine says about the project's containers, until the
// function that it returns is called.
func watch(b *testing.B, l *lab.Lab, p *lab.Project) (ended func() []change) {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	messages, errs := l.Docker.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)), filters.Arg("label", "com.docker.compose.project="+p.Name),
	)})
	var changes []change
	var noting sync.WaitGroup
	noting.Go(func() {
		for {
			select {
			case m := <-messages:
				changes = append(changes, change{m.Actor.Attributes["name"], string(m.Action), time.Unix(0, m.TimeNano)})
			case <-errs:
				return
			}
		}
	})
	return func() []change {
		stop()
		noting.Wait()
		return changes
	}
}

// report gives the means to the benchmark.
func report(b *testing.B, name string, runs []measurement) {
	b.Helper()
	m := mean(runs)
	prefix := ""
	if strings.HasPrefix(name, "scale") {
		prefix = strings.ReplaceAll(strings.TrimPrefix(name, "scale "), " ", "-") + "-"
	}
	for _, f := range fields {
		b.ReportMetric(f.of(m).Seconds(), prefix+f.name+"-s")
	}
	b.ReportMetric(0, "ns/op")
}
