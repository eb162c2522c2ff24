package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/deploy"
)

func TestALockedProjectExits5AndSaysWhoHoldsItAndWhatToType(t *testing.T) {
	holder := deploy.Holder{
		Owner: deploy.Owner{Who: "ann", Host: "build-7", PID: 4711, Command: "roll up web", Since: time.Date(2026, 3, 1, 14, 5, 8, 0, time.UTC)},
		Phase: "web: leaving shop-web-2",
	}
	locked := &deploy.LockedError{Project: "shop", Holder: holder, Beat: 1200 * time.Millisecond}
	const who = "roll: another roll is at work on project shop: ann on build-7 (pid 4711, roll up web, since 2026-03-01 14:05:08 UTC), now web: leaving shop-web-2; its heartbeat moved 1.2s ago\n"
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"a roll", fmt.Errorf("%w", locked), who + "to wait for it, add --wait-lock 10m; to break its lock, see roll unlock --help"},
		{"roll unlock", &aliveError{locked}, who + "to break its lock all the same: roll unlock --force"},
		{"a lease that cannot be read", &deploy.LockedError{Project: "shop", Holder: deploy.Holder{Unreadable: "it holds no JSON of a roll"}},
			"roll: another roll is at work on project shop: somebody whose lease cannot be read (it holds no JSON of a roll); its heartbeat moved 0s ago\nto wait for it, add --wait-lock 10m; to break its lock, see roll unlock --help"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, text := explain(c.err, "roll")
			if code != 5 || text != c.want {
				t.Errorf("code %d, text\n%s\nwant 5\n%s", code, text, c.want)
			}
		})
	}
}

// Flags are left out of what others are told: a Traefik's URL may hold a password.
func TestTheOwnerOfALockIsToldWithoutFlags(t *testing.T) {
	a := &app{streams: Streams{Environ: []string{"USER=root", "SUDO_USER=ann"}}}
	root := &cobra.Command{Use: "roll", SilenceErrors: true, SilenceUsage: true}
	var got deploy.Owner
	up := &cobra.Command{Use: "up", RunE: func(cmd *cobra.Command, args []string) error {
		got = a.owner(cmd, args)
		return nil
	}}
	up.Flags().String("traefik", "", "")
	root.AddCommand(up)
	root.SetArgs([]string{"up", "web", "--traefik", "https://ann:hush@traefik.example"})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got.Who != "ann" || got.Command != "roll up web" || got.PID == 0 || got.Since.IsZero() {
		t.Errorf("owner %+v", got)
	}
}

func TestARollThatLostItsLockSaysSoWithoutAPhase(t *testing.T) {
	end := ending{Result: deploy.Result{
		Service: "web", Outcome: deploy.Partial, Took: 3 * time.Second,
		Failures: []deploy.Failure{{Err: errors.New("the lease was broken by somebody else")}},
		Left:     []deploy.Left{{Replica: "shop-web-4", Role: deploy.NewReplica, Phase: deploy.Booting, Reason: "given up"}},
	}}
	const want = `web: partial after 3.0s: the lease was broken by somebody else; a person is needed for 1 replica
  failed    the lease was broken by somebody else
  left      shop-web-4 (new) in phase booting: given up
  next      roll status web           # to see where each replica stands
            docker logs shop-web-4    # to see what is wrong with it
            roll up web               # to go on to the new version
`
	if end.String() != want {
		t.Errorf("got\n%s\nwant\n%s", end, want)
	}
}
