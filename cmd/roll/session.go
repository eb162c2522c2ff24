package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/docker/client"
	"golang.org/x/sync/errgroup"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/healthflip"
	"github.com/roll-deploy/roll/traefik"
)

// session is one project on one daemon, opened: what it declares, who creates
// its containers, and whom to ask where requests go.
type session struct {
	app     *app
	project *compose.Project
	cli     *compose.CLI
	api     client.APIClient
	engine  *compose.Engine
	flipper *healthflip.Flipper
	leases  *compose.Leases // nil: nothing is locked
	lease   *deploy.Lease   // nil: not held
	creator deploy.Creator  // nil: Compose creates replicas
	owner   deploy.Owner    // who runs this command

	instances []traefik.Instance // every Traefik found, also those that cannot be asked
	router    *traefik.Router    // nil: none can be asked
}

// unreachableError says that the daemon does not answer.
type unreachableError struct {
	host string
	err  error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("the Docker Engine at %s does not answer: %v", e.host, e.err)
}
func (e *unreachableError) Unwrap() error { return e.err }

// open loads the project, checks that it has the named services, and finds
// Compose, the daemon and the Traefiks at once.
func (a *app) open(ctx context.Context, services ...string) (*session, error) {
	s := &session{app: a}
	a.closing = append(a.closing, s.close)
	options := a.composeOptions()
	project, err := compose.Load(ctx, options)
	if err != nil {
		return nil, err
	}
	for _, name := range services {
		if _, err := project.Service(name); err != nil {
			return nil, err
		}
	}
	s.project = project
	s.api = a.docker.Client()
	s.engine = compose.NewEngine(s.api)
	s.flipper = healthflip.New(s.api)
	var group errgroup.Group
	var noCompose, noEngine error
	group.Go(func() error {
		s.cli, noCompose = compose.Find(ctx, a.invocation(options, project.Stdin))
		return nil
	})
	group.Go(func() error {
		if _, err := s.api.Ping(ctx); err != nil {
			noEngine = &unreachableError{a.docker.DockerEndpoint().Host, err}
			return nil
		}
		return s.findTraefik(ctx)
	})
	err = group.Wait()
	return s, cmp.Or(noCompose, noEngine, err)
}

// close drops the connections to the daemon and to every Traefik: a process
// that runs many commands would collect them.
func (s *session) close() {
	for _, i := range s.instances {
		if i.Client != nil {
			i.Client.Close()
		}
	}
	if s.router != nil {
		s.router.Close() // it may know others by now
	}
	if s.api != nil {
		_ = s.api.Close()
	}
}

// composeOptions are compose's own global flags and the whole environment.
func (a *app) composeOptions() compose.Options {
	return compose.Options{
		Files: a.files, ProjectName: a.projectName, ProjectDirectory: a.projectDir, EnvFiles: a.envFiles,
		Profiles: a.profiles, Environ: a.streams.Environ, Stdin: a.streams.In,
	}
}

// invocation says how to call `docker compose` on the same daemon.
func (a *app) invocation(options compose.Options, stdin []byte) compose.Invocation {
	call := compose.Invocation{Options: options, Input: stdin, Output: a.toolOutput()}
	endpoint := a.docker.DockerEndpoint()
	switch name := a.docker.CurrentContext(); name {
	case "", "default":
		call.Env = append(call.Env, "DOCKER_CONTEXT=", "DOCKER_HOST="+endpoint.Host)
	default:
		call.Env = append(call.Env, "DOCKER_CONTEXT="+name, "DOCKER_HOST=")
	}
	if o := a.options; o != nil {
		if o.ConfigDir != "" {
			call.Env = append(call.Env, "DOCKER_CONFIG="+o.ConfigDir)
		}
		if o.TLSOptions != nil && o.TLS {
			call.DockerArgs = tlsArgs(o.TLSVerify, o.TLSOptions.CAFile, o.TLSOptions.CertFile, o.TLSOptions.KeyFile)
		}
	}
	return call
}

// toolOutput is where the progress of pulls and builds goes; nil: nowhere.
func (a *app) toolOutput() io.Writer {
	if a.progress == "json" || a.progress == "quiet" {
		return nil
	}
	return a.streams.Err
}

func tlsArgs(verify bool, ca, cert, key string) []string {
	args := []string{"--tls"}
	if verify {
		args = []string{"--tlsverify"}
	}
	for _, f := range []struct{ flag, value string }{{"--tlscacert", ca}, {"--tlscert", cert}, {"--tlskey", key}} {
		if f.value != "" {
			args = append(args, f.flag, f.value)
		}
	}
	return args
}

