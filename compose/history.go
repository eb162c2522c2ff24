package compose

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
)

// Record is one entry of a service's history, as the daemon keeps it.
type Record struct {
	ID      string // of the container that holds it
	Number  int
	Content []byte // nil: it was cut off while it was written
}

// History keeps records of services on one daemon, so that whoever rolls from
// wherever finds them. A record is a container that never runs: it is created
// from the image that the record is about, which `docker image prune` leaves
// alone for as long as a container refers to it, and it holds the record as a
// file. It carries none of Compose's labels. `docker container prune` removes
// it, as it removes every container that does not run.
type History struct{ api client.APIClient }

const (
	labelHistory  = "roll.history"        // project/service
	labelRecord   = "roll.history.number" // of the record
	recordFile    = "roll-history.json"
	recordMost    = 32 << 20
	recordNothing = "/roll-history-no-run" // the program of a container that never runs
)

// NewHistory keeps records on the daemon behind a client.
func NewHistory(api client.APIClient) *History { return &History{api} }

// Add writes a record about an image, which has to be there. A number that is
// taken is an error.
func (h *History) Add(ctx context.Context, project, service, imageID string, number int, content []byte) error {
	name := fmt.Sprintf("roll-history-%s-%s-%d", project, service, number)
	labels := map[string]string{labelHistory: project + "/" + service, labelRecord: strconv.Itoa(number)}
	image, err := h.api.ImageInspect(ctx, imageID)
	if cerrdefs.IsNotFound(err) {
		return fmt.Errorf("look up image %s: %w", digest(imageID), ErrNoImage)
	}
	if err != nil {
		return fmt.Errorf("look up image %s: %w", digest(imageID), err)
	}
	if image.Config != nil { // a built image may carry labels that make the container count as something
		for label := range image.Config.Labels {
			if strings.HasPrefix(label, "com.docker.compose.") || strings.HasPrefix(label, "traefik.") {
				labels[label] = ""
			}
		}
	}
	made, err := h.api.ContainerCreate(ctx,
		&container.Config{Image: imageID, Entrypoint: []string{recordNothing}, Labels: labels, Healthcheck: &container.HealthConfig{Test: []string{"NONE"}}},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, name)
	if err != nil {
		return fmt.Errorf("create container %s: %w", name, err)
	}
	archive, err := pack([]*file{{content: content, header: tar.Header{
		Typeflag: tar.TypeReg, Name: recordFile, Mode: 0o600, Size: int64(len(content)), ModTime: time.Now(),
	}}})
	if err == nil {
		err = h.api.CopyToContainer(ctx, made.ID, "/", bytes.NewReader(archive), container.CopyToContainerOptions{})
	}
	if err != nil {
		return fmt.Errorf("write %s in container %s: %w", recordFile, name, err)
	}
	return nil
}

// List returns the records of a service, the newest first.
func (h *History) List(ctx context.Context, project, service string) ([]Record, error) {
	found, err := h.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelHistory+"="+project+"/"+service))})
	if err != nil {
		return nil, fmt.Errorf("list containers with label %s=%s/%s: %w", labelHistory, project, service, err)
	}
	var records []Record
	for _, c := range found {
		r := Record{ID: c.ID}
		if r.Number, err = strconv.Atoi(c.Labels[labelRecord]); err != nil {
			continue // not ours
		}
		if r.Content, err = h.read(ctx, c.ID); err != nil {
			return nil, fmt.Errorf("read %s in container %s: %w", recordFile, short(c.ID), err)
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(b.Number, a.Number) })
	return records, nil
}

func (h *History) read(ctx context.Context, id string) ([]byte, error) {
	body, _, err := h.api.CopyFromContainer(ctx, id, "/"+recordFile)
	if cerrdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	archive := tar.NewReader(body)
	header, err := archive.Next()
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if header.Typeflag != tar.TypeReg || header.Size > recordMost {
		return nil, nil
	}
	content, err := io.ReadAll(archive)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return content, nil
}

// Drop removes a record; one that is gone is no error.
func (h *History) Drop(ctx context.Context, r Record) error {
	err := h.api.ContainerRemove(ctx, r.ID, container.RemoveOptions{RemoveVolumes: true})
	if err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s: %w", short(r.ID), err)
	}
	return nil
}

// anonymousVolume is how the Engine names a volume that nobody named.
var anonymousVolume = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Discard removes anonymous volumes. One that is gone, that a container refers
// to, whatever its state, or that somebody named is left alone.
func (h *History) Discard(ctx context.Context, volumes []string) error {
	for _, name := range volumes {
		if !anonymousVolume.MatchString(name) {
			continue
		}
		if err := h.api.VolumeRemove(ctx, name, false); err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
			return fmt.Errorf("remove volume %s: %w", short(name), err)
		}
	}
	return nil
}
