package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// recording is one roll of two slots as renderers are told of it: the second
// new replica breaks and everything goes back.
type recording struct {
	plan   deploy.Plan
	events []deploy.Event
	result deploy.Result
}

var recordedAt = time.Date(2026, 3, 1, 14, 5, 6, 0, time.UTC)

func at(after time.Duration) time.Time { return recordedAt.Add(after) }

func record() recording {
	const ms = time.Millisecond
	old := func(name string) *compose.Replica { return &compose.Replica{Name: name} }
	plan := deploy.Plan{
		Project: "shop", Service: "web", Verb: "roll", Target: 2, Floor: 2, Gated: true, Routers: []string{"proxy"},
		Policy: deploy.Policy{Order: deploy.Setting[compose.Order]{Value: compose.StartFirst}},
		Slots: []deploy.Slot{
			{New: true, Wanted: []string{"proxy web@docker"}, Ready: deploy.Budget{Limit: 45 * time.Second}, Old: old("web-1"), OldWay: "file /tmp/drain", OldFlip: deploy.Budget{Expect: 4 * time.Second, Limit: 30 * time.Second}, Reason: "replaces web-1: its image has changed"},
			{New: true, Wanted: []string{"proxy web@docker"}, Ready: deploy.Budget{Limit: 45 * time.Second}, Old: old("web-2"), OldWay: "file /tmp/drain", OldFlip: deploy.Budget{Expect: 4 * time.Second, Limit: 30 * time.Second}, Reason: "replaces web-2: its image has changed"},
		},
		Clean:    []deploy.Leftover{{Replica: compose.Replica{Name: "web-9"}, Reason: "exited with code 1"}},
		Stay:     []deploy.Stay{{Replica: compose.Replica{Name: "web-3"}, Reason: "current"}},
		Warnings: []string{"a flipped replica is unhealthy only after 20s"},
	}
	var events []deploy.Event
	add := func(after time.Duration, e deploy.Event) {
		e.Time, e.Project, e.Service, e.Slots = at(after), "shop", "web", 2
		events = append(events, e)
	}
	phase := func(after time.Duration, slot int, role deploy.Role, name string, p deploy.Phase, budget time.Duration, detail string) {
		add(after, deploy.Event{Kind: deploy.KindPhase, Slot: slot, Role: role, Replica: name, Phase: p, Budget: budget, Detail: detail})
	}
	seen := func(after time.Duration, slot int, role deploy.Role, name string, p deploy.Phase, detail string) {
		add(after, deploy.Event{Kind: deploy.KindSeen, Slot: slot, Role: role, Replica: name, Phase: p, Detail: detail})
	}
	add(0, deploy.Event{Kind: deploy.KindPlan, Detail: plan.Headline()})
	phase(10*ms, 0, deploy.OldReplica, "web-9", deploy.Removing, 0, "exited with code 1")
	phase(50*ms, 0, deploy.OldReplica, "web-9", deploy.Departed, 0, "")
	phase(60*ms, 1, deploy.NewReplica, "", deploy.Creating, 5*time.Minute, "")
	phase(60*ms, 2, deploy.NewReplica, "", deploy.Creating, 5*time.Minute, "")
	phase(1200*ms, 1, deploy.NewReplica, "web-4", deploy.Booting, 45*time.Second, "")
	phase(1200*ms, 2, deploy.NewReplica, "web-5", deploy.Booting, 45*time.Second, "")
	seen(1300*ms, 1, deploy.NewReplica, "web-4", deploy.Booting, "starting")
	seen(1300*ms, 2, deploy.NewReplica, "web-5", deploy.Booting, "starting: connection refused")
	phase(2*time.Second, 1, deploy.NewReplica, "web-4", deploy.Joining, 30*time.Second, "")
	seen(2100*ms, 1, deploy.NewReplica, "web-4", deploy.Joining, "not in proxy web@docker")
	phase(2500*ms, 2, deploy.NewReplica, "web-5", deploy.Joining, 30*time.Second, "")
	phase(4*time.Second, 1, deploy.NewReplica, "web-4", deploy.Arrived, 0, "")
	phase(4*time.Second, 2, deploy.NewReplica, "web-5", deploy.Arrived, 0, "")
	phase(4100*ms, 1, deploy.OldReplica, "web-1", deploy.Flipping, 30*time.Second, "file /tmp/drain")
	phase(4100*ms, 2, deploy.OldReplica, "web-2", deploy.Flipping, 30*time.Second, "file /tmp/drain")
	phase(4200*ms, 1, deploy.OldReplica, "web-1", deploy.Sinking, 30*time.Second, "")
	seen(6200*ms, 1, deploy.OldReplica, "web-1", deploy.Sinking, "failing 1 of 2")
	add(6300*ms, deploy.Event{Kind: deploy.KindOutput, Replica: "web-5", Detail: "\x1b[31mpanic:\x1b[0m no database"})
	add(6400*ms, deploy.Event{Kind: deploy.KindWarning, Detail: "web-2 was killed for want of memory (OOM)"})
	add(6500*ms, deploy.Event{Kind: deploy.KindFailure, Slot: 2, Role: deploy.NewReplica, Replica: "web-5", Phase: deploy.Arrived, Detail: "it exited with code 1"})
	phase(6500*ms, 2, deploy.OldReplica, "web-2", deploy.Unflipping, 30*time.Second, "")
	add(6500*ms, deploy.Event{Kind: deploy.KindUndo, Detail: "the roll goes back"})
	phase(6500*ms, 1, deploy.OldReplica, "web-1", deploy.Unflipping, 30*time.Second, "")
	phase(9*time.Second, 2, deploy.OldReplica, "web-2", deploy.Returned, 0, "")
	phase(9*time.Second, 2, deploy.NewReplica, "web-5", deploy.Removing, 0, "")
	phase(9100*ms, 2, deploy.NewReplica, "web-5", deploy.Departed, 0, "")
	phase(9200*ms, 1, deploy.OldReplica, "web-1", deploy.Returned, 0, "")
	phase(9200*ms, 1, deploy.NewReplica, "web-4", deploy.Stopping, 10*time.Second, "")
	phase(9500*ms, 1, deploy.NewReplica, "web-4", deploy.Departed, 0, "")
	result := rolledBack()
	add(9500*ms, deploy.Event{Kind: deploy.KindResult, Detail: result.Outcome.String()})
	return recording{plan, events, result}
}

