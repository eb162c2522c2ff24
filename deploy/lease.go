package deploy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// LeaseStore keeps one lease a project where everybody who may roll it sees
// it: on the daemon that its replicas live on. A lease that was removed and
// claimed again has another id.
type LeaseStore interface {
	// Claim makes the lease with its first content, atomically. It is
	// compose.ErrTaken when there is one.
	Claim(ctx context.Context, project string, content []byte) (id string, err error)
	// Read is compose.ErrGone when there is none.
	Read(ctx context.Context, project string) (id string, content []byte, err error)
	// Write replaces the content of that very lease; compose.ErrGone when it is
	// no longer there.
	Write(ctx context.Context, id string, content []byte) error
	// Release removes that very lease; one that is gone is no error.
	Release(ctx context.Context, id string) error
}

// How the lease is kept. An owner doubts it before a reader may take over: it
// counts from the start of its last write, a reader from when it saw that
// write, which is later. In doubt the owner begins nothing, and goes on trying
// to write, for as long as the rest of a roll waits for its Engine: an Engine
// that answers nobody keeps readers from taking over, too.
const (
	leaseBeat    = 3 * time.Second  // between two heartbeats
	leaseRetry   = time.Second      // after one that failed, and between two looks of a reader
	leaseRequest = 8 * time.Second  // one request
	leaseDoubt   = 25 * time.Second // without a heartbeat its owner begins nothing more
	leaseGivenUp = engineLimit      // without a heartbeat its owner gives it up
	leaseDead    = 30 * time.Second // without a heartbeat a reader takes it over
	leaseFresh   = 10 * time.Second // a heartbeat seen since then belongs to a living owner
	leaseTrouble = 20 * time.Second // before and after a roll: an Engine that fails is asked again for that long
)

// Lease is the right to change the replicas of one project, held until
// Release. Its heartbeat is kept beside whatever the holder does.
type Lease struct {
	store   LeaseStore
	project string
	id      string
	say     func(string)
	stop    context.CancelFunc
	lost    chan struct{}
	ended   chan struct{}

	mu   sync.Mutex // guards what follows
	says beat
	sure time.Time // when the write began that last showed that it is held
}

// Acquire takes the lease of a project. When somebody else holds it, it waits
// for as long as wait says; its error is a *LockedError then. Zero does not
// mean that it returns at once: whether the holder lives shows only with its
// next heartbeat, and one that stands still for 30 s by the clock of this
// reader is taken over. say is told, in a sentence, what a person who waits
// should know, also later while the lease is held; it may be called from
// another goroutine. Ending ctx ends the wait, not a lease that is held.
func Acquire(ctx context.Context, store LeaseStore, project string, owner Owner, wait time.Duration, say func(string)) (*Lease, error) {
	l := &Lease{
		store: store, project: project, say: say, lost: make(chan struct{}), ended: make(chan struct{}),
		says: beat{Token: rand.Text(), Owner: owner, Phase: "planning"},
	}
	sure, err := l.take(ctx, wait)
	if err != nil {
		return nil, err
	}
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.sure = sure
	go l.keep(ctx, sure)
	return l, nil
}

