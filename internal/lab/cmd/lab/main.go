// Command lab brings up what end-to-end tests need, and takes it down.
//
//	lab up [--engine 20.10|28.5]   engine, Compose, Traefik and replica images
//	lab servers                    the same as up, and the image of examples/servers
//	lab down                       remove what tests left; stop an engine that the lab started
//	lab env                        the same as up, and print the variables that lead to it, for eval
//	lab doctor                     say what is there
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/roll-deploy/roll/internal/lab"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return errors.New("want up, servers, down, env or doctor")
	}
	flags := flag.NewFlagSet("lab "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	engine := flags.String("engine", "", "start a private engine of this `version`: 20.10 or 28.5")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch args[0] {
	case "up", "servers":
		started := time.Now()
		l, err := open(ctx, stderr, *engine)
		if err != nil {
			return err
		}
		if args[0] == "servers" {
			if _, err := l.Servers(ctx); err != nil {
				return errors.Join(err, l.Close())
			}
		}
		fmt.Fprintf(stderr, "lab: up in %s: engine %s at %s, Compose %s\n", time.Since(started).Round(time.Millisecond), l.Engine.Version, l.Engine.Host, l.Compose)
		return l.Close()
	case "down":
		return lab.Stop(ctx, stderr)
	case "env":
		l, err := open(ctx, stderr, *engine)
		if err != nil {
			return err
		}
		for _, pair := range l.Variables() {
			name, value, _ := strings.Cut(pair, "=")
			fmt.Fprintf(stdout, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
		}
		return l.Close()
	case "doctor":
		return lab.Doctor(ctx, stdout)
	default:
		return fmt.Errorf("unknown command %q: want up, servers, down, env or doctor", args[0])
	}
}

func open(ctx context.Context, w io.Writer, engine string) (*lab.Lab, error) {
	if engine != "" {
		return lab.StartEngine(ctx, w, engine)
	}
	return lab.Start(ctx, w)
}
