package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/internal/check"
	"github.com/roll-deploy/roll/internal/program"
)

// watchable is what a lookout reads of the Engine. It runs nothing in containers.
type watchable interface {
	ContainerTop(ctx context.Context, id string, arguments []string) (container.TopResponse, error)
	ContainerStatsOneShot(ctx context.Context, id string) (container.StatsResponseReader, error)
	CopyFromContainer(ctx context.Context, id, path string) (io.ReadCloser, container.PathStat, error)
}

// Limits of what is read of a container's files.
const (
	largestFile = 256 << 10
	mostFiles   = 64 // of a directory
	rounds      = 3  // of files that include others
)

// lookout gathers facts about replicas. It is safe for concurrent use.
type lookout struct {
	engine watchable
	blind  atomic.Bool // the host's ps does not know the columns

	mu    sync.Mutex
	why   string
	files map[string]map[string]string // by image and configuration: replicas of one kind have the same
}

func newLookout(engine watchable) *lookout {
	return &lookout{engine: engine, files: map[string]map[string]string{}}
}

// reason is why the masks could not be read.
func (l *lookout) reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// settling is how long a replica without a healthcheck counts as starting: its
// entrypoint script runs, and its program has no handlers yet.
const settling = 5 * time.Second

// asSeen is what the inspect of a replica tells.
func asSeen(r compose.Replica) check.Replica {
	seen := check.Replica{
		Service: r.Service, Name: r.Name, Signal: program.TERM, Grace: r.Grace(), Entrypoint: r.Entrypoint, Command: r.Command,
		Starting: r.Health == compose.Starting || r.Health == compose.NoHealth && time.Since(r.Started) < settling,
		Dir:      r.WorkingDir, Environ: r.Environ, Init: r.Init, Shared: r.PIDMode != "" && r.PIDMode != "private", PID: r.PID,
	}
	if s, ok := program.ParseSignal(r.StopSignal); ok {
		seen.Signal = s
	}
	return seen
}

// see looks at a running replica. The error of one that is no more is ErrGone.
func (l *lookout) see(ctx context.Context, r compose.Replica) (check.Replica, error) {
	seen := asSeen(r)
	var err error
	if seen.Processes, err = l.processes(ctx, r); err != nil {
		return seen, err
	}
	if !l.blind.Load() {
		if seen.Pids, err = l.count(ctx, r.ID); err != nil {
			return seen, err
		}
		// A process that came or went between the two questions is none that
		// died: only what is there twice is told.
		if check.Zombie(seen) {
			again, err := l.processes(ctx, r)
			if err != nil {
				return seen, err
			}
			seen.Processes = again
			pids, err := l.count(ctx, r.ID)
			if err != nil {
				return seen, err
			}
			seen.Pids = min(seen.Pids, pids)
		}
	}
	return seen, l.read(ctx, r, &seen)
}

// processes asks for the tree of processes with its masks, or without them
// where the host's ps does not know the columns.
func (l *lookout) processes(ctx context.Context, r compose.Replica) ([]check.Process, error) {
	if !l.blind.Load() {
		top, err := l.engine.ContainerTop(ctx, r.ID, strings.Fields(check.Columns))
		var list []check.Process
		if err == nil {
			list, err = check.ParseTop(top.Titles, top.Processes)
		}
		switch {
		case err == nil:
			return list, nil
		case vanished(err):
			return nil, compose.ErrGone
		case ctx.Err() != nil:
			return nil, fmt.Errorf("list the processes of %s: %w", r.Name, err)
		}
		l.mu.Lock()
		l.why = strings.TrimPrefix(err.Error(), "Error response from daemon: ")
		l.mu.Unlock()
	}
	top, err := l.engine.ContainerTop(ctx, r.ID, strings.Fields(check.Plain))
	if vanished(err) {
		return nil, compose.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("list the processes of %s: %w", r.Name, err)
	}
	l.blind.Store(true) // only the columns were the matter
	list, err := check.ParseTop(top.Titles, top.Processes)
	if err != nil {
		return nil, fmt.Errorf("list the processes of %s: %w", r.Name, err)
	}
	return list, nil
}

// vanished: the container is gone (404), or runs no more (409, and 500 on
// older Engines).
func vanished(err error) bool {
	return err != nil && (cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) || strings.Contains(err.Error(), "is not running"))
}