func rolledBack() deploy.Result {
	return deploy.Result{
		Project: "shop", Service: "web", Outcome: deploy.RolledBack, Proven: true, Restored: []string{"web-2", "web-1"},
		Failures: []deploy.Failure{{
			Slot: 2, Replica: "web-5", Role: deploy.NewReplica, Phase: deploy.Arrived, Err: errors.New("it exited with code 1"),
			Probes: []compose.Probe{
				{Start: at(0), End: at(time.Second), ExitCode: 0, Output: "ok 1"},
				{Start: at(2 * time.Second), End: at(3 * time.Second), ExitCode: 0, Output: "ok 2"},
				{Start: at(3 * time.Second), End: at(4 * time.Second), ExitCode: 0},
				{Start: at(4 * time.Second), End: at(5 * time.Second), ExitCode: 1, Output: "curl: (7)\nconnection <refused>\n"},
			},
			Logs: []string{"\x1b[31mlistening on :80\x1b[0m", "panic: no database"},
		}},
		Warnings: []string{"a flipped replica is unhealthy only after 20s", "web-2 was killed for want of memory (OOM)"},
		Exits:    map[string]int{"web-4": 0, "web-5": 1}, Took: 9500 * time.Millisecond,
		Calls: deploy.Calls{Engine: 41, Traefik: 17, Compose: 4, ComposeTime: 1200 * time.Millisecond},
	}
}

// play shows a recording from its plan to its end.
func (rec recording) play(r renderer) {
	r.Plan(rec.plan)
	for _, e := range rec.events {
		r.On(e)
	}
	r.Result(rec.result)
	r.Close()
}

