package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

func newRollbackCmd(a *app) *cobra.Command {
	var o upOptions
	var to int
	cmd := &cobra.Command{
		Use:   "rollback SERVICE",
		Short: "Bring back what ran before a roll, without losing a request",
		Long: `Replace every replica of a service by one as it ran before the last roll, or
before the roll that --to names (see roll history). It is the same roll
backwards, with the same proofs, and it goes back itself when what it brings
back does not become healthy.

What ran before is kept on the Docker Engine: image, settings, environment and
files, whatever the Compose file and the tags say now. The next roll up or
docker compose up goes on to what they say.`,
		Example: `  roll history web
  roll rollback web
  roll rollback web --to 3`,
		ValidArgsFunction: completeServices(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd, "name one service")
			}
			if cmd.Flags().Changed("to") && to < 1 {
				return usagef(cmd, "--to %d: it must be a number that roll history shows", to)
			}
			return a.rollback(cmd, args, to, o)
		},
	}
	o.policy.add(cmd)
	o.probe.addTo(cmd)
	cmd.Flags().IntVar(&to, "to", 0, "bring back what ran before this roll (default: the last one)")
	return cmd
}

func (a *app) rollback(cmd *cobra.Command, args []string, to int, o upOptions) error {
	ctx := cmd.Context()
	c, err := a.begin(cmd, args, o)
	if err != nil {
		return err
	}
	defer c.end()
	services := c.named(args)
	if err := c.lock(cmd, services...); err != nil {
		return err
	}
	j, err := c.planBack(ctx, services[0], to, c.overrides)
	if err != nil {
		return err
	}
	return c.carryOut(ctx, []job{j}, nil)
}

// planBack plans the way back to what ran before a roll. From then on the
// session creates replicas of that kind, not of the file's.
func (s *session) planBack(ctx context.Context, service compose.Service, to int, overrides deploy.Overrides) (job, error) {
	entries, err := deploy.Entries(ctx, compose.NewHistory(s.api), s.project.Name, service.Name)
	if err != nil {
		return job{}, err
	}
	now, err := s.versions(ctx, service.Name)
	if err != nil {
		return job{}, err
	}
	entry, err := deploy.Back(service.Name, entries, to, now)
	if err != nil {
		return job{}, err
	}
	before := entry.Kept.Declared(service)
	snapshot, err := s.look(ctx, before, nil)
	if errors.Is(err, compose.ErrNoImage) {
		return job{}, fmt.Errorf("go back to what ran before roll %d: its image %s is gone from this engine: %w", entry.Number, versionOf(entry.Was), err)
	}
	if err != nil {
		return job{}, err
	}
	snapshot.Hash = entry.Was.Hash
	overrides.Rollback = true
	policy, err := deploy.NewPolicy(service, overrides)
	if err != nil {
		return job{}, s.placed(err)
	}
	target := len(now)
	if target == 0 {
		target = entry.Replicas
	}
	plan, err := deploy.New(deploy.Goal{Verb: "roll back", Target: target}, snapshot, policy)
	if err != nil {
		return job{}, s.placed(err)
	}
	plan.Warnings = append(plan.Warnings, fmt.Sprintf("goes back to what ran before roll %d: %s; the next roll up goes on to what the Compose file says", entry.Number, versionOf(entry.Was)))
	s.creator = &compose.Again{Engine: s.engine, Project: s.project.Name, Kept: entry.Kept}
	return job{plan, snapshot}, nil
}
