package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// Flipper tells a replica to report unhealthy while it goes on serving.
type Flipper interface {
	Flip(ctx context.Context, id string) error
	Unflip(ctx context.Context, id string) error
	// Way is how a container with these labels and this command is flipped, in
	// a few words; empty when there is no way, "none" when losses are accepted.
	Way(labels map[string]string, command []string) (string, error)
}

// Creator has Compose create and start replicas until there are total of them.
type Creator interface {
	Create(ctx context.Context, service string, total int) error
}

// Hooks runs one pre_stop hook in a container and returns what it wrote.
type Hooks interface {
	Hook(ctx context.Context, id string, hook compose.Hook) (string, error)
}

// Logs reads the last lines of a container.
type Logs interface {
	Logs(ctx context.Context, id string, tail int) ([]string, error)
}

// Keeper keeps what is needed to run a container again exactly.
type Keeper interface {
	// Keep reads a stopped container.
	Keep(ctx context.Context, id string) (any, error)
	// Restore creates and starts the same container again. After an error it
	// is called again and goes on from what it had done.
	Restore(ctx context.Context, kept any) (id, name string, err error)
}

// Roller carries out plans. Engine and Creator are needed; without a Router
// nothing is proven, without a Flipper nothing is flipped.
type Roller struct {
	Engine   Engine
	Creator  Creator
	Router   Router
	Flipper  Flipper
	Hooks    Hooks
	Logs     Logs
	Keeper   Keeper
	Notifier Notifier
	Observer Observer
	Poll     time.Duration   // between two looks; zero means 100 ms
	GiveUp   <-chan struct{} // closed by the second interruption: stop waiting for anything
	Veto     <-chan error    // what says that requests fail: the roll goes back
	Lost     <-chan struct{} // closed when the lease is no longer held: begin nothing more
	Sure     func() bool     // whether the lease is known to be held: begin nothing while it is not; nil: always
}

func (r *Roller) poll() time.Duration {
	if r.Poll > 0 {
		return r.Poll
	}
	return 100 * time.Millisecond
}

func (r *Roller) emit(e Event) {
	if r.Observer != nil {
		r.Observer.On(e)
	}
}

// Run carries out a plan to one of its ends and tells which. Cancelling ctx
// interrupts it: what is not committed is undone, what is committed is
// finished, and Run returns after that. It never returns with anything of its
// own still running, unless GiveUp was closed.
func (r *Roller) Run(ctx context.Context, plan Plan, snapshot Snapshot) Result {
	m := &machine{r: r, plan: plan, start: snapshot.Routes, initial: snapshot.Replicas, completions: make(chan completion, 2*len(plan.Slots)+2), exits: map[string]int{}, startedAt: time.Now()}
	for i, s := range plan.Slots {
		one := newSlot(i+1, s)
		if one.out != nil {
			one.out.routed = !s.Old.Ready() || len(listed(snapshot.Routes, *s.Old)) > 0
		}
		m.slots = append(m.slots, one)
	}
	m.emit(Event{Kind: KindPlan, Detail: plan.Headline()})
	switch err := m.clean(ctx); {
	case errors.Is(err, errLost):
		m.yield()
	case err != nil && ctx.Err() != nil:
		m.interrupted = true
	case err != nil:
		m.turned = err
		m.failures = append(m.failures, Failure{Phase: Removing, Err: &createError{err}})
		m.emit(Event{Kind: KindFailure, Phase: Removing, Detail: err.Error()})
	case len(m.slots) > 0:
		m.run(ctx)
	}
	result := m.result()
	m.emit(Event{Kind: KindResult, Detail: result.Outcome.String()})
	return result
}

// clean removes leftovers: containers that do not run and that Compose would
// start again.
func (m *machine) clean(ctx context.Context) error {
	for _, l := range m.plan.Clean {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := m.waitSure(ctx); err != nil {
			return err
		}
		m.emit(Event{Kind: KindPhase, Role: OldReplica, Replica: l.Replica.Name, Phase: Removing, Detail: l.Reason})
		ctx, cancel := context.WithTimeout(ctx, removeLimit)
		err := m.r.Engine.Remove(ctx, l.Replica.ID)
		cancel()
		if err != nil && !errors.Is(err, compose.ErrGone) {
			return fmt.Errorf("remove leftover %s: %w", l.Replica.Name, err)
		}
		m.emit(Event{Kind: KindPhase, Role: OldReplica, Replica: l.Replica.Name, Phase: Departed})
	}
	return nil
}

