package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// exhibitor is an Engine that leaves a copy of the first failed new replica
// behind when it is removed.
type exhibitor struct {
	deploy.Engine
	engine *compose.Engine

	mu     sync.Mutex
	failed map[string]bool // names
	taken  bool
	said   string
}

func newExhibitor(engine *compose.Engine) *exhibitor {
	return &exhibitor{Engine: engine, engine: engine, failed: map[string]bool{}}
}

// note hears which replicas fail.
func (x *exhibitor) note(e deploy.Event) {
	if e.Kind != deploy.KindFailure || e.Role != deploy.NewReplica || e.Replica == "" {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failed[e.Replica] = true
}

// Remove removes a container, and copies it before if it is the one to leave.
// A copy that fails holds up nothing.
func (x *exhibitor) Remove(ctx context.Context, id string) error {
	x.mu.Lock()
	wanted := !x.taken && len(x.failed) > 0
	x.mu.Unlock()
	if wanted {
		if r, err := x.engine.Inspect(ctx, id); err == nil && x.take(r.Name) {
			name, err := x.engine.Exhibit(ctx, id)
			x.say(r.Name, name, err)
		}
	}
	return x.Engine.Remove(ctx, id)
}

func (x *exhibitor) take(name string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.taken || !x.failed[name] {
		return false
	}
	x.taken = true
	return true
}

func (x *exhibitor) say(replica, name string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil {
		x.said = fmt.Sprintf("--keep-failed: no copy of %s was made: %v", replica, err)
		return
	}
	x.said = fmt.Sprintf("%s is a stopped copy of %s, out of the service: docker cp %s:/roll-failed.log - reads its log, docker start -a %s tries it again, docker rm %s removes it",
		name, replica, name, name, name)
}

// told is what to say at the end; empty: nothing was kept.
func (x *exhibitor) told() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.said
}
