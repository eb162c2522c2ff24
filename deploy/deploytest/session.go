package deploytest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// Fault is what goes wrong with one call. The zero value is nothing.
type Fault struct {
	Delay time.Duration // before the call has its effect
	Err   error         // the caller gets this
	Lost  bool          // with Err: the call has its effect all the same
	Void  bool          // the call has no effect and says that it had
}

// errSevered is what a severed session gets.
var errSevered = errors.New("the session is severed")

// Session is one process of roll: what it does to the World, and how it sees
// it. It is every interface that a deploy.Roller needs.
type Session struct {
	w       *World
	severed bool
	orphan  bool // what it had asked of Compose goes on
	usurped bool // somebody else changes the same replicas
	// Fault decides what goes wrong with a call; nil: nothing. It is called
	// with the World locked, and must be set before the session is used. Calls
	// are replicas, inspect, stop, remove, routes, flip, unflip, hook, keep,
	// restore, logs, and the steps of Compose: create, make, list and start.
	Fault func(call, replica string) Fault
	Ran   []string // hooks, as "shop-web-1: [command]"; read it after the roll
	calls int
}

var (
	_ deploy.Engine   = (*Session)(nil)
	_ deploy.Router   = (*Session)(nil)
	_ deploy.Flipper  = (*Session)(nil)
	_ deploy.Creator  = (*Session)(nil)
	_ deploy.Keeper   = (*Session)(nil)
	_ deploy.Logs     = (*Session)(nil)
	_ deploy.Notifier = (*Session)(nil)
	_ deploy.Hooks    = (*Session)(nil)
)

// Session opens one.
func (w *World) Session() *Session { return &Session{w: w} }

// Roller is one that acts through this session.
func (s *Session) Roller() *deploy.Roller {
	r := &deploy.Roller{Engine: s, Creator: s, Flipper: s, Hooks: s, Logs: s, Keeper: s, Notifier: s}
	if len(s.w.routers) > 0 && !s.w.options.NoAPI {
		r.Router = s
	}
	return r
}

// Sever is kill -9: from now on no call has an effect. With orphan, a Compose
// that is at work survives its parent and finishes.
func (s *Session) Sever(orphan bool) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.severed, s.orphan = true, orphan
}

// Usurp says that from now on another session changes the same replicas. That
// one cannot see which of them have got a stop signal from this one: Docker
// does not show it. So it may take one for a sound replica that dies soon.
func (s *Session) Usurp() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.usurped = true
}

// Calls is how many calls were made.
func (s *Session) Calls() int {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.calls
}

// Snapshot observes the world as roll does before it plans.
func (s *Session) Snapshot() deploy.Snapshot {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	w, v := s.w, s.w.declared
	snapshot := deploy.Snapshot{
		Service: compose.Service{
			Project: w.options.Project, Name: w.options.Service, Image: w.options.Service + ":latest", Replicas: w.replicas,
			Healthcheck: v.check(), NoHealthcheck: v.NoCheck, Labels: v.labels(),
		},
		Hash: v.hash(), ImageID: v.image(), Expected: !w.options.Worker, Throttle: w.options.Throttle, Ways: map[string]string{},
	}
	for _, c := range w.sorted() {
		if c.service == w.options.Service {
			snapshot.Replicas = append(snapshot.Replicas, c.inspect())
			snapshot.Ways[c.id], _ = s.Way(c.version.labels(), nil)
		}
	}
	if w.options.NoAPI || len(w.routers) == 0 {
		snapshot.Unprovable = "no Traefik can be asked"
		return snapshot
	}
	snapshot.Routes = map[string][]netip.AddrPort{}
	for _, r := range w.routers {
		snapshot.Routers = append(snapshot.Routers, r.name)
		if len(r.servers) > 0 {
			snapshot.Routes[r.name+" "+w.options.Service+"@docker"] = slices.Clone(r.servers)
		}
	}
	return snapshot
}

// ofCompose are the calls that a Compose makes which was told to create.
var ofCompose = []string{"make", "list", "start"}

// call is every call's way to the world: its fault, then its effect under the
// lock.
func (s *Session) call(ctx context.Context, name, replica string, effect func() error) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.calls++
	var fault Fault
	if s.Fault != nil {
		fault = s.Fault(name, replica)
	}
	if fault.Delay > 0 {
		s.w.mu.Unlock()
		err := s.sleep(ctx, fault.Delay)
		s.w.mu.Lock()
		if err != nil {
			return err
		}
	}
	switch {
	case s.severed && !(s.orphan && slices.Contains(ofCompose, name)):
		return errSevered
	case s.w.down && name != "routes":
		return errors.New("cannot connect to the Docker daemon")
	case fault.Err != nil && !fault.Lost:
		return fault.Err
	case fault.Void:
		return nil
	}
	err := effect()
	if err == nil && fault.Err != nil {
		return fault.Err
	}
	return err
}

