//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/roll-deploy/roll/internal/lab"
)

// leftAlone starts a roll whose output is a pipe that nobody reads any more
// from the phase on; with hangup it gets SIGHUP then, too, as it does when its
// terminal is closed. It returns the exit code.
func leftAlone(t *testing.T, p *lab.Project, phase string, hangup bool) int {
	t.Helper()
	cmd := command(t.Context(), p, "up", "web", "--force", "--progress", "json", "--traefik", p.API)
	r, w, err := os.Pipe()
	must(t, err)
	cmd.Stdout, cmd.Stderr = w, w
	must(t, cmd.Start())
	must(t, w.Close())
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	there := false
	for !there && lines.Scan() {
		var l line
		there = json.Unmarshal(lines.Bytes(), &l) == nil && l.Type == "phase" && l.Phase == phase
	}
	if !there {
		t.Errorf("no replica entered phase %s (%v)", phase, lines.Err())
	}
	must(t, r.Close())
	if hangup {
		must(t, cmd.Process.Signal(syscall.SIGHUP))
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

func TestAClosedTerminalOrPipeCostsNoRequestAndLeavesOneVersion(t *testing.T) {
	t.Parallel()
	const replicas = 2
	p := started(t, replicas)
	l := loadOf(t, p.URL, 12)
	for i, test := range []struct {
		phase  string
		hangup bool
		code   int
		undone bool
	}{
		{"booting", true, 130, true},
		{"sinking", true, 0, false},
		{"booting", false, 0, false},
		{"stopping", false, 0, false},
	} {
		versions(p, i)
		was := names(t, p, "web")
		what := map[bool]string{true: "terminal closed while ", false: "pipe closed while "}[test.hangup] + test.phase
		l.mark(what)
		code := leftAlone(t, p, test.phase, test.hangup)
		now := names(t, p, "web")
		if undone := slices.Equal(was, now); code != test.code || undone != test.undone || len(now) != replicas || len(images(t, p)) != 1 {
			t.Errorf("%s: exit code %d, before %v, now %v with %v", what, code, was, now, images(t, p))
		}
		isUnlocked(t, p)
	}
	l.lost(t)
}

// What a shell starts with nohup is to outlive its terminal.
func TestAHangupThatTheShellIgnoresIsIgnored(t *testing.T) {
	t.Parallel()
	p := started(t, 1)
	was := names(t, p, "web")
	cmd := command(t.Context(), p, "up", "web", "--force", "--progress", "json", "--traefik", p.API)
	cmd.Args = append([]string{"nohup"}, cmd.Args...)
	nohup, err := exec.LookPath("nohup")
	must(t, err)
	cmd.Path = nohup
	told := time.Time{}
	o := follow(t, cmd, func(at line) {
		if at.Type == "phase" && at.Phase == "booting" && told.IsZero() {
			told = time.Now()
			must(t, cmd.Process.Signal(syscall.SIGHUP))
		}
	})
	if o.code != 0 || told.IsZero() {
		t.Errorf("%s", o)
	}
	replaced(t, p, "web", was, 1)
}
