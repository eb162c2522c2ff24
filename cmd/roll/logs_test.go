package main

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// logged is a replica that goes on writing after it was asked to leave.
type logged struct {
	deploy.Engine
	stream *io.PipeReader
	asked  container.LogsOptions

	mu    sync.Mutex
	shown []string

	atRemoval []string // what was shown by then
}

func (l *logged) Inspect(context.Context, string) (compose.Replica, error) {
	return compose.Replica{Name: "web-1"}, nil
}

func (l *logged) Remove(context.Context, string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.atRemoval = slices.Clone(l.shown)
	return nil
}

func (l *logged) ContainerInspect(context.Context, string) (container.InspectResponse, error) {
	return container.InspectResponse{Config: &container.Config{}}, nil
}

func (l *logged) ContainerLogs(_ context.Context, _ string, asked container.LogsOptions) (io.ReadCloser, error) {
	l.asked = asked
	return l.stream, nil
}

func (l *logged) tell(e deploy.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown = append(l.shown, string(e.Kind)+" "+e.Replica+" "+e.Detail)
}

func TestNothingIsRemovedBeforeItsLogHasEnded(t *testing.T) {
	for name, c := range map[string]struct {
		role deploy.Role
		tail string
	}{
		"an old replica is shown from its turn on": {deploy.OldReplica, "0"},
		"a new replica is shown from its start on": {deploy.NewReplica, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, w := io.Pipe()
			l := &logged{stream: r}
			f := newFollower(t.Context(), l, l, l.tell)
			defer f.close()
			e := deploy.Event{Kind: deploy.KindPhase, Phase: deploy.Stopping, Role: c.role, Replica: "web-1"}
			f.note(e)
			f.note(e) // follows it once
			go func() {
				out, err := stdcopy.NewStdWriter(w, stdcopy.Stdout), stdcopy.NewStdWriter(w, stdcopy.Stderr)
				_, _ = io.WriteString(out, "got SIGTERM\n")
				_, _ = io.WriteString(err, "closed nicely")
				_ = w.Close()
			}()
			if err := f.Remove(t.Context(), "1"); err != nil {
				t.Fatal(err)
			}
			want := []string{"output web-1 got SIGTERM", "output web-1 closed nicely"}
			if !slices.Equal(l.atRemoval, want) {
				t.Errorf("shown before the removal: %q, want %q", l.atRemoval, want)
			}
			if l.asked.Tail != c.tail || !l.asked.Follow {
				t.Errorf("asked for %+v, want to follow with tail %q", l.asked, c.tail)
			}
		})
	}
}