// same fails the test when got is not the golden text, and shows both.
func same(t *testing.T, got, want string) {
	t.Helper()
	got, want = strings.Trim(got, "\n"), strings.Trim(want, "\n")
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Errorf("first difference in line %d\n--- got\n%s\n--- want\n%s", i+1, got, want)
			return
		}
	}
}

func TestProgressModesChooseTheirRenderer(t *testing.T) {
	size := func() (int, int) { return 80, 24 }
	for _, c := range []struct {
		mode  string
		isTTY bool
		want  string
	}{
		{"auto", true, "tty"},
		{"auto", false, "plain"},
		{"tty", false, "tty"},
		{"plain", true, "plain"},
		{"json", true, "json"},
		{"quiet", true, "quiet"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			r, err := newRenderer(c.mode, io.Discard, io.Discard, c.isTTY, size, true, "roll")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got := ""
			switch r.(type) {
			case *ttyRenderer:
				got = "tty"
			case *plainRenderer:
				got = "plain"
			case *jsonRenderer:
				got = "json"
			case *quietRenderer:
				got = "quiet"
			}
			if got != c.want {
				t.Errorf("--progress %s, terminal %v: got %q, want %q", c.mode, c.isTTY, got, c.want)
			}
		})
	}
}

func TestAnUnknownProgressModeIsRefusedWithTheKnownOnes(t *testing.T) {
	_, err := newRenderer("fancy", io.Discard, io.Discard, true, nil, false, "roll")
	if err == nil {
		t.Fatal("no error")
	}
	same(t, err.Error(), "--progress fancy: there is no such way to show progress; use one of auto, tty, plain, json, quiet")
}

func TestADryRunIsTextForPeopleAndALineForPrograms(t *testing.T) {
	plan := record().plan
	var text, line bytes.Buffer
	renderDryRun(&plainRenderer{stdout: &text}, &text, plan)
	same(t, text.String(), plan.String())
	renderDryRun(newJSONRenderer(&line, func() time.Time { return at(0) }), &line, plan)
	if !strings.HasPrefix(line.String(), `{"type":"plan",`) || strings.Count(line.String(), "\n") != 1 {
		t.Errorf("not one line of type plan: %s", line.String())
	}
}

func TestPlainIsOneLineAnEvent(t *testing.T) {
	var stdout, stderr bytes.Buffer
	record().play(&plainRenderer{stdout: &stdout, stderr: &stderr, now: func() time.Time { return at(0) }})
	same(t, stderr.String(), `
14:05:06.000 web        -     -    -                    -          warning: a flipped replica is unhealthy only after 20s
14:05:06.000 web        -     -    -                    -          roll web to 2 replicas: create 2 replicas, drain and stop 2, remove 1 leftover, keep 1
14:05:06.010 web        -     old  web-9                removing   waiting for the Engine to remove it: exited with code 1
14:05:06.050 web        -     old  web-9                departed   gone
14:05:06.060 web        1/2   new  -                    creating   waiting for Compose to create it, up to 5m
14:05:06.060 web        2/2   new  -                    creating   waiting for Compose to create it, up to 5m
14:05:07.200 web        1/2   new  web-4                booting    waiting for Docker to call it healthy, up to 45s
14:05:07.200 web        2/2   new  web-5                booting    waiting for Docker to call it healthy, up to 45s
14:05:07.300 web        1/2   new  web-4                booting    starting
14:05:07.300 web        2/2   new  web-5                booting    starting: connection refused
14:05:08.000 web        1/2   new  web-4                joining    waiting for Traefik to route to it, up to 30s
14:05:08.100 web        1/2   new  web-4                joining    not in proxy web@docker
14:05:08.500 web        2/2   new  web-5                joining    waiting for Traefik to route to it, up to 30s
14:05:10.000 web        1/2   new  web-4                arrived    in service
14:05:10.000 web        2/2   new  web-5                arrived    in service
14:05:10.100 web        1/2   old  web-1                flipping   waiting for it to take the flip, up to 30s: file /tmp/drain
14:05:10.100 web        2/2   old  web-2                flipping   waiting for it to take the flip, up to 30s: file /tmp/drain
14:05:10.200 web        1/2   old  web-1                sinking    waiting for Docker to call it unhealthy, up to 30s
14:05:12.200 web        1/2   old  web-1                sinking    failing 1 of 2
14:05:12.300 web        -     -    web-5                -          | panic: no database
14:05:12.400 web        -     -    -                    -          warning: web-2 was killed for want of memory (OOM)
14:05:12.500 web        2/2   new  web-5                arrived    failed: it exited with code 1
14:05:12.500 web        2/2   old  web-2                unflipping waiting for it to take the un-flip, up to 30s
14:05:12.500 web        -     -    -                    -          turning back: the roll goes back
14:05:12.500 web        1/2   old  web-1                unflipping waiting for it to take the un-flip, up to 30s
14:05:15.000 web        2/2   old  web-2                returned   in service again
14:05:15.000 web        2/2   new  web-5                removing   waiting for the Engine to remove it
14:05:15.100 web        2/2   new  web-5                departed   gone
14:05:15.200 web        1/2   old  web-1                returned   in service again
14:05:15.200 web        1/2   new  web-4                stopping   waiting for it to finish and exit, up to 10s
14:05:15.500 web        1/2   new  web-4                departed   gone
14:05:15.500 web        -     -    -                    -          ended: rolled back
`)
	same(t, stdout.String(), ending{Result: rolledBack()}.String())
}

