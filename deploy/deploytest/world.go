package deploytest

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// Options say how a world begins. The zero value, with a named Version, is a
// service without replicas behind one Traefik.
type Options struct {
	Project  string // default "shop"
	Service  string // default "web"
	Replicas int    // that run at the beginning, healthy and routed after Settle
	Version  Version
	Routers  int  // Traefik instances; default 1
	Worker   bool // no Traefik in front
	NoAPI    bool // Traefik routes, but cannot be asked
	Throttle time.Duration
	Skew     time.Duration // how far the Engine's clock is from ours
	Seed     uint64        // of small delays
}

// World is one Engine, the Compose file of one service, its Traefik instances
// and their clients. Its methods may be called from several goroutines.
type World struct {
	options Options

	mu         sync.Mutex
	random     *rand.Rand
	containers map[string]*container
	order      []*container // see sorted; nil after a change
	declared   Version
	replicas   int
	routers    []*router
	bells      []chan struct{}
	timers     map[*time.Timer]bool
	closed     bool
	ids        int
	addresses  int
	down       bool                // the Engine does not answer
	lying      float64             // the probability of each probe to tell the opposite
	deaths     int                 // replicas that died by themselves or by Kill
	dead       map[netip.Addr]bool // where they were
	names      map[netip.Addr]string
	excused    bool // what is lost is not a roll's doing: the Engine or a Traefik was restarted
	violations []string
	floor      int
	strict     bool
	watching   bool
	lowest     int
}

// New makes a world. Its replicas have been started, not more: see Settle.
func New(o Options) *World {
	o.Project, o.Service = cmp.Or(o.Project, "shop"), cmp.Or(o.Service, "web")
	o.Throttle = cmp.Or(o.Throttle, 2*time.Second)
	w := &World{options: o, random: rand.New(rand.NewPCG(o.Seed, 1)), containers: map[string]*container{}, timers: map[*time.Timer]bool{}, dead: map[netip.Addr]bool{}, names: map[netip.Addr]string{}, declared: o.Version, replicas: o.Replicas}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !o.Worker {
		for i := range max(1, o.Routers) {
			w.routers = append(w.routers, &router{w: w, name: fmt.Sprintf("traefik-%d", i+1), up: true, api: !o.NoAPI})
		}
	}
	w.add("db", 1, Version{Name: "db"}).start()
	for i := range o.Replicas {
		w.add(o.Service, i+1, o.Version).start()
	}
	return w
}

// Close ends everything that goes on in the world.
func (w *World) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for t := range w.timers {
		t.Stop()
	}
}

// Settle waits until health and routes have come to rest.
func (w *World) Settle() {
	w.mu.Lock()
	longest := time.Duration(0)
	for _, c := range w.containers {
		if check := c.version.check(); check != nil {
			longest = max(longest, c.version.Boot+check.StartPeriod+time.Duration(check.Retries+1)*(check.Interval+check.Timeout))
		}
	}
	rest := longest + 3*w.options.Throttle + time.Second
	w.mu.Unlock()
	time.Sleep(rest)
}

// Declare changes the Compose file.
func (w *World) Declare(v Version, replicas int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.declared, w.replicas = v, replicas
}

// Watch has the world note a violation when, from now on, fewer than floor
// replicas are healthy and routed, and, with strict, when a router sends
// requests to a replica that does not answer. Each replica that dies by itself
// is one that the roll need not answer for.
func (w *World) Watch(floor int, strict bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.floor, w.strict, w.watching, w.lowest = floor, strict, true, w.serving()
}

// Violations are what must not have happened and did.
func (w *World) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.violations)
}

// Lowest is the smallest number of replicas in service since Watch.
func (w *World) Lowest() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lowest
}

// Deaths is how many replicas died without a roll's doing.
func (w *World) Deaths() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deaths
}

