//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/roll-deploy/roll/internal/lab"
	"github.com/roll-deploy/roll/internal/probe"
)

var (
	theLab  *lab.Lab
	rollBin string

	theDaemon *daemon // nil: the engine is not ours to restart
)

func TestMain(m *testing.M) {
	// What nohup or a shell's background job has ignored would be inherited by every roll.
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "roll-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	rollBin = filepath.Join(dir, "roll")
	build := exec.Command("go", "build", "-o", rollBin, "github.com/roll-deploy/roll/cmd/roll")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build roll: %v\n%s", err, out)
		return 1
	}
	if own := os.Getenv(ownEngine); own != "" {
		if theDaemon, err = startDaemon(ctx, own); err != nil {
			fmt.Fprintln(os.Stderr, "start an engine:", err)
			return 1
		}
		os.Setenv("DOCKER_HOST", theDaemon.host())
	}
	theLab, err = lab.Start(ctx, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the lab:", err)
		return 1
	}
	defer theLab.Close()
	for _, version := range []string{"v1", "v2"} {
		if _, err := theLab.Replica(ctx, version); err != nil {
			fmt.Fprintln(os.Stderr, "make the replica image:", err)
			return 1
		}
	}
	return m.Run()
}

// app is the Compose file of most tests: a service behind Traefik, flipped by
// a route of its own. Its variables are set per project.
const app = `
services:
  web:
    image: roll-lab/replica:${VERSION:-v1}
    environment:
      GRACE: ${GRACE:-graceful}
      GRACE_FOR: ${GRACE_FOR:-10s}
    stop_grace_period: ${STOP_GRACE:-30s}
    healthcheck:
      test: ["CMD", "/replica", "health"]
      interval: ${INTERVAL:-1s}
      timeout: ${TIMEOUT:-5s}
      retries: ${RETRIES:-2}
    deploy:
      replicas: ${REPLICAS:-3}
      update_config:
        parallelism: ${PARALLELISM:-0}
    labels:
      traefik.enable: "true"
      traefik.http.routers.web.rule: PathPrefix(` + "`/`" + `)
      traefik.http.services.web.loadbalancer.server.port: "8080"
      roll.flip.http: /sethealth/ko
      roll.unflip.http: /sethealth/ok
`

// started brings a project up and waits until Traefik routes to n replicas.
func started(t *testing.T, n int, env ...string) *lab.Project {
	t.Helper()
	p := theLab.Project(t, lab.Source{Compose: app, Env: append([]string{fmt.Sprintf("REPLICAS=%d", n)}, env...)})
	must(t, p.Up(t.Context()))
	must(t, p.WaitServers(t.Context(), "web", n))
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outcome is one run of the roll binary.
type outcome struct {
	code   int
	stdout string
	stderr string
	lines  []line // of --progress json
}

// line is one line of --progress json; see docs/json.md.
type line struct {
	Type    string   `json:"type"`
	Slot    int      `json:"slot"`
	Role    string   `json:"role"`
	Replica string   `json:"replica"`
	Phase   string   `json:"phase"`
	Detail  string   `json:"detail"`
	Outcome string   `json:"outcome"`
	Proven  bool     `json:"proven"`
	Created []string `json:"created"`
	Removed []string `json:"removed"`
	Calls   struct {
		Engine  int64 `json:"engine"`
		Traefik int64 `json:"traefik"`
	} `json:"calls"`
}

// result is the last line, which says how a roll ended.
func (o outcome) result(t *testing.T) line {
	t.Helper()
	for _, l := range slices.Backward(o.lines) {
		if l.Type == "result" {
			return l
		}
	}
	t.Fatalf("no result line; exit code %d\nstdout: %s\nstderr: %s", o.code, o.stdout, o.stderr)
	return line{}
}

func (o outcome) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", o.code, o.stdout, o.stderr)
}

// command prepares the roll binary in a project.
func command(ctx context.Context, p *lab.Project, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, rollBin, args...)
	cmd.Dir = p.Dir
	cmd.Env = p.Env()
	return cmd
}

