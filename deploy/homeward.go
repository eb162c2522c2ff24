package deploy

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// WayBack is how replicas that were replaced come back when a roll fails:
// deploy.rollback_config. Without it they all come back at once, in the order
// of the way forward.
type WayBack struct {
	Parallelism     Setting[int] // slots at the same time; 0: all
	Delay           Setting[time.Duration]
	Order           Setting[compose.Order]
	Monitor         Setting[time.Duration] // how long a replica that came back has to serve before its successor leaves
	FailureAction   Setting[FailureAction] // ActContinue or ActPause
	MaxFailureRatio Setting[float64]       // under ActPause
}

// rollbackConfig is the source of what the file says about the way back.
const rollbackConfig = "deploy.rollback_config"

// follow makes what the file says about the way back the policy of a whole
// roll: one that goes back to an earlier version.
func (p *Policy) follow(b WayBack) {
	prefer(&p.Parallelism, b.Parallelism)
	prefer(&p.Delay, b.Delay)
	prefer(&p.Order, b.Order)
	prefer(&p.Monitor, b.Monitor)
	prefer(&p.FailureAction, b.FailureAction)
	prefer(&p.MaxFailureRatio, b.MaxFailureRatio)
}

// prefer takes what rollback_config said; nothing when it said nothing.
func prefer[T any](s *Setting[T], said Setting[T]) {
	if said.Source == rollbackConfig {
		*s = said
	}
}

// newBack resolves rollback_config. What cannot overlap on the way forward
// cannot do so on the way back.
func newBack(u compose.Update, forward Setting[compose.Order]) (WayBack, []Refusal) {
	const file, none = rollbackConfig, "default"
	b := WayBack{
		Parallelism: Setting[int]{0, none}, Delay: Setting[time.Duration]{0, none}, Order: forward, Monitor: Setting[time.Duration]{0, none},
		FailureAction: Setting[FailureAction]{ActContinue, none}, MaxFailureRatio: Setting[float64]{0, none},
	}
	declare(&b.Parallelism, u.Parallelism, file)
	declare(&b.Delay, u.Delay, file)
	declare(&b.Monitor, u.Monitor, file)
	declare(&b.MaxFailureRatio, u.MaxFailureRatio, file)
	if u.Order != "" && forward.Value != compose.StopFirst {
		b.Order = Setting[compose.Order]{u.Order, file}
	}
	switch a := FailureAction(u.FailureAction); a {
	case "":
	case ActPause, ActContinue:
		b.FailureAction = Setting[FailureAction]{a, file}
	default:
		return b, []Refusal{{
			Path: []string{"deploy", "rollback_config", "failure_action"},
			What: fmt.Sprintf("failure_action is %q", u.FailureAction),
			Why:  "a roll that goes back can continue or pause", Instead: "failure_action: pause",
		}}
	}
	return b, nil
}

// String is what differs from the defaults, with its source; empty: nothing.
func (b WayBack) String() string {
	var text string
	say := func(source, format string, args ...any) {
		if source == rollbackConfig {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf(format, args...)
		}
	}
	at := "all at once"
	if n := b.Parallelism.Value; n > 0 {
		at = fmt.Sprintf("%d at a time", n)
	}
	say(b.Parallelism.Source, "%s", at)
	say(b.Delay.Source, "delay %s", short(b.Delay.Value))
	say(b.Order.Source, "%s", b.Order.Value)
	say(b.Monitor.Source, "monitor %s", short(b.Monitor.Value))
	say(b.FailureAction.Source, "on failure %s", b.FailureAction.Value)
	say(b.MaxFailureRatio.Source, "max_failure_ratio %g", b.MaxFailureRatio.Value)
	if text != "" {
		text += " (" + rollbackConfig + ")"
	}
	return text
}

// goBack has a slot whose old replica is gone go back when its turn comes.
func (m *machine) goBack(s *slot) {
	s.homed = true
	m.turn(s, homing)
}

// scheduleBack starts slots that wait for their way back while the window of
// rollback_config has room, as schedule does on the way forward.
func (m *machine) scheduleBack() {
	back := m.plan.Policy.Back
	homed, failed := 0, 0
	room := len(m.slots)
	if n := back.Parallelism.Value; n > 0 {
		room = n
	}
	for _, s := range m.slots {
		if !s.homed {
			continue
		}
		homed++
		switch s.stage {
		case homing:
			continue
		case undoing:
			room--
			continue
		case stuck:
			failed++
		}
		if s.home.IsZero() {
			s.home = time.Now()
		}
		if rest := time.Until(s.home.Add(back.Delay.Value)); rest > 0 {
			room--
			m.wake(rest)
		}
	}
	pause := back.FailureAction.Value == ActPause && homed > 0 && float64(failed)/float64(homed) > back.MaxFailureRatio.Value
	for _, s := range m.slots {
		switch {
		case s.stage != homing:
		case pause:
			s.undoErr = errPaused
			m.finish(s, stuck)
		case room > 0:
			room--
			m.undo(s)
		}
	}
}

var errPaused = errors.New("its way back was not begun: another one failed, and rollback_config.failure_action is pause")

// probation reports whether a replica that was made again still has to show
// that it lives. Its error is why it does not.
func (m *machine) probation(l *leg) (bool, error) {
	rest := m.plan.Policy.Back.Monitor.Value - time.Since(l.arrived)
	if l.kept == nil || rest <= 0 {
		return false, nil
	}
	if r, there := m.world.replicas[l.id]; !m.world.at.Before(l.since) {
		if err := l.broken(r, there); err != nil {
			return true, fmt.Errorf("%w, %s after it came back", err, short(time.Since(l.arrived)))
		}
	}
	m.wake(min(m.r.poll()*10, rest))
	return true, nil
}

// homeFloor is how many replicas serve at any instant of the way back.
func (m *machine) homeFloor() int {
	if m.plan.Policy.Back.Order.Value == compose.StopFirst {
		return 0
	}
	return m.plan.Floor
}

// orderHome puts the legs of the way back into their order. An old replica
// that still runs comes back before anything leaves, whatever the order: it
// takes no place of its successor's.
func (m *machine) orderHome(s *slot) {
	forward := m.plan.Policy.Order.Value == compose.StopFirst
	again := s.back != nil && s.back.kept != nil && m.plan.Policy.Back.Order.Value == compose.StopFirst
	if forward || again {
		slices.Reverse(s.homeward)
	}
}
