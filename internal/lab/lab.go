// Package lab brings up what an end-to-end test needs, and takes it down: a Docker Engine, Compose v2, Traefik, and a
// server of ours to deploy. It uses what the machine has, installs or builds what is missing, and keeps the expensive
// parts outside the checkout. It never stops or removes what it did not start.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/client"
)

// Lab is a running set of parts. Its methods may be called from several goroutines.
type Lab struct {
	// Engine is the engine that everything runs on.
	Engine Engine
	// Docker talks to that engine.
	Docker *client.Client
	// Compose is the version of `docker compose`.
	Compose string

	config   string // docker config folder with the Compose plugin; empty means the user's own
	state    state
	progress *progress
}

// Start brings up what is missing and returns the lab: an engine, Compose, the image of Traefik, and the replica images
// v1 and v2. Where all of it is there it takes well under a second. w shows the long steps. The lab outlives the process;
// Stop or `lab down` ends it. Close releases what this process holds.
func Start(ctx context.Context, w io.Writer) (*Lab, error) { return start(ctx, w, "") }

// StartEngine is Start on a private engine of a version of Engines. It refuses when the user's own engine runs: two
// engines on one machine fight over its iptables.
func StartEngine(ctx context.Context, w io.Writer, version string) (*Lab, error) {
	if _, ok := Engines[version]; !ok {
		return nil, fmt.Errorf("unknown engine %q: want 20.10 or 28.5", version)
	}
	return start(ctx, w, version)
}

func start(ctx context.Context, w io.Writer, version string) (*Lab, error) {
	s, err := openState()
	if err != nil {
		return nil, fmt.Errorf("open the lab's folder: %w", err)
	}
	p := &progress{w: w}
	engine, err := findEngine(ctx, p, s)
	switch {
	case err == nil && version != "" && !engine.Private:
		return nil, fmt.Errorf("start engine %s: engine %s at %s runs already, and two on one machine disturb each other's iptables rules; stop it first, or unset DOCKER_HOST if it is not on this machine",
			version, engine.Version, engine.Host)
	case errors.Is(err, errNoEngine), err == nil && version != "":
		engine, err = startEngine(ctx, p, s, version)
	}
	if err != nil {
		return nil, err
	}
	l := &Lab{Engine: engine, state: s, progress: p}
	if l.Docker, err = client.NewClientWithOpts(client.WithHost(engine.Host), client.WithAPIVersionNegotiation()); err != nil {
		return nil, err
	}
	if err := l.provide(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// provide makes sure of everything above the engine.
func (l *Lab) provide(ctx context.Context) (err error) {
	if l.Compose, l.config, err = provideCompose(ctx, l.progress, l.state); err != nil {
		return err
	}
	release, err := l.state.lock(ctx, "traefik-image")
	if err != nil {
		return err
	}
	err = provideTraefik(ctx, l.progress, l.state, l.Docker)
	release()
	if err != nil {
		return fmt.Errorf("provide %s: %w", TraefikImage, err)
	}
	for _, version := range []string{"v1", "v2"} {
		if _, err := l.Replica(ctx, version); err != nil {
			return err
		}
	}
	return nil
}

// Close releases the connection to the engine. Nothing is stopped.
func (l *Lab) Close() error { return l.Docker.Close() }

// Env is the environment for child processes: this process's own, with the lab's engine and Compose and without
// variables that would point elsewhere.
func (l *Lab) Env() []string {
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		switch name {
		case "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION":
			return true
		}
		return strings.HasPrefix(name, "COMPOSE_")
	})
	return append(env, l.Variables()...)
}

// Variables are the few variables that lead to the lab, as NAME=VALUE.
func (l *Lab) Variables() []string {
	vars := []string{"DOCKER_HOST=" + l.Engine.Host}
	if l.config != "" {
		vars = append(vars, "DOCKER_CONFIG="+l.config)
	}
	return vars
}

// Stop ends the lab on this machine: projects that ended test processes left behind are removed from the engine, and
// an engine that the lab started is stopped. Caches stay.
func Stop(ctx context.Context, w io.Writer) error {
	s, err := openState()
	if err != nil {
		return fmt.Errorf("open the lab's folder: %w", err)
	}
	p := &progress{w: w}
	release, err := s.lock(ctx, "engine")
	if err != nil {
		return err
	}
	defer release()
	if err := errors.Join(stopPrivate(ctx, p, s), s.sweepFolders()); err != nil {
		return err
	}
	// What remains is an engine of the user's, which tests may have used.
	engine, err := findEngine(ctx, p, s)
	if errors.Is(err, errNoEngine) {
		return nil
	}
	if err != nil {
		return err
	}
	c, err := client.NewClientWithOpts(client.WithHost(engine.Host), client.WithAPIVersionNegotiation())
	if err != nil {
		return err
	}
	defer c.Close()
	return sweep(ctx, p, c)
}

// Doctor writes what the lab would use on this machine, and changes nothing.
func Doctor(ctx context.Context, w io.Writer) error {
	s, err := openState()
	if err != nil {
		return fmt.Errorf("open the lab's folder: %w", err)
	}
	fmt.Fprintf(w, "folder   %s\n", s)
	engine, err := findEngine(ctx, &progress{w: w}, s)
	if err != nil {
		fmt.Fprintf(w, "engine   %v; `lab up` would start a private one\n", err)
		if why := canInstall(); why != nil {
			fmt.Fprintf(w, "         and could not install one: %v\n", why)
		}
		return nil
	}
	whose := "the user's own"
	if engine.Private {
		whose = "started by the lab"
	}
	fmt.Fprintf(w, "engine   %s at %s, %s\n", engine.Version, engine.Host, whose)
	compose := "missing; `lab up` provides " + composeVersion
	for _, config := range []string{s.path("config"), ""} {
		if v, err := pluginVersion(ctx, config); err == nil {
			compose = v
		}
	}
	fmt.Fprintf(w, "compose  %s\n", compose)
	c, err := client.NewClientWithOpts(client.WithHost(engine.Host), client.WithAPIVersionNegotiation())
	if err != nil {
		return err
	}
	defer c.Close()
	for _, ref := range []string{TraefikImage, ReplicaImage + ":v1", ReplicaImage + ":v2"} {
		if found, err := c.ImageInspect(ctx, ref); err != nil {
			fmt.Fprintf(w, "image    %s missing\n", ref)
		} else {
			fmt.Fprintf(w, "image    %s %s\n", ref, found.ID)
		}
	}
	left, err := leftovers(ctx, c)
	if err != nil {
		return err
	}
	for _, name := range left {
		fmt.Fprintf(w, "leftover %s; `lab down` removes it\n", name)
	}
	return nil
}

// cleanupLimit bounds every removal that runs after its cause was cancelled.
const cleanupLimit = time.Minute

// detached is a context for cleaning up: it outlives its parent's end, but not cleanupLimit.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.WithoutCancel(ctx), cleanupLimit, fmt.Errorf("not cleaned up after %s", cleanupLimit))
}
