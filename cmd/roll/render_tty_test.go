package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// screen is a terminal as far as the tty renderer uses one. A sequence that it
// does not know fails the test: it would change more than the table's lines.
type screen struct {
	t       *testing.T
	mu      sync.Mutex
	width   int
	rows    []string
	row     int
	column  int
	wrapped bool // some line did not fit
	writes  int
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	for text := string(p); text != ""; {
		switch {
		case text[0] == '\n':
			s.row, s.column, text = s.row+1, 0, text[1:]
		case text[0] == '\r':
			s.column, text = 0, text[1:]
		case text[0] == '\x1b':
			end := strings.IndexFunc(text[2:], func(r rune) bool { return r >= 'A' && r <= 'z' }) + 2
			s.control(text[2:end], text[end])
			text = text[end+1:]
		default:
			cluster, _ := ansi.FirstGraphemeCluster(text, ansi.GraphemeWidth)
			s.put(cluster)
			text = text[len(cluster):]
		}
	}
	return len(p), nil
}

func (s *screen) control(argument string, command byte) {
	s.grow()
	switch {
	case command == 'A':
		n, err := strconv.Atoi(argument)
		if err != nil || n > s.row {
			s.t.Errorf("cursor up by %q from row %d", argument, s.row)
		}
		s.row -= n
	case command == 'K' && argument == "" && s.column == 0:
		s.rows[s.row] = ""
	case command == 'J' && argument == "" && s.column == 0:
		s.rows = s.rows[:s.row]
	case command == 'm':
	default:
		s.t.Errorf("the terminal was sent ESC [ %s %c at column %d", argument, command, s.column)
	}
}

func (s *screen) put(cluster string) {
	if s.column+ansi.StringWidth(cluster) > s.width {
		s.wrapped, s.row, s.column = true, s.row+1, 0
	}
	s.grow()
	if s.column == 0 {
		s.rows[s.row] = ""
	}
	s.rows[s.row] += cluster
	s.column += ansi.StringWidth(cluster)
}

func (s *screen) grow() {
	for len(s.rows) <= s.row {
		s.rows = append(s.rows, "")
	}
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.rows, "\n")
}

// watch is a tty renderer whose clock and screen are the test's. Nothing draws
// but the test.
func watch(t *testing.T, width, height int, color bool) (r *ttyRenderer, s *screen, stdout *bytes.Buffer, clock *time.Time) {
	s, stdout, clock = &screen{t: t, width: width}, &bytes.Buffer{}, &time.Time{}
	*clock = at(0)
	r = newTTYRenderer(stdout, s, func() (int, int) { return width, height }, color, func() time.Time { return *clock })
	return r, s, stdout, clock
}

