package compose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sync/errgroup"
)

// ErrGone says that a container is no longer there.
var ErrGone = errors.New("no such container")

// ErrNoImage says that the Engine does not have an image.
var ErrNoImage = errors.New("no such image on this engine")

// Engine is what a roll sees of one Docker daemon, and does there. It is safe
// for concurrent use.
type Engine struct {
	api   client.APIClient
	calls atomic.Int64

	mu    sync.Mutex
	seen  map[string]sighting // by id
	heard map[string]int      // by project, "" is any: streams of changes that are open
}

// sighting is an inspect, with what the list said just before it.
type sighting struct {
	listed  listed
	status  string // the whole line, with its age
	at      time.Time
	replica Replica
}

// expected reports whether the inspect has not been answered yet.
func (s sighting) expected() bool { return s.status == "" }

// NewEngine returns the Engine behind a client, which has to negotiate its
// API version (facts.md D6) and must have no request timeout: a stop blocks
// for as long as it takes.
func NewEngine(api client.APIClient) *Engine {
	return &Engine{api: api, seen: map[string]sighting{}, heard: map[string]int{}}
}

// Calls is how many requests were made so far. The one that negotiates the
// API version is not counted.
func (e *Engine) Calls() int64 { return e.calls.Load() }

// Replicas lists the containers of a service, whatever their state, by number
// and then by name. It costs one request, and one more for each container
// whose state, health, name or addresses changed, or that restarted, since it
// was last listed: the failing streak and the probes of the others may be
// old. Inspect is always fresh.
func (e *Engine) Replicas(ctx context.Context, project, service string) ([]Replica, error) {
	return e.list(ctx, project, service)
}

// AllReplicas is Replicas for every service of a project, by service first.
func (e *Engine) AllReplicas(ctx context.Context, project string) ([]Replica, error) {
	return e.list(ctx, project, "")
}

func (e *Engine) list(ctx context.Context, project, service string) ([]Replica, error) {
	filter := filters.NewArgs(
		filters.Arg("label", labelProject+"="+project),
		filters.Arg("label", labelOneOff+"=False"),
		filters.Arg("label", labelHash)) // as Compose does: others are not its replicas
	if service != "" {
		filter.Add("label", labelService+"="+service)
	}
	e.calls.Add(1)
	summaries, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filter})
	if err != nil {
		return nil, fmt.Errorf("list containers of project %s: %w", project, err)
	}
	summaries = slices.DeleteFunc(summaries, func(c container.Summary) bool {
		_, hook := c.Labels[labelHook] // runs a hook for a replica; is none
		return hook
	})

	found := make([]*Replica, len(summaries))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, summary := range summaries {
		now := listing(summary)
		if r, ok := e.known(summary, now); ok {
			found[i] = &r
			continue
		}
		group.Go(func() error {
			at := e.expect(summary)
			r, err := e.Inspect(groupCtx, summary.ID)
			if errors.Is(err, ErrGone) {
				return nil
			}
			if err != nil {
				return err
			}
			found[i] = &r
			if now.agrees(r) {
				e.remember(summary.ID, sighting{listed: now, status: summary.Status, at: at, replica: r})
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}

	var replicas []Replica
	for _, r := range found {
		if r != nil {
			replicas = append(replicas, *r)
		}
	}
	e.keepOnly(project, service, summaries)
	slices.SortFunc(replicas, func(a, b Replica) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), cmp.Compare(a.Number, b.Number), strings.Compare(a.Name, b.Name))
	})
	return replicas, nil
}

func (e *Engine) known(c container.Summary, now listed) (Replica, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, ok := e.seen[c.ID]
	if !ok || before.listed != now || restarted(before.status, c.Status, time.Since(before.at)) {
		return Replica{}, false
	}
	// A container that was as young as it could be may have started again since and look the same: only events tell.
	if fresh(before.status) && e.heard[before.replica.Project]+e.heard[""] == 0 {
		return Replica{}, false
	}
	return before.replica, true
}

// expect begins a sighting, whose time it returns.
func (e *Engine) expect(c container.Summary) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := time.Now()
	e.seen[c.ID] = sighting{at: at, replica: Replica{Project: c.Labels[labelProject], Service: c.Labels[labelService]}}
	return at
}

// remember ends a sighting, unless an event about the container came since it was expected.
func (e *Engine) remember(id string, s sighting) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if before, ok := e.seen[id]; ok && before.expected() && before.at.Equal(s.at) {
		e.seen[id] = s
	}
}

// hear says that changes of a project are told from here on, until the returned function is called.
func (e *Engine) hear(project string) (end func()) {
	change := func(by int) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.heard[project] += by
		// That one started again while nobody heard is told by nothing.
		maps.DeleteFunc(e.seen, func(_ string, s sighting) bool { return s.expected() || fresh(s.status) })
	}
	change(1)
	return func() { change(-1) }
}

func (e *Engine) forget(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.seen, id)
}

