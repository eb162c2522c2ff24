package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/roll-deploy/roll/internal/lab"
	"github.com/roll-deploy/roll/internal/probe"
)

const (
	service  = "web" // of examples/basic, and its service in Traefik
	replicas = 3
	rate     = 200 // requests a second

	wholeLimit = time.Minute     // until the service is whole again after a deploy
	patience   = 2 * time.Minute // for a roll that was interrupted to undo what it began
	stopLimit  = 3 * time.Minute
)

// demo is one run: where it writes, and what it has brought up so far.
type demo struct {
	out io.Writer // the results
	err io.Writer // progress of the lab and of roll
	ink ink

	roll    string // the program
	project *lab.Project
	rows    []row
}

// run goes from nothing to the table and back to nothing. Its error says that
// a roll failed or lost a request, or what kept the demo from going on.
func (d *demo) run(ctx context.Context) (failed error) {
	d.title("Bring up an engine, Compose, Traefik and a service of %d replicas", replicas)
	if _, running := lab.Running(ctx); !running {
		defer func() {
			ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), stopLimit, fmt.Errorf("not after %s", stopLimit))
			defer cancel()
			if err := lab.Stop(ctx, d.err); err != nil {
				failed = errors.Join(failed, fmt.Errorf("stop the engine: %w (try make lab-down)", err))
			}
		}()
	}
	l, err := lab.Start(ctx, d.err)
	if err != nil {
		return fmt.Errorf("bring up the lab: %w", err)
	}
	defer l.Close()
	root, err := d.build(ctx)
	if root != "" {
		defer os.RemoveAll(filepath.Dir(d.roll))
	}
	if err != nil {
		return err
	}
	d.project, err = l.NewProject(lab.Source{
		Dir: filepath.Join(root, "examples", "basic"), NoTraefik: true, // it brings its own
		Env: []string{"VERSION=v1", "HTTP_PORT=0", "API_PORT=0", "DOCKER_SOCK=" + l.Engine.Socket()},
	})
	if err != nil {
		return err
	}
	defer func() {
		fmt.Fprintln(d.err, d.ink.dim("removing everything"))
		if err := d.project.Close(ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("remove %s: %w (try make lab-down)", d.project.Name, err))
		}
	}()
	if err := d.fresh(ctx); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "engine %s, Compose %s, %s behind Traefik at %s\n", l.Engine.Version, l.Compose, service, d.project.URL)

	d.title("roll up: v1 to v2 under %d requests a second", rate)
	d.project.Setenv("VERSION", "v2")
	if err := d.measure(ctx, "roll up web", replicas, d.rolls("up", service)); err != nil {
		return err
	}
	d.title("roll scale: from %d replicas to 1 under %d requests a second", replicas, rate)
	if err := d.measure(ctx, "roll scale web=1", 1, d.rolls("scale", service+"=1")); err != nil {
		return err
	}
	d.title("For comparison, docker compose alone: v1 to v2 under %d requests a second", rate)
	d.project.Setenv("VERSION", "v1")
	if err := d.fresh(ctx); err != nil {
		return err
	}
	d.project.Setenv("VERSION", "v2")
	if err := d.measure(ctx, "docker compose up -d", replicas, d.composes("up", "-d")); err != nil {
		return err
	}

	d.title("Requests lost")
	fmt.Fprint(d.out, table(d.rows, d.ink), "\n")
	for _, r := range d.rows[:2] {
		if r.lost() > 0 {
			failed = errors.Join(failed, fmt.Errorf("%s lost %d of %d requests:\n%s", r.command, r.lost(), r.report.Sent, r.report))
		}
	}
	return failed
}

// title begins a part of the demo.
func (d *demo) title(format string, args ...any) {
	fmt.Fprintln(d.out, "\n"+d.ink.bold(fmt.Sprintf(format, args...)))
}

// build makes the roll program in a folder of its own and returns the folder
// of the source.
func (d *demo) build(ctx context.Context) (root string, err error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the source of roll: %w", err)
	}
	dir, err := os.MkdirTemp("", "roll-demo-")
	if err != nil {
		return "", err
	}
	root, d.roll = filepath.Dir(strings.TrimSpace(string(mod))), filepath.Join(dir, "roll")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", d.roll, "./cmd/roll")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return root, fmt.Errorf("build roll: %w\n%s", err, out)
	}
	return root, nil
}

// fresh brings the service to all its replicas by docker compose and waits
// until they serve.
func (d *demo) fresh(ctx context.Context) error {
	if err := d.project.Up(ctx); err != nil {
		return fmt.Errorf("bring up the service: %w", err)
	}
	return d.whole(ctx, replicas)
}

// whole waits until Docker calls n replicas healthy and Traefik sends requests
// to as many.
func (d *demo) whole(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wholeLimit, fmt.Errorf("not within %s", wholeLimit))
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		found, err := d.project.Containers(ctx, service)
		if err != nil {
			return err
		}
		healthy := 0
		for _, c := range found {
			if strings.Contains(c.Status, "(healthy)") {
				healthy++
			}
		}
		if healthy == n && len(found) == n {
			return d.project.WaitServers(ctx, service, n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d healthy replicas: %w; last seen: %d of %d containers are healthy", n, context.Cause(ctx), healthy, len(found))
		}
	}
}

// measure deploys while requests come in, and counts them until the service
// has n replicas that serve.
func (d *demo) measure(ctx context.Context, command string, n int, deploy func(context.Context) error) error {
	load, err := probe.New(probe.Config{URL: d.project.URL + "/", Method: http.MethodGet, Rate: rate})
	if err != nil {
		return err
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	type account struct {
		report probe.Report
		err    error
	}
	done := make(chan account, 1)
	go func() {
		report, err := load.Run(sending)
		done <- account{report, err}
	}()
	began := time.Now()
	failed := deploy(ctx)
	took := time.Since(began)
	if failed == nil {
		failed = d.whole(ctx, n)
	}
	stop()
	a := <-done
	d.rows = append(d.rows, row{command, took, a.report})
	summary, _, _ := strings.Cut(a.report.String(), "\n")
	fmt.Fprintln(d.out, d.ink.dim(summary))
	return errors.Join(failed, a.err)
}

// rolls is one run of the roll program. On a terminal it shows its live table.
func (d *demo) rolls(args ...string) func(context.Context) error {
	return d.command(d.roll, args, d.out, d.err)
}

// composes is one run of docker compose, which is shown only when it fails.
func (d *demo) composes(args ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		var text bytes.Buffer
		err := d.command("docker", append([]string{"compose"}, args...), &text, &text)(ctx)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, &text)
		}
		return nil
	}
}

// command runs a program in the project. Ctrl-C lets it undo what it began.
func (d *demo) command(program string, args []string, stdout, stderr io.Writer) func(context.Context) error {
	return func(ctx context.Context) error {
		shown := strings.Join(append([]string{filepath.Base(program)}, args...), " ")
		fmt.Fprintln(d.out, d.ink.dim("$ VERSION=v2 "+shown))
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = d.project.Dir, d.project.Env(), stdout, stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = patience
		if err := cmd.Run(); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return fmt.Errorf("%s: %w", shown, cause)
			}
			return fmt.Errorf("%s: %w", shown, err)
		}
		return nil
	}
}