// sleep lets time pass. An orphaned Compose does not hear that its parent ended
// the context.
func (s *Session) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
	}
	s.w.mu.Lock()
	orphan := s.orphan
	s.w.mu.Unlock()
	if !orphan {
		return ctx.Err()
	}
	<-t.C
	return nil
}

// find is the container that a call names, and notes a hand laid on another
// service.
func (s *Session) find(id string) (*container, error) {
	c, there := s.w.containers[id]
	if !there {
		return nil, fmt.Errorf("%s: %w", id, compose.ErrGone)
	}
	if c.service != s.w.options.Service {
		s.w.violate("%s of another service was touched", c.name)
	}
	return c, nil
}

// Replicas lists the containers of a service.
func (s *Session) Replicas(ctx context.Context, _, service string) ([]compose.Replica, error) {
	var all []compose.Replica
	err := s.call(ctx, "replicas", "", func() error {
		for _, c := range s.w.sorted() {
			if c.service == service {
				all = append(all, c.list())
			}
		}
		return nil
	})
	return all, err
}

// Inspect looks at one container.
func (s *Session) Inspect(ctx context.Context, id string) (compose.Replica, error) {
	var r compose.Replica
	err := s.call(ctx, "inspect", id, func() error {
		c, err := s.find(id)
		if err == nil {
			r = c.inspect()
		}
		return err
	})
	return r, err
}

