package deploy

import (
	"context"
	"errors"
	"time"
)

// errLost is why a roll stops that no longer holds its lease.
var errLost = errors.New("the lease was broken by somebody else")

// lost reports whether the lease is no longer held. An action that begins with
// a look asks once more before it changes something.
func (m *machine) lost() bool {
	select {
	case <-m.r.Lost:
		return true
	default:
		return false
	}
}

// sure reports whether the lease is known to be held. While it is not nothing
// is begun; what was begun before goes on.
func (m *machine) sure() bool { return m.r.Sure == nil || m.r.Sure() }

// waitSure waits until the lease is known to be held. Its error is errLost
// when it is lost, or why ctx ended.
func (m *machine) waitSure(ctx context.Context) error {
	retry := time.NewTicker(m.r.poll())
	defer retry.Stop()
	for {
		switch {
		case m.lost():
			return errLost
		case m.sure():
			return nil
		}
		select {
		case <-retry.C:
		case <-m.r.Lost:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// yield ends a roll that has lost its lease: somebody else may be changing the
// same replicas, so nothing is begun any more, neither forward nor back. What
// is on its way cannot be called off; its result is waited for.
func (m *machine) yield() {
	m.broken = true
	m.failures = append(m.failures, Failure{Err: errLost})
	m.emit(Event{Kind: KindFailure, Detail: errLost.Error() + ": nothing more is begun, neither forward nor back"})
	for m.running > 0 {
		select {
		case c := <-m.completions:
			m.take(c)
		case <-m.r.GiveUp:
			return
		}
	}
	for _, s := range m.slots {
		if (s.stage == coming || s.stage == going) && (s.in == nil || s.in.done()) && (s.out == nil || s.out.done()) {
			m.finish(s, done)
		}
	}
}
