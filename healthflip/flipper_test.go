package healthflip

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

func TestFlipRunsTheLabelsCommandAndUnflipItsOpposite(t *testing.T) {
	for _, test := range []struct {
		name   string
		labels map[string]string
		path   string
		want   string
	}{
		{"exec", map[string]string{"roll.flip.exec": "touch '/tmp/a b'", "roll.unflip.exec": `["rm", "/tmp/a b"]`}, "/app", "touch|/tmp/a b, rm|/tmp/a b"},
		{"roll-init as the entrypoint", nil, "/sbin/roll-init", "/sbin/roll-init|flip, /sbin/roll-init|unflip"},
		{"roll-init somewhere", map[string]string{"roll.flip": "init"}, "/entrypoint.sh", "/roll-init|flip, /roll-init|unflip"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var ran []string
			f := New(&fakeDocker{t: t, inspect: running(test.labels, func(c *container.InspectResponse) { c.Path = test.path }),
				run: func(options container.ExecOptions) (int, string, string) {
					if options.User != "" {
						t.Errorf("not as the container's own user but as %s", options.User)
					}
					ran = append(ran, strings.Join(options.Cmd, "|"))
					return 0, "done", ""
				}})
			checkError(t, f.Flip(t.Context(), "id"), "")
			checkError(t, f.Unflip(t.Context(), "id"), "")
			if got := strings.Join(ran, ", "); got != test.want {
				t.Errorf("ran %s, want %s", got, test.want)
			}
			if f.Calls() != 8 {
				t.Errorf("%d calls, want 2 times inspect, create, attach, ask", f.Calls())
			}
		})
	}
}

func TestACommandThatFailsShowsItsExitCodeAndLastLines(t *testing.T) {
	for _, test := range []struct {
		name           string
		code           int
		stdout, stderr string
		attach         error
		want           string
	}{
		{name: "stderr", code: 3, stdout: "out", stderr: "1\n2\n3\n4\n", want: "run touch /tmp/drain in the replica: exit code 3: 2 3 4"},
		{name: "stdout when stderr is empty", code: 1, stdout: "out", want: "run touch /tmp/drain in the replica: exit code 1: out"},
		{name: "silence", code: 1, want: "run touch /tmp/drain in the replica: exit code 1"},
		{name: "not found, told in the stream", code: 127, stdout: "exec: \"touch\": executable file not found in $PATH",
			want: `run touch /tmp/drain in the replica: exit code 127 (not in the image): exec: "touch": executable file not found in $PATH`},
		{name: "not found, told at the start", code: 127, attach: errors.New("executable file not found"),
			want: `run touch /tmp/drain in the replica: exit code 127 (not in the image): executable file not found`},
		{name: "not executable", code: 126, stderr: "permission denied",
			want: "run touch /tmp/drain in the replica: exit code 126 (not in the image, or not executable): permission denied"},
		{name: "an Engine that fails", attach: errors.New("connection reset"), want: "run touch /tmp/drain in the replica: connection reset"},
		{name: "a container that is gone", code: -1, want: "run touch /tmp/drain in the replica: the container is gone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			docker := &fakeDocker{t: t, inspect: running(map[string]string{"roll.flip.exec": "touch /tmp/drain", "roll.unflip.exec": "rm /tmp/drain"}),
				run: func(container.ExecOptions) (int, string, string) { return test.code, test.stdout, test.stderr }}
			if test.attach != nil {
				docker.attach = func() error { return test.attach }
			}
			err := New(docker).Flip(t.Context(), "id")
			checkError(t, err, test.want)
			if errors.Is(err, ErrGone) != (test.code == -1) {
				t.Errorf("ErrGone: %v", errors.Is(err, ErrGone))
			}
		})
	}
}

func TestACommandThatNeverEndsIsGivenUp(t *testing.T) {
	labels := map[string]string{"roll.flip.exec": "cat", "roll.unflip.exec": "true"}
	for _, printed := range []string{"waiting for input", ""} {
		stop := errors.New("the roll was interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		docker := &fakeDocker{t: t, hang: func() { cancel(stop) }, inspect: running(labels),
			run: func(container.ExecOptions) (int, string, string) { return 0, printed, "" }}
		err := New(docker).Flip(ctx, "id")
		if printed == "" {
			printed = "it printed nothing"
		}
		if !errors.Is(err, stop) || !strings.HasPrefix(err.Error(), "run cat in the replica: not finished after ") ||
			!strings.HasSuffix(err.Error(), ": "+printed+": the roll was interrupted") {
			t.Errorf("got %v", err)
		}
	}
}

