package compose

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// ErrTaken says that a project has a lease already.
var ErrTaken = errors.New("the lease is taken")

const (
	labelLease   = "roll.lock"         // the project
	labelClaim   = "roll.lock.claim"   // what the lease said at first
	leaseFile    = "/roll-lock.json"   // what it says now
	leaseNothing = "/roll-lock-no-run" // the program of a container that never runs
	leaseMost    = 64 << 10            // of a lease's content is read
)

// Leases keeps at most one lease a project on one daemon. A lease is a
// container that never runs, because the Engine gives a name to one container
// only; it carries none of Compose's labels, so that Compose takes it for
// nobody's replica. What it says is a label at first and then a file in it. It
// is safe for concurrent use.
type Leases struct {
	api    client.APIClient
	images []string
	calls  atomic.Int64
}

// NewLeases keeps leases on the daemon behind a client. A container needs an
// image: the first of images that is there, else any that the daemon has.
func NewLeases(api client.APIClient, images ...string) *Leases {
	return &Leases{api: api, images: images}
}

// Calls is how many requests were made so far.
func (l *Leases) Calls() int64 { return l.calls.Load() }

// Claim makes the lease of a project. It is ErrTaken when there is one and
// ErrNoImage when the daemon has no image at all.
func (l *Leases) Claim(ctx context.Context, project string, content []byte) (id string, err error) {
	labels := map[string]string{labelLease: project, labelClaim: string(content)}
	ref, err := l.image(ctx, labels)
	if err != nil {
		return "", err
	}
	l.calls.Add(1)
	created, err := l.api.ContainerCreate(ctx,
		&container.Config{Image: ref, Entrypoint: []string{leaseNothing}, Labels: labels},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, leaseName(project))
	if cerrdefs.IsConflict(err) {
		return "", fmt.Errorf("create container %s: %w", leaseName(project), ErrTaken)
	}
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", leaseName(project), err)
	}
	return created.ID, nil
}

func leaseName(project string) string { return "roll-lock-" + project }

// image picks an image, and blanks in labels those of its own that would make
// the container count as something: Compose labels the images that it builds.
func (l *Leases) image(ctx context.Context, labels map[string]string) (string, error) {
	blank := func(own map[string]string) {
		for name := range own {
			if strings.HasPrefix(name, "com.docker.compose.") || strings.HasPrefix(name, "traefik.") {
				labels[name] = ""
			}
		}
	}
	for _, ref := range l.images {
		l.calls.Add(1)
		found, err := l.api.ImageInspect(ctx, ref)
		if cerrdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("look up image %s: %w", ref, err)
		}
		if found.Config != nil {
			blank(found.Config.Labels)
		}
		return found.ID, nil
	}
	l.calls.Add(1)
	all, err := l.api.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list images: %w", err)
	}
	if len(all) == 0 {
		return "", fmt.Errorf("pick an image for the lease: %w", ErrNoImage)
	}
	blank(all[0].Labels)
	return all[0].ID, nil
}

// Read returns the id of a project's lease and what it says. It is ErrGone
// when there is none, and another error when what has its name is no lease.
func (l *Leases) Read(ctx context.Context, project string) (id string, content []byte, err error) {
	name := leaseName(project)
	l.calls.Add(1)
	c, err := l.api.ContainerInspect(ctx, name)
	if cerrdefs.IsNotFound(err) {
		return "", nil, fmt.Errorf("inspect container %s: %w", name, ErrGone)
	}
	if err != nil {
		return "", nil, fmt.Errorf("inspect container %s: %w", name, err)
	}
	if c.ContainerJSONBase == nil || c.Config == nil || c.Config.Labels[labelLease] != project {
		return "", nil, fmt.Errorf("container %s has the name of the lease but not its label %s=%s: it is not roll's; remove or rename it", name, labelLease, project)
	}
	content, err = l.file(ctx, c.ID)
	if cerrdefs.IsNotFound(err) {
		// The Engine says the same of a missing container and of a missing file.
		if err := l.there(ctx, c.ID); err != nil {
			return "", nil, err
		}
		return c.ID, []byte(c.Config.Labels[labelClaim]), nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("read %s in container %s: %w", leaseFile, name, err)
	}
	return c.ID, content, nil
}

// file reads what the lease says now; something else than a file says nothing.
func (l *Leases) file(ctx context.Context, id string) ([]byte, error) {
	l.calls.Add(1)
	stream, _, err := l.api.CopyFromContainer(ctx, id, leaseFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	archive := tar.NewReader(stream)
	header, err := archive.Next()
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if header.Typeflag != tar.TypeReg {
		return nil, nil
	}
	content, err := io.ReadAll(io.LimitReader(archive, leaseMost))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return content, nil
}

// there is ErrGone when a container is not.
func (l *Leases) there(ctx context.Context, id string) error {
	l.calls.Add(1)
	_, err := l.api.ContainerInspect(ctx, id)
	if cerrdefs.IsNotFound(err) {
		return fmt.Errorf("inspect container %s: %w", short(id), ErrGone)
	}
	if err != nil {
		return fmt.Errorf("inspect container %s: %w", short(id), err)
	}
	return nil
}

// Write replaces what a lease says. It is ErrGone when that lease is not there.
func (l *Leases) Write(ctx context.Context, id string, content []byte) error {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	header := tar.Header{Typeflag: tar.TypeReg, Name: path.Base(leaseFile), Mode: 0o644, Size: int64(len(content)), ModTime: time.Now()}
	if err := w.WriteHeader(&header); err != nil {
		return fmt.Errorf("pack %s: %w", leaseFile, err)
	}
	if _, err := w.Write(content); err != nil {
		return fmt.Errorf("pack %s: %w", leaseFile, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("pack %s: %w", leaseFile, err)
	}
	l.calls.Add(1)
	err := l.api.CopyToContainer(ctx, id, path.Dir(leaseFile), &archive, container.CopyToContainerOptions{})
	if cerrdefs.IsNotFound(err) {
		if err := l.there(ctx, id); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("write %s in container %s: %w", leaseFile, short(id), err)
	}
	return nil
}

// Release removes a lease. One that is gone is no error.
func (l *Leases) Release(ctx context.Context, id string) error {
	l.calls.Add(1)
	err := l.api.ContainerRemove(ctx, id, container.RemoveOptions{RemoveVolumes: true}) // those that the image declares
	if cerrdefs.IsConflict(err) && errors.Is(l.there(ctx, id), ErrGone) {               // somebody else was removing it
		return nil
	}
	if err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s: %w", short(id), err)
	}
	return nil
}