// Serving lists the versions of the replicas that are healthy and routed.
func (w *World) Serving() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for _, c := range w.sorted() {
		if c.service == w.options.Service && w.serves(c) {
			names = append(names, c.version.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Containers describes every container of the service, as "web-1 v1 running
// healthy", by number.
func (w *World) Containers() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for _, c := range w.sorted() {
		if c.service == w.options.Service {
			lines = append(lines, fmt.Sprintf("%s-%d %s %s %s", c.service, c.number, c.version.Name, c.state, c.health))
		}
	}
	return lines
}

// Kill has the process of a running replica die, the way of an application
// that breaks. It reports whether there was one of that number.
func (w *World) Kill(number int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.sorted() {
		if c.service == w.options.Service && c.number == number && c.state == compose.Running {
			c.perish(137, true)
			return true
		}
	}
	return false
}

// Numbers are the numbers of the service's containers.
func (w *World) Numbers() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	var numbers []int
	for _, c := range w.sorted() {
		if c.service == w.options.Service {
			numbers = append(numbers, c.number)
		}
	}
	return numbers
}

// StopEngine has the Engine answer nobody for a while, as dockerd does while
// it is restarted with live-restore: replicas run on, but Docker calls those
// with a healthcheck `starting` afterwards (facts.md D1).
func (w *World) StopEngine(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	w.after(d, func() {
		w.down = false
		w.excused = true
		for _, c := range w.sorted() {
			if c.state == compose.Running && c.health != compose.NoHealth {
				c.health, c.streak = compose.Starting, 0
			}
		}
		w.event()
	})
}

// Lie has each probe of the service tell the opposite of what is true, with a
// probability, for d. What routers do about it is not a roll's doing.
func (w *World) Lie(probability float64, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lying = probability
	w.after(d, func() { w.lying = 0 })
}

// lies throws the dice for one probe. They hang on the container and on how
// often it was probed, not on the order of what happens at the same instant.
func (w *World) lies(c *container) bool {
	if w.lying == 0 || c.service != w.options.Service {
		return false
	}
	h := fnv.New64a()
	h.Write([]byte(c.id))
	return rand.New(rand.NewPCG(h.Sum64()^w.options.Seed, uint64(c.probed))).Float64() < w.lying
}

func (w *World) add(service string, number int, v Version) *container {
	w.ids++
	c := &container{
		w: w, id: fmt.Sprintf("%012d%s", w.ids, v.Name), name: fmt.Sprintf("%s-%s-%d", w.options.Project, service, number), service: service, number: number,
		version: v, state: compose.Created, created: time.Now(),
	}
	w.containers[c.id], w.order = c, nil
	return c
}

func (w *World) nextAddress() netip.Addr {
	w.addresses++
	return netip.AddrFrom4([4]byte{10, byte(w.addresses >> 16), byte(w.addresses >> 8), byte(w.addresses)})
}

// after calls f later, under the lock.
func (w *World) after(d time.Duration, f func()) {
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.timers, t)
		if !w.closed {
			f()
		}
	})
	w.timers[t] = true
}

func (w *World) jitter(most time.Duration) time.Duration {
	return time.Duration(w.random.Int64N(int64(most)) + 1)
}

// stamp is an instant by the Engine's clock.
func (w *World) stamp(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(w.options.Skew)
}

// sorted are the containers by number. Nobody changes the slice.
func (w *World) sorted() []*container {
	if w.order != nil {
		return w.order
	}
	all := make([]*container, 0, len(w.containers))
	for _, c := range w.containers {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *container) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.id, b.id))
	})
	w.order = all
	return all
}

// event is one that Traefik and notifiers hear: start, die, health_status.
func (w *World) event() {
	w.changed()
	for _, r := range w.routers {
		r.hear()
	}
	for _, bell := range w.bells {
		if w.random.IntN(4) == 0 {
			continue // facts.md D2: events get lost
		}
		select {
		case bell <- struct{}{}:
		default:
		}
	}
}

// routed reports whether any router sends requests to the container.
func (w *World) routed(c *container) bool {
	return c.address.IsValid() && slices.ContainsFunc(w.routers, func(r *router) bool { return r.up && slices.Contains(r.servers, c.server()) })
}

// serves reports whether a container answers, is healthy, and gets requests
// from every router.
func (w *World) serves(c *container) bool {
	if !c.up() || c.health != compose.NoHealth && c.health != compose.Healthy {
		return false
	}
	return !slices.ContainsFunc(w.routers, func(r *router) bool { return !slices.Contains(r.servers, c.server()) })
}

// serving counts the replicas that get requests and answer them.
func (w *World) serving() int {
	n := 0
	for _, c := range w.containers {
		if c.service == w.options.Service && c.up() && (w.options.Worker && (c.health == compose.Healthy || c.health == compose.NoHealth) || w.everywhere(c)) {
			n++
		}
	}
	return n
}

func (w *World) everywhere(c *container) bool {
	return len(w.routers) > 0 && !slices.ContainsFunc(w.routers, func(r *router) bool { return !slices.Contains(r.servers, c.server()) })
}

// changed looks for violations after every change.
func (w *World) changed() {
	if !w.watching {
		return
	}
	n := w.serving()
	w.lowest = min(w.lowest, n)
	if n < w.floor-w.deaths && !w.excused {
		w.violate("%d in service, below the strength of %d", n, w.floor)
	}
	if !w.strict || w.excused {
		return
	}
	for _, r := range w.routers {
		for _, server := range r.servers {
			if !w.dead[server.Addr()] && !slices.ContainsFunc(w.sorted(), func(c *container) bool { return c.address == server.Addr() && c.up() }) {
				w.violate("%s sends requests to %s, which does not answer", r.name, w.nameOf(server.Addr()))
			}
		}
	}
}

func (w *World) nameOf(address netip.Addr) string {
	if name, ok := w.names[address]; ok {
		return name
	}
	return address.String()
}

func (w *World) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if n := len(w.violations); n < 20 && !slices.Contains(w.violations, text) {
		w.violations = append(w.violations, text)
	}
}
