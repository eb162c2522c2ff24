package lab

import (
	"context"
	"fmt"
	"time"
)

// poll checks at once and then at every interval until check is done, fails, or limit has passed. seen is the last
// thing that check saw, for the error.
func poll(ctx context.Context, what string, limit, every time.Duration, check func(context.Context) (done bool, seen string, err error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		done, seen, err := check(ctx)
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("wait for %s: not after %s; last seen: %s", what, limit, seen)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last seen: %s", what, context.Cause(ctx), seen)
		}
	}
}
