//go:build e2e

package healthflip_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"

	"github.com/roll-deploy/roll/healthflip"
)

// lab is one Engine and the images of this test run.
type lab struct {
	engine *client.Client
	images map[string]string // name -> tag
}

// images and the programs of this machine that each holds beside the app.
var imageTools = map[string][]string{
	"scratch": nil,
	"curl":    {"curl"},
	"wget":    {"wget"},
	"shell":   {"sh", "rm", "touch"},
}

func newLab(t *testing.T) lab {
	t.Helper()
	engine, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	if _, err := engine.Ping(t.Context()); err != nil {
		t.Fatalf("this test needs an Engine: %v", err)
	}
	app := filepath.Join(t.TempDir(), "app")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", app, "./testdata/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the app: %v\n%s", err, output)
	}
	l := lab{engine: engine, images: map[string]string{}}
	for name, tools := range imageTools {
		tag := fmt.Sprintf("roll-healthflip-%d-%d:%s", os.Getpid(), time.Now().UnixNano(), name)
		answer, err := engine.ImageImport(t.Context(), image.ImportSource{Source: rootfs(t, app, tools), SourceName: "-"}, tag, image.ImportOptions{})
		if err != nil {
			t.Fatalf("import %s: %v", tag, err)
		}
		t.Cleanup(func() {
			if _, err := engine.ImageRemove(context.WithoutCancel(t.Context()), tag, image.RemoveOptions{Force: true}); err != nil {
				t.Errorf("remove image %s: %v", tag, err)
			}
		})
		text, err := io.ReadAll(answer)
		answer.Close()
		if err != nil || strings.Contains(string(text), `"error"`) {
			t.Fatalf("import %s: %v %s", tag, err, text)
		}
		l.images[name] = tag
	}
	return l
}

// rootfs packs the app as /app and /roll-init, an empty /tmp, and tools of
// this machine with the libraries that they load.
func rootfs(t *testing.T, app string, tools []string) io.Reader {
	t.Helper()
	files := map[string]string{"app": app, "roll-init": app}
	for _, tool := range tools {
		program, err := exec.LookPath(tool)
		if err != nil {
			t.Fatalf("the test's image needs a program of this machine: %v", err)
		}
		files["bin/"+tool] = program
		libraries, err := exec.CommandContext(t.Context(), "ldd", program).Output()
		if err != nil {
			t.Fatalf("list the libraries of %s: %v", program, err)
		}
		for _, library := range regexp.MustCompile(`/\S+`).FindAllString(string(libraries), -1) {
			files[library[1:]] = library
		}
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}))
	for name, source := range files {
		content, err := os.ReadFile(source)
		must(err)
		must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(content))}))
		_, err = w.Write(content)
		must(err)
	}
	must(w.Close())
	return &archive
}

// spec is one replica of a test.
type spec struct {
	image      string // a key of imageTools
	entrypoint []string
	probe      []string // the healthcheck
	labels     map[string]string
	tmpfs      string
	readOnly   bool
	user       string
}