// Outcome is how a roll ended.
type Outcome int

// The outcomes.
const (
	UpToDate    Outcome = iota // nothing to do
	Done                       // as planned
	Failed                     // nothing was replaced; what was begun is undone
	RolledBack                 // the new version failed; the old one serves
	Partial                    // a person is needed
	Interrupted                // undone or finished as far as it was
)

func (o Outcome) String() string {
	switch o {
	case UpToDate:
		return "up to date"
	case Done:
		return "done"
	case Failed:
		return "failed, nothing changed"
	case RolledBack:
		return "rolled back"
	case Partial:
		return "partial"
	case Interrupted:
		return "interrupted"
	}
	return "unknown"
}

// Result is what a roll did.
type Result struct {
	Project  string
	Service  string
	Outcome  Outcome
	Proven   bool // every change of routing was seen in every router
	Unproven string
	Created  []string // new replicas in service
	Removed  []string // old replicas that left
	Restored []string // old replicas that were brought back
	Left     []Left   // what a person has to look at
	Failures []Failure
	Warnings []string
	Exits    map[string]int // exit codes by replica
	Took     time.Duration
	Calls    Calls // Run leaves it empty: the caller counts
}

// Calls is what a roll asked of others, its preparation included: requests to
// the Engine and to Traefik, runs of Compose and how long those took.
type Calls struct {
	Engine      int64
	Traefik     int64
	Compose     int64
	ComposeTime time.Duration
}

// Left is a replica that neither went forward nor back.
type Left struct {
	Replica string
	Role    Role
	Phase   Phase
	Reason  string
}

func (m *machine) result() Result {
	res := Result{
		Project: m.plan.Project, Service: m.plan.Service, Proven: m.plan.Gated && m.plan.Unproven == "" && len(m.lossy) == 0, Unproven: m.plan.Unproven,
		Failures: m.failures, Warnings: slices.Concat(m.plan.Warnings, m.warnings), Exits: m.exits, Took: time.Since(m.startedAt),
	}
	if len(m.lossy) > 0 {
		res.Unproven = strings.Join(m.lossy, ", ") + " stopped without a flip"
	}
	finished, committed, left := 0, 0, 0
	for _, s := range m.slots {
		if s.committed {
			committed++
		}
		switch s.stage {
		case done:
			finished++
			if s.in != nil {
				res.Created = append(res.Created, s.in.name)
			}
			if s.out != nil {
				res.Removed = append(res.Removed, s.out.name)
			}
		case undone:
			if s.back != nil {
				res.Restored = append(res.Restored, s.back.name)
			}
		case pending:
		default:
			left++
			res.Left = append(res.Left, s.left()...)
		}
	}
	switch {
	case left > 0:
		res.Outcome = Partial
	case m.plan.Empty():
		res.Outcome = UpToDate
	case m.interrupted && (finished < len(m.slots) || len(m.slots) == 0):
		res.Outcome = Interrupted
	case len(m.failures) == 0:
		res.Outcome = Done
	case finished > 0:
		res.Outcome = Partial
	case (m.broken || m.onlyCreation()) && committed == 0:
		res.Outcome = Failed
	default:
		res.Outcome = RolledBack
	}
	return res
}

// onlyCreation reports whether every failure is one of making replicas, not of
// the new version.
func (m *machine) onlyCreation() bool {
	for _, f := range m.failures {
		var c *createError
		if !errors.As(f.Err, &c) {
			return false
		}
	}
	return true
}

// left describes the replicas of a slot that reached none of its ends.
func (s *slot) left() []Left {
	reason := "given up while " + s.at()
	if s.undoErr != nil {
		reason = s.undoErr.Error()
	}
	var all []Left
	for _, l := range []*leg{s.in, s.out, s.back, s.exile} {
		if l != nil && l.name == "" && l.phase == Creating {
			all = append(all, Left{"a replica that Compose is creating", l.role, l.phase, reason})
		}
		if l != nil && l.name != "" && l.phase != Planned && l.phase != Departed && !slices.ContainsFunc(all, func(o Left) bool { return o.Replica == l.name }) {
			all = append(all, Left{l.name, l.role, l.phase, reason})
		}
	}
	return all
}

func (s *slot) at() string {
	for _, l := range s.legs() {
		return l.phase.Awaits()
	}
	return "it waited for its commit"
}
