package traefik

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"
)

// Label is the container label by which a user overrules recognition:
// "false" (this is no Traefik), "true" (it is), or the URL of its API.
const Label = "roll.traefik"

// Containers is what discovery reads of the Engine.
type Containers interface {
	ContainerList(ctx context.Context, options container.ListOptions) ([]container.Summary, error)
	ContainerInspect(ctx context.Context, containerID string) (container.InspectResponse, error)
	CopyFromContainer(ctx context.Context, containerID, path string) (io.ReadCloser, container.PathStat, error)
}

// Execs runs programs in containers.
type Execs interface {
	ContainerExecCreate(ctx context.Context, containerID string, options container.ExecOptions) (container.ExecCreateResponse, error)
	ContainerExecAttach(ctx context.Context, execID string, options container.ExecAttachOptions) (types.HijackedResponse, error)
	ContainerExecInspect(ctx context.Context, execID string) (container.ExecInspect, error)
}

// Docker is the part of the Engine's API client that discovery needs.
type Docker interface {
	Containers
	Execs
}

// Options is how to find Traefik.
type Options struct {
	// URLs name the instances and replace discovery. See New for their form.
	URLs []string
	// Client applies to URLs only: TLS, time limit.
	Client []Option
	// DaemonHost is the name or address of the host that the daemon runs on.
	// Empty means this host.
	DaemonHost string
	// Timeout bounds each attempt to reach an API; 0 means 2 s.
	Timeout time.Duration
}

// Instance is one running Traefik.
type Instance struct {
	Name        string // the container's name, or the URL that was given
	ContainerID string // empty when it was given by URL
	// How its API is reached: "published port 127.0.0.1:32768", "address
	// 172.18.0.2:8080", "inside the container", "URL https://...".
	How string
	// Client is nil when its API cannot be asked; Reason says why, and what
	// to write to change that.
	Client  *Client
	Reason  string
	Version string
	// Throttle is the least time between two changes of its routing.
	Throttle time.Duration
	// Settings is empty (no Source) when the instance was given by URL or
	// its configuration could not be read.
	Settings Settings

	started time.Time // see member.started
}

// Discover finds every Traefik that the daemon runs and the way to its API,
// sorted by name. An instance whose API cannot be reached is returned with a
// Reason. With Options.URLs only these are asked, and one that does not answer
// is an error, because a person has written it.
func Discover(ctx context.Context, docker Docker, options Options) ([]Instance, error) {
	if options.Timeout == 0 {
		options.Timeout = 2 * time.Second
	}
	if len(options.URLs) > 0 {
		return named(ctx, options)
	}
	summaries, err := docker.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("find Traefik: list containers: %w", err)
	}
	s := search{docker: docker, options: options}
	found := make([]*Instance, len(summaries))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, summary := range summaries {
		if !suspect(summary) {
			continue
		}
		group.Go(func() (err error) {
			found[i], err = s.look(ctx, summary.ID)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("find Traefik: %w", err)
	}
	var instances []Instance
	for _, instance := range found {
		if instance != nil {
			instances = append(instances, *instance)
		}
	}
	slices.SortFunc(instances, func(a, b Instance) int { return strings.Compare(a.Name, b.Name) })
	return instances, nil
}

// named makes instances of the URLs that a person wrote.
func named(ctx context.Context, options Options) ([]Instance, error) {
	var instances []*Instance
	var failures []error
	given := map[string]bool{}
	for _, text := range options.URLs {
		client, err := New(text, options.Client...)
		switch {
		case err != nil:
			failures = append(failures, err)
		case given[client.URL()]:
			failures = append(failures, fmt.Errorf("the Traefik URL %s is given twice", client.URL()))
		default:
			given[client.URL()] = true
			instances = append(instances, &Instance{Name: client.URL(), How: "URL " + client.URL(), Client: client, Throttle: defaultThrottle})
		}
	}
	unproven := make([]error, len(instances))
	var group sync.WaitGroup
	for i, instance := range instances {
		group.Go(func() {
			version, err := instance.Client.Version(ctx)
			instance.Version, instance.started, unproven[i] = version.Version, startOf(version), err
		})
	}
	group.Wait()
	if err := errors.Join(append(failures, unproven...)...); err != nil {
		return nil, err
	}
	found := make([]Instance, 0, len(instances))
	for _, instance := range instances {
		found = append(found, *instance)
	}
	return found, nil
}

// suspect is the cheap test on the list: most containers need no inspection.
// An image whose tag has moved on shows as an id there.
func suspect(summary container.Summary) bool {
	switch strings.ToLower(summary.Labels[Label]) {
	case "":
	case "false":
		return false
	default:
		return true
	}
	return strings.HasPrefix(summary.Image, "sha256:") ||
		strings.Contains(strings.ToLower(summary.Command), "traefik") ||
		recognised(summary.Image, strings.Fields(summary.Command), summary.Labels)
}

// search is one run of Discover.
type search struct {
	docker  Docker
	options Options
}

// look is nil for a container that is no Traefik, or is gone.
func (s search) look(ctx context.Context, id string) (*Instance, error) {
	c, err := s.docker.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inspect container %s: %w", id[:min(12, len(id))], err)
	}
	if c.ContainerJSONBase == nil || c.State == nil || c.Config == nil || !c.State.Running {
		return nil, nil
	}
	override := c.Config.Labels[Label]
	argv := append([]string{c.Path}, c.Args...)
	if override == "" && !recognised(c.Config.Image, argv, c.Config.Labels) {
		return nil, nil
	}
	instance := &Instance{Name: strings.TrimPrefix(c.Name, "/"), ContainerID: c.ID, Throttle: defaultThrottle}
	if c.State.Paused || c.State.Restarting {
		instance.Reason = fmt.Sprintf("the container is %s", c.State.Status)
		return instance, nil
	}
	var unread error
	instance.Settings, unread = s.settings(ctx, c, argv)
	if unread == nil {
		instance.Throttle = instance.Settings.Throttle
	} else {
		instance.Settings = Settings{}
	}
	if override != "" && !strings.EqualFold(override, "true") {
		s.overridden(ctx, instance, override)
		return instance, ctx.Err()
	}
	s.reach(ctx, instance, c, unread)
	return instance, ctx.Err()
}

