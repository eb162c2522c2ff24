//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/roll-deploy/roll/internal/lab"
)

// phasesOfASlot are all phases that a replacement passes, in their order.
var phasesOfASlot = []string{"creating", "booting", "joining", "arrived", "flipping", "sinking", "leaving", "settling", "stopping", "removing"}

// signalAt starts a roll and sends it a signal as soon as a replica enters
// the phase; it returns how the roll ended.
func signalAt(t *testing.T, p *lab.Project, phase string, signal os.Signal) outcome {
	t.Helper()
	cmd := command(t.Context(), p, "up", "web", "--force", "--progress", "json", "--traefik", p.API)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var o outcome
	sent := false
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue
		}
		o.lines = append(o.lines, l)
		if !sent && l.Type == "phase" && l.Phase == phase {
			must(t, cmd.Process.Signal(signal))
			sent = true
		}
	}
	must(t, lines.Err())
	_ = cmd.Wait() // a signal makes it an error; the exit code tells
	o.code, o.stderr = cmd.ProcessState.ExitCode(), stderr.String()
	if !sent {
		t.Fatalf("no replica entered phase %s: %s", phase, o)
	}
	return o
}

// images are the images that the service's running containers were made from.
func images(t *testing.T, p *lab.Project) []string {
	t.Helper()
	found, err := p.Containers(t.Context(), "web")
	must(t, err)
	var all []string
	for _, c := range found {
		if c.State != "running" {
			t.Errorf("%s is %s", strings.Join(c.Names, " "), c.State)
		}
		all = append(all, c.Image)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// walk disturbs one roll in each of the phases, between two versions and under load, and no request may be lost.
func walk(t *testing.T, phases []string, disturb func(p *lab.Project, l *load, phase string, was []string)) {
	t.Helper()
	t.Parallel()
	p := started(t, walkers)
	l := startLoad(t, p.URL)
	for i, phase := range phases {
		versions(p, i)
		disturb(p, l, phase, names(t, p, "web"))
		if got := images(t, p); len(got) != 1 {
			t.Errorf("disturbed at %s: images %v in the end", phase, got)
		}
	}
	l.lost(t)
}

// walkers is how many replicas a walk has.
const walkers = 2

func TestARollInterruptedInAnyPhaseLosesNoRequestAndLeavesOneVersion(t *testing.T) {
	walk(t, phasesOfASlot, func(p *lab.Project, l *load, phase string, was []string) {
		l.mark("interrupted at " + phase)
		o := signalAt(t, p, phase, syscall.SIGINT)
		now := names(t, p, "web")
		// Before the commit all is undone, after it all is finished; a signal
		// that comes with the arrival may meet either.
		undone := slices.Equal(was, now)
		if want := map[bool]int{true: 130, false: 0}[undone]; o.code != want {
			t.Errorf("interrupted at %s: before %v, now %v, want exit code %d: %s", phase, was, now, want, o)
		}
		before := slices.Index(phasesOfASlot, phase) < slices.Index(phasesOfASlot, "arrived")
		if phase != "arrived" && undone != before {
			t.Errorf("interrupted at %s: undone %v", phase, undone)
		}
		if len(now) != walkers {
			t.Errorf("interrupted at %s: before %v, now %v", phase, was, now)
		}
	})
}

func TestARollKilledInAnyPhaseLosesNoRequestAndTheNextOneEndsIt(t *testing.T) {
	// The next roll waits until it may take the lock over: two walks share that time.
	for half := range slices.Chunk(phasesOfASlot, (len(phasesOfASlot)+1)/2) {
		t.Run("from "+half[0], func(t *testing.T) {
			walk(t, half, func(p *lab.Project, l *load, phase string, was []string) {
				l.mark("killed at " + phase)
				if o := signalAt(t, p, phase, syscall.SIGKILL); o.code != -1 {
					t.Fatalf("killed at %s: %s", phase, o)
				}
				l.mark("again after " + phase)
				succeeds(t, p, "up", "web", "--wait-lock", "2m")
				replaced(t, p, "web", was, walkers)
				must(t, p.WaitServers(t.Context(), "web", walkers))
			})
		})
	}
}