// keepOnly drops what is gone from the part of the memory that was listed.
func (e *Engine) keepOnly(project, service string, summaries []container.Summary) {
	there := make(map[string]bool, len(summaries))
	for _, c := range summaries {
		there[c.ID] = true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, s := range e.seen {
		if !there[id] && s.replica.Project == project && (service == "" || s.replica.Service == service) {
			delete(e.seen, id)
		}
	}
}

// Inspect asks the Engine about one container. The error of one that is not
// there is ErrGone.
func (e *Engine) Inspect(ctx context.Context, id string) (Replica, error) {
	e.calls.Add(1)
	c, err := e.api.ContainerInspect(ctx, id)
	if cerrdefs.IsNotFound(err) {
		return Replica{}, fmt.Errorf("inspect container %s: %w", short(id), ErrGone)
	}
	if err != nil {
		return Replica{}, fmt.Errorf("inspect container %s: %w", short(id), err)
	}
	return replica(c), nil
}

// Changes tells that a container of a project (empty: any) started, died,
// was removed or changed its health, so that a poll may be due. It is only a
// hint: events get lost (facts.md D2). Several changes may be told as one;
// each connection to the daemon, the first and any after a break, is told as
// a change too. The channel is never closed; nothing is sent after ctx ends.
func (e *Engine) Changes(ctx context.Context, project string) <-chan struct{} {
	filter := filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)),
		filters.Arg("event", string(events.ActionStart)),
		filters.Arg("event", string(events.ActionDie)),
		filters.Arg("event", string(events.ActionDestroy)),
		filters.Arg("event", string(events.ActionHealthStatus)))
	if project != "" {
		filter.Add("label", labelProject+"="+project)
	}
	changes := make(chan struct{}, 1)
	tell := func() {
		select {
		case changes <- struct{}{}:
		default:
		}
	}
	go func() {
		const shortest, longest = 250 * time.Millisecond, 5 * time.Second
		pause := shortest
		for ctx.Err() == nil {
			connected := time.Now()
			e.watch(ctx, project, filter, tell)
			if time.Since(connected) > longest {
				pause = shortest
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, longest)
		}
	}()
	return changes
}

// watch returns when the stream breaks.
func (e *Engine) watch(ctx context.Context, project string, filter filters.Args, tell func()) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the client's side of the stream
	e.calls.Add(1)
	messages, failed := e.api.Events(ctx, events.ListOptions{Filters: filter})
	defer e.hear(project)()
	tell()
	for {
		select {
		case <-ctx.Done():
			return
		case <-failed:
			return
		case message := <-messages:
			e.forget(message.Actor.ID)
			tell()
		}
	}
}

// Stop sends a container its stop signal and waits until it has ended; after
// grace the Engine kills it. Nil: the time that the container was created
// with. Negative: never kill. A part of a second counts as a whole one. The
// request blocks for the whole stop, and ending ctx does not call it off
// (facts.md D3). A container that is gone or has ended is stopped: no error.
func (e *Engine) Stop(ctx context.Context, id string, grace *time.Duration) error {
	var options container.StopOptions
	if grace != nil {
		seconds := -1
		if *grace >= 0 {
			seconds = int(min(math.Ceil(grace.Seconds()), math.MaxInt32))
		}
		options.Timeout = &seconds
	}
	e.calls.Add(1)
	if err := e.api.ContainerStop(ctx, id, options); err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("stop container %s: %w", short(id), err)
	}
	return nil
}