// Stop sends the stop signal and waits for the exit. One that is gone or has
// ended is stopped.
func (s *Session) Stop(ctx context.Context, id string, grace *time.Duration) error {
	var ended chan struct{}
	life := s.life(id)
	err := s.call(ctx, "stop", id, func() error {
		c, err := s.find(id)
		if errors.Is(err, compose.ErrGone) {
			return nil
		}
		switch {
		case c.state == compose.Restarting:
			c.state, c.manual = compose.Exited, true
			c.life++
			return nil
		case c.state != compose.Running:
			return nil
		}
		// One that died and was started again a moment ago, or while the request
		// was on its way, is another than the caller meant, and a probe that lied a
		// moment ago, or any time behind a Traefik that cannot be asked, may have
		// brought it back: nobody could have known.
		const moment = 6 * time.Second // two slow answers
		fooled := !c.fooled.IsZero() && (time.Since(c.fooled) < moment || s.w.options.NoAPI)
		switch {
		case c.life != life, c.restarts > 0 && time.Since(c.started) < moment:
			s.w.dead[c.address] = true
		case !s.w.routed(c) || c.version.NoWay || c.version.Losses || s.w.options.Worker:
		case (c.version.Ineffective || c.deafened) && c.version.Name == s.w.declared.Name:
			s.w.dead[c.address] = true // a new one that does not hear its flip can leave in no other way
		case !fooled:
			s.w.violate("%s got its stop signal while it was routed", c.name)
		default:
			s.w.dead[c.address] = true
		}
		ended = c.ended
		g := c.version.grace()
		if grace != nil {
			g = *grace
		}
		c.signal(s, g)
		return nil
	})
	if err != nil || ended == nil {
		return err
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// life is which of its lives a container was in when a request for it was made.
func (s *Session) life(id string) int {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if c, there := s.w.containers[id]; there {
		return c.life
	}
	return 0
}

// Remove deletes a container that has ended.
func (s *Session) Remove(ctx context.Context, id string) error {
	return s.call(ctx, "remove", id, func() error {
		c, err := s.find(id)
		if errors.Is(err, compose.ErrGone) {
			return nil
		}
		if c.state == compose.Running || c.state == compose.Restarting {
			return fmt.Errorf("cannot remove a running container %s", c.name)
		}
		delete(s.w.containers, id)
		s.w.order = nil
		s.w.changed()
		return nil
	})
}

// Flip has the application report unhealthy.
func (s *Session) Flip(ctx context.Context, id string) error { return s.flip(ctx, "flip", id, true) }

// Unflip has it report healthy again.
func (s *Session) Unflip(ctx context.Context, id string) error {
	return s.flip(ctx, "unflip", id, false)
}

func (s *Session) flip(ctx context.Context, call, id string, to bool) error {
	return s.call(ctx, call, id, func() error {
		c, err := s.find(id)
		if err != nil {
			return err
		}
		if c.state != compose.Running {
			return fmt.Errorf("%s is not running", c.name)
		}
		c.flipped = to
		return nil
	})
}

// Way reads the flip's label.
func (s *Session) Way(labels map[string]string, _ []string) (string, error) {
	if labels["roll.flip"] == "none" {
		return "none", nil
	}
	if path, ok := labels[flipLabel]; ok {
		return "file " + path, nil
	}
	return "", nil
}

// Create is `docker compose up --no-recreate --scale`: it creates what is
// missing, counting containers in every state, and then starts every
// container of the service that does not run (facts.md C).
func (s *Session) Create(ctx context.Context, service string, total int) error {
	var missing int
	err := s.call(ctx, "create", "", func() error {
		have := 0
		for _, c := range s.w.containers {
			if c.service == service {
				have++
			}
		}
		missing = total - have
		if missing < 0 {
			s.w.violate("compose was asked for %d of %s where there are %d: it would remove some", total, service, have)
		}
		return nil
	})
	for ; err == nil && missing > 0; missing-- {
		if err = s.sleep(ctx, 20*time.Millisecond); err != nil {
			break
		}
		err = s.call(ctx, "make", "", func() error {
			number := 0
			for _, c := range s.w.containers {
				if c.service == service {
					number = max(number, c.number)
				}
			}
			s.w.add(service, number+1, s.w.declared)
			return nil
		})
	}
	var idle []*container
	if err == nil {
		err = s.call(ctx, "list", "", func() error {
			for _, c := range s.w.sorted() {
				if c.service == service && (c.state == compose.Exited || c.state == compose.Created) {
					idle = append(idle, c)
				}
			}
			return nil
		})
	}
	for _, c := range idle {
		if err == nil {
			err = s.sleep(ctx, 20*time.Millisecond)
		}
		if err == nil {
			err = s.call(ctx, "start", c.id, func() error {
				if s.w.containers[c.id] == c && c.state != compose.Running {
					c.start()
				}
				return nil
			})
		}
	}
	return err
}

// kept is what a container is made from again.
type kept struct {
	id      string
	name    string
	number  int
	service string
	version Version
}

// Keep reads a stopped container.
func (s *Session) Keep(ctx context.Context, id string) (any, error) {
	var k any
	err := s.call(ctx, "keep", id, func() error {
		c, err := s.find(id)
		if err == nil {
			k = kept{c.id, c.name, c.number, c.service, c.version}
		}
		return err
	})
	return k, err
}

// Restore makes it again, under its old name.
func (s *Session) Restore(ctx context.Context, what any) (id, name string, err error) {
	k := what.(kept)
	err = s.call(ctx, "restore", k.name, func() error {
		var c *container
		for _, other := range s.w.containers {
			if other.name == k.name {
				c = other
			}
		}
		if c != nil && c.replaces != k.id {
			return fmt.Errorf("the name %s is taken", k.name)
		}
		if c == nil {
			c = s.w.add(k.service, k.number, k.version)
			c.replaces = k.id
		}
		if c.state != compose.Running {
			c.start()
		}
		id, name = c.id, c.name
		return nil
	})
	return id, name, err
}

// Logs are two lines.
func (s *Session) Logs(ctx context.Context, id string, tail int) ([]string, error) {
	var lines []string
	err := s.call(ctx, "logs", id, func() error {
		c, err := s.find(id)
		if err == nil {
			lines = []string{"this is " + c.version.Name, "it has something to say"}
			lines = lines[max(0, len(lines)-tail):]
		}
		return err
	})
	return lines, err
}

// Changes rings for most events until ctx ends.
func (s *Session) Changes(ctx context.Context) <-chan struct{} {
	bell := make(chan struct{}, 1)
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.bells = append(s.w.bells, bell)
	context.AfterFunc(ctx, func() {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		s.w.bells = slices.DeleteFunc(s.w.bells, func(b chan struct{}) bool { return b == bell })
	})
	return bell
}

// Hook notes a pre_stop hook, if the container runs.
func (s *Session) Hook(ctx context.Context, id string, hook compose.Hook) (string, error) {
	err := s.call(ctx, "hook", id, func() error {
		c, err := s.find(id)
		if errors.Is(err, compose.ErrGone) {
			return nil
		}
		if err == nil && c.state == compose.Running {
			s.Ran = append(s.Ran, fmt.Sprintf("%s: %s", c.name, hook.Command))
		}
		return err
	})
	return "", err
}
