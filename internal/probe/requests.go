package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// Requests are long requests that are in flight together, each on a connection
// of its own, to see whether something cuts them.
type Requests struct {
	done     chan struct{}
	outcomes []Outcome
}

// Outcome is what became of one long request.
type Outcome struct {
	Kind   string        // empty: a good answer, complete; else as in Report
	Error  string        // says more about Kind
	Status int           // 0: no answer came
	Took   time.Duration // until the answer's last byte, or the failure
}

// HoldRequests sends n requests as c says (Rate, Duration and MaxWorkers do
// not matter) and returns as soon as each has left, or failed. When ctx ends
// those still in flight are cut, with KindCanceled.
func HoldRequests(ctx context.Context, c Config, n int) (*Requests, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, fmt.Errorf("hold %d requests: must be at least 1", n)
	}
	c = c.withDefaults()
	c.NoKeepAlive = true
	return holdRequests(ctx, c, n, newTransport(c)), nil
}

func holdRequests(ctx context.Context, c Config, n int, transport http.RoundTripper) *Requests {
	r := &Requests{done: make(chan struct{}), outcomes: make([]Outcome, n)}
	var left, finished sync.WaitGroup
	left.Add(n)
	for i := range n {
		finished.Go(func() {
			leave := sync.OnceFunc(left.Done)
			defer leave()
			trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { leave() }}

			began := time.Now()
			a := exchange(httptrace.WithClientTrace(ctx, trace), c, transport)
			r.outcomes[i] = Outcome{Kind: a.kind, Error: a.text, Status: a.status, Took: time.Since(began)}
		})
	}
	go func() {
		finished.Wait()
		close(r.done)
	}()
	left.Wait() // each is bounded by c.Timeout and ctx
	return r
}

// Done is closed when every request has got its outcome.
func (r *Requests) Done() <-chan struct{} { return r.done }

// Wait returns the outcomes when all are known.
func (r *Requests) Wait() []Outcome {
	<-r.done
	return r.outcomes
}

// Err waits, and returns nil when every request got a good answer, else an
// error that names each loss.
func (r *Requests) Err() error {
	var errs []error
	for i, o := range r.Wait() {
		if o.Kind != "" {
			errs = append(errs, fmt.Errorf("request %d of %d, after %s: %s: %s", i+1, len(r.outcomes), Millis(o.Took), o.Kind, o.Error))
		}
	}
	return errors.Join(errs...)
}