func TestTTYFramesOfARollThatGoesBack(t *testing.T) {
	r, s, stdout, clock := watch(t, 120, 24, false)
	rec := record()
	r.Plan(rec.plan)
	frames := map[time.Duration]string{
		20 * time.Millisecond: `
web: warning: a flipped replica is unhealthy only after 20s
web  0 of 2 done  0.0s  removing leftover web-9: exited with code 1
     NEW                     OLD                       WAITING FOR
  1  new                     web-1                     its turn
  2  new                     web-2                     its turn
`,
		500 * time.Millisecond: `
web: warning: a flipped replica is unhealthy only after 20s
web  0 of 2 done  0.5s  roll web to 2 replicas: create 2 replicas, drain and stop 2, remove 1 leftover, keep 1
     NEW                     OLD                       WAITING FOR
  1  new  creating 0.4s/5m   web-1                     Compose to create it
  2  new  creating 0.4s/5m   web-2                     Compose to create it
`,
		2200 * time.Millisecond: `
web: warning: a flipped replica is unhealthy only after 20s
web  0 of 2 done  2.2s  roll web to 2 replicas: create 2 replicas, drain and stop 2, remove 1 leftover, keep 1
     NEW                       OLD                       WAITING FOR
  1  web-4  joining 0.2s/30s   web-1                     Traefik to route to it: not in proxy web@docker
  2  web-5  booting 1.0s/45s   web-2                     Docker to call it healthy: starting: connection refused
`,
		4050 * time.Millisecond: `
web: warning: a flipped replica is unhealthy only after 20s
web  0 of 2 done  4.1s  roll web to 2 replicas: create 2 replicas, drain and stop 2, remove 1 leftover, keep 1
     NEW                       OLD                       WAITING FOR
  1  web-4  arrived            web-1                     the others of its window
  2  web-5  arrived            web-2                     the others of its window
`,
		6250 * time.Millisecond: `
web: warning: a flipped replica is unhealthy only after 20s
web  0 of 2 done  6.3s  roll web to 2 replicas: create 2 replicas, drain and stop 2, remove 1 leftover, keep 1
     NEW                       OLD                       WAITING FOR
  1  web-4  arrived            web-1  sinking 2.1s/30s   Docker to call it unhealthy: failing 1 of 2
  2  web-5  arrived            web-2  flipping 2.2s/30s  it to take the flip: file /tmp/drain
`,
		8 * time.Second: `
web: warning: a flipped replica is unhealthy only after 20s
web-5 | panic: no database
web: warning: web-2 was killed for want of memory (OOM)
web-5 (slot 2, arrived): failed: it exited with code 1
web: the roll goes back
web  0 of 2 done  8.0s  the roll goes back
     NEW                       OLD                         WAITING FOR
  1  web-4  arrived            web-1  unflipping 1.5s/30s  it to take the un-flip
  2  web-5  arrived            web-2  unflipping 1.5s/30s  it to take the un-flip
`,
	}
	left := rec.events
	for _, after := range []time.Duration{20 * time.Millisecond, 500 * time.Millisecond, 2200 * time.Millisecond, 4050 * time.Millisecond, 6250 * time.Millisecond, 8 * time.Second} {
		for len(left) > 0 && !left[0].Time.After(at(after)) {
			r.On(left[0])
			left = left[1:]
		}
		*clock = at(after)
		r.draw(false)
		t.Run(after.String(), func(t *testing.T) { same(t, s.String(), frames[after]) })
	}
	for _, e := range left {
		r.On(e)
	}
	*clock = at(9500 * time.Millisecond)
	r.Result(rec.result)
	*clock = at(time.Hour)
	r.Close()
	same(t, s.String(), `
web: warning: a flipped replica is unhealthy only after 20s
web-5 | panic: no database
web: warning: web-2 was killed for want of memory (OOM)
web-5 (slot 2, arrived): failed: it exited with code 1
web: the roll goes back
web  0 of 2 done  9.5s  the roll goes back
     NEW                       OLD                       WAITING FOR
  1  web-4  departed           web-1  returned           as before
  2  web-5  departed           web-2  returned           as before; failed: it exited with code 1
`)
	same(t, stdout.String(), ending{Result: rolledBack()}.String())
	if s.wrapped {
		t.Error("a line of the table was wrapped")
	}
	if s.column != 0 || s.row != len(s.rows) {
		t.Errorf("the cursor was left in row %d, column %d of %d rows", s.row, s.column, len(s.rows))
	}
}

// many is a plan of n slots, and events that bring the first done of them to
// their end and the next moving on their way.
func many(n, done, moving int) (deploy.Plan, []deploy.Event) {
	plan := deploy.Plan{Service: "web", Verb: "roll", Target: n}
	var events []deploy.Event
	for i := range n {
		old := &compose.Replica{Name: fmt.Sprintf("web-%d", i+1)}
		plan.Slots = append(plan.Slots, deploy.Slot{New: true, Old: old})
		phase := func(role deploy.Role, name string, p deploy.Phase) {
			events = append(events, deploy.Event{Time: at(0), Kind: deploy.KindPhase, Service: "web", Slot: i + 1, Slots: n, Role: role, Replica: name, Phase: p, Budget: 30 * time.Second})
		}
		switch name := fmt.Sprintf("web-%d", n+i+1); {
		case i < done:
			phase(deploy.NewReplica, name, deploy.Arrived)
			phase(deploy.OldReplica, old.Name, deploy.Departed)
		case i < done+moving:
			phase(deploy.NewReplica, name, deploy.Booting)
		}
	}
	return plan, events
}