// overridden asks the URL of the label.
func (s search) overridden(ctx context.Context, instance *Instance, url string) {
	client, err := New(url, WithName(instance.Name), WithTimeout(s.options.Timeout))
	if err == nil {
		err = s.prove(ctx, instance, client, time.Time{})
	}
	if err != nil {
		instance.Reason = fmt.Sprintf("label %s: %v", Label, err)
		return
	}
	instance.How = "URL " + client.URL() + " of label " + Label
}

// reach tries every way to every door. The first that proves to be this
// instance's API is taken.
func (s search) reach(ctx context.Context, instance *Instance, c container.InspectResponse, unread error) {
	doors := doorsOf(instance.Settings, c.Config.Labels)
	if unread != nil {
		doors = append(doors, door{port: "8080", inside: "127.0.0.1:8080", scheme: "http"})
	}
	if len(doors) == 0 {
		instance.Reason = noDoor(instance.Settings)
		return
	}
	network := c
	if c.HostConfig != nil && c.HostConfig.NetworkMode.IsContainer() {
		owner, err := s.docker.ContainerInspect(ctx, c.HostConfig.NetworkMode.ConnectedContainer())
		if err == nil {
			network = owner
		}
	}
	var tried []string
	attempt := func(how, address string, d door, opts ...Option) bool {
		opts = append(opts, WithName(instance.Name), WithTimeout(s.options.Timeout), WithHost(d.host), WithInsecureSkipVerify(), withoutProxy())
		started, _ := time.Parse(time.RFC3339Nano, c.State.StartedAt)
		if how == "inside the container" {
			started = time.Time{} // nobody else can answer there
		}
		client, err := New(d.scheme+"://"+address+d.base, opts...)
		if err == nil {
			err = s.prove(ctx, instance, client, started)
		}
		if err == nil {
			instance.How = how
			return true
		}
		tried = append(tried, how+": "+short(err))
		return false
	}
	for _, published := range []bool{true, false} {
		for _, d := range doors {
			ways := waysByAddress(network, d.port)
			if published {
				ways = waysByPublishedPort(network, d.port, s.options.DaemonHost)
			}
			for _, w := range ways {
				if attempt(w.how+" "+w.address, w.address, d) {
					return
				}
			}
		}
	}
	for _, d := range doors {
		transport := &inside{docker: s.docker, containerID: c.ID}
		if attempt("inside the container", d.inside, d, WithHTTPClient(&http.Client{Transport: transport})) {
			return
		}
	}
	hint := "publish its API to this host (ports: 127.0.0.1:8080:8080) or name it with --traefik URL"
	if unread != nil {
		hint = unread.Error() + "; name its API with --traefik URL"
	} else if slices.ContainsFunc(tried, func(t string) bool { return strings.Contains(t, ": 401 ") }) {
		hint = "it wants a password: name it with --traefik https://USER:PASSWORD@HOST"
	}
	instance.Reason = strings.Join(slices.Compact(tried), "; ") + "; " + hint
}

// prove asks for the version and, when the container's start is given, that
// the answer comes from a process that began with it: an address or port may
// lead to another Traefik, when the daemon is on another host.
func (s search) prove(ctx context.Context, instance *Instance, client *Client, started time.Time) error {
	version, err := client.Version(ctx)
	if err != nil {
		client.Close()
		return err
	}
	if !started.IsZero() && !version.Started.IsZero() {
		// A wrapper may take its time before it starts Traefik.
		after := version.Started.Sub(started)
		if after < -2*time.Second || after > 5*time.Minute {
			client.Close()
			return fmt.Errorf("another Traefik answers there: it started at %s, the container at %s",
				version.Started.Format(time.RFC3339), started.Format(time.RFC3339))
		}
	}
	client.timeout = defaultTimeout // attempts are shorter than what follows
	instance.Client, instance.Version, instance.started = client, version.Version, startOf(version)
	return nil
}

// short is the innermost text of a failed attempt: what was asked is in front
// of it already.
func short(err error) string {
	for unwrapped := errors.Unwrap(err); unwrapped != nil; unwrapped = errors.Unwrap(unwrapped) {
		err = unwrapped
		if _, ok := err.(*StatusError); ok {
			break
		}
	}
	return err.Error()
}
