package deploy

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// Snapshot is all that a plan is made from, observed once. It holds no
// handles: the same Snapshot gives the same Plan.
type Snapshot struct {
	Service  compose.Service
	Replicas []compose.Replica // every state, sorted by number
	Hash     string            // what Compose would label a replica with today
	ImageID  string            // behind the service's image today; empty: not there

	Expected   bool                        // the labels of the service ask for Traefik
	Routers    []string                    // router instances that can be asked
	Routes     map[string][]netip.AddrPort // key: instance, space, service
	Unprovable string                      // why no router can be asked; empty when Routers is not
	Throttle   time.Duration               // how long a router may take to follow a change

	Ways map[string]string // replica id -> how it is flipped; "": no way, "none": losses accepted

	Clashes map[string][]Refusal // replica id -> why it and a new replica must not serve at the same time
	Unfit   []Refusal            // why a replica that is created from the file would not serve as it should
	Untold  map[string]Refusal   // replica id -> why it cannot be flipped, or must not be
	Notes   []string             // what a person should know before replicas are created
}

// listed are the route keys that lead to the replica.
func listed(routes map[string][]netip.AddrPort, r compose.Replica) []string {
	var keys []string
	for key, servers := range routes {
		if slices.ContainsFunc(servers, r.Has) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// instanceOf is the router instance of a route key.
func instanceOf(key string) string {
	instance, _, _ := strings.Cut(key, " ")
	return instance
}

// serving counts the replicas that are ready and, where a router is in front,
// routed.
func (s Snapshot) serving() int {
	n := 0
	for _, r := range s.Replicas {
		if r.Ready() && (!s.gated() || !s.provable() || len(listed(s.Routes, r)) > 0) {
			n++
		}
	}
	return n
}

// gated reports whether the service's replicas have to be seen in a router: a
// replica is listed in one, or the labels ask for it.
func (s Snapshot) gated() bool { return s.Expected || s.Routed() }

// Routed reports whether a router routes to any replica.
func (s Snapshot) Routed() bool {
	return slices.ContainsFunc(s.Replicas, func(r compose.Replica) bool {
		return len(listed(s.Routes, r)) > 0
	})
}

func (s Snapshot) provable() bool { return len(s.Routers) > 0 }

// wanted are the route keys that a replica has to be in to take the place of
// old: those that lead to old when both have the same Traefik labels. With
// none of them, wanted is empty and one key of every instance will do.
func (s Snapshot) wanted(old *compose.Replica) []string {
	if old != nil {
		if !sameTraefik(old.Labels, s.Service.Labels) {
			return nil
		}
		if keys := listed(s.Routes, *old); len(keys) > 0 {
			return keys
		}
	}
	keys := map[string]bool{}
	for _, r := range s.Replicas {
		if sameTraefik(r.Labels, s.Service.Labels) {
			for _, k := range listed(s.Routes, r) {
				keys[k] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// sameTraefik compares the labels that Traefik reads.
func sameTraefik(a, b map[string]string) bool {
	only := func(m map[string]string) map[string]string {
		out := map[string]string{}
		for k, v := range m {
			if strings.HasPrefix(strings.ToLower(k), "traefik.") {
				out[k] = v
			}
		}
		return out
	}
	return maps.Equal(only(a), only(b))
}