func TestTTYTableFitsTheTerminal(t *testing.T) {
	for _, c := range []struct {
		name            string
		width, height   int
		n, done, moving int
		want            string
	}{
		{"slots on their way and a summary of the others when not all fit", 100, 12, 50, 2, 3, `
web  2 of 50 done  2.0s  roll web to 50 replicas: create 50 replicas, drain and stop 50
     NEW                       OLD      WAITING FOR
  3  web-53  booting 2.0s/30s  web-3    starting: refused
  4  web-54  booting 2.0s/30s  web-4    Docker to call it healthy
  5  web-55  booting 2.0s/30s  web-5    Docker to call it healthy
  2 done, 45 to come
`},
		{"fifty slots at once on a low terminal", 100, 8, 50, 0, 50, `
web  0 of 50 done  2.0s  roll web to 50 replicas: create 50 replicas, drain and stop 50
     NEW                       OLD      WAITING FOR
  1  web-51  booting 2.0s/30s  web-1    starting: refused
  2  web-52  booting 2.0s/30s  web-2    Docker to call it healthy
  3  web-53  booting 2.0s/30s  web-3    Docker to call it healthy
  4  web-54  booting 2.0s/30s  web-4    Docker to call it healthy
  46 more on their way
`},
		{"a terminal of seventy columns drops words that the phase says", 70, 24, 12, 3, 2, `
web  3 of 12 done  2.0s  roll web to 12 replicas: create 12 replicas…
      NEW                       OLD               WAITING FOR
   1  web-13  arrived           web-1   departed  done
   2  web-14  arrived           web-2   departed  done
   3  web-15  arrived           web-3   departed  done
   4  web-16  booting 2.0s/30s  web-4             starting: refused
   5  web-17  booting 2.0s/30s  web-5             Docker to call it …
   6  new                       web-6             its turn
   7  new                       web-7             its turn
   8  new                       web-8             its turn
   9  new                       web-9             its turn
  10  new                       web-10            its turn
  11  new                       web-11            its turn
  12  new                       web-12            its turn
`},
		{"a narrow terminal cuts lines", 30, 24, 2, 0, 2, `
web  0 of 2 done  2.0s  roll…
     NEW                    …
  1  web-3  booting 2.0s/30s…
  2  web-4  booting 2.0s/30s…
`},
		{"wide characters count as two columns", 24, 24, 1, 0, 1, `
ウェブ  0 of 1 done  2…
     NEW              …
  1  web-2  booting 2.…
`},
		{"a terminal of two lines has room for the header", 100, 2, 5, 1, 2, `
web  1 of 5 done  2.0s  roll web to 5 replicas: create 5 replicas, drain and stop 5
`},
		{"all done leaves the summary", 100, 12, 50, 50, 0, `
web  50 of 50 done  2.0s  roll web to 50 replicas: create 50 replicas, drain and stop 50
  50 done
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, s, _, clock := watch(t, c.width, c.height, false)
			plan, events := many(c.n, c.done, c.moving)
			if strings.HasPrefix(c.name, "wide") {
				plan.Service, plan.Slots[0].Old.Name = "ウェブ", "ウェブ-1"
			}
			r.Plan(plan)
			for _, e := range events {
				r.On(e)
			}
			if c.moving > 0 {
				r.On(deploy.Event{Time: at(0), Kind: deploy.KindSeen, Service: "web", Slot: c.done + 1, Slots: c.n, Role: deploy.NewReplica, Phase: deploy.Booting, Detail: "starting: refused"})
			}
			for i := range 3 {
				*clock = at(time.Duration(i) * time.Second)
				r.draw(false)
			}
			same(t, s.String(), c.want)
			if s.wrapped {
				t.Error("a line was wrapped")
			}
			if len(s.rows) > c.height-1 {
				t.Errorf("%d lines on a terminal of %d", len(s.rows), c.height)
			}
		})
	}
}

func TestTTYColoursOnlyWhenAllowed(t *testing.T) {
	for _, color := range []bool{true, false} {
		var out bytes.Buffer
		r := newTTYRenderer(&out, &out, func() (int, int) { return 80, 24 }, color, func() time.Time { return at(0) })
		rec := record()
		rec.play(r)
		if got := strings.Contains(out.String(), "\x1b[31m"); got != color {
			t.Errorf("colour %v: red was used: %v", color, got)
		}
	}
}

func TestTTYTableSurvivesARollWithoutItsPlan(t *testing.T) {
	r, s, _, clock := watch(t, 100, 24, false)
	for _, e := range record().events[:6] {
		r.On(e)
	}
	*clock = at(time.Second)
	r.draw(false)
	same(t, s.String(), `
web  0 of 2 done  1.0s  roll web to 2 replicas: create 2 replicas, drain and stop 2, remove 1 left…
     NEW                       OLD                     WAITING FOR
  1  web-4  booting 0.0s/45s   new                     Docker to call it healthy
  2  new    creating 0.9s/5m   new                     Compose to create it
`)
}

func TestTTYShowsServicesOneAfterTheOther(t *testing.T) {
	r, s, stdout, _ := watch(t, 100, 24, false)
	for _, service := range []string{"api", "web"} {
		plan, events := many(1, 1, 0)
		plan.Service = service
		r.Plan(plan)
		for _, e := range events {
			r.On(e)
		}
		r.draw(false)
		r.Result(deploy.Result{Service: service, Outcome: deploy.Done, Created: []string{"web-2"}, Removed: []string{"web-1"}, Proven: true, Took: time.Second})
	}
	r.Close()
	same(t, s.String(), `
api  1 of 1 done  0.0s  roll api to 1 replica: create 1 replica, drain and stop 1
     NEW                       OLD                       WAITING FOR
  1  web-2  arrived            web-1  departed           done
web  1 of 1 done  0.0s  roll web to 1 replica: create 1 replica, drain and stop 1
     NEW                       OLD                       WAITING FOR
  1  web-2  arrived            web-1  departed           done
`)
	same(t, stdout.String(), `
api: 1 replica replaced in 1.0s, every change proven at Traefik; web-1 -> web-2
web: 1 replica replaced in 1.0s, every change proven at Traefik; web-1 -> web-2
`)
}

func TestTTYShowsADrainedReplicaAsDone(t *testing.T) {
	r, s, _, clock := watch(t, 100, 24, false)
	r.Plan(deploy.Plan{Service: "web", Verb: "drain", Target: 2, Slots: []deploy.Slot{{Old: &compose.Replica{Name: "web-2"}, Keep: true}}})
	r.On(deploy.Event{Time: at(0), Kind: deploy.KindPhase, Service: "web", Slot: 1, Slots: 1, Role: deploy.OldReplica, Replica: "web-2", Phase: deploy.Draining, Budget: 10 * time.Second})
	*clock = at(time.Second)
	r.draw(false)
	same(t, s.String(), `
web  1 of 1 done  1.0s  drain web to 2 replicas: drain and stop 1
     NEW                     OLD                       WAITING FOR
  1  -                       web-2  draining           done
`)
}

func TestTTYSaysWhichSlotsNeedAPerson(t *testing.T) {
	r, s, _, clock := watch(t, 100, 24, false)
	plan, events := many(2, 1, 1)
	r.Plan(plan)
	for _, e := range events {
		r.On(e)
	}
	*clock = at(time.Second)
	r.Result(deploy.Result{Service: "web", Outcome: deploy.Partial, Left: []deploy.Left{{Replica: "web-4", Role: deploy.NewReplica, Phase: deploy.Booting, Reason: "given up while Docker to call it healthy"}}})
	same(t, s.String(), `
web  1 of 2 done  1.0s  roll web to 2 replicas: create 2 replicas, drain and stop 2
     NEW                      OLD              WAITING FOR
  1  web-3  arrived           web-1  departed  done
  2  web-4  booting 1.0s/30s  web-2            a person: given up while Docker to call it healthy
`)
}

func TestTTYDrawsByItselfUntilItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 80}
		r := newTTYRenderer(&bytes.Buffer{}, s, func() (int, int) { return 80, 24 }, false, time.Now)
		r.start()
		plan, _ := many(1, 0, 0)
		r.Plan(plan)
		before := s.writes
		for range 1000 {
			r.On(deploy.Event{Time: time.Now(), Kind: deploy.KindPhase, Service: "web", Slot: 1, Slots: 1, Role: deploy.NewReplica, Phase: deploy.Booting})
		}
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		if drawn := s.writes - before; drawn < 5 || drawn > 11 {
			t.Errorf("drawn %d times in a second of the test's clock, want about ten", drawn)
		}
		if !strings.Contains(s.String(), "booting 1.0s") {
			t.Errorf("the clock does not run:\n%s", s)
		}
		r.Close()
		r.Close()
	})
}

// stuck is a terminal that was stopped.
type stuck struct{ released chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	<-s.released
	return len(p), nil
}

func TestAStoppedTerminalDoesNotStopARoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		terminal := stuck{make(chan struct{})}
		r := newTTYRenderer(&bytes.Buffer{}, terminal, func() (int, int) { return 80, 24 }, false, time.Now)
		plan, events := many(3, 1, 2)
		r.Plan(plan)
		r.start()
		time.Sleep(time.Second)
		synctest.Wait()
		for _, e := range events {
			r.On(e) // would be a deadlock, which synctest reports
		}
		close(terminal.released)
		r.Close()
	})
}

func TestALineThatANarrowedTerminalWrappedIsClearedWhole(t *testing.T) {
	if got := rowsOf([]string{strings.Repeat("x", 100), "", "short"}, 40); got != 5 {
		t.Errorf("got %d rows, want 5", got)
	}
}
