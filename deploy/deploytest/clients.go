package deploytest

import (
	"fmt"
	"slices"
	"time"
)

// Clients send requests through one router, to its servers in turn, open loop:
// one every so often, whatever became of those before.
type Clients struct {
	w     *World
	route int
	turn  int
	takes time.Duration
	every time.Duration
	done  bool
	sent  int
	lost  []string
}

// Clients begins to send requests through a router (0 is the first), each of
// which takes a replica some time. A request is lost when no server is there,
// when its server does not answer, or when it dies before the request is done.
// They end with the World, or with Stop.
func (w *World) Clients(router int, every, takes time.Duration) *Clients {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &Clients{w: w, route: router, every: every, takes: takes}
	w.after(every, c.send)
	return c
}

func (c *Clients) send() {
	if c.done {
		return
	}
	c.w.after(c.every, c.send)
	c.sent++
	servers := c.w.routers[c.route].servers
	if len(servers) == 0 {
		c.lose("no server")
		return
	}
	c.turn++
	server := servers[c.turn%len(servers)]
	all := c.w.sorted()
	i := slices.IndexFunc(all, func(o *container) bool { return o.address == server.Addr() })
	if i < 0 || !all[i].up() {
		c.lose(c.w.nameOf(server.Addr()) + " does not answer")
		return
	}
	to, life := all[i], all[i].life
	c.w.after(c.takes, func() {
		if to.life != life {
			c.lose(to.name + " died in the middle")
		}
	})
}

func (c *Clients) lose(why string) {
	c.lost = append(c.lost, fmt.Sprintf("request %d: %s", c.sent, why))
}

// Stop ends them.
func (c *Clients) Stop() {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.done = true
}

// Sent is how many requests were sent.
func (c *Clients) Sent() int {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.sent
}

// Lost says of each lost request why.
func (c *Clients) Lost() []string {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return slices.Clone(c.lost)
}