func TestACommandHasALimitOfItsOwn(t *testing.T) {
	docker := &fakeDocker{t: t, hang: func() {}, inspect: running(map[string]string{"roll.flip": "init"}),
		run: func(container.ExecOptions) (int, string, string) { return 0, "", "" }}
	err := New(docker, Timeout(time.Millisecond)).Flip(t.Context(), "id")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "run /roll-init flip in the replica: not finished after ") {
		t.Errorf("got %v", err)
	}
}

func TestSignalsAreSentByNumber(t *testing.T) {
	var sent []string
	docker := &fakeDocker{t: t, inspect: running(map[string]string{"roll.flip.signal": "RTMIN+2", "roll.unflip.signal": "winch"}),
		kill: func(signal string) error { sent = append(sent, signal); return nil }}
	f := New(docker)
	checkError(t, f.Flip(t.Context(), "id"), "")
	checkError(t, f.Unflip(t.Context(), "id"), "")
	if got := strings.Join(sent, " "); got != "36 28" {
		t.Errorf("sent %s", got)
	}
	docker.kill = func(string) error { return cerrdefs.ErrNotFound }
	err := f.Flip(t.Context(), "id")
	checkError(t, err, "send SIGRTMIN+2 to the replica: the container is gone")
	if !errors.Is(err, ErrGone) {
		t.Error("not ErrGone")
	}
}

func TestFlipLooksAtTheReplicaFirst(t *testing.T) {
	touch := map[string]string{"roll.flip.exec": "touch /tmp/drain", "roll.unflip.exec": "rm /tmp/drain"}
	state := func(s container.State) func(*container.InspectResponse) {
		return func(c *container.InspectResponse) { c.State = &s }
	}
	for _, test := range []struct {
		name    string
		inspect func() (container.InspectResponse, error)
		want    string
		gone    bool
	}{
		{name: "gone", inspect: func() (container.InspectResponse, error) { return container.InspectResponse{}, cerrdefs.ErrNotFound },
			want: "inspect the replica: the container is gone", gone: true},
		{name: "the Engine fails", inspect: func() (container.InspectResponse, error) { return container.InspectResponse{}, errors.New("no route") },
			want: "inspect the replica: no route"},
		{name: "an empty answer", inspect: func() (container.InspectResponse, error) { return container.InspectResponse{}, nil },
			want: "inspect the replica: the Engine's answer is empty"},
		{name: "exited", inspect: running(touch, state(container.State{Status: container.StateExited, ExitCode: 137})),
			want: "the replica is exited (exit code 137), not running"},
		{name: "paused", inspect: running(touch, state(container.State{Running: true, Paused: true, Status: container.StatePaused})),
			want: "the replica is paused and can be told nothing: unpause it first"},
		{name: "restarting", inspect: running(touch, state(container.State{Running: true, Restarting: true, ExitCode: 1})),
			want: "the replica is restarting (last exit code 1), not running"},
		{name: "no state", inspect: running(touch, func(c *container.InspectResponse) { c.State = nil }),
			want: "inspect the replica: the Engine told no state"},
		{name: "no way", inspect: running(nil),
			want: "label roll.flip: no label says how to tell the replica; instead: one of roll.flip.http, roll.flip.exec, roll.flip.file, roll.flip.signal, or roll.flip: none to accept lost requests"},
		{name: "bad labels", inspect: running(map[string]string{"roll.flip.file": "drain"}),
			want: `label roll.flip.file: "drain": the path is relative, and the Engine has no working directory; instead: roll.flip.file: /drain`},
		{name: "none, even when it has ended", inspect: running(map[string]string{"roll.flip": "none"}, state(container.State{Status: container.StateExited}))},
	} {
		t.Run(test.name, func(t *testing.T) {
			docker := &fakeDocker{t: t, inspect: test.inspect}
			f := New(docker)
			for _, err := range []error{f.Flip(t.Context(), "id"), f.Unflip(t.Context(), "id")} {
				checkError(t, err, test.want)
				if errors.Is(err, ErrGone) != test.gone {
					t.Errorf("ErrGone: %v", errors.Is(err, ErrGone))
				}
			}
			if docker.requests() != "inspect inspect" {
				t.Errorf("requests: %s", docker.requests())
			}
		})
	}
}
