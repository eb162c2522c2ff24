package traefik

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// warmUp is how long after its start Traefik may answer while it has not
	// heard of any container: it waits for no provider before it serves
	// (facts.md A5, last paragraph). Its Docker provider needs one list.
	warmUp = 3 * time.Second
	// warmUpAgain is the same for one that has shown containers before it was
	// restarted: they have hardly all gone, and its host may be busy.
	warmUpAgain = 30 * time.Second
	// warmUpPoll is how often a Traefik that warms up is asked again.
	warmUpPoll = 100 * time.Millisecond
	// lookAgain is the least time between two searches for an instance that
	// has gone: one that is only being restarted by hand comes back.
	lookAgain = time.Second
)

// Router asks several Traefik instances as one: what is routed, is what any of
// them routes. It is safe for concurrent use.
type Router struct {
	rediscover func(context.Context) ([]Instance, error)

	refreshing sync.Mutex // one rediscovery at a time

	mu      sync.Mutex // never held while waiting
	members []*member
	most    int       // members there have been at once
	looked  time.Time // when rediscover ended last
	changes int       // of members, to see whether somebody else rediscovered
	retired int64     // requests of clients no longer in members
}

// member is an instance in use.
type member struct {
	Instance
	mu      sync.Mutex // guards the rest
	started time.Time  // by our clock; zero: long ago, as far as anybody knows
	heard   bool       // it has shown containers since then
	before  bool       // it has shown containers before that
}

func newMember(instance Instance, before bool) *member {
	return &member{Instance: instance, started: instance.started, before: before}
}

// born notes when the instance was started; zero: not known.
func (m *member) born(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if gap := at.Sub(m.started); at.IsZero() || gap < time.Second { // the same start, as well as both clocks tell
		return
	}
	m.started, m.heard, m.before = at, false, m.before || m.heard
}

// shown reports whether the instance has ever shown containers.
func (m *member) shown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heard || m.before
}

// startOf is when a Traefik that reports this version was started, by our
// clock; zero when it does not tell.
func startOf(version Version) time.Time {
	if version.Uptime < 0 {
		return time.Time{}
	}
	return time.Now().Add(-version.Uptime)
}

// NewRouter asks these instances. rediscover is called when one of them fails:
// its container may have another address after a restart, or be replaced. It
// may be nil: then a failure stays one.
func NewRouter(instances []Instance, rediscover func(context.Context) ([]Instance, error)) *Router {
	r := &Router{rediscover: rediscover, most: len(instances)}
	for _, instance := range instances {
		r.members = append(r.members, newMember(instance, false))
	}
	return r
}

// Instances are the names of the Traefik instances, sorted. They change only
// when a call of Routes has found that an instance is gone, or a new one.
func (r *Router) Instances() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, m := range r.members {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}

// Found are the instances as they are now, sorted by name.
func (r *Router) Found() []Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	var instances []Instance
	for _, m := range r.members {
		instances = append(instances, m.Instance)
	}
	slices.SortFunc(instances, func(a, b Instance) int { return strings.Compare(a.Name, b.Name) })
	return instances
}

// Close drops idle connections. The Router stays usable.
func (r *Router) Close() {
	for _, instance := range r.Found() {
		if instance.Client != nil {
			instance.Client.Close()
		}
	}
}

// Calls counts the API requests so far.
func (r *Router) Calls() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.retired
	for _, m := range r.members {
		if m.Client != nil {
			calls += m.Client.Calls()
		}
	}
	return calls
}

// Routes asks every instance, in parallel, which addresses get the requests of
// which service. Keys are instance, space, service, as in "proxy-traefik-1
// web@docker"; see View.Routes for the values. All instances must answer: an
// answer of some would show as unrouted what another still routes. An instance
// that does not is looked for again before that is an error: after a restart
// it may answer elsewhere; when its container no longer runs, it routes
// nothing and is left out. When none is left, that is an error too.
func (r *Router) Routes(ctx context.Context) (map[string][]netip.AddrPort, error) {
	r.mu.Lock()
	members, changes := r.members, r.changes
	missing := len(members) < r.most && time.Since(r.looked) >= lookAgain
	r.mu.Unlock()

	if missing {
		var err error
		if members, err = r.refresh(ctx, members, nil, changes); err != nil {
			return nil, err
		}
		r.mu.Lock()
		changes = r.changes
		r.mu.Unlock()
	}
	views, failures := ask(ctx, members, nil)
	if len(failures) > 0 && r.rediscover != nil && ctx.Err() == nil {
		var err error
		members, err = r.refresh(ctx, members, failures, changes)
		if err != nil {
			return nil, errors.Join(joined(failures), err)
		}
		views, failures = ask(ctx, members, views)
	}
	if len(failures) > 0 {
		return nil, joined(failures)
	}
	routes := map[string][]netip.AddrPort{}
	for _, m := range members {
		for service, servers := range views[m].Routes() {
			routes[m.Name+" "+service] = servers
		}
	}
	return routes, nil
}