// daemonHost is the host on which published ports of this daemon are reached;
// empty for this host.
func daemonHost(endpoint docker.Endpoint) string {
	u, err := url.Parse(endpoint.Host)
	if err != nil || u.Scheme == "unix" || u.Scheme == "npipe" {
		return ""
	}
	return u.Hostname()
}

func (s *session) findTraefik(ctx context.Context) error {
	options := traefik.Options{URLs: s.app.traefiks, DaemonHost: daemonHost(s.app.docker.DockerEndpoint())}
	if s.app.traefikCA != "" {
		options.Client = append(options.Client, traefik.WithCAFile(s.app.traefikCA))
	}
	if s.app.insecure {
		options.Client = append(options.Client, traefik.WithInsecureSkipVerify())
	}
	found, err := traefik.Discover(ctx, s.api, options)
	if err != nil {
		return err
	}
	s.instances = found
	var askable []traefik.Instance
	for _, i := range found {
		if i.Client != nil {
			askable = append(askable, i)
		}
	}
	if len(askable) > 0 {
		s.router = traefik.NewRouter(askable, func(ctx context.Context) ([]traefik.Instance, error) {
			return traefik.Discover(ctx, s.api, options)
		})
	}
	return nil
}

// unprovable is why routing cannot be proven; empty when every Traefik can be
// asked. One that cannot is enough: it may route where the others do not.
func (s *session) unprovable() string {
	var reasons []string
	for _, i := range s.instances {
		if i.Client == nil {
			reasons = append(reasons, fmt.Sprintf("%s cannot be asked: %s", i.Name, i.Reason))
		}
	}
	if len(s.instances) == 0 {
		return "no running Traefik was found on this daemon (name one with --traefik URL)"
	}
	return strings.Join(reasons, "; ")
}

func (s *session) throttle() time.Duration {
	longest := 2 * time.Second
	for _, i := range s.instances {
		longest = max(longest, i.Throttle)
	}
	return longest
}

