//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/roll-deploy/roll/internal/lab"
	"github.com/roll-deploy/roll/internal/probe"
)

// versions alternates between the two versions and the two ways in which
// applications take their stop signal.
func versions(p *lab.Project, i int) {
	p.Setenv("VERSION", []string{"v2", "v1"}[i%2])
	p.Setenv("GRACE", []string{"graceful", "exit"}[i/2%2])
}

func TestTwentyRollsOfThreeReplicasLoseNoRequest(t *testing.T) {
	t.Parallel()
	manyRolls(t, 3)
}

func TestTwentyRollsOfOneReplicaLoseNoRequest(t *testing.T) {
	t.Parallel()
	manyRolls(t, 1)
}

func manyRolls(t *testing.T, replicas int) {
	p := started(t, replicas)
	before := names(t, p, "web")
	l := startLoad(t, p.URL)
	for i := range 20 {
		versions(p, i)
		l.mark(fmt.Sprintf("roll %d", i+1))
		o := succeeds(t, p, "up", "web")
		r := o.result(t)
		now := names(t, p, "web")
		if r.Outcome != "done" || !r.Proven || len(now) != replicas || slices.ContainsFunc(before, func(n string) bool { return slices.Contains(now, n) }) {
			t.Fatalf("roll %d: outcome %s, proven %v, replicas %v, before %v", i+1, r.Outcome, r.Proven, now, before)
		}
		before = now
	}
	l.lost(t)
}

func TestRequestsInFlightAndOpenWebSocketsAreNotCut(t *testing.T) {
	t.Parallel()
	p := started(t, 2, "GRACE_FOR=15s", "STOP_GRACE=60s")
	held, err := probe.HoldRequests(t.Context(), probe.Config{URL: p.URL + "/slow?s=20", Timeout: time.Minute}, 4)
	must(t, err)
	var sockets []*probe.Socket
	for range 4 {
		s, err := probe.HoldSocket(t.Context(), probe.SocketConfig{URL: p.URL + "/ws"})
		must(t, err)
		sockets = append(sockets, s)
	}
	l := startLoad(t, p.URL)
	p.Setenv("VERSION", "v2")
	o := succeeds(t, p, "up", "web")
	l.lost(t)
	must(t, held.Err())
	for i, s := range sockets {
		<-s.Done()
		r := s.Release()
		if code := websocket.CloseStatus(r.Cut); code != websocket.StatusGoingAway {
			t.Errorf("socket %d: ended by %v after %d echoes; only the application may close it", i, r.Cut, r.Echoes)
		}
	}
	for _, l := range o.lines {
		if l.Type == "warning" {
			t.Errorf("warned: %s", l.Detail)
		}
	}
}

func TestOneAtATimeNeverFallsBelowStrength(t *testing.T) {
	t.Parallel()
	p := started(t, 6, "PARALLELISM=1")
	lowest := watchServers(t, p, 6)
	l := startLoad(t, p.URL)
	p.Setenv("VERSION", "v2")
	o := succeeds(t, p, "up", "web")
	l.lost(t)
	if n := lowest(); n < 6 {
		t.Errorf("Traefik routed to %d replicas at one time, want 6 or more all the time", n)
	}
	if r := o.result(t); len(r.Created) != 6 || len(r.Removed) != 6 {
		t.Errorf("created %v, removed %v", r.Created, r.Removed)
	}
}

// watchServers asks Traefik all the time how many servers it routes to; the
// function that it returns ends that and gives the lowest number.
func watchServers(t *testing.T, p *lab.Project, n int) func() int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		lowest := n
		for tick := time.Tick(50 * time.Millisecond); ; {
			if servers, err := countServers(ctx, p.API); err == nil {
				lowest = min(lowest, servers)
			}
			select {
			case <-ctx.Done():
				done <- lowest
				return
			case <-tick:
			}
		}
	}()
	return func() int {
		cancel()
		return <-done
	}
}

func countServers(ctx context.Context, api string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/api/http/services/web@docker", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var service struct {
		LoadBalancer struct{ Servers []struct{ URL string } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&service); err != nil {
		return 0, err
	}
	return len(service.LoadBalancer.Servers), nil
}

