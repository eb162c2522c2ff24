package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// rehearsal is what a flip and the way back took; its JSON is a contract
// (docs/check.md). A time that was not seen is zero: without Traefik there are
// none of its steps.
type rehearsal struct {
	Service string `json:"service"`
	Replica string `json:"replica"`

	Told      time.Duration `json:"told_ns"`      // flip to: it has been told
	Failing   time.Duration `json:"failing_ns"`   // flip to: its first probe failed
	Unhealthy time.Duration `json:"unhealthy_ns"` // flip to: Docker calls it unhealthy
	Unrouted  time.Duration `json:"unrouted_ns"`  // flip to: no Traefik routes to it
	Healthy   time.Duration `json:"healthy_ns"`   // un-flip to: Docker calls it healthy
	Routed    time.Duration `json:"routed_ns"`    // un-flip to: every Traefik routes to it

	Proven bool   `json:"proven"` // Traefik was asked
	Reason string `json:"reason,omitempty"`
}

// stopwatch reads times off the events of a drain and of the way back.
type stopwatch struct {
	result     *rehearsal
	flip, back time.Time
	told       chan struct{} // closed when the replica has been told
	once       sync.Once
}

func (w *stopwatch) On(e deploy.Event) {
	set := func(to *time.Duration, since time.Time) {
		if *to == 0 && !since.IsZero() {
			*to = e.Time.Sub(since)
		}
	}
	r := w.result
	switch {
	case e.Kind == deploy.KindSeen && e.Phase == deploy.Sinking:
		set(&r.Failing, w.flip)
	case e.Kind != deploy.KindPhase:
	case e.Phase == deploy.Flipping:
		w.flip = e.Time
	case e.Phase == deploy.Sinking:
		set(&r.Told, w.flip)
		w.once.Do(func() { close(w.told) })
	case e.Phase == deploy.Leaving:
		set(&r.Unhealthy, w.flip)
	case e.Phase == deploy.Settling:
		set(&r.Unrouted, w.flip)
	case e.Phase == deploy.Unflipping:
		w.back = e.Time
	case e.Phase == deploy.Joining, e.Phase == deploy.Rejoining:
		set(&r.Healthy, w.back)
	case e.Phase == deploy.Arrived, e.Phase == deploy.Returned:
		set(&r.Routed, w.back)
	}
}

// rehearse drains one replica of a service and brings it back, whatever
// happens in between.
func (a *app) rehearse(cmd *cobra.Command, args []string, o checkOptions) error {
	ctx := cmd.Context()
	if len(args) != 1 {
		return usagef(cmd, "name one service to rehearse")
	}
	if o.format != "table" && o.format != "json" {
		return usagef(cmd, "--format %s: a rehearsal is told as table or json", o.format)
	}
	c, err := a.begin(cmd, args, upOptions{probe: o.probe})
	if err != nil {
		return err
	}
	defer c.end()
	service, err := c.project.Service(args[0])
	if err != nil {
		return err
	}
	if err := c.lock(cmd, service); err != nil {
		return err
	}
	snapshot, err := c.look(ctx, service, nil)
	if err != nil {
		return err
	}
	policy, err := deploy.NewPolicy(service, c.overrides)
	if err != nil {
		return c.placed(err)
	}
	replica, err := toRehearse(snapshot)
	if err != nil {
		return err
	}
	out, err := deploy.Drain(replica, snapshot, policy)
	if err != nil {
		return c.placed(err)
	}
	watch, err := a.startProbe(ctx, o.probe)
	if err != nil {
		return err
	}
	result := &rehearsal{Service: service.Name, Replica: replica.Name, Proven: c.unprovable() == "", Reason: c.unprovable()}
	clock := &stopwatch{result: result, told: make(chan struct{})}
	// What is told, and nothing else: no slot of this ends a replica.
	roller := c.roller(deploy.ObserverFunc(func(e deploy.Event) {
		clock.On(e)
		watch.mark(e)
		c.tell(e)
		if e.Kind != deploy.KindResult {
			c.show.On(e)
		}
	}), nil)
	roller.Veto = watch.veto
	went := away(ctx, roller, clock.told, out, snapshot)
	back, err := c.undrain(context.WithoutCancel(ctx), roller, replica, policy)
	lost := watch.end(a.streams)
	switch {
	case err != nil:
		return fmt.Errorf("%s may still report unhealthy, type roll undrain %s: %w", replica.Name, replica.Name, err)
	case back.Outcome != deploy.Done && back.Outcome != deploy.UpToDate:
		c.show.Result(back)
		return &outcomeError{back.Outcome}
	case went.Outcome != deploy.Done && ctx.Err() == nil:
		c.show.Result(went)
		return &outcomeError{went.Outcome}
	case lost != nil:
		return lost
	}
	if err := ctx.Err(); err != nil {
		fmt.Fprintf(a.streams.Err, "roll: interrupted; %s is back in service\n", replica.Name)
		return &outcomeError{deploy.Interrupted}
	}
	return a.printRehearsal(result, o.format)
}

