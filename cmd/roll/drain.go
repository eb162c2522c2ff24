package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

func newDrainCmd(a *app) *cobra.Command {
	var o policyFlags
	cmd := &cobra.Command{
		Use:   "drain REPLICA",
		Short: "Take one replica out of Traefik and leave it running",
		Long: `Tell a replica to report unhealthy and wait until no Traefik routes to it. It
goes on running: look into it, then bring it back with roll undrain.`,
		ValidArgsFunction: completeReplicas(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.single(cmd, args, &o, deploy.Drain)
		},
	}
	o.add(cmd)
	keepFlags(cmd, "require-proof", "accept-loss", "dry-run")
	return cmd
}

func newUndrainCmd(a *app) *cobra.Command {
	var o policyFlags
	cmd := &cobra.Command{
		Use:               "undrain REPLICA",
		Short:             "Bring a drained replica back into Traefik",
		ValidArgsFunction: completeReplicas(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.single(cmd, args, &o, deploy.Undrain)
		},
	}
	o.add(cmd)
	keepFlags(cmd, "dry-run")
	return cmd
}

// keepFlags hides the policy flags that make no sense for one replica.
func keepFlags(cmd *cobra.Command, names ...string) {
	for _, name := range []string{"order", "parallelism", "delay", "drain", "ready-timeout", "stop-timeout", "require-proof", "accept-loss", "dry-run"} {
		if !slices.Contains(names, name) {
			cmd.Flags().Lookup(name).Hidden = true
		}
	}
}

// single plans and runs a change of one replica.
func (a *app) single(cmd *cobra.Command, args []string, o *policyFlags, plan func(compose.Replica, deploy.Snapshot, deploy.Policy) (deploy.Plan, error)) error {
	ctx := cmd.Context()
	if len(args) != 1 {
		return usagef(cmd, "name one replica: its container's name or the start of its id")
	}
	c, err := a.begin(cmd, nil, upOptions{policy: *o})
	if err != nil {
		return err
	}
	defer c.end()
	if err := c.lock(cmd, c.named(nil)...); err != nil {
		return err
	}
	replica, service, err := c.replica(ctx, args[0])
	if err != nil {
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
	p, err := plan(replica, snapshot, policy)
	if err != nil {
		return c.placed(err)
	}
	return c.carryOut(ctx, []job{{p, snapshot}}, nil)
}

// replica finds one container of the project by its name or id.
func (s *session) replica(ctx context.Context, name string) (compose.Replica, compose.Service, error) {
	all, err := s.engine.AllReplicas(ctx, s.project.Name)
	if err != nil {
		return compose.Replica{}, compose.Service{}, err
	}
	var names []string
	for _, r := range all {
		if r.Name == name || len(name) >= 4 && strings.HasPrefix(r.ID, name) {
			service, err := s.project.Service(r.Service)
			return r, service, err
		}
		names = append(names, r.Name)
	}
	if len(names) == 0 {
		return compose.Replica{}, compose.Service{}, &usageError{fmt.Errorf("no replica %q: project %s has none", name, s.project.Name), typed(s.app.command) + " status"}
	}
	return compose.Replica{}, compose.Service{}, &usageError{fmt.Errorf("no replica %q in project %s; there are %s", name, s.project.Name, strings.Join(names, ", ")), typed(s.app.command) + " status"}
}