func TestScalingDownAndUpLosesNoRequestAndRemovesWhoWasNamed(t *testing.T) {
	t.Parallel()
	p := started(t, 4)
	l := startLoad(t, p.URL)
	n := func(i int) string { return fmt.Sprintf("%s-web-%d", p.Name, i) }
	for _, step := range []struct {
		args []string
		want []string
	}{
		{[]string{"scale", "web=3", "--remove", n(2)}, []string{n(1), n(3), n(4)}},
		{[]string{"scale", "web=1", "--remove", n(1), "--remove", "4"}, []string{n(3)}},
		{[]string{"scale", "web=4"}, []string{n(3), n(4), n(5), n(6)}},
		{[]string{"scale", "web=1"}, []string{n(3)}},
	} {
		succeeds(t, p, step.args...)
		if got := names(t, p, "web"); !slices.Equal(got, step.want) {
			t.Fatalf("after %v there are %v, want %v", step.args, got, step.want)
		}
	}
	l.lost(t)
}

func TestComposeUpAfterARollFindsNothingToDo(t *testing.T) {
	t.Parallel()
	p := theLab.Project(t, lab.Source{Compose: strings.Replace(app, "    stop_grace_period", `    env_file: [app.env]
    volumes:
      - ./data:/data
      - state:/state
    networks: [front]
    secrets: [from_content, from_environment]
    configs: [settings]
    stop_grace_period`, 1) + `
networks:
  front: {}
volumes:
  state: {}
secrets:
  from_content:
    file: ./secret.txt
  from_environment:
    environment: TOKEN
configs:
  settings:
    content: "listen: 8080"
`, Env: []string{"TOKEN=one", "REPLICAS=2"}})
	must(t, p.Write("app.env", "COLOUR=green\n"))
	must(t, p.Write("secret.txt", "hush\n"))
	must(t, p.Up(t.Context()))
	must(t, p.WaitServers(t.Context(), "web", 2))
	p.Setenv("VERSION", "v2")
	succeeds(t, p, "up", "web")
	rolled := ids(t, p)
	if len(rolled) != 2 {
		t.Fatalf("%d containers after the roll, want 2", len(rolled))
	}
	must(t, p.Up(t.Context()))
	if now := ids(t, p); !slices.Equal(now, rolled) {
		t.Errorf("docker compose up -d replaced containers: %v, were %v", now, rolled)
	}
	o := succeeds(t, p, "up")
	if r := o.result(t); r.Outcome != "up_to_date" {
		t.Errorf("roll up after a roll: outcome %s, want up_to_date", r.Outcome)
	}
	if now := ids(t, p); !slices.Equal(now, rolled) {
		t.Errorf("roll up replaced containers: %v, were %v", now, rolled)
	}
}

// ids are the containers of the project with their start times: what a restart
// or a replacement would change.
func ids(t *testing.T, p *lab.Project) []string {
	t.Helper()
	found, err := p.Containers(t.Context())
	must(t, err)
	var all []string
	for _, c := range found {
		full, err := theLab.Docker.ContainerInspect(t.Context(), c.ID)
		must(t, err)
		all = append(all, c.ID[:12]+" started "+full.State.StartedAt)
	}
	slices.Sort(all)
	return all
}

// Fifty replicas may cost at most in proportion what ten cost. They are rolled
// ten at a time: a small machine cannot probe a hundred containers in time.
func TestCallsGrowLinearlyWithReplicas(t *testing.T) {
	calls := map[int]line{}
	for _, n := range []int{10, 50} {
		p := started(t, n, "INTERVAL=8s", "TIMEOUT=20s", "RETRIES=1", "PARALLELISM=10")
		l := startLoad(t, p.URL)
		p.Setenv("VERSION", "v2")
		calls[n] = succeeds(t, p, "up", "web").result(t)
		l.lost(t)
		t.Logf("%d replicas: %d calls of the Engine, %d of Traefik", n, calls[n].Calls.Engine, calls[n].Calls.Traefik)
		must(t, p.Close(t.Context()))
	}
	ten, fifty := calls[10].Calls, calls[50].Calls
	if ten.Engine == 0 || fifty.Engine > 6*ten.Engine || fifty.Traefik > 6*ten.Traefik {
		t.Errorf("calls for 10 and 50 replicas: Engine %d, %d; Traefik %d, %d; five times the replicas may cost six times the calls", ten.Engine, fifty.Engine, ten.Traefik, fifty.Traefik)
	}
}