// Remove removes a container that has ended; one that runs is an error. Its
// volumes stay. A container that is gone, or goes while this waits, is
// removed: no error.
func (e *Engine) Remove(ctx context.Context, id string) error {
	e.calls.Add(1)
	err := e.api.ContainerRemove(ctx, id, container.RemoveOptions{})
	if err == nil || cerrdefs.IsNotFound(err) {
		return nil
	}
	refused := fmt.Errorf("remove container %s: %w", short(id), err)
	if !cerrdefs.IsConflict(err) {
		return refused
	}
	started := time.Now()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for { // somebody else may be removing it
		r, err := e.Inspect(ctx, id)
		switch {
		case errors.Is(err, ErrGone):
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("remove container %s: waited %s for a removal that somebody else had begun: %w",
				short(id), time.Since(started).Round(time.Millisecond), context.Cause(ctx))
		case err != nil:
			return fmt.Errorf("remove container %s: %w", short(id), err)
		case r.State != Removing && r.State != Dead:
			return refused
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// Hook runs one pre_stop command in a container and returns what it wrote, at
// most the last 100 lines. An exit code other than 0 is an error. A container
// that is gone or does not run has nothing to prepare for: no error.
func (e *Engine) Hook(ctx context.Context, id string, h Hook) (string, error) {
	name := strings.Join(h.Command, " ")
	e.calls.Add(1)
	created, err := e.api.ContainerExecCreate(ctx, id, container.ExecOptions{
		Cmd:          h.Command,
		User:         h.User,
		Privileged:   h.Privileged,
		WorkingDir:   h.WorkingDir,
		Env:          h.Environment,
		AttachStdout: true,
		AttachStderr: true,
	})
	if ended(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("run pre_stop hook %q: %w", name, err)
	}
	e.calls.Add(1)
	stream, err := e.api.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if ended(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("run pre_stop hook %q: %w", name, err)
	}
	defer stream.Close()
	release := context.AfterFunc(ctx, stream.Close) // unblocks the copy
	defer release()
	output := &tail{max: 100}
	_, copyErr := stdcopy.StdCopy(output, output, stream.Reader)
	if ctx.Err() != nil {
		return output.String(), fmt.Errorf("run pre_stop hook %q: it had not ended: %w", name, context.Cause(ctx))
	}
	if copyErr != nil {
		return output.String(), fmt.Errorf("run pre_stop hook %q: read its output: %w", name, copyErr)
	}

	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for { // the stream may end a little before the Engine knows the exit code
		e.calls.Add(1)
		state, err := e.api.ContainerExecInspect(ctx, created.ID)
		switch {
		case ended(err):
			return output.String(), nil
		case err != nil:
			return output.String(), fmt.Errorf("run pre_stop hook %q: %w", name, err)
		case !state.Running && state.ExitCode != 0:
			return output.String(), fmt.Errorf("run pre_stop hook %q: exit code %d: %s", name, state.ExitCode, output)
		case !state.Running:
			return output.String(), nil
		}
		select {
		case <-ctx.Done():
			return output.String(), fmt.Errorf("run pre_stop hook %q: it had not ended: %w", name, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// ended: the container is gone (404), or is not running or paused (409).
func ended(err error) bool { return cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) }

// Logs returns the last lines that a container wrote, both streams in the
// order in which the Engine has them. A container that is gone is ErrGone.
func (e *Engine) Logs(ctx context.Context, id string, lines int) ([]string, error) {
	if lines <= 0 {
		return nil, nil
	}
	e.calls.Add(1)
	c, err := e.api.ContainerInspect(ctx, id)
	if cerrdefs.IsNotFound(err) {
		return nil, fmt.Errorf("read logs of container %s: %w", short(id), ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("read logs of container %s: %w", short(id), err)
	}
	e.calls.Add(1)
	stream, err := e.api.ContainerLogs(ctx, id, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Tail: fmt.Sprint(lines),
	})
	if cerrdefs.IsNotFound(err) {
		return nil, fmt.Errorf("read logs of container %s: %w", short(id), ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("read logs of container %s: %w", short(id), err)
	}
	defer func() { _ = stream.Close() }()
	output := &tail{max: lines}
	if c.Config != nil && c.Config.Tty { // a terminal has one stream, not multiplexed
		_, err = io.Copy(output, stream)
	} else {
		_, err = stdcopy.StdCopy(output, output, stream)
	}
	if err != nil {
		return nil, fmt.Errorf("read logs of container %s: %w", short(id), err)
	}
	for i, line := range output.lines {
		output.lines[i] = strings.TrimSuffix(line, "\r")
	}
	return output.lines, nil
}

// Image is what an image gives to every container that is made of it.
type Image struct {
	ID          string
	Labels      map[string]string
	Entrypoint  []string
	Command     []string
	WorkingDir  string
	Environ     []string     // NAME=value
	StopSignal  string       // empty: none
	Healthcheck *Healthcheck // nil: none
}

// ImageID says what an image reference means on this Engine now. The error of
// one that is not there is ErrNoImage.
func (e *Engine) ImageID(ctx context.Context, ref string) (string, error) {
	image, err := e.Image(ctx, ref)
	return image.ID, err
}

// Image looks up an image reference on this Engine. The error of one that is
// not there is ErrNoImage.
func (e *Engine) Image(ctx context.Context, ref string) (Image, error) {
	e.calls.Add(1)
	found, err := e.api.ImageInspect(ctx, ref)
	if cerrdefs.IsNotFound(err) {
		return Image{}, fmt.Errorf("look up image %s: %w", ref, ErrNoImage)
	}
	if err != nil {
		return Image{}, fmt.Errorf("look up image %s: %w", ref, err)
	}
	image := Image{ID: found.ID}
	if c := found.Config; c != nil {
		image.Labels, image.Entrypoint, image.Command = c.Labels, c.Entrypoint, c.Cmd
		image.WorkingDir, image.Environ, image.StopSignal = c.WorkingDir, c.Env, c.StopSignal
		if h := c.Healthcheck; h != nil && len(h.Test) > 0 && h.Test[0] != "NONE" {
			image.Healthcheck = healthcheck(h.Test, h.Interval, h.Timeout, h.StartPeriod, h.StartInterval, h.Retries)
		}
	}
	return image, nil
}

func short(id string) string { return id[:min(12, len(id))] }
