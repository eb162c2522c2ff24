//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/roll-deploy/roll/internal/lab"
)

// team is a service of two replicas that is not behind Traefik. BOOT makes its
// replicas slow to start.
const team = `
services:
  worker:
    image: roll-lab/replica:${VERSION:-v1}
    command: ["worker"]
    environment:
      GRACE: exit
      BOOT_DELAY: ${BOOT:-0s}
    healthcheck:
      test: ["CMD", "/replica", "health", "heartbeat"]
      interval: 1s
      start_period: 2m
      retries: 2
    deploy: {replicas: 2}
`

func startedTeam(t *testing.T) *lab.Project {
	t.Helper()
	p := theLab.Project(t, lab.Source{Compose: team})
	must(t, p.Up(t.Context(), "--wait"))
	return p
}

// running are the images of the team's containers.
func running(t *testing.T, p *lab.Project) []string {
	t.Helper()
	found, err := p.Containers(t.Context(), "worker")
	must(t, err)
	var all []string
	for _, c := range found {
		all = append(all, c.Image+" "+c.State)
	}
	return all
}

func isUnlocked(t *testing.T, p *lab.Project) {
	t.Helper()
	if _, err := theLab.Docker.ContainerInspect(t.Context(), "roll-lock-"+p.Name); !errdefs.IsNotFound(err) {
		t.Errorf("the lock of %s is still there (%v)", p.Name, err)
	}
}

// most watches how many containers the team has; the function that it returns
// ends that and gives the highest number.
func most(t *testing.T, p *lab.Project) func() int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	highest := make(chan int)
	go func() {
		n := 0
		for tick := time.Tick(50 * time.Millisecond); ; {
			if found, err := p.Containers(ctx, "worker"); err == nil {
				n = max(n, len(found))
			}
			select {
			case <-ctx.Done():
				highest <- n
				return
			case <-tick:
			}
		}
	}()
	return func() int {
		cancel()
		return <-highest
	}
}

func TestOfTwoRollsAtTheSameInstantOneWinsAndTheOtherExits5OrWaits(t *testing.T) {
	t.Parallel()
	p := startedTeam(t)
	highest := most(t, p)
	for i := range 20 {
		version := []string{"v2", "v1"}[i%2]
		p.Setenv("VERSION", version)
		args := []string{"up", "worker", "--progress", "json", "--traefik", p.API}
		waits := i%4 == 3
		if waits {
			args = append(args, "--wait-lock", "3m")
		}
		var both [2]outcome
		var group sync.WaitGroup
		for k := range both {
			group.Go(func() { both[k] = exits(t, command(t.Context(), p, args...)) })
		}
		group.Wait()
		first, second := both[0], both[1]
		if first.code != 0 || waits && first.result(t).Outcome == "up_to_date" {
			first, second = second, first
		}
		switch {
		case first.code != 0 || first.result(t).Outcome != "done":
			t.Fatalf("round %d: nobody rolled:\n%s\n%s", i+1, first, second)
		case waits && (second.code != 0 || second.result(t).Outcome != "up_to_date"):
			t.Fatalf("round %d: who waited: %s", i+1, second)
		case !waits && (second.code != 5 || !strings.Contains(second.stderr, "roll: another roll is at work on project "+p.Name) ||
			!strings.Contains(second.stderr, "roll up worker") || !strings.Contains(second.stderr, "--wait-lock 10m") || !strings.Contains(second.stderr, "see roll --traefik "+p.API+" unlock --help")):
			t.Fatalf("round %d: who came too late: %s", i+1, second)
		}
		if now, want := running(t, p), "roll-lab/replica:"+version+" running"; !slices.Equal(now, []string{want, want}) {
			t.Fatalf("round %d: there are %v, want two of %s", i+1, now, want)
		}
		isUnlocked(t, p)
	}
	if n := highest(); n > 4 || n < 3 {
		t.Errorf("there were %d containers at one time, want 3 or 4", n)
	}
}

