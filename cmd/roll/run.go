package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/debug"
	"github.com/docker/cli/cli/flags"
	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel"
	"golang.org/x/term"
)

// Streams is everything that the program touches of its process, so that a
// test can give its own.
type Streams struct {
	In      io.Reader
	Out     io.Writer // the result
	Err     io.Writer // the progress
	Environ []string
	GiveUp  <-chan struct{} // closed by the second interruption
}

func (s Streams) env(name string) string {
	for _, line := range s.Environ {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value
		}
	}
	return ""
}

// terminal reports whether w is one, and its size.
func terminal(w io.Writer) (size func() (width, height int), is bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() (int, int) { return 80, 24 }, false
	}
	return func() (int, int) {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
			return width, height
		}
		return 80, 24
	}, true
}

// Run runs one command line, args[0] being the program, and returns the exit
// code.
func Run(ctx context.Context, args []string, s Streams) int {
	app := &app{streams: s, started: time.Now()}
	err := app.run(ctx, args)
	if err == nil {
		return 0
	}
	code, text := explain(err, typed(app.command))
	if text != "" {
		fmt.Fprintln(s.Err, text)
	}
	return code
}

func (a *app) run(ctx context.Context, args []string) error {
	s := a.streams
	docker, err := command.NewDockerCli(command.WithBaseContext(ctx), command.WithOutputStream(s.Out), command.WithErrorStream(s.Err))
	if err != nil {
		return fmt.Errorf("set up the docker client: %w", err)
	}
	a.docker = docker
	defer a.close()
	root := a.newRootCmd()
	if asPlugin(args, s) {
		// As docker's own plugins do: what telemetry cannot do is told under --debug only.
		otel.SetErrorHandler(debug.OTELErrorHandler)
		// docker's own flags stand before `roll` and belong to its plugin library.
		root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
			a.command = cmd
			cmd.SetContext(ctx)
			return plugin.PersistentPreRunE(cmd, args)
		}
		return plugin.RunPlugin(docker, root, metadata.Metadata{
			SchemaVersion: "0.1.0", Vendor: "roll", Version: version(), ShortDescription: "Deploy Compose services without losing a request",
			URL: "https://github.com/roll-deploy/roll",
		})
	}
	options := flags.NewClientOptions()
	options.InstallFlags(root.PersistentFlags())
	for _, rare := range []string{"config", "debug", "log-level", "tls", "tlscacert", "tlscert", "tlskey", "tlsverify"} {
		root.PersistentFlags().Lookup(rare).Hidden = rare == "debug" || rare == "log-level"
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		a.command = cmd
		options.SetDefaultOptions(cmd.Root().PersistentFlags())
		a.options = options
		return docker.Initialize(options)
	}
	root.SetArgs(args[1:])
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	return root.ExecuteContext(ctx)
}

// asPlugin reports whether docker started this program as its plugin: under
// the name docker-roll, with the metadata question or the plugin's variables.
func asPlugin(args []string, s Streams) bool {
	return strings.TrimSuffix(filepath.Base(args[0]), ".exe") == metadata.NamePrefix+"roll" ||
		len(args) > 1 && args[1] == metadata.MetadataSubcommandName ||
		s.env(metadata.ReexecEnvvar) != "" && len(args) > 1 && args[1] == "roll"
}
