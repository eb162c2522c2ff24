package main

import (
	"cmp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/flags"
	"github.com/spf13/cobra"
)

// app is what every command of one invocation shares: its streams, docker's
// client and the global flags.
type app struct {
	streams Streams
	started time.Time
	docker  command.Cli
	command *cobra.Command       // the one that runs; nil: none yet
	options *flags.ClientOptions // nil when docker runs roll as its plugin

	files       []string
	projectName string
	projectDir  string
	envFiles    []string
	profiles    []string
	traefiks    []string
	traefikCA   string
	insecure    bool
	progress    string

	closing []func() // at the end of the command
}

// close lets go of what the command has opened.
func (a *app) close() {
	for _, one := range a.closing {
		one()
	}
}

const rootLong = `roll deploys a new version of a Compose service without losing a request.

It starts the new replicas first, proves that Traefik routes to them, tells the
old ones to report unhealthy, proves that Traefik has stopped routing to them,
lets them finish, stops them, and undoes everything if the new version fails.`

const exitCodes = `Exit codes:
  0    done, or nothing to do
  1    failed; nothing was changed, or what was begun was undone
  2    usage, or refused before anything was changed
  3    the new version failed; rolled back; the old version serves
  4    partial: a person is needed; the output says what to type
  5    another roll is at work
  130  interrupted; undone first
`

func (a *app) newRootCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "roll",
		Short:         "Deploy Compose services without losing a request",
		Long:          rootLong + "\n\n" + strings.TrimRight(exitCodes, "\n"),
		SilenceUsage:  true,
		SilenceErrors: true,

		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: false},
		Args:                       cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	f := cmd.PersistentFlags()
	f.StringArrayVarP(&a.files, "file", "f", nil, "Compose file (repeatable; - is standard input)")
	f.StringVarP(&a.projectName, "project-name", "p", "", "Compose project name")
	f.StringVar(&a.projectDir, "project-directory", "", "Compose project directory")
	f.StringArrayVar(&a.envFiles, "env-file", nil, "environment file (repeatable)")
	f.StringArrayVar(&a.profiles, "profile", nil, "profile to activate (repeatable)")
	f.StringArrayVar(&a.traefiks, "traefik", nil, "URL of a Traefik API, as https://user:password@host/base (repeatable); default: found by itself")
	f.StringVar(&a.traefikCA, "traefik-ca", "", "file with the certificate authority of --traefik")
	f.BoolVar(&a.insecure, "traefik-insecure", false, "accept any certificate of --traefik")
	f.StringVar(&a.progress, "progress", "auto", "how progress is shown: auto, tty, plain, json, quiet")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return &usageError{err: err, hint: "roll " + cmd.Name() + " --help"}
	})
	cmd.AddCommand(
		newUpCmd(a), newScaleCmd(a), newRestartCmd(a), newStatusCmd(a), newHistoryCmd(a), newRollbackCmd(a), newUnlockCmd(a),
		newDrainCmd(a), newUndrainCmd(a), newCheckCmd(a), newProbeCmd(a), newVersionCmd(a),
	)
	for _, sub := range cmd.Commands() {
		sub.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
			return &usageError{err: err, hint: c.CommandPath() + " --help"}
		})
	}
	return cmd
}

// version is the module's version, or the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return cmp.Or(revision+dirty, "devel")
}
