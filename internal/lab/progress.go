package lab

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress writes one line when a step starts, one every ten seconds while it lasts, and one when it ends. Steps
// shorter than a second end without a line.
type progress struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *progress) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "lab: "+format+"\n", args...)
}

// step runs fn under the name what.
func (p *progress) step(what string, fn func() error) error {
	p.printf("%s ...", what)
	started := time.Now()
	elapsed := func() time.Duration { return time.Since(started).Round(time.Second) }
	done := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.printf("%s ... %s", what, elapsed())
			case <-done:
				return
			}
		}
	})
	err := fn()
	close(done)
	ticking.Wait()
	switch {
	case err != nil:
		p.printf("%s: failed after %s", what, elapsed())
	case elapsed() > 0:
		p.printf("%s: done in %s", what, elapsed())
	}
	return err
}
