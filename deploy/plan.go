package deploy

import (
	"fmt"
	"strings"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// Plan is what a roll will do, with a reason for every step. It is data: it
// can be printed, compared and thrown away.
type Plan struct {
	Project string
	Service string
	Verb    string // roll, scale, restart: for the headline
	Target  int    // replicas when it is done
	Policy  Policy
	Slots   []Slot
	Clean   []Leftover // removed before anything else
	Stay    []Stay     // untouched
	Floor   int        // never fewer replicas in service than this

	Gated    bool          // replicas have to be seen in the routers
	Routers  []string      // who is asked
	Unproven string        // why nobody can be asked; empty when somebody can or need not
	Throttle time.Duration // how long a router may take to follow

	PreStop  []compose.Hook
	Warnings []string
}

// Slot brings one replica in, takes one out, or both.
type Slot struct {
	New      bool             // a replica is created
	Adopt    *compose.Replica // one that is there already comes into service instead
	Unflip   bool             // with Adopt: it was told to report unhealthy and is told to stop that,
	AdoptWay string           // this way
	Wanted   []string         // route keys the new one has to be in; empty: one of every router
	Ready    Budget
	Old      *compose.Replica // leaves; nil: nobody
	OldWay   string           // how Old is flipped; "" or "none": not at all
	OldFlip  Budget
	Keep     bool   // Old is only taken out of the routers, not stopped
	Why      string // why Old leaves
	Reason   string // why this slot is there
}

// Leftover is a container that is no replica any more.
type Leftover struct {
	Replica compose.Replica
	Reason  string
}

// Stay is a replica that is left alone.
type Stay struct {
	Replica compose.Replica
	Reason  string
}

// Empty reports whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Slots) == 0 && len(p.Clean) == 0 }

// Creates is the number of replicas that Compose will be asked for.
func (p Plan) Creates() int {
	n := 0
	for _, s := range p.Slots {
		if s.New {
			n++
		}
	}
	return n
}

// Leaves is the number of replicas that will be stopped.
func (p Plan) Leaves() int {
	n := 0
	for _, s := range p.Slots {
		if s.Old != nil {
			n++
		}
	}
	return n
}

// window is how many slots may be on their way at once.
func (p Plan) window() int {
	if p.Policy.Parallelism.Value <= 0 {
		return len(p.Slots)
	}
	return p.Policy.Parallelism.Value
}

// Headline is the plan in one line.
func (p Plan) Headline() string {
	if p.Empty() {
		return fmt.Sprintf("%s is up to date: %s", p.Service, count(len(p.Stay), "replica"))
	}
	var parts []string
	if n := p.Creates(); n > 0 {
		parts = append(parts, "create "+count(n, "replica"))
	}
	adopt := 0
	for _, s := range p.Slots {
		if s.Adopt != nil {
			adopt++
		}
	}
	if adopt > 0 {
		parts = append(parts, "adopt "+fmt.Sprint(adopt))
	}
	if n := p.Leaves(); n > 0 {
		parts = append(parts, "drain and stop "+fmt.Sprint(n))
	}
	if n := len(p.Clean); n > 0 {
		parts = append(parts, "remove "+count(n, "leftover"))
	}
	if n := len(p.Stay); n > 0 {
		parts = append(parts, "keep "+fmt.Sprint(n))
	}
	return fmt.Sprintf("%s %s to %s: %s", p.Verb, p.Service, count(p.Target, "replica"), strings.Join(parts, ", "))
}

// String is the whole plan as text. Equal plans give equal text.
func (p Plan) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s", p.Headline())
	if p.Empty() {
		return b.String()
	}
	line("  order        %s (%s)", p.Policy.Order.Value, p.Policy.Order.Source)
	at := "all at once"
	if n := p.Policy.Parallelism.Value; n > 0 {
		at = fmt.Sprintf("%d at a time", n)
	}
	line("  window       %s (%s)", at, p.Policy.Parallelism.Source)
	if d := p.Policy.Delay; d.Value > 0 {
		line("  delay        %s between slots (%s)", short(d.Value), d.Source)
	}
	line("  strength     never fewer than %s in service", count(p.Floor, "replica"))
	switch {
	case !p.Gated:
		line("  proof        not behind Traefik: Docker's word is enough")
	case p.Unproven != "":
		line("  proof        NOT PROVEN: %s; waits %s instead", p.Unproven, short(p.blind()))
	default:
		line("  proof        asks %s", strings.Join(p.Routers, ", "))
	}
	line("  on failure   %s (%s)", p.Policy.FailureAction.Value, p.Policy.FailureAction.Source)
	if back := p.Policy.Back.String(); back != "" {
		line("  way back     %s", back)
	}
	for _, c := range p.Clean {
		line("  clean        remove %s: %s", c.Replica.Name, c.Reason)
	}
	for i, s := range p.Slots {
		line("  slot %d", i+1)
		if s.Old != nil && p.Policy.Order.Value == compose.StopFirst {
			p.printOut(line, s)
			p.printIn(line, s)
			continue
		}
		p.printIn(line, s)
		p.printOut(line, s)
	}
	for _, s := range p.Stay {
		line("  stay         %s: %s", s.Replica.Name, s.Reason)
	}
	for _, w := range p.Warnings {
		line("  warning      %s", w)
	}
	return b.String()
}

