package healthflip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
)

// ErrGone says that the container no longer exists.
var ErrGone = errors.New("the container is gone")

// Inspector reads a container.
type Inspector interface {
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
}

// Runner runs a command in a container.
type Runner interface {
	ContainerExecCreate(ctx context.Context, id string, options container.ExecOptions) (container.ExecCreateResponse, error)
	ContainerExecAttach(ctx context.Context, execID string, options container.ExecAttachOptions) (types.HijackedResponse, error)
	ContainerExecInspect(ctx context.Context, execID string) (container.ExecInspect, error)
}

// Writer puts files into a container.
type Writer interface {
	CopyToContainer(ctx context.Context, id, directory string, content io.Reader, options container.CopyToContainerOptions) error
}

// Signaller sends a signal to a container's PID 1.
type Signaller interface {
	ContainerKill(ctx context.Context, id, signal string) error
}

// Docker is what a [Flipper] asks of the Engine; the Engine's own client fits.
type Docker interface {
	Inspector
	Runner
	Writer
	Signaller
}

// Flipper flips replicas of one Engine. It is safe for concurrent use. Make
// one with [New].
type Flipper struct {
	docker  Docker
	network bool   // replicas may be called on their own addresses
	distant string // why not, for error texts
	timeout time.Duration
	calls   atomic.Int64
}

// Option changes a [Flipper].
type Option func(*Flipper)

// Network says whether replicas may be called on their network addresses from
// this process. Without it that is so when the Engine is reached through a
// socket of this machine.
func Network(allowed bool) Option {
	return func(f *Flipper) { f.network, f.distant = allowed, "calls over the network are switched off" }
}

// Timeout limits each command that runs inside a replica and each HTTP answer.
// The default is 30 s, which is also the Engine's default for one probe.
func Timeout(limit time.Duration) Option {
	return func(f *Flipper) { f.timeout = limit }
}

// New makes a Flipper for the replicas of one Engine.
func New(docker Docker, options ...Option) *Flipper {
	f := &Flipper{docker: docker, network: true, timeout: 30 * time.Second}
	if engine, ok := docker.(interface{ DaemonHost() string }); ok {
		scheme, _, _ := strings.Cut(engine.DaemonHost(), "://")
		f.network = scheme == "unix" || scheme == "npipe" || scheme == "fd"
		f.distant = "the Engine at " + engine.DaemonHost() + " may be another machine"
	}
	for _, option := range options {
		option(f)
	}
	return f
}

// Calls counts the requests made so far: to the Engine, and to replicas over
// the network.
func (f *Flipper) Calls() int64 { return f.calls.Load() }

// Way is the function [Way].
func (f *Flipper) Way(labels map[string]string, entrypoint []string) (string, error) {
	return Way(labels, entrypoint)
}

// Flip tells the replica to report unhealthy and returns when it has been
// told. Its probes show later whether it obeys. Flipping twice is flipping
// once, as far as the label's own request or command keeps to that. A [LabelError]
// says that the labels cannot be used, [ErrGone] that the container is gone.
func (f *Flipper) Flip(ctx context.Context, id string) error {
	r, w, err := f.look(ctx, id)
	if err != nil {
		return err
	}
	return w.flip(ctx, f, r)
}

// Unflip tells the replica to report healthy again. It does not need to have
// been flipped. Errors are those of [Flipper.Flip].
func (f *Flipper) Unflip(ctx context.Context, id string) error {
	r, w, err := f.look(ctx, id)
	if err != nil {
		return err
	}
	return w.unflip(ctx, f, r)
}

// replica is what one inspect told.
type replica struct {
	id        string
	labels    map[string]string
	addresses []netip.Addr
	exposed   []int // TCP ports, sorted
	mounts    []Mount
	readOnly  bool
}

func (f *Flipper) look(ctx context.Context, id string) (replica, way, error) {
	found, err := f.inspect(ctx, id)
	if err != nil {
		return replica{}, nil, err
	}
	w, err := parse(found.Config.Labels, append([]string{found.Path}, found.Args...))
	if err != nil {
		return replica{}, nil, err
	}
	if w == nil {
		return replica{}, nil, LabelError{labelFlip, "", "no label says how to tell the replica",
			"one of roll.flip.http, roll.flip.exec, roll.flip.file, roll.flip.signal, or roll.flip: none to accept lost requests"}
	}
	if _, ok := w.(noneWay); ok {
		return replica{}, w, nil
	}
	switch state := found.State; {
	case state == nil:
		return replica{}, nil, errors.New("inspect the replica: the Engine told no state")
	case state.Paused:
		return replica{}, nil, errors.New("the replica is paused and can be told nothing: unpause it first")
	case state.Restarting:
		return replica{}, nil, fmt.Errorf("the replica is restarting (last exit code %d), not running", state.ExitCode)
	case !state.Running:
		return replica{}, nil, fmt.Errorf("the replica is %s (exit code %d), not running", state.Status, state.ExitCode)
	}
	return newReplica(id, found), w, nil
}

func (f *Flipper) inspect(ctx context.Context, id string) (container.InspectResponse, error) {
	f.calls.Add(1)
	found, err := f.docker.ContainerInspect(ctx, id)
	if err != nil {
		return found, wrap(err, "inspect the replica")
	}
	if found.ContainerJSONBase == nil || found.Config == nil {
		return found, errors.New("inspect the replica: the Engine's answer is empty")
	}
	return found, nil
}

func newReplica(id string, found container.InspectResponse) replica {
	r := replica{id: id, labels: found.Config.Labels}
	if found.NetworkSettings != nil {
		for _, endpoint := range found.NetworkSettings.Networks {
			if endpoint == nil {
				continue
			}
			for _, text := range []string{endpoint.IPAddress, endpoint.GlobalIPv6Address} {
				if address, err := netip.ParseAddr(text); err == nil {
					r.addresses = append(r.addresses, address)
				}
			}
		}
	}
	slices.SortFunc(r.addresses, netip.Addr.Compare)
	for port := range found.Config.ExposedPorts {
		if port.Proto() == "tcp" {
			r.exposed = append(r.exposed, port.Int())
		}
	}
	slices.Sort(r.exposed)
	for _, m := range found.Mounts {
		mount := Mount{Type: string(m.Type), Source: m.Source, Destination: m.Destination, ReadOnly: !m.RW}
		if m.Name != "" {
			mount.Source = m.Name
		}
		r.mounts = append(r.mounts, mount)
	}
	if host := found.HostConfig; host != nil {
		r.readOnly = host.ReadonlyRootfs
		// --tmpfs is told only here, --mount type=tmpfs in both places.
		for destination := range host.Tmpfs {
			r.mounts = append(r.mounts, Mount{Type: "tmpfs", Destination: destination})
		}
	}
	return r
}

// wrap names the request that failed. A container that is not found is gone.
func wrap(err error, verb string) error {
	switch {
	case err == nil:
		return nil
	case cerrdefs.IsNotFound(err):
		return fmt.Errorf("%s: %w", verb, ErrGone)
	}
	return fmt.Errorf("%s: %w", verb, err)
}