// begun starts a roll in the background and returns when one of its replicas
// has entered a phase. end gives its outcome.
func begun(t *testing.T, p *lab.Project, phase string, args ...string) (cmd *exec.Cmd, end func() outcome) {
	t.Helper()
	cmd = command(t.Context(), p, append(args, "--progress", "json", "--traefik", p.API)...)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	there := make(chan struct{})
	ended := make(chan struct{})
	var o outcome
	go func() {
		defer close(ended)
		waiting := true
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var l line
			if json.Unmarshal(lines.Bytes(), &l) == nil {
				o.lines = append(o.lines, l)
			}
			if waiting && l.Type == "phase" && l.Phase == phase {
				waiting = false
				close(there)
			}
		}
		_ = cmd.Wait()
		o.code, o.stderr = cmd.ProcessState.ExitCode(), stderr.String()
	}()
	select {
	case <-there:
	case <-ended:
		t.Fatalf("the roll ended before any replica was %s: %s", phase, o)
	}
	return cmd, func() outcome {
		<-ended
		return o
	}
}

func TestTheLockOfAKilledRollIsTakenOverByTheNextAfter30Seconds(t *testing.T) {
	t.Parallel()
	p := startedTeam(t)
	highest := most(t, p)
	p.Setenv("VERSION", "v2")
	cmd, end := begun(t, p, "booting", "up", "worker")
	must(t, cmd.Process.Kill())
	end()
	before := time.Now()
	o := succeeds(t, p, "up", "worker")
	if took := time.Since(before); took < 30*time.Second {
		t.Errorf("taken over after less than %s", took)
	}
	for _, want := range []string{fmt.Sprintf("(pid %d, roll up worker", cmd.Process.Pid), "has stood still for 30s: taking it over from"} {
		if !slices.ContainsFunc(o.lines, func(l line) bool { return l.Type == "warning" && strings.Contains(l.Detail, want) }) {
			t.Errorf("nobody said %q: %s", want, o)
		}
	}
	if now, want := running(t, p), "roll-lab/replica:v2 running"; !slices.Equal(now, []string{want, want}) {
		t.Errorf("there are %v, want two of %s", now, want)
	}
	if n := highest(); n > 4 {
		t.Errorf("there were %d containers at one time, want 4 at most", n)
	}
	isUnlocked(t, p)
}

func TestUnlockBreaksALockOnlyByForceAndTheRollStopsBeforeItsNextChange(t *testing.T) {
	t.Parallel()
	p := startedTeam(t)
	if o := exits(t, command(t.Context(), p, "unlock")); o.code != 0 || o.stdout != "project "+p.Name+" is not locked\n" {
		t.Errorf("unlock of what is not locked: %s", o)
	}
	p.Setenv("VERSION", "v2")
	p.Setenv("BOOT", "1m")
	_, end := begun(t, p, "booting", "up", "worker")

	o := exits(t, command(t.Context(), p, "status", "--format", "json", "--traefik", p.API))
	var rows []struct {
		Rolling struct{ Command, Phase string }
	}
	must(t, json.Unmarshal([]byte(o.stdout), &rows))
	if len(rows) != 4 || rows[0].Rolling.Command != "roll up worker" || rows[0].Rolling.Phase == "" {
		t.Errorf("status says %+v: %s", rows, o)
	}
	if o := exits(t, command(t.Context(), p, "status", "--traefik", p.API)); !strings.Contains(o.stderr, "rolling now: ") || !strings.Contains(o.stderr, "roll up worker") {
		t.Errorf("status: %s", o)
	}
	if o := exits(t, command(t.Context(), p, "unlock")); o.code != 5 || !strings.Contains(o.stderr, "roll unlock --force") || !strings.Contains(o.stderr, "now worker: booting ") {
		t.Errorf("unlock of a roll that is alive: %s", o)
	}
	if o := exits(t, command(t.Context(), p, "unlock", "--force")); o.code != 0 || o.stdout != "project "+p.Name+" is unlocked\n" {
		t.Errorf("unlock by force: %s", o)
	}

	o = end()
	if o.code != 4 || o.result(t).Outcome != "partial" || len(o.result(t).Created)+len(o.result(t).Removed) > 0 {
		t.Errorf("the roll that lost its lock: %s %+v", o, o.result(t))
	}
	if now, want := running(t, p), []string{"roll-lab/replica:v1 running", "roll-lab/replica:v1 running", "roll-lab/replica:v2 running", "roll-lab/replica:v2 running"}; !slices.Equal(now, want) {
		t.Errorf("there are %v, want %v", now, want)
	}
	isUnlocked(t, p)
	succeeds(t, p, "up", "worker")
	if now, want := running(t, p), "roll-lab/replica:v2 running"; !slices.Equal(now, []string{want, want}) {
		t.Errorf("there are %v, want two of %s", now, want)
	}
}
