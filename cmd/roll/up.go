package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// policyFlags are the flags that say how a roll is done.
type policyFlags struct {
	order        string
	parallelism  int
	delay        time.Duration
	drain        time.Duration
	readyTimeout time.Duration
	stopTimeout  time.Duration
	requireProof bool
	acceptLoss   bool
	dryRun       bool
	waitLock     time.Duration
}

func (p *policyFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.order, "order", "", "start-first or stop-first (default: deploy.update_config.order, else start-first)")
	f.IntVar(&p.parallelism, "parallelism", 0, "replicas replaced at the same time, 0 for all (default: deploy.update_config.parallelism, else 0)")
	f.DurationVar(&p.delay, "delay", 0, "time between the starts of two replacements (default: deploy.update_config.delay, else 0s)")
	f.DurationVar(&p.drain, "drain", 0, "time between the last request and the stop signal (default: label roll.drain, else 0s)")
	f.DurationVar(&p.readyTimeout, "ready-timeout", 0, "time for a new replica to become healthy (default: from its healthcheck)")
	f.DurationVar(&p.stopTimeout, "stop-timeout", 0, "time between stop signal and SIGKILL (default: each container's own)")
	f.BoolVar(&p.requireProof, "require-proof", false, "refuse when no Traefik can be asked where it routes")
	f.BoolVar(&p.acceptLoss, "accept-loss", false, "stop replicas that cannot be flipped, although requests are lost")
	f.BoolVar(&p.dryRun, "dry-run", false, "print the plan and change nothing")
	f.DurationVar(&p.waitLock, "wait-lock", 0, "time to wait for another roll of the project to end (default: exit 5 when there is one)")
}

// overrides are the flags that were given. Their values are checked here, so
// that a bad one is refused before anything else happens.
func (p *policyFlags) overrides(cmd *cobra.Command) (deploy.Overrides, error) {
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	o := deploy.Overrides{RequireProof: p.requireProof, AcceptLoss: p.acceptLoss}
	switch compose.Order(p.order) {
	case "", compose.StartFirst, compose.StopFirst:
		o.Order = compose.Order(p.order)
	default:
		return o, usagef(cmd, "--order %s: it must be start-first or stop-first", p.order)
	}
	if given("parallelism") {
		if p.parallelism < 0 {
			return o, usagef(cmd, "--parallelism %d: it must be 0 (all at once) or more", p.parallelism)
		}
		o.Parallelism = &p.parallelism
	}
	if p.waitLock < 0 {
		return o, usagef(cmd, "--wait-lock %s: it must not be negative", p.waitLock)
	}
	for _, d := range []struct {
		name string
		from *time.Duration
		to   **time.Duration
	}{{"delay", &p.delay, &o.Delay}, {"drain", &p.drain, &o.Drain}, {"ready-timeout", &p.readyTimeout, &o.ReadyTimeout}, {"stop-timeout", &p.stopTimeout, &o.StopTimeout}} {
		if !given(d.name) {
			continue
		}
		if *d.from < 0 {
			return o, usagef(cmd, "--%s %s: it must not be negative", d.name, *d.from)
		}
		*d.to = d.from
	}
	return o, nil
}

type upOptions struct {
	policy policyFlags
	probe  probeFlags
	force  bool
	pull   string
	build  bool

	keepFailed bool
	logs       bool
}

// addLogs adds the flag of the verbs by which replicas start and leave.
func (o *upOptions) addLogs(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.logs, "logs", false, "show what replicas that start or leave write, to the last line after the stop signal")
}

func newUpCmd(a *app) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up [SERVICE...]",
		Short: "Roll services to what the Compose file says now",
		Long: `Replace every outdated replica of the services, or of all services when none
is named, without losing a request, and bring them to their declared number.
A replica is outdated when its configuration or the image behind its tag
differs from what docker compose would create now.`,
		Example: `  roll up                          every service that is outdated
  roll up web                      one service
  roll up web --parallelism 1      one replica after the other
  roll up web --dry-run            only show the plan
  roll up web --probe http://localhost/   count failed requests meanwhile`,
		ValidArgsFunction: completeServices(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch o.pull {
			case "missing", "always", "never":
			default:
				return usagef(cmd, "--pull %s: it must be missing, always or never", o.pull)
			}
			goal := deploy.Goal{Verb: "roll", Target: -1}
			if o.force {
				goal.Replace = deploy.ReplaceAll
			}
			return a.rollServices(cmd, args, always(goal), o)
		},
	}
	o.policy.add(cmd)
	o.probe.addTo(cmd)
	o.addLogs(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.force, "force", false, "replace every replica, outdated or not")
	f.StringVar(&o.pull, "pull", "missing", "pull images before anything is touched: missing, always or never")
	f.BoolVar(&o.keepFailed, "keep-failed", false, "leave a stopped copy of one failed new replica, outside of the service, with its log")
	f.BoolVar(&o.build, "build", false, "build images before anything is touched")
	return cmd
}