func (l lab) start(t *testing.T, s spec) string {
	t.Helper()
	if s.entrypoint == nil {
		s.entrypoint = []string{"/app", "serve"}
	}
	if s.probe == nil {
		s.probe = []string{"CMD", "/app", "check-http"}
	}
	config := &container.Config{
		Image: l.images[s.image], Entrypoint: s.entrypoint, Labels: s.labels, User: s.user,
		ExposedPorts: nat.PortSet{"3000/tcp": {}},
		Healthcheck:  &container.HealthConfig{Test: s.probe, Interval: time.Second, Timeout: 5 * time.Second, Retries: 2},
	}
	host := &container.HostConfig{ReadonlyRootfs: s.readOnly}
	if s.tmpfs != "" {
		host.Tmpfs = map[string]string{s.tmpfs: ""}
	}
	created, err := l.engine.ContainerCreate(t.Context(), config, host, nil, nil, "")
	if err != nil {
		t.Fatalf("create a replica: %v", err)
	}
	t.Cleanup(func() {
		err := l.engine.ContainerRemove(context.WithoutCancel(t.Context()), created.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !cerrdefs.IsNotFound(err) {
			t.Errorf("remove the replica: %v", err)
		}
	})
	if err := l.engine.ContainerStart(t.Context(), created.ID, container.StartOptions{}); err != nil {
		t.Fatalf("start the replica: %v", err)
	}
	return created.ID
}

// await polls the replica's health until it is as wanted.
func (l lab) await(t *testing.T, id, wanted string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		found, err := l.engine.ContainerInspect(ctx, id)
		if err != nil {
			t.Fatalf("wait for %s: %v", wanted, err)
		}
		health := found.State.Health
		if health != nil && health.Status == wanted {
			if failing := health.FailingStreak >= 1; failing != (wanted == container.Unhealthy) {
				t.Fatalf("%s with a failing streak of %d", wanted, health.FailingStreak)
			}
			if !found.State.Running {
				t.Fatalf("%s, but not running", wanted)
			}
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited a minute for %s; last seen: %+v", wanted, health)
		}
	}
}

func TestEveryWayTurnsARealReplicaUnhealthyAndBack(t *testing.T) {
	l := newLab(t)
	routes := map[string]string{"roll.flip.http": "/sethealth/ko", "roll.unflip.http": "/sethealth/ok"}
	marker := map[string]string{"roll.flip.file": "/tmp/drain"}
	checkFile := []string{"CMD", "/app", "check-file", "/tmp/drain"}
	for _, test := range []struct {
		name    string
		spec    spec
		options []healthflip.Option
		way     string
		left    string // what the marker's path is after unflip: "", "nothing" or "link"
	}{
		{name: "http over its network", spec: spec{image: "scratch", labels: routes}, way: "http GET /sethealth/ko on the exposed port"},
		{name: "http POST over its network", spec: spec{image: "scratch", labels: with(routes, "roll.flip.method", "post")}, way: "http POST /sethealth/ko on the exposed port"},
		{name: "http inside it with curl", spec: spec{image: "curl", labels: routes},
			options: []healthflip.Option{healthflip.Network(false)}, way: "http GET /sethealth/ko on the exposed port"},
		{name: "http POST inside it with curl", spec: spec{image: "curl", labels: with(routes, "roll.flip.method", "POST")},
			options: []healthflip.Option{healthflip.Network(false)}, way: "http POST /sethealth/ko on the exposed port"},
		{name: "http inside it with wget", spec: spec{image: "wget", labels: with(routes, "roll.flip.port", "3000")},
			options: []healthflip.Option{healthflip.Network(false)}, way: "http GET /sethealth/ko on port 3000"},
		{name: "exec on a scratch image", spec: spec{image: "scratch", probe: checkFile, labels: map[string]string{
			"roll.flip.exec": "/app touch /tmp/drain", "roll.unflip.exec": `["/app", "remove", "/tmp/drain"]`}}, way: "exec /app touch /tmp/drain", left: "nothing"},
		{name: "exec with a shell, below a tmpfs and on a read-only root", spec: spec{image: "shell", tmpfs: "/tmp", readOnly: true, probe: checkFile, labels: map[string]string{
			"roll.flip.exec": `sh -c 'touch "/tmp/drain"'`, "roll.unflip.exec": "rm /tmp/drain"}}, way: `exec sh -c 'touch "/tmp/drain"'`},
		{name: "file on a scratch image", spec: spec{image: "scratch", probe: checkFile, labels: marker}, way: "file /tmp/drain", left: "link"},
		{name: "file with rm and a shell probe, as a user who may not remove it", spec: spec{image: "shell", user: "65534:65534",
			probe: []string{"CMD-SHELL", "test ! -e /tmp/drain"}, labels: marker}, way: "file /tmp/drain", left: "nothing"},
		{name: "signal", spec: spec{image: "scratch", labels: map[string]string{"roll.flip.signal": "USR1", "roll.unflip.signal": "12"}}, way: "signal SIGUSR1"},
		{name: "roll-init found without a label", spec: spec{image: "scratch", entrypoint: []string{"/roll-init", "serve"}}, way: "init"},
		{name: "roll-init by its label", spec: spec{image: "scratch", labels: map[string]string{"roll.flip": "init"}}, way: "init"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			id := l.start(t, test.spec)
			f := healthflip.New(l.engine, test.options...)
			entrypoint := test.spec.entrypoint
			if way, err := f.Way(test.spec.labels, entrypoint); err != nil || way != test.way {
				t.Fatalf("way %q, %v; want %q", way, err, test.way)
			}
			l.await(t, id, container.Healthy)
			for range 2 {
				if err := f.Flip(t.Context(), id); err != nil {
					t.Fatalf("flip: %v", err)
				}
				l.await(t, id, container.Unhealthy)
				if err := f.Unflip(t.Context(), id); err != nil {
					t.Fatalf("unflip: %v", err)
				}
				l.await(t, id, container.Healthy)
			}
			if left := l.left(t, id); test.left != "" && left != test.left {
				t.Errorf("after unflip the marker's path is %s, want %s", left, test.left)
			}
		})
	}
}