// roll runs the roll binary in a project, asking the project's own Traefik.
func roll(t *testing.T, p *lab.Project, args ...string) outcome {
	t.Helper()
	args = append(args, "--progress", "json")
	if p.API != "" {
		args = append(args, "--traefik", p.API)
	}
	return exits(t, command(t.Context(), p, args...))
}

func exits(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %v: %v", cmd.Args, err)
	}
	o := outcome{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
	for text := range strings.Lines(o.stdout) {
		var l line
		if json.Unmarshal([]byte(text), &l) == nil {
			o.lines = append(o.lines, l)
		}
	}
	return o
}

// succeeds runs roll and fails the test unless it exits 0.
func succeeds(t *testing.T, p *lab.Project, args ...string) outcome {
	t.Helper()
	o := roll(t, p, args...)
	if o.code != 0 {
		t.Fatalf("roll %v: %s", args, o)
	}
	return o
}

// load is several probes at once: together 200 requests a second, half of them
// on kept connections, half of them with a body.
type load struct {
	probes []*probe.Probe
	stop   context.CancelFunc
	done   chan struct{}
	texts  []string
	failed int
	sent   int
	err    error
}

func startLoad(t *testing.T, url string) *load {
	t.Helper()
	return loadOf(t, url, 50)
}

// loadOf is the same mix at another rate for each probe.
func loadOf(t *testing.T, url string, rate int) *load {
	t.Helper()
	body := []byte(strings.Repeat("0123456789abcdef", 256))
	return startProbes(t,
		probe.Config{URL: url + "/?ms=20", Rate: rate},
		probe.Config{URL: url + "/?ms=20", Rate: rate, NoKeepAlive: true},
		probe.Config{URL: url + "/echo", Rate: rate, Method: http.MethodPost, Body: body},
		probe.Config{URL: url + "/echo", Rate: rate, Method: http.MethodPost, Body: body, NoKeepAlive: true},
	)
}

// startProbes starts a probe for each configuration.
func startProbes(t *testing.T, configs ...probe.Config) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	l := &load{stop: cancel, done: make(chan struct{})}
	for _, c := range configs {
		c.Timeout = 30 * time.Second
		p, err := probe.New(c)
		must(t, err)
		l.probes = append(l.probes, p)
	}
	reports := make([]probe.Report, len(l.probes))
	errs := make([]error, len(l.probes))
	go func() {
		defer close(l.done)
		ended := make(chan struct{})
		for i, p := range l.probes {
			go func() {
				reports[i], errs[i] = p.Run(ctx)
				ended <- struct{}{}
			}()
		}
		for range l.probes {
			<-ended
		}
		for _, r := range reports {
			l.texts = append(l.texts, r.String())
			l.failed += r.Failed + r.NotSent
			l.sent += r.Sent
		}
		l.err = errors.Join(errs...)
	}()
	t.Cleanup(func() { cancel(); <-l.done })
	return l
}

func (l *load) mark(phase string) {
	for _, p := range l.probes {
		p.Mark(phase)
	}
}

// end ends the load and tells what was lost.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	<-l.done
	must(t, l.err)
	t.Logf("%d requests, %d failed", l.sent, l.failed)
}

// lost ends the load and fails the test when anything was lost.
func (l *load) lost(t *testing.T) {
	t.Helper()
	l.end(t)
	if l.failed > 0 || l.sent == 0 {
		t.Errorf("%d of %d requests failed:\n%s", l.failed, l.sent, strings.Join(l.texts, "\n"))
	}
}

// names are the container names of a service, sorted.
func names(t *testing.T, p *lab.Project, service string) []string {
	t.Helper()
	found, err := p.Containers(t.Context(), service)
	must(t, err)
	var all []string
	for _, c := range found {
		all = append(all, strings.TrimPrefix(c.Names[0], "/"))
	}
	slices.Sort(all)
	return all
}
