package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// change is one command that changes services: its flags checked, its project
// open, and the lease of the project once lock has taken it.
type change struct {
	*session
	options   upOptions
	overrides deploy.Overrides
	show      renderer
	unlock    func() // nil before lock
}

// begin checks the flags and opens the project. end has to follow.
func (a *app) begin(cmd *cobra.Command, services []string, o upOptions) (*change, error) {
	overrides, err := o.policy.overrides(cmd)
	if err != nil {
		return nil, err
	}
	if err := o.probe.validate(cmd); err != nil {
		return nil, err
	}
	show, err := a.newRenderer()
	if err != nil {
		return nil, usagef(cmd, "%v", err)
	}
	s, err := a.open(cmd.Context(), services...)
	if err != nil {
		show.Close()
		return nil, err
	}
	return &change{session: s, options: o, overrides: overrides, show: show}, nil
}

// end gives back what the change holds.
func (c *change) end() {
	if c.unlock != nil {
		c.unlock()
	}
	c.show.Close()
}

// carryOut shows or runs the plans. again plans a service anew: what was
// planned before another service rolled may be out of date.
func (c *change) carryOut(ctx context.Context, plans []job, again func(compose.Service) (job, error)) error {
	cost := meter{session: c.session, since: c.app.started}
	if c.options.policy.dryRun {
		cost.prepared(c.show)
		for _, j := range plans {
			renderDryRun(c.show, c.app.streams.Out, j.plan)
		}
		return nil
	}
	watch, err := c.app.startProbe(ctx, c.options.probe)
	if err != nil {
		return err
	}
	worst := error(nil)
	for i, j := range plans {
		if i > 0 && !j.plan.Empty() {
			if j, err = again(j.snapshot.Service); err != nil {
				worst = err
				break
			}
		}
		cost.prepared(c.show)
		c.show.Plan(j.plan)
		if worst = c.carryOutOne(ctx, watch, j, &cost); worst != nil {
			break
		}
	}
	if lost := watch.end(c.app.streams); worst == nil {
		worst = lost
	}
	return worst
}

// carryOutOne runs one plan and shows its result.
func (c *change) carryOutOne(ctx context.Context, watch *probing, j job, cost *meter) error {
	kept := &remembering{keeper: keeper{c.engine}, kept: map[string]*compose.Kept{}}
	copies := newExhibitor(c.engine)
	var logs *follower
	roller := c.roller(deploy.ObserverFunc(func(e deploy.Event) {
		copies.note(e)
		if logs != nil {
			logs.note(e)
		}
		watch.mark(e)
		c.tell(e)
		c.show.On(e)
	}), kept)
	roller.Veto = watch.veto
	if c.options.keepFailed {
		roller.Engine = copies
	}
	if c.options.logs {
		logs = newFollower(context.WithoutCancel(ctx), roller.Engine, c.api, c.show.On)
		roller.Engine = logs
	}
	result := roller.Run(ctx, j.plan, j.snapshot)
	if logs != nil {
		logs.close()
	}
	warn := func(text string) {
		result.Warnings = append(result.Warnings, text)
		c.show.On(deploy.Event{Time: time.Now(), Kind: deploy.KindWarning, Project: result.Project, Service: result.Service, Detail: text})
	}
	if said := copies.told(); said != "" {
		warn(said)
	}
	if err := c.record(ctx, kept, c.owner, j, result); err != nil {
		warn("roll rollback will not know of this roll: " + err.Error())
	}
	result.Calls = cost.calls()
	cost.next()
	c.show.Result(result)
	if result.Outcome == deploy.Done || result.Outcome == deploy.UpToDate {
		return nil
	}
	return &outcomeError{result.Outcome}
}