// left says what the marker's path holds.
func (l lab) left(t *testing.T, id string) string {
	t.Helper()
	stat, err := l.engine.ContainerStatPath(t.Context(), id, "/tmp/drain")
	switch {
	case cerrdefs.IsNotFound(err):
		return "nothing"
	case err != nil:
		t.Fatal(err)
	case stat.Mode&fs.ModeSymlink != 0:
		return "link"
	}
	return "a file"
}

func TestNoneLeavesARealReplicaAlone(t *testing.T) {
	l := newLab(t)
	id := l.start(t, spec{image: "scratch", labels: map[string]string{"roll.flip": "none"}})
	l.await(t, id, container.Healthy)
	f := healthflip.New(l.engine)
	if err := errors.Join(f.Flip(t.Context(), id), f.Unflip(t.Context(), id)); err != nil {
		t.Fatal(err)
	}
	if calls := f.Calls(); calls != 2 {
		t.Errorf("%d calls, want the two inspects", calls)
	}
	l.await(t, id, container.Healthy)
}

func TestARealReplicaThatCannotBeFlippedSaysWhy(t *testing.T) {
	l := newLab(t)
	engine := "calls over the network are switched off"
	for _, test := range []struct {
		name    string
		spec    spec
		options []healthflip.Option
		before  func(t *testing.T, id string)
		want    string // a regular expression for the whole text
	}{
		{name: "the marker lies below a tmpfs", spec: spec{image: "scratch", tmpfs: "/tmp", labels: map[string]string{"roll.flip.file": "/tmp/drain"}},
			want: `label roll.flip.file: "/tmp/drain": the Engine cannot write below the tmpfs at /tmp where the replica would see it; instead: roll.flip.exec: touch /tmp/drain and roll.unflip.exec: rm -f /tmp/drain`},
		{name: "the root is read-only", spec: spec{image: "scratch", readOnly: true, labels: map[string]string{"roll.flip.file": "/tmp/drain"}},
			want: `label roll.flip.file: "/tmp/drain": the root file system is read-only, so no file can be written to it; instead: roll.flip.http or roll.flip.signal, or remove read_only`},
		{name: "the marker's directory does not exist", spec: spec{image: "scratch", labels: map[string]string{"roll.flip.file": "/var/lib/app/drain"}},
			want: `label roll.flip.file: "/var/lib/app/drain": the replica has no directory /var/lib/app; instead: create it in the image, or name a path in a directory that exists`},
		{name: "the program is not in the image", spec: spec{image: "scratch", labels: map[string]string{"roll.flip.exec": "touch /tmp/drain", "roll.unflip.exec": "rm /tmp/drain"}},
			want: `run touch /tmp/drain in the replica: exit code 12[67] \(not in the image.*\): .*executable file not found.*`},
		{name: "the program fails", spec: spec{image: "scratch", labels: map[string]string{"roll.flip.exec": "/app touch /no/drain", "roll.unflip.exec": "rm /no/drain"}},
			want: `run /app touch /no/drain in the replica: exit code 1: open /no/drain: no such file or directory`},
		{name: "the route answers 403", spec: spec{image: "scratch", labels: map[string]string{"roll.flip.http": "/locked", "roll.unflip.http": "/sethealth/ok"}},
			want: `GET http://[0-9.]+:3000/locked: status 403 Forbidden: health is locked`},
		{name: "the route answers 403 to curl", spec: spec{image: "curl", labels: map[string]string{"roll.flip.http": "/locked", "roll.unflip.http": "/sethealth/ok"}},
			options: []healthflip.Option{healthflip.Network(false)},
			want:    `GET http://127.0.0.1:3000/locked inside the replica: status 403 Forbidden: health is locked`},
		{name: "the route answers 403 to wget", spec: spec{image: "wget", labels: map[string]string{"roll.flip.http": "/locked", "roll.unflip.http": "/sethealth/ok"}},
			options: []healthflip.Option{healthflip.Network(false)},
			want:    `GET http://127.0.0.1:3000/locked inside the replica: status 403 Forbidden`},
		{name: "nothing listens on the port", spec: spec{image: "wget", labels: map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": "/ok", "roll.flip.port": "3001"}},
			want: `GET /ko: nothing answers: from here: dial tcp [0-9.]+:3001: connect: connection refused; with wget inside the replica: http://127.0.0.1:3001/ko exit code 4: .*refused.*`},
		{name: "no tool in the image", spec: spec{image: "scratch", labels: map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": "/ok"}},
			options: []healthflip.Option{healthflip.Network(false)},
			want:    `GET /ko: the replica cannot be called from here \(` + engine + `\), and neither curl nor wget is in the image: make it listen on port 3000 of its network address, add curl or wget to the image, or use roll.flip.file or roll.flip.signal`},
		{name: "it has ended", spec: spec{image: "scratch", labels: map[string]string{"roll.flip": "init"}},
			before: func(t *testing.T, id string) {
				if err := l.engine.ContainerStop(t.Context(), id, container.StopOptions{}); err != nil {
					t.Fatal(err)
				}
			},
			want: `the replica is exited \(exit code 0\), not running`},
		{name: "it is paused", spec: spec{image: "scratch", labels: map[string]string{"roll.flip": "init"}},
			before: func(t *testing.T, id string) {
				if err := l.engine.ContainerPause(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			},
			want: `the replica is paused and can be told nothing: unpause it first`},
		{name: "it is gone", spec: spec{image: "scratch", labels: map[string]string{"roll.flip": "init"}},
			before: func(t *testing.T, id string) {
				if err := l.engine.ContainerRemove(t.Context(), id, container.RemoveOptions{Force: true}); err != nil {
					t.Fatal(err)
				}
			},
			want: `inspect the replica: the container is gone`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			id := l.start(t, test.spec)
			if test.before != nil {
				test.before(t, id)
			} else {
				l.await(t, id, container.Healthy)
			}
			err := healthflip.New(l.engine, test.options...).Flip(t.Context(), id)
			if err == nil || !regexp.MustCompile(`(?s)^`+test.want+`$`).MatchString(err.Error()) {
				t.Fatalf("got %v\nwant %s", err, test.want)
			}
			if gone := errors.Is(err, healthflip.ErrGone); gone != (test.name == "it is gone") {
				t.Errorf("ErrGone: %t", gone)
			}
		})
	}
}

// with returns labels and one more.
func with(labels map[string]string, name, value string) map[string]string {
	more := map[string]string{name: value}
	for name, value := range labels {
		more[name] = value
	}
	return more
}