// look observes one service, once. hashes are today's config hashes.
func (s *session) look(ctx context.Context, service compose.Service, hashes map[string]string) (deploy.Snapshot, error) {
	snap := deploy.Snapshot{Service: service, Hash: hashes[service.Name], Ways: map[string]string{}, Throttle: s.throttle()}
	snap.Expected, _ = traefik.Enabled(service.Labels)
	if snap.Unprovable = s.unprovable(); snap.Unprovable == "" {
		snap.Routers = s.router.Instances()
	}
	var image compose.Image
	var healers []healer
	var unrouted error
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		snap.Replicas, err = s.replicas(gctx, service, snap.Hash)
		return err
	})
	group.Go(func() (err error) {
		image, err = s.engine.Image(gctx, service.Image)
		snap.ImageID = image.ID
		return err
	})
	group.Go(func() (err error) {
		healers, err = healersOn(gctx, s.api)
		return err
	})
	if len(snap.Routers) > 0 {
		group.Go(func() error {
			snap.Routes, unrouted = s.router.Routes(gctx)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return snap, err
	}
	if unrouted != nil && (snap.Expected || s.flippable(snap)) {
		return snap, unrouted
	}
	if unrouted != nil { // a worker does not need a Traefik that does not answer
		snap.Routers, snap.Unprovable = nil, unrouted.Error()
	}
	var refusals []deploy.Refusal
	refuse := func(who string, err error) {
		if err != nil {
			refusals = append(refusals, deploy.Refusal{Path: []string{"labels"}, What: who, Why: err.Error()})
		}
	}
	_, err := s.flipper.Way(service.Labels, nil)
	refuse("service "+service.Name, err)
	refusals = append(refusals, unknownLabels(service)...)
	if len(refusals) > 0 {
		return snap, s.placed(&deploy.RefusedError{Service: service.Name, Refusals: refusals})
	}
	snap.Untold = s.flips(&snap, healers)
	snap.Clashes = clashes(service, image, snap.Replicas, s.instances)
	snap.Unfit, snap.Notes = fitness(service, image, s.instances, snap.Expected || snap.Routed())
	snap.Notes = append(snap.Notes, beforehand(service, image, s.throttle())...)
	return snap, nil
}

// flips finds out how each replica is flipped, and why some cannot be.
func (s *session) flips(snap *deploy.Snapshot, healers []healer) map[string]deploy.Refusal {
	untold := map[string]deploy.Refusal{}
	for _, r := range snap.Replicas {
		way, err := s.flipper.Way(r.Labels, slices.Concat(r.Entrypoint, r.Command))
		if err == nil {
			err = healthflip.Check(r.Labels, r.ReadOnly, marks(r.Mounts))
		}
		if err != nil {
			way, untold[r.ID] = "", deploy.Refusal{
				Path: []string{"labels"}, What: r.Name + " cannot be flipped", Why: err.Error() + "; for replicas that were created like this, once: roll up --accept-loss " + snap.Service.Name,
			}
		}
		snap.Ways[r.ID] = way
		for _, h := range healers {
			if err == nil && h.restarts(r) {
				untold[r.ID] = h.refusal(snap.Service, r)
			}
		}
	}
	return untold
}

// flippable reports whether anything about a service says that it serves
// requests: a way to flip it, declared or carried by a replica.
func (s *session) flippable(snap deploy.Snapshot) bool {
	carries := func(labels map[string]string) bool {
		way, err := s.flipper.Way(labels, nil)
		return err != nil || way != ""
	}
	return carries(snap.Service.Labels) || slices.ContainsFunc(snap.Replicas, func(r compose.Replica) bool { return carries(r.Labels) })
}

// replicas lists a service's containers. Where a container's hash is not
// today's, Compose itself is asked whether `up` would replace it: hashes that
// it prints and those that it labels with differ for env_file, label_file and
// references to other services (compose.CLI.Hash). One that it would keep
// counts as if it had today's.
func (s *session) replicas(ctx context.Context, service compose.Service, hash string) ([]compose.Replica, error) {
	replicas, err := s.engine.Replicas(ctx, s.project.Name, service.Name)
	if err != nil || hash == "" || !slices.ContainsFunc(replicas, func(r compose.Replica) bool { return r.ConfigHash != hash }) {
		return replicas, err
	}
	stale, err := s.cli.Stale(ctx, service.Name, len(replicas))
	if err != nil {
		return replicas, err
	}
	for i, r := range replicas {
		if !slices.Contains(stale, r.Name) {
			replicas[i].ConfigHash = hash
		}
	}
	return replicas, nil
}

// placed fills the lines of the Compose file into a refusal.
func (s *session) placed(err error) error {
	refused, ok := err.(*deploy.RefusedError)
	if !ok {
		return err
	}
	for i := range refused.Refusals {
		if r := &refused.Refusals[i]; r.Where == "" && len(r.Path) > 0 {
			r.Where = s.project.Where(refused.Service, r.Path...)
		}
	}
	return refused
}

// roller carries out plans on this session's daemon.
func (s *session) roller(observer deploy.Observer, keeper deploy.Keeper) *deploy.Roller {
	r := &deploy.Roller{
		Engine: s.engine, Creator: s.cli, Flipper: s.flipper, Hooks: s.engine, Logs: s.engine, Keeper: keeper,
		Notifier: notifier{s.engine, s.project.Name}, Observer: observer, GiveUp: s.app.streams.GiveUp,
	}
	if s.creator != nil {
		r.Creator = s.creator
	}
	if s.lease != nil {
		r.Lost, r.Sure = s.lease.Lost(), s.lease.Sure
	}
	if s.unprovable() == "" {
		r.Router = s.router
	}
	return r
}

// keeper keeps what the Engine can make a container from again.
type keeper struct{ engine *compose.Engine }

func (k keeper) Keep(ctx context.Context, id string) (any, error) {
	kept, err := k.engine.Keep(ctx, id)
	if err != nil {
		return nil, err
	}
	return kept, nil
}

func (k keeper) Restore(ctx context.Context, kept any) (id, name string, err error) {
	return k.engine.Restore(ctx, kept.(*compose.Kept))
}

// notifier rings for one project.
type notifier struct {
	engine  *compose.Engine
	project string
}

func (n notifier) Changes(ctx context.Context) <-chan struct{} {
	return n.engine.Changes(ctx, n.project)
}

// fetch brings a service's image here before anything is touched: built when
// asked or when it is only built, else pulled as the policy says.
func (s *session) fetch(ctx context.Context, service compose.Service, pull string, build bool) error {
	_, err := s.engine.ImageID(ctx, service.Image)
	missing := err != nil
	switch {
	case build && service.Build, missing && service.Build && pull != "always":
		return s.cli.Build(ctx, service.Name)
	case pull == "never" && missing:
		return fmt.Errorf("image %s of service %s is not here, and --pull never was given", service.Image, service.Name)
	case pull == "always" && !service.Build, missing:
		if err := s.cli.Pull(ctx, service.Name, pull); err != nil {
			return fmt.Errorf("image %s: %w", service.Image, err)
		}
	}
	return nil
}
