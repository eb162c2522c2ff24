// Package conformance says how the world behaves in which rolls take place: an
// Engine with Compose, and a Traefik. The same sentences are tried on
// deploytest, the world in memory, and on the real parts behind roll's own
// adapters, so that what is proven in memory is true outside.
package conformance

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// Kind is a kind of service. A World has to bring one of each.
type Kind string

// The kinds. All are behind Traefik and have a stop grace period of 2 s.
const (
	// Graceful has a healthcheck (interval 1 s, retries 2), can be flipped, and
	// exits 0 on its stop signal.
	Graceful Kind = "web"
	// Deaf has no healthcheck, and goes on after its stop signal.
	Deaf Kind = "deaf"
	// Abrupt has no healthcheck and dies by its stop signal.
	Abrupt Kind = "abrupt"
	// Crashing exits by itself with a code that is not 0, at once, and is
	// started again and again.
	Crashing Kind = "crashing"
)

// World is one world, empty at first, through the interfaces by which a roll
// sees it.
type World struct {
	Engine   deploy.Engine
	Creator  deploy.Creator
	Router   deploy.Router
	Flipper  deploy.Flipper
	Keeper   deploy.Keeper
	Logs     deploy.Logs
	Hooks    deploy.Hooks
	Notifier deploy.Notifier

	Project    string
	Service    string // of the kind that the behaviour asks for
	StopSignal int    // of Abrupt
}

// Behaviour is one sentence about the world, and how it is tried.
type Behaviour struct {
	Name string
	Kind Kind
	Try  func(t *testing.T, w World)
}

// limit is how long anything may take to show.
const limit = 90 * time.Second

// await asks until done says yes.
func await(t *testing.T, what string, done func() (ok bool, seen string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, seen := done()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s until %s; last seen: %s", limit, what, seen)
		case <-ticker.C:
		}
	}
}

// list is what the Engine lists.
func (w World) list(t *testing.T) []compose.Replica {
	t.Helper()
	all, err := w.Engine.Replicas(t.Context(), w.Project, w.Service)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// create has Compose bring the service to a number of containers.
func (w World) create(t *testing.T, total int) []compose.Replica {
	t.Helper()
	if err := w.Creator.Create(t.Context(), w.Service, total); err != nil {
		t.Fatal(err)
	}
	return w.list(t)
}

func (w World) inspect(t *testing.T, id string) compose.Replica {
	t.Helper()
	r, err := w.Engine.Inspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// healthy waits until Docker says of a replica what it should, by an inspect
// and in the list.
func (w World) healthy(t *testing.T, id string, want compose.Health) compose.Replica {
	t.Helper()
	var r compose.Replica
	await(t, fmt.Sprintf("Docker calls a replica %s", want), func() (bool, string) {
		r = w.inspect(t, id)
		i := slices.IndexFunc(w.list(t), func(r compose.Replica) bool { return r.ID == id })
		return r.Health == want && i >= 0 && w.list(t)[i].Health == want, fmt.Sprintf("%s %q, streak %d", r.State, r.Health, r.FailingStreak)
	})
	return r
}

// routed waits until Traefik lists exactly these replicas.
func (w World) routed(t *testing.T, replicas ...compose.Replica) {
	t.Helper()
	await(t, fmt.Sprintf("Traefik lists %d replicas", len(replicas)), func() (bool, string) {
		servers := w.servers(t)
		all := len(servers) == len(replicas)
		for _, r := range replicas {
			all = all && slices.ContainsFunc(servers, r.Has)
		}
		return all, fmt.Sprint(servers)
	})
}

// servers are those that Traefik lists for the service.
func (w World) servers(t *testing.T) []netip.AddrPort {
	t.Helper()
	routes, err := w.Router.Routes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := w.Router.Instances()
	if len(names) != 1 {
		t.Fatalf("instances %q", names)
	}
	for key := range routes {
		if !strings.HasPrefix(key, names[0]+" ") {
			t.Errorf("key %q, and the instance is %s", key, names[0])
		}
	}
	return routes[names[0]+" "+w.Service+"@docker"]
}

// numbers are those of replicas.
func numbers(all []compose.Replica) []int {
	var found []int
	for _, r := range all {
		found = append(found, r.Number)
	}
	return found
}

// stop stops a replica in its own time.
func (w World) stop(t *testing.T, id string) compose.Replica {
	t.Helper()
	if err := w.Engine.Stop(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	return w.inspect(t, id)
}

func (w World) remove(t *testing.T, id string) {
	t.Helper()
	if err := w.Engine.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}