// ask asks the members that have no view yet, in parallel.
func ask(ctx context.Context, members []*member, known map[*member]View) (views map[*member]View, failures map[*member]error) {
	views, failures = map[*member]View{}, map[*member]error{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, m := range members {
		if view, ok := known[m]; ok {
			mu.Lock()
			views[m] = view
			mu.Unlock()
			continue
		}
		group.Go(func() {
			view, err := m.view(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures[m] = err
				return
			}
			views[m] = view
		})
	}
	group.Wait()
	return views, failures
}

// joined is one error of many, in the order of the instances' names.
func joined(failures map[*member]error) error {
	var members []*member
	for m := range failures {
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b *member) int { return strings.Compare(a.Name, b.Name) })
	var errs []error
	for _, m := range members {
		errs = append(errs, failures[m])
	}
	return errors.Join(errs...)
}

// view asks one instance. While a Traefik warms up, "no container is routed"
// is no answer, and it is asked again.
func (m *member) view(ctx context.Context) (View, error) {
	if m.Client == nil {
		return View{}, fmt.Errorf("ask Traefik %s: %s", m.Name, m.Reason)
	}
	view, connected, err := m.Client.raw(ctx)
	if err != nil {
		return View{}, err
	}
	if connected { // it may have been restarted meanwhile
		version, err := m.Client.Version(ctx)
		if err != nil {
			return View{}, err
		}
		m.born(startOf(version))
	}
	for !m.complete(view) {
		select {
		case <-ctx.Done():
			return View{}, fmt.Errorf("ask Traefik %s: it has just started and shows no container yet: %w", m.Name, ctx.Err())
		case <-time.After(warmUpPoll):
		}
		if view, _, err = m.Client.raw(ctx); err != nil {
			return View{}, err
		}
	}
	return view, nil
}

// complete reports whether a view can be believed to show all containers. The
// provider's first message holds all of them.
func (m *member) complete(view View) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = m.heard || view.fromProvider("docker", "swarm")
	wait := warmUp
	if m.before {
		wait = warmUpAgain
	}
	listens := m.Settings.Docker.Enabled || m.Settings.Swarm.Enabled || m.Settings.Source == ""
	return m.heard || !listens || time.Since(m.started) >= wait
}

// refresh finds the instances again and returns those to go on with: members
// that did not fail are kept with their connections. When another call has
// done so since changes was read, its result is used.
func (r *Router) refresh(ctx context.Context, asked []*member, failures map[*member]error, changes int) ([]*member, error) {
	r.refreshing.Lock()
	defer r.refreshing.Unlock()
	r.mu.Lock()
	current, changed := r.members, r.changes != changes
	r.mu.Unlock()
	if changed {
		return current, nil
	}
	instances, err := r.rediscover(ctx)
	if err != nil {
		return nil, err
	}
	var members []*member
	for _, instance := range instances {
		same := func(m *member) bool { return m.Name == instance.Name && m.ContainerID == instance.ContainerID }
		if i := slices.IndexFunc(asked, same); i >= 0 && failures[asked[i]] == nil {
			members = append(members, asked[i])
			if instance.Client != nil {
				instance.Client.Close()
			}
			continue
		}
		known := func(m *member) bool { return m.Name == instance.Name && m.shown() }
		members = append(members, newMember(instance, slices.ContainsFunc(asked, known)))
	}
	if len(members) == 0 {
		var names []string
		for _, m := range asked {
			names = append(names, m.Name)
		}
		// The members stay, so that the next call looks again.
		return nil, fmt.Errorf("no Traefik runs any more, there was %s", strings.Join(names, ", "))
	}
	r.replace(members)
	return members, nil
}

// replace makes members the ones to ask from now on.
func (r *Router) replace(members []*member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if !slices.Contains(members, m) && m.Client != nil {
			r.retired += m.Client.Calls()
			m.Client.Close()
		}
	}
	r.members = members
	r.most = max(r.most, len(members))
	r.looked = time.Now()
	r.changes++
}
