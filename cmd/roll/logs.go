package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/roll-deploy/roll/deploy"
)

// logReader is what --logs needs of the Engine API.
type logReader interface {
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	ContainerLogs(ctx context.Context, id string, options container.LogsOptions) (io.ReadCloser, error)
}

// follower is an Engine that tells what replicas write which start or leave: new
// ones from their first line on, old ones from when their turn comes, to the last
// line after the stop signal. So it lets nothing be removed before its log has
// been read to the end.
type follower struct {
	deploy.Engine
	api    logReader
	tell   func(deploy.Event)
	ctx    context.Context // of the streams, until close
	cancel context.CancelFunc

	mu      sync.Mutex
	ended   map[string]chan struct{} // by container name: closed when its log has ended
	reading sync.WaitGroup
}

// lastLines is how long the end of the log of a container that has exited may
// hold up its removal.
const lastLines = 5 * time.Second

func newFollower(ctx context.Context, under deploy.Engine, api logReader, tell func(deploy.Event)) *follower {
	f := &follower{Engine: under, api: api, tell: tell, ended: map[string]chan struct{}{}}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// note follows a replica from its first event on.
func (f *follower) note(e deploy.Event) {
	if e.Kind != deploy.KindPhase || e.Replica == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.ended[e.Replica]; known {
		return
	}
	ended := make(chan struct{})
	f.ended[e.Replica] = ended
	f.reading.Go(func() {
		defer close(ended)
		err := f.follow(e)
		if err != nil && f.ctx.Err() == nil {
			e.Kind, e.Time, e.Detail = deploy.KindWarning, time.Now(), "its log cannot be followed: "+err.Error()
			f.tell(e)
		}
	})
}

// follow tells every line that a replica writes until it has exited.
func (f *follower) follow(e deploy.Event) error {
	found, err := f.api.ContainerInspect(f.ctx, e.Replica)
	if err != nil {
		return err
	}
	options := container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true}
	if e.Role == deploy.OldReplica {
		options.Tail = "0"
	}
	stream, err := f.api.ContainerLogs(f.ctx, e.Replica, options)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	r, w := io.Pipe()
	defer r.Close()
	f.reading.Go(func() {
		var err error
		if found.Config != nil && found.Config.Tty { // a terminal has one stream, not multiplexed
			_, err = io.Copy(w, stream)
		} else {
			_, err = stdcopy.StdCopy(w, w, stream)
		}
		w.CloseWithError(err)
	})
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			said := e
			said.Kind, said.Time, said.Phase, said.Budget, said.Detail = deploy.KindOutput, time.Now(), deploy.Planned, 0, line
			f.tell(said)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Remove removes a container once its log has ended.
func (f *follower) Remove(ctx context.Context, id string) error {
	if r, err := f.Engine.Inspect(ctx, id); err == nil {
		f.mu.Lock()
		ended := f.ended[r.Name]
		f.mu.Unlock()
		if ended != nil {
			late := time.NewTimer(lastLines)
			defer late.Stop()
			select {
			case <-ended:
			case <-ctx.Done():
			case <-late.C:
				f.tell(deploy.Event{Time: time.Now(), Kind: deploy.KindWarning, Replica: r.Name, Detail: fmt.Sprintf("its log did not end within %s of its exit: the last lines may be missing", lastLines)})
			}
		}
	}
	return f.Engine.Remove(ctx, id)
}

// close ends what still goes on: replicas that are in service go on writing.
func (f *follower) close() {
	f.cancel()
	f.reading.Wait()
}
