package deploytest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// router is one Traefik.
type router struct {
	w       *World
	name    string
	up      bool
	api     bool
	life    int
	servers []netip.AddrPort // what it routes to

	asleep  bool // the throttle
	waiting bool // latest is to be applied after it
	latest  []netip.AddrPort
}

// hear lists the containers a moment after an event and has the throttle
// apply what it found: the first change at once, then the latest, once each
// throttle (facts.md A1).
func (r *router) hear() {
	if !r.up {
		return
	}
	life := r.life
	r.w.after(r.w.jitter(40*time.Millisecond), func() {
		if !r.up || r.life != life {
			return
		}
		r.latest, r.waiting = r.list(), true
		r.apply()
	})
}

func (r *router) list() []netip.AddrPort {
	var servers []netip.AddrPort
	for _, c := range r.w.sorted() {
		if c.routable() {
			servers = append(servers, c.server())
		}
	}
	return servers
}

func (r *router) apply() {
	if r.asleep || !r.waiting {
		return
	}
	r.servers, r.waiting, r.asleep = r.latest, false, true
	r.w.changed()
	life := r.life
	r.w.after(r.w.options.Throttle, func() {
		if r.life == life {
			r.asleep = false
			r.apply()
		}
	})
}

// RestartTraefik has one instance (0 is the first) stop routing, forget
// everything and come back after d. What its clients lose meanwhile is not a
// roll's doing.
func (w *World) RestartTraefik(instance int, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.routers[instance]
	r.up, r.servers, r.asleep, r.waiting = false, nil, false, false
	r.life++
	w.excused = true
	w.after(d, func() {
		r.up = true
		r.latest, r.waiting = r.list(), true
		r.apply()
	})
}

// LoseAPI has one instance refuse to say where it routes, for d; it routes on.
func (w *World) LoseAPI(instance int, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.routers[instance]
	r.api = false
	w.after(d, func() { r.api = true })
}

// Instances are the routers' names.
func (s *Session) Instances() []string {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	var names []string
	for _, r := range s.w.routers {
		names = append(names, r.name)
	}
	return names
}

// Routes asks every router.
func (s *Session) Routes(ctx context.Context) (map[string][]netip.AddrPort, error) {
	var routes map[string][]netip.AddrPort
	err := s.call(ctx, "routes", "", func() error {
		routes = map[string][]netip.AddrPort{}
		for _, r := range s.w.routers {
			if !r.up || !r.api {
				return errors.New(r.name + ": connection refused")
			}
			routes[r.name+" "+s.w.options.Service+"@docker"] = slices.Clone(r.servers)
		}
		return nil
	})
	return routes, err
}
