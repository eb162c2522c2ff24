//go:build e2e

package e2e

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"

	"github.com/roll-deploy/roll/internal/lab"
)

// apiGate is the way by which roll asks the project's Traefik, wherever that
// listens at present.
func apiGate(t *testing.T, p *lab.Project) (*gate, string) {
	t.Helper()
	g := newGate(t, "tcp", "127.0.0.1:0", func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(p.API, "http://"))
	})
	return g, "http://" + g.listener.Addr().String()
}

// heldBack fails the test unless roll said that Traefik did not answer, and
// stopped nothing until it answered again.
func heldBack(t *testing.T, o outcome) {
	t.Helper()
	silent := slices.IndexFunc(o.lines, func(l line) bool { return strings.HasPrefix(l.Detail, "Traefik does not answer") })
	if silent < 0 {
		t.Fatalf("roll did not say that Traefik does not answer: %s", o)
	}
	for _, l := range o.lines[silent:] {
		if strings.HasPrefix(l.Detail, "Traefik answers again") {
			return
		}
		if l.Type == "phase" && (l.Phase == "stopping" || l.Phase == "removing") {
			t.Errorf("%s was %s while Traefik did not answer", l.Replica, l.Phase)
		}
	}
	t.Errorf("roll did not say that Traefik answers again: %s", o)
}

func TestATraefikThatIsKilledInTheMiddleHoldsBackTheRollUntilItIsBack(t *testing.T) {
	t.Parallel()
	p := started(t, 2)
	_, api := apiGate(t, p)
	for i, phase := range []string{"joining", "sinking"} {
		versions(p, i)
		was := names(t, p, "web")
		var restart sync.Once
		var l *load
		o := follow(t, command(t.Context(), p, "up", "web", "--progress", "json", "--traefik", api), func(at line) {
			if at.Type == "phase" && at.Phase == phase {
				restart.Do(func() {
					must(t, p.RestartTraefik(t.Context(), func() error {
						select {
						case <-time.After(5 * time.Second):
						case <-t.Context().Done():
						}
						return nil
					}))
					must(t, routedAgain(t, p))
					l = loadOf(t, p.URL, 12) // what the restart itself lost is not roll's doing
				})
			}
		})
		if o.code != 0 || !o.result(t).Proven {
			t.Errorf("killed while %s: %s", phase, o)
		}
		heldBack(t, o)
		replaced(t, p, "web", was, 2)
		l.lost(t)
	}
}

// routedAgain waits until a Traefik that was started answers requests.
func routedAgain(t *testing.T, p *lab.Project) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func TestATraefikThatCannotBeAskedFor20sHoldsBackTheRollAndLosesNothing(t *testing.T) {
	t.Parallel()
	p := started(t, 2)
	g, api := apiGate(t, p)
	p.Setenv("VERSION", "v2")
	was := names(t, p, "web")
	l := loadOf(t, p.URL, 12)
	var cut sync.Once
	o := follow(t, command(t.Context(), p, "up", "web", "--progress", "json", "--traefik", api), func(at line) {
		if at.Type == "phase" && at.Phase == "leaving" {
			cut.Do(func() {
				g.close()
				time.AfterFunc(20*time.Second, g.open)
			})
		}
	})
	if o.code != 0 || !o.result(t).Proven {
		t.Errorf("%s", o)
	}
	heldBack(t, o)
	replaced(t, p, "web", was, 2)
	l.lost(t)
}

func TestATraefikThatCannotBeAskedAnyMoreLeavesEverythingServing(t *testing.T) {
	t.Parallel()
	p := started(t, 1)
	g, api := apiGate(t, p)
	p.Setenv("VERSION", "v2")
	was := names(t, p, "web")
	l := loadOf(t, p.URL, 12)
	o := follow(t, command(t.Context(), p, "up", "web", "--progress", "json", "--traefik", api), func(at line) {
		if at.Type == "phase" && at.Phase == "leaving" {
			g.close()
		}
	})
	// Nobody can know that the old one is back in Traefik: both stay.
	if o.code != 4 || !strings.Contains(o.stdout, "Traefik does not answer, nothing is stopped while that lasts") {
		t.Errorf("%s", o)
	}
	must(t, p.WaitServers(t.Context(), "web", 2))
	if now := names(t, p, "web"); len(now) != 2 || !slices.Contains(now, was[0]) {
		t.Errorf("before %v, now %v", was, now)
	}
	isUnlocked(t, p)
	l.lost(t)
	succeeds(t, p, "up", "web")
	replaced(t, p, "web", was, 1)
}

// A second Traefik whose connection to the Engine breaks goes on with what it
// knew: it sends requests to the old replica, whatever Docker says about it.
func TestAReplicaThatASecondTraefikStillRoutesToIsNotStopped(t *testing.T) {
	t.Parallel()
	p := started(t, 1)
	socket := filepath.Join(p.Dir, "engine.sock")
	g := newGate(t, "unix", socket, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", theLab.Engine.Socket())
	})
	url, api := secondTraefik(t, p, socket)
	p.Setenv("VERSION", "v2")
	was := names(t, p, "web")
	first, second := loadOf(t, p.URL, 12), loadOf(t, url, 12)
	o := follow(t, command(t.Context(), p, "up", "web", "--progress", "json", "--traefik", p.API, "--traefik", api), func(at line) {
		if at.Type == "phase" && at.Phase == "flipping" && at.Role == "old" {
			g.close()
		}
	})
	if o.code != 4 || !strings.Contains(o.stdout, "still in "+api+" web@docker") {
		t.Errorf("%s", o)
	}
	for _, l := range o.lines {
		if l.Type == "phase" && l.Phase == "stopping" {
			t.Errorf("%s was stopped while the second Traefik sent it requests", l.Replica)
		}
	}
	if now := names(t, p, "web"); len(now) != 2 || !slices.Contains(now, was[0]) {
		t.Errorf("before %v, now %v", was, now)
	}
	first.lost(t)
	second.lost(t)
}

// secondTraefik routes to the project as its own Traefik does, and hears of
// the Engine through a socket. It returns where it serves and its API.
func secondTraefik(t *testing.T, p *lab.Project, socket string) (url, api string) {
	t.Helper()
	own, err := theLab.Docker.ContainerInspect(t.Context(), p.Traefik())
	must(t, err)
	const web, questions = nat.Port("80/tcp"), nat.Port("8080/tcp")
	local := []nat.PortBinding{{HostIP: "127.0.0.1", HostPort: "0"}}
	made, err := theLab.Docker.ContainerCreate(t.Context(),
		&container.Config{Image: own.Config.Image, Cmd: own.Config.Cmd, ExposedPorts: nat.PortSet{web: {}, questions: {}}},
		&container.HostConfig{
			Binds: []string{socket + ":/var/run/docker.sock"}, NetworkMode: own.HostConfig.NetworkMode, PortBindings: nat.PortMap{web: local, questions: local},
		}, nil, nil, p.Name+"-second-traefik")
	must(t, err)
	must(t, theLab.Docker.ContainerStart(t.Context(), made.ID, container.StartOptions{}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := theLab.Docker.ContainerRemove(ctx, made.ID, container.RemoveOptions{Force: true}); err != nil {
			t.Errorf("remove the second Traefik: %v", err)
		}
	})
	found, err := theLab.Docker.ContainerInspect(t.Context(), made.ID)
	must(t, err)
	at := func(port nat.Port) string { return "http://127.0.0.1:" + found.NetworkSettings.Ports[port][0].HostPort }
	must(t, routedAgain(t, &lab.Project{URL: at(web)}))
	return at(web), at(questions)
}