// take returns once the lease is held, with the time at which the write began
// that showed it.
func (l *Lease) take(ctx context.Context, wait time.Duration) (sure time.Time, err error) {
	started := time.Now()
	ticker := time.NewTicker(leaseRetry)
	defer ticker.Stop()
	var seen watch
	var engine outage
	for told := ""; ; {
		sure, again, err := l.try(ctx, &seen)
		switch {
		case ctx.Err() != nil:
			l.abandon(ctx)
			return sure, fmt.Errorf("take the lease of project %s: %w", l.project, context.Cause(ctx))
		case errors.Is(err, compose.ErrNoImage):
			return sure, fmt.Errorf("take the lease of project %s: %w", l.project, err)
		case engine.tooLong(err):
			l.abandon(ctx)
			return sure, fmt.Errorf("take the lease of project %s: waited %s for the Engine: %w", l.project, short(leaseTrouble), err)
		case err != nil:
		case !sure.IsZero():
			return sure, nil
		case again:
			continue
		case time.Since(started) >= wait && seen.alive():
			return sure, seen.locked(l.project)
		case seen.id != told:
			told = seen.id
			l.say(fmt.Sprintf("project %s is locked by %s; %s", l.project, seen.holder(), patience(wait-time.Since(started))))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// patience says what is done about a lease that somebody else holds.
func patience(left time.Duration) string {
	if left <= 0 {
		return "looking whether that roll is alive"
	}
	return "waiting up to " + short(left) + " for it"
}

// try looks once, and claims the lease if nobody has it. What was claimed is
// held once it was seen and written to: the next look, again, does that.
func (l *Lease) try(ctx context.Context, seen *watch) (sure time.Time, again bool, err error) {
	err = seen.look(ctx, l.store, l.project)
	switch {
	case errors.Is(err, compose.ErrGone):
		err := request(ctx, func(ctx context.Context) error {
			_, err := l.store.Claim(ctx, l.project, l.says.marshal())
			return err
		})
		if errors.Is(err, compose.ErrTaken) { // by somebody quicker, or by a request of ours whose answer was lost
			return sure, false, nil
		}
		return sure, err == nil, err
	case err != nil:
		return sure, false, err
	case seen.says.Token == l.says.Token:
		began := time.Now()
		l.says.Beat++
		err := request(ctx, func(ctx context.Context) error { return l.store.Write(ctx, seen.id, l.says.marshal()) })
		if errors.Is(err, compose.ErrGone) {
			return sure, false, nil
		}
		if err == nil {
			l.id, sure = seen.id, began
		}
		return sure, false, err
	case !seen.dead():
		return sure, false, nil
	}
	l.say(fmt.Sprintf("the heartbeat of the lease of project %s has stood still for %s: taking it over from %s", l.project, short(leaseDead), seen.holder().Owner))
	return sure, false, seen.remove(ctx, l.store)
}

// abandon removes what a request of ours may have made although its answer
// never came. When that fails, too, the next reader takes it over.
func (l *Lease) abandon(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	var seen watch
	if err := seen.look(ctx, l.store, l.project); err == nil && seen.says.Token == l.says.Token {
		_ = seen.remove(ctx, l.store)
	}
}

// request bounds one request.
func request(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, leaseRequest, fmt.Errorf("no answer within %s", short(leaseRequest)))
	defer cancel()
	err := do(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// outage is a time in which the Engine failed without a break.
type outage struct{ since time.Time }

// tooLong takes note of what the Engine answered and reports whether it has
// failed for so long that it is not asked again.
func (o *outage) tooLong(err error) bool {
	switch {
	case err == nil:
		o.since = time.Time{}
	case o.since.IsZero():
		o.since = time.Now()
	}
	return err != nil && time.Since(o.since) >= leaseTrouble
}

// keep writes heartbeats until the lease is released or lost. sure is when the
// write began that last showed that it is held.
func (l *Lease) keep(ctx context.Context, sure time.Time) {
	defer close(l.ended)
	pause, last, doubted := leaseBeat, error(nil), false
	for {
		doubt, end := sure.Add(leaseDoubt), sure.Add(leaseGivenUp)
		until := end
		if !doubted {
			until = doubt
		}
		timer := time.NewTimer(min(pause, time.Until(until)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		began := time.Now()
		if !began.Before(end) {
			l.lose(fmt.Sprintf("its heartbeat could not be written for %s: %v", short(leaseGivenUp), last))
			return
		}
		if !began.Before(doubt) && !doubted {
			doubted = true
			l.say(fmt.Sprintf("the heartbeat of the lease of project %s could not be written for %s, nothing is begun until it can be: %v", l.project, short(leaseDoubt), last))
		}
		err := l.write(ctx, until)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, compose.ErrGone):
			l.lose("somebody removed it")
			return
		case err != nil:
			pause, last = leaseRetry, err
		default:
			if doubted {
				l.say(fmt.Sprintf("the lease of project %s is still held", l.project))
			}
			sure, pause, doubted = began, leaseBeat, false
			l.mu.Lock()
			l.sure = sure
			l.mu.Unlock()
		}
	}
}

func (l *Lease) write(ctx context.Context, until time.Time) error {
	l.mu.Lock()
	l.says.Beat++
	content := l.says.marshal()
	l.mu.Unlock()
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return request(ctx, func(ctx context.Context) error { return l.store.Write(ctx, l.id, content) })
}

func (l *Lease) lose(why string) {
	l.say(fmt.Sprintf("the lease of project %s is lost: %s", l.project, why))
	close(l.lost)
}

// Phase says in a few words what the holder does; the next heartbeat tells it.
func (l *Lease) Phase(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.says.Phase = text
}

// Lost is closed when the lease is no longer held although it was not
// released: somebody broke it, or no heartbeat could be written for 2 minutes.
// The holder must stop before its next change.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Sure reports whether nobody else can hold the lease: its last heartbeat is
// younger than 25 s. The holder must begin nothing while it is not; it may be
// again.
func (l *Lease) Sure() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.sure) < leaseDoubt
}

// Release ends the heartbeat and removes the lease, also when ctx has ended,
// and tries that for some 20 s. After an error the next reader takes it over
// when the heartbeat has stood still for 30 s.
func (l *Lease) Release(ctx context.Context) error {
	l.stop()
	<-l.ended
	ctx = context.WithoutCancel(ctx)
	ticker := time.NewTicker(leaseRetry)
	defer ticker.Stop()
	var engine outage
	for {
		err := request(ctx, func(ctx context.Context) error { return l.store.Release(ctx, l.id) })
		if err == nil {
			return nil
		}
		if engine.tooLong(err) {
			return fmt.Errorf("release the lease of project %s: waited %s for the Engine: %w", l.project, short(leaseTrouble), err)
		}
		<-ticker.C
	}
}