func TestQuietShowsOnlyWhatWentWrong(t *testing.T) {
	var stdout, stderr bytes.Buffer
	record().play(&quietRenderer{stdout: &stdout, stderr: &stderr})
	same(t, stdout.String(), `
web: rolled back after 9.5s: web-5: it exited with code 1; the old version serves
`)
	same(t, stderr.String(), `
web: warning: a flipped replica is unhealthy only after 20s
web: warning: web-2 was killed for want of memory (OOM)
web-5 (slot 2, arrived): failed: it exited with code 1
  failed    web-5, new, slot 2, while arrived: it exited with code 1
              health: exit code 0, ok 2
              health: exit code 0
              health: exit code 1, curl: (7) connection <refused>
              log: listening on :80
              log: panic: no database
  restored  web-2 web-1
  exits     web-5 with code 1
  next      roll up web               # once the new version is mended
`)
}

func TestQuietIsSilentWhenAllGoesWell(t *testing.T) {
	var stdout, stderr bytes.Buffer
	r := &quietRenderer{stdout: &stdout, stderr: &stderr}
	r.On(deploy.Event{Kind: deploy.KindPhase, Phase: deploy.Booting})
	r.On(deploy.Event{Kind: deploy.KindOutput, Detail: "pulling"})
	r.Result(deploy.Result{Service: "web", Outcome: deploy.UpToDate})
	same(t, stderr.String(), "")
	same(t, stdout.String(), "web: up to date, nothing to do")
}

func TestTextFromContainersCannotTouchTheTerminal(t *testing.T) {
	got := printable("\x1b[2J\x1b]0;title\x07red \x1b[31mtext\x1b[0m\r\nnext\tline\x00\b\n")
	if want := "red text\nnext line"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDurationsReadAsPeopleWriteThem(t *testing.T) {
	for _, c := range []struct {
		d            time.Duration
		lapse, limit string
	}{
		{0, "0.0s", "0s"},
		{250 * time.Millisecond, "0.3s", "250ms"},
		{12340 * time.Millisecond, "12.3s", "12.3s"},
		{59960 * time.Millisecond, "1m00s", "1m"},
		{90 * time.Second, "1m30s", "1m30s"},
		{5 * time.Minute, "5m00s", "5m"},
		{2*time.Hour + 3*time.Minute, "2h03m", "2h3m"},
		{time.Hour, "1h00m", "1h"},
		{20 * time.Hour, "20h00m", "20h"},
		{10 * time.Minute, "10m00s", "10m"},
	} {
		if got := lapse(c.d).String(); got != c.lapse {
			t.Errorf("%v has passed: got %q, want %q", c.d, got, c.lapse)
		}
		if got := limit(c.d).String(); got != c.limit {
			t.Errorf("%v may pass: got %q, want %q", c.d, got, c.limit)
		}
	}
}
