// Package probe measures whether a service loses requests: it sends them at a
// constant rate, whatever becomes of the answers, and accounts for every one.
//
// It is open-loop. A client that waits for an answer before it sends the next
// request sends little while the service is stuck, and so hardly notices; this
// one goes on. Every request goes out once, at most: none is repeated when its
// connection breaks, and redirects are not followed. Answers are read to their
// last byte.
//
// A failure is attributed to the second and the phase in which it was noticed;
// phases are named by whoever changes the service meanwhile, with Probe.Mark.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Probe is one measurement. Its methods may be called from any goroutine.
type Probe struct {
	config    Config
	transport http.RoundTripper

	mu      sync.Mutex
	started bool
	tally   tally
}

// New returns a probe that has not begun yet, or the error of c.Validate.
func New(c Config) (*Probe, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	return &Probe{config: c, transport: newTransport(c), tally: newTally(time.Now())}, nil
}

// Run sends requests until Config.Duration is over or ctx ends, whichever
// comes first, waits for the answers of those in flight (each for no longer
// than Config.Timeout), and returns the account. The end of ctx is no error.
// A probe runs once; to run it again is an error.
func (p *Probe) Run(ctx context.Context) (Report, error) {
	if !p.start() {
		return Report{}, errors.New("run probe: it has run already")
	}
	defer func() {
		if t, ok := p.transport.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}()

	// vegeta decides when a request goes out, and starts a worker more
	// whenever all are waiting for answers. What goes out, and what became of
	// it, is settled in hit, because vegeta reduces errors to text and drops
	// the status of an answer whose body breaks off (lib/attack.go, hit).
	attacker := vegeta.NewAttacker(vegeta.Client(&http.Client{
		Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			p.hit(ctx)
			return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody}, nil
		}),
	}))
	target := vegeta.NewStaticTargeter(vegeta.Target{Method: p.config.Method, URL: p.config.URL})

	var err error
	for result := range attacker.Attack(target, pacer{p.config, func() bool { return ctx.Err() != nil }}, 0, "") {
		if result.Error != "" && err == nil {
			err = fmt.Errorf("drive the requests: %s", result.Error)
		}
	}
	return p.report(), err
}

// Mark begins a phase: what happens from now on is attributed to it, until
// the next Mark. What happens before the first belongs to the phase "start".
func (p *Probe) Mark(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()

	var at time.Duration
	if p.started {
		at = p.elapsed()
	}
	p.tally.mark(phase, at)
}

// Snapshot returns the counts so far. It is cheap enough for a live line.
func (p *Probe) Snapshot() Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()

	var elapsed time.Duration
	if p.started {
		elapsed = p.elapsed()
	}
	return p.tally.snapshot(elapsed)
}

func (p *Probe) start() bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.started {
		return false
	}
	p.started = true
	p.tally.began = time.Now()
	return true
}

// elapsed is called with the lock held: two offsets never contradict the
// order in which they were noted.
func (p *Probe) elapsed() time.Duration { return time.Since(p.tally.began) }

// hit sends the request that is due now and notes what became of it. When ctx
// has ended it does nothing: the last request is paced before, and due after.
func (p *Probe) hit(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	at, ok := p.send()
	if !ok {
		return
	}
	a := exchange(context.WithoutCancel(ctx), p.config, p.transport)
	p.settle(at, a)
}

func (p *Probe) send() (at time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()

	at = p.elapsed()
	return at, p.tally.send(at, p.config.MaxWorkers)
}

func (p *Probe) settle(sent time.Duration, a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.tally.settle(sent, p.elapsed(), a)
}

func (p *Probe) report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.tally.report(p.config)
}

// pacer makes request n due at n/Rate seconds. After a stall of this process
// it catches up at once, so that every request of the schedule is sent.
type pacer struct {
	config Config
	ended  func() bool
}

var _ vegeta.Pacer = pacer{}

// Pace implements vegeta.Pacer.
func (p pacer) Pace(elapsed time.Duration, hits uint64) (wait time.Duration, stop bool) {
	due := dueAt(hits, p.config.Rate)
	if p.ended() || p.config.Duration > 0 && due >= p.config.Duration {
		return 0, true
	}
	return due - elapsed, false
}

// Rate implements vegeta.Pacer.
func (p pacer) Rate(time.Duration) float64 { return float64(p.config.Rate) }

func dueAt(n uint64, rate int) time.Duration {
	seconds, rest := n/uint64(rate), n%uint64(rate)
	return time.Duration(seconds)*time.Second + time.Duration(rest)*time.Second/time.Duration(rate)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
