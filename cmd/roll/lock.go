package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// lock takes the lease of the project for what the command does to services;
// end gives it back. A dry run needs none.
func (c *change) lock(cmd *cobra.Command, services ...compose.Service) (err error) {
	if c.options.policy.dryRun {
		return nil
	}
	var images []string
	for _, service := range services {
		images = append(images, service.Image)
	}
	c.leases = compose.NewLeases(c.api, images...)
	say := func(text string) {
		c.show.On(deploy.Event{Time: time.Now(), Kind: deploy.KindWarning, Project: c.project.Name, Detail: text})
	}
	ctx := cmd.Context()
	c.owner = c.app.owner(cmd, cmd.Flags().Args())
	c.lease, err = deploy.Acquire(ctx, c.leases, c.project.Name, c.owner, c.options.policy.waitLock, say)
	if err != nil {
		return err
	}
	c.unlock = func() {
		if err := c.lease.Release(ctx); err != nil {
			say(err.Error() + "; the next roll takes it over after 30s")
		}
	}
	return nil
}

// owner is this command for others who want the same lease.
func (a *app) owner(cmd *cobra.Command, args []string) deploy.Owner {
	o := deploy.Owner{
		Who: cmp.Or(a.streams.env("SUDO_USER"), a.streams.env("USER")), PID: os.Getpid(),
		Command: strings.Join(append([]string{cmd.CommandPath()}, args...), " "), Since: time.Now(),
	}
	if o.Who == "" {
		if u, err := user.Current(); err == nil {
			o.Who = u.Username
		}
	}
	o.Host, _ = os.Hostname() // not known: left out
	return o
}

// tell keeps the lease's phase up to date.
func (s *session) tell(e deploy.Event) {
	if s.lease != nil && e.Kind == deploy.KindPhase {
		s.lease.Phase(strings.TrimSuffix(e.Service+": "+e.Phase.String()+" "+e.Replica, " "))
	}
}

func newUnlockCmd(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: "Break the lock that a dead roll left on the project",
		Long: `Show who holds the lock of the project and remove it once its heartbeat has
stood still for 30 seconds. The next roll does the same by itself. A lock whose
heartbeat moves belongs to a roll that is alive: it is left alone, unless --force
is given; that roll stops before its next change and leaves things as they are.`,
		Example: `  roll unlock
  roll -p shop unlock --force`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef(cmd, "roll unlock takes no arguments: it unlocks the whole project")
			}
			return a.unlock(cmd.Context(), force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "break the lock at once, also that of a roll that is alive")
	return cmd
}

// aliveError says that the lease was not broken because its holder is alive.
type aliveError struct{ *deploy.LockedError }

func (e *aliveError) Unwrap() error { return e.LockedError }

func (a *app) unlock(ctx context.Context, force bool) error {
	name := a.projectName
	if name == "" {
		project, err := compose.Load(ctx, a.composeOptions())
		if err != nil {
			return err
		}
		name = project.Name
	}
	if err := a.initialize(ctx); err != nil {
		return &unreachableError{a.docker.DockerEndpoint().Host, err}
	}
	broken, err := deploy.Unlock(ctx, compose.NewLeases(a.docker.Client()), name, force, func(text string) {
		fmt.Fprintln(a.streams.Err, text)
	})
	var locked *deploy.LockedError
	if errors.As(err, &locked) {
		return &aliveError{locked}
	}
	if err != nil {
		return err
	}
	if broken {
		fmt.Fprintf(a.streams.Out, "project %s is unlocked\n", name)
	} else {
		fmt.Fprintf(a.streams.Out, "project %s is not locked\n", name)
	}
	return nil
}

// statusRolling is who holds the lease; its JSON is a contract (docs/lease.md).
type statusRolling struct {
	Who        string    `json:"who"`
	Host       string    `json:"host"`
	PID        int       `json:"pid"`
	Command    string    `json:"command"`
	Since      time.Time `json:"since,omitzero"`
	Phase      string    `json:"phase"`
	Unreadable string    `json:"unreadable,omitempty"` // why nothing of the above is known
}

// rolling is who holds the lease of the project and in words the same; both
// are empty when nobody does.
func (s *session) rolling(ctx context.Context) (*statusRolling, string) {
	holder, held, err := deploy.Held(ctx, compose.NewLeases(s.api), s.project.Name)
	switch {
	case err != nil:
		return nil, err.Error()
	case !held:
		return nil, ""
	}
	return &statusRolling{holder.Who, holder.Host, holder.PID, holder.Command, holder.Since, holder.Phase, holder.Unreadable},
		"rolling now: " + holder.String() + "; if that roll is dead, type roll unlock"
}