func newRestartCmd(a *app) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:               "restart SERVICE...",
		Short:             "Replace every replica of services by a new one of the same kind",
		ValidArgsFunction: completeServices(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef(cmd, "name the services to restart")
			}
			o.pull = "missing"
			return a.rollServices(cmd, args, always(deploy.Goal{Verb: "restart", Target: -1, Replace: deploy.ReplaceAll}), o)
		},
	}
	o.policy.add(cmd)
	o.probe.addTo(cmd)
	o.addLogs(cmd)
	return cmd
}

// always is the same goal for every service.
func always(goal deploy.Goal) func(compose.Service) deploy.Goal {
	return func(compose.Service) deploy.Goal { return goal }
}

// rollServices rolls services one after the other, in dependency order. All of
// them are planned before the first is touched.
func (a *app) rollServices(cmd *cobra.Command, names []string, goal func(compose.Service) deploy.Goal, o upOptions) error {
	ctx := cmd.Context()
	c, err := a.begin(cmd, names, o)
	if err != nil {
		return err
	}
	defer c.end()
	services := slices.DeleteFunc(c.named(names), func(service compose.Service) bool { return service.OneShot && len(names) == 0 })
	for _, service := range services {
		if err := c.fetch(ctx, service, o.pull, o.build); err != nil {
			return err
		}
	}
	if err := c.lock(cmd, services...); err != nil {
		return err
	}
	hashes, err := c.hashes(ctx, services)
	if err != nil {
		return err
	}
	plan := func(service compose.Service) (job, error) {
		return c.plan(ctx, service, hashes, goal(service), c.overrides)
	}
	var plans []job
	for _, service := range services {
		j, err := plan(service)
		var refused *deploy.RefusedError
		if errors.As(err, &refused) && refused.Overlap && len(names) == 0 {
			c.show.On(leftAlone(service, refused))
			continue
		}
		if err != nil {
			return err
		}
		plans = append(plans, j)
	}
	return c.carryOut(ctx, plans, plan)
}

// leftAlone tells that a service whose replicas cannot overlap was not rolled.
func leftAlone(service compose.Service, refused *deploy.RefusedError) deploy.Event {
	reasons := make([]string, len(refused.Refusals))
	for i, r := range refused.Refusals {
		reasons[i] = r.String()
	}
	return deploy.Event{
		Time: time.Now(), Kind: deploy.KindWarning, Project: service.Project, Service: service.Name,
		Detail: "left alone, its replicas cannot overlap: " + strings.Join(reasons, "; "),
	}
}

// job is one planned roll.
type job struct {
	plan     deploy.Plan
	snapshot deploy.Snapshot
}

func (s *session) hashes(ctx context.Context, services []compose.Service) (map[string]string, error) {
	names := make([]string, len(services))
	for i, service := range services {
		names[i] = service.Name
	}
	if len(names) == 0 {
		return nil, nil
	}
	return s.cli.Hash(ctx, names...)
}

// plan observes one service, plans, and has Compose rehearse what it will be
// asked to create.
func (s *session) plan(ctx context.Context, service compose.Service, hashes map[string]string, goal deploy.Goal, overrides deploy.Overrides) (job, error) {
	snapshot, err := s.look(ctx, service, hashes)
	if err != nil {
		return job{}, err
	}
	policy, err := deploy.NewPolicy(service, overrides)
	if err != nil {
		return job{}, s.placed(err)
	}
	plan, err := deploy.New(goal, snapshot, policy)
	if err != nil {
		return job{}, s.placed(err)
	}
	return job{plan, snapshot}, s.rehearse(ctx, plan, snapshot)
}

// rehearse refuses when Compose would do anything but create and start the
// replicas of the plan.
func (s *session) rehearse(ctx context.Context, plan deploy.Plan, snapshot deploy.Snapshot) error {
	k := plan.Creates()
	if k == 0 {
		return nil
	}
	actions, err := s.cli.Rehearse(ctx, plan.Service, len(snapshot.Replicas)+k)
	if err != nil {
		return fmt.Errorf("rehearse with docker compose --dry-run: %w", err)
	}
	unexpected := compose.Unexpected(actions, plan.Service, snapshot.Replicas, k)
	if len(unexpected) == 0 {
		return nil
	}
	refused := &deploy.RefusedError{Service: plan.Service}
	for _, sentence := range unexpected {
		refused.Refusals = append(refused.Refusals, deploy.Refusal{What: "docker compose would do more than create replicas", Why: sentence, Instead: "apply that change by itself first, at a time when a gap is acceptable: docker compose up -d"})
	}
	return refused
}