// away runs the drain. A roll finishes what it has committed when it is
// interrupted; here the way back is the end, so that waiting stops at once. Not
// while the replica is being told: the flip could overtake the un-flip.
func away(ctx context.Context, roller *deploy.Roller, told <-chan struct{}, plan deploy.Plan, snapshot deploy.Snapshot) deploy.Result {
	ended, giveUp := make(chan struct{}), make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-ctx.Done():
		case <-ended:
			return
		}
		select {
		case <-told:
			close(giveUp)
		case <-ended:
		}
	}()
	one := *roller
	one.GiveUp = giveUp
	return one.Run(ctx, plan, snapshot)
}

// toRehearse is the replica that a rehearsal flips: the newest one in service.
// deploy.Drain refuses when it is the last.
func toRehearse(s deploy.Snapshot) (compose.Replica, error) {
	for _, r := range slices.Backward(s.Replicas) {
		if r.Ready() {
			return r, nil
		}
	}
	return compose.Replica{}, fmt.Errorf("rehearse %s: none of its %d replicas is in service", s.Service.Name, len(s.Replicas))
}

// undrain brings a replica back from wherever the drain has left it.
func (c *change) undrain(ctx context.Context, roller *deploy.Roller, replica compose.Replica, policy deploy.Policy) (deploy.Result, error) {
	service, err := c.project.Service(replica.Service)
	if err != nil {
		return deploy.Result{}, err
	}
	snapshot, err := c.look(ctx, service, nil)
	if err != nil {
		return deploy.Result{}, err
	}
	now, err := c.engine.Inspect(ctx, replica.ID)
	if err != nil {
		return deploy.Result{}, err
	}
	plan, err := deploy.Undrain(now, snapshot, policy)
	if err != nil {
		return deploy.Result{}, err
	}
	back := *roller
	back.Veto, back.GiveUp = nil, c.app.streams.GiveUp // the probe does not stop the way back
	return back.Run(ctx, plan, snapshot), nil
}

func (a *app) printRehearsal(r *rehearsal, format string) error {
	if format == "json" {
		return json.NewEncoder(a.streams.Out).Encode(r)
	}
	w := tabwriter.NewWriter(a.streams.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s was flipped and is back\t\n", r.Replica)
	for _, step := range []struct {
		name string
		took time.Duration
	}{
		{"flip -> told", r.Told}, {"flip -> first failed probe", r.Failing}, {"flip -> unhealthy", r.Unhealthy}, {"flip -> no Traefik routes to it", r.Unrouted},
		{"un-flip -> healthy", r.Healthy}, {"un-flip -> every Traefik routes to it", r.Routed},
	} {
		text := "not seen"
		if step.took > 0 {
			text = step.took.Round(time.Millisecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\n", step.name, text)
	}
	if !r.Proven {
		fmt.Fprintf(w, "not proven: %s\t\n", strings.TrimSpace(r.Reason))
	}
	return w.Flush()
}