func (p Plan) printIn(line func(string, ...any), s Slot) {
	switch {
	case s.New:
		line("    create     a new replica: %s", s.Reason)
	case s.Adopt != nil && s.Unflip:
		line("    un-flip    %s: %s", s.Adopt.Name, s.Reason)
	case s.Adopt != nil:
		line("    adopt      %s: %s", s.Adopt.Name, s.Reason)
	default:
		return
	}
	line("    healthy    within %s (%s)", short(s.Ready.Limit), s.Ready.Source)
	if p.Gated && p.Unproven == "" {
		where := "in a service of every router"
		if len(s.Wanted) > 0 {
			where = "in " + strings.Join(s.Wanted, ", ")
		}
		line("    routed     %s, within %s", where, short(p.Policy.RouteTimeout.Value))
	}
}

func (p Plan) printOut(line func(string, ...any), s Slot) {
	if s.Old == nil {
		return
	}
	if s.OldWay == "" || s.OldWay == "none" {
		line("    stop       %s without a flip: %s", s.Old.Name, s.Why)
	} else {
		line("    flip       %s (%s): %s", s.Old.Name, s.OldWay, s.Why)
		if s.OldFlip.Limit > 0 {
			line("    unhealthy  in about %s (%s), within %s", short(s.OldFlip.Expect), s.OldFlip.Source, short(s.OldFlip.Limit))
		}
		if p.Gated && p.Unproven == "" {
			line("    unrouted   in every router, within %s", short(p.Policy.RouteTimeout.Value))
		}
	}
	if s.Keep {
		return
	}
	drain := ""
	if d := p.Policy.Drain; d.Value > 0 {
		drain = fmt.Sprintf(" + drain %s (%s)", short(d.Value), d.Source)
	}
	if p.Gated {
		line("    settle     %s%s", short(p.Policy.Settle.Value), drain)
	} else if drain != "" {
		line("    drain      %s", strings.TrimPrefix(drain, " + drain "))
	}
	if n := len(p.PreStop); n > 0 {
		line("    pre_stop   %s", count(n, "hook"))
	}
	signal := s.Old.StopSignal
	if signal == "" {
		signal = "SIGTERM"
	}
	grace, source := s.Old.Grace(), "its own stop timeout"
	if s.Old.StopTimeout == nil {
		source = "Docker's default"
	}
	if t := p.Policy.StopTimeout; t.Value != nil {
		grace, source = *t.Value, t.Source
	}
	line("    remove     after %s and up to %s (%s)", signal, short(grace), source)
}

// blind is how long a roll waits for a router that it cannot ask: the
// router's throttle and a margin for its work (facts.md A1, A4).
func (p Plan) blind() time.Duration { return p.Throttle + time.Second }

// count prints a number with its noun: 1 replica, 3 replicas.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