// count is how many processes and threads the kernel counts; 0: not told.
func (l *lookout) count(ctx context.Context, id string) (int, error) {
	reader, err := l.engine.ContainerStatsOneShot(ctx, id)
	if vanished(err) {
		return 0, compose.ErrGone
	}
	if err != nil {
		return 0, fmt.Errorf("read the counts of container %s: %w", id[:min(12, len(id))], err)
	}
	defer func() { _ = reader.Body.Close() }()
	var stats container.StatsResponse
	if err := json.NewDecoder(reader.Body).Decode(&stats); err != nil {
		return 0, fmt.Errorf("read the counts of container %s: %w", id[:min(12, len(id))], err)
	}
	return int(stats.PidsStats.Current), nil
}

// read fetches the files that would tell more. What cannot be read is as if it
// were not there.
func (l *lookout) read(ctx context.Context, r compose.Replica, seen *check.Replica) error {
	kind := r.ImageID + " " + r.ConfigHash
	seen.Files = map[string]string{}
	for range rounds {
		wanted := check.Wants(*seen)
		if len(wanted) == 0 {
			return nil
		}
		for _, name := range wanted {
			found, known := l.known(kind, name)
			if !known {
				var err error
				if found, err = l.fetch(ctx, r.ID, name); err != nil {
					return err
				}
				l.remember(kind, name, found)
			}
			seen.Files[name] = ""
			for file, content := range found {
				seen.Files[file] = content
			}
		}
	}
	return nil
}

func (l *lookout) known(kind, name string) (map[string]string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, ok := l.files[kind+" "+name]
	return found, ok
}

func (l *lookout) remember(kind, name string, found map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files[kind+" "+name] = found
}

// fetch reads a file, or the files of a directory, through the archive API.
func (l *lookout) fetch(ctx context.Context, id, name string) (map[string]string, error) {
	target := strings.TrimSuffix(name, "/")
	for range rounds { // links
		content, stat, err := l.engine.CopyFromContainer(ctx, id, target)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("read %s of container %s: %w", name, id[:min(12, len(id))], context.Cause(ctx))
		}
		if err != nil {
			return nil, nil
		}
		if stat.Mode&os.ModeSymlink != 0 && stat.LinkTarget != "" && stat.LinkTarget != target {
			_ = content.Close()
			target = stat.LinkTarget
			continue
		}
		defer func() { _ = content.Close() }()
		return unpack(content, name)
	}
	return nil, nil
}

// unpack reads the regular files of an archive, no more than is worth it.
func unpack(archive io.Reader, name string) (map[string]string, error) {
	found := map[string]string{}
	reader := tar.NewReader(archive)
	for len(found) < mostFiles {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return found, nil
		}
		if header.Typeflag != tar.TypeReg || header.Size > largestFile {
			continue
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return found, nil
		}
		file := name
		if strings.HasSuffix(name, "/") {
			_, below, _ := strings.Cut(header.Name, "/")
			file = path.Join(name, below)
		}
		found[file] = string(content)
		if !strings.HasSuffix(name, "/") {
			break
		}
	}
	return found, nil
}

// killEvents are the signals that the Engine sent to a project's containers
// within the last hour, as far as it remembers: 256 events of all kinds.
func killEvents(ctx context.Context, engine interface {
	Events(ctx context.Context, options events.ListOptions) (<-chan events.Message, <-chan error)
}, project string, now time.Time) ([]check.Kill, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, failed := engine.Events(ctx, events.ListOptions{
		Since: now.Add(-time.Hour).Format(time.RFC3339Nano), Until: now.Format(time.RFC3339Nano),
		Filters: filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)), filters.Arg("event", string(events.ActionKill)), filters.Arg("label", "com.docker.compose.project="+project)),
	})
	var kills []check.Kill
	for {
		select {
		case err := <-failed:
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("read the events of project %s: %w", project, err)
			}
			slices.SortStableFunc(kills, func(a, b check.Kill) int { return a.At.Compare(b.At) })
			return kills, nil
		case m := <-messages:
			of := m.Actor.Attributes
			if s, ok := program.ParseSignal(of["signal"]); ok {
				kills = append(kills, check.Kill{ID: m.Actor.ID, Name: of["name"], Service: of["com.docker.compose.service"], Signal: s, At: time.Unix(0, m.TimeNano)})
			}
		}
	}
}
