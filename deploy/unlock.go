package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// Held tells who holds the lease of a project; held is false when nobody does.
// Whether the holder lives cannot be told from one look.
func Held(ctx context.Context, store LeaseStore, project string) (holder Holder, held bool, err error) {
	var seen watch
	switch err := seen.look(ctx, store, project); {
	case errors.Is(err, compose.ErrGone):
		return Holder{}, false, nil
	case err != nil:
		return Holder{}, false, fmt.Errorf("read the lease of project %s: %w", project, err)
	}
	return seen.holder(), true, nil
}

// Unlock breaks the lease of a project once its heartbeat has stood still for
// 30 s by the clock of this reader; with force at once and whatever its
// heartbeat does. One that moves is a *LockedError. broken is false when nobody
// held it, or when its holder released it meanwhile. say is told what happens.
func Unlock(ctx context.Context, store LeaseStore, project string, force bool, say func(string)) (broken bool, err error) {
	ticker := time.NewTicker(leaseRetry)
	defer ticker.Stop()
	var seen watch
	var engine outage
	for told := false; ; {
		err := seen.look(ctx, store, project)
		if errors.Is(err, compose.ErrGone) {
			return false, nil
		}
		if err == nil && !told {
			told = true
			say(fmt.Sprintf("project %s is locked by %s", project, seen.holder()))
			if !force {
				say(fmt.Sprintf("watching its heartbeat for up to %s", short(leaseDead)))
			}
		}
		switch {
		case err != nil:
		case force || seen.dead():
			if err = seen.remove(ctx, store); err == nil {
				return true, nil
			}
		case seen.alive():
			return false, seen.locked(project)
		}
		if engine.tooLong(err) {
			return false, fmt.Errorf("unlock project %s: waited %s for the Engine: %w", project, short(leaseTrouble), err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false, fmt.Errorf("unlock project %s: %w", project, context.Cause(ctx))
		}
	}
}
