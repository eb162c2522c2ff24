//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/roll-deploy/roll/internal/lab"
)

// ownEngine names the folder of an engine that a test may restart. The test
// runs a second time for that, in processes, mounts and a network of its own,
// in which no other engine is disturbed; whatever is left there ends with it.
const ownEngine = "ROLL_E2E_OWN_ENGINE"

// onAnOwnEngine runs the test again on an engine of its own, and fails it when
// that fails. It needs root.
func onAnOwnEngine(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "roll-engine-")
	must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the engine's folder: %v", err)
		}
	})
	images, err := os.Create(filepath.Join(dir, "images.tar"))
	must(t, err)
	defer images.Close()
	saved, err := theLab.Docker.ImageSave(t.Context(), []string{lab.TraefikImage, lab.ReplicaImage + ":v1", lab.ReplicaImage + ":v2"})
	must(t, err)
	defer saved.Close()
	_, err = images.ReadFrom(saved)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=15m")
	cmd.Env = append(theLab.Env(), ownEngine+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL,
	}
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	must(t, cmd.Run())
}

// daemon is the engine of the second run.
type daemon struct {
	dir string
	cmd *exec.Cmd
}

// startDaemon starts the engine and waits until it answers. Its first start
// loads the images.
func startDaemon(ctx context.Context, dir string, args ...string) (*daemon, error) {
	d := &daemon{dir: dir}
	for _, setup := range [][]string{
		{"mount", "-t", "proc", "proc", "/proc"}, {"ip", "link", "set", "lo", "up"}, {"mkdir", "-p", "/run/docker"}, {"mount", "-t", "tmpfs", "tmpfs", "/run/docker"},
	} {
		if out, err := exec.CommandContext(ctx, setup[0], setup[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w: %s", setup, err, out)
		}
	}
	// In a folder of its own, so that Traefik sees the socket of each start.
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o755); err != nil {
		return nil, err
	}
	if err := d.start(ctx, args...); err != nil {
		return nil, err
	}
	images, err := os.Open(filepath.Join(dir, "images.tar"))
	if err != nil {
		return nil, err
	}
	defer images.Close()
	docker, err := client.NewClientWithOpts(client.WithHost(d.host()), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, err
	}
	defer docker.Close()
	loaded, err := docker.ImageLoad(ctx, images)
	if err != nil {
		return nil, fmt.Errorf("load the images: %w", err)
	}
	defer loaded.Body.Close()
	if _, err := io.Copy(io.Discard, loaded.Body); err != nil { // its end is the end of loading
		return nil, fmt.Errorf("load the images: %w", err)
	}
	return d, nil
}

func (d *daemon) host() string { return "unix://" + filepath.Join(d.dir, "run", "docker.sock") }

func (d *daemon) start(ctx context.Context, args ...string) error {
	log, err := os.OpenFile(filepath.Join(d.dir, "dockerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	program := "dockerd"
	if _, err := exec.LookPath(program); err != nil {
		program = "/usr/sbin/dockerd"
	}
	at := func(name string) string { return filepath.Join(d.dir, name) }
	// Not CommandContext: it is stopped by stop, or ends with its namespace.
	d.cmd = exec.Command(program, append([]string{"--data-root", at("data"), "--exec-root", at("exec"), "--pidfile", at("docker.pid"), "-H", d.host()}, args...)...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		return err
	}
	docker, err := client.NewClientWithOpts(client.WithHost(d.host()), client.WithAPIVersionNegotiation())
	if err != nil {
		return err
	}
	defer docker.Close()
	return d.wait(ctx, "the engine to answer", func(ctx context.Context) error {
		_, err := docker.Ping(ctx)
		return err
	})
}

func (d *daemon) wait(ctx context.Context, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			text, _ := os.ReadFile(filepath.Join(d.dir, "dockerd.log"))
			return fmt.Errorf("waited a minute for %s; last seen: %w\n%s", what, err, text[max(0, len(text)-3000):])
		}
	}
}

// restart stops the engine as its service would, and starts it anew.
func (d *daemon) restart(ctx context.Context, args ...string) error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := d.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return d.start(ctx, args...)
}

// restartable is the app beside a Traefik of its own, all of which comes back
// when the engine does.
var restartable = strings.NewReplacer("    stop_grace_period", "    restart: always\n    stop_grace_period").Replace(app) + `
  traefik:
    image: ` + lab.TraefikImage + `
    restart: always
    command: ["--providers.docker.endpoint=unix:///engine/docker.sock", --providers.docker.exposedbydefault=false, --entrypoints.web.address=:80, --api.insecure=true, --global.checknewversion=false, --global.sendanonymoususage=false]
    ports: ["127.0.0.1:8000:80", "127.0.0.1:8080:8080"]
    volumes: ["${RUN}:/engine"]
`

func TestAnEngineThatIsRestartedInTheMiddleOfARollCostsNothingButTheRestart(t *testing.T) {
	if theDaemon == nil {
		onAnOwnEngine(t)
		return
	}
	for _, test := range []struct {
		name   string
		args   []string
		frozen bool // Docker probes nothing any more that ran when it was restarted, as Engine 20.10
	}{
		{"without live-restore", nil, false},
		{"with live-restore", []string{"--live-restore"}, strings.HasPrefix(theLab.Engine.Version, "20.10.")},
	} {
		t.Run(test.name, func(t *testing.T) {
			must(t, theDaemon.restart(t.Context(), test.args...))
			p := theLab.Project(t, lab.Source{Compose: restartable, NoTraefik: true, Env: []string{"REPLICAS=2", "RUN=" + filepath.Dir(theLab.Engine.Socket())}})
			must(t, p.Up(t.Context()))
			must(t, p.WaitServers(t.Context(), "web", 2))
			p.Setenv("VERSION", "v2")
			var once sync.Once
			o := follow(t, command(t.Context(), p, "up", "web", "--progress", "json"), func(at line) {
				if at.Type == "phase" && at.Phase == "sinking" {
					once.Do(func() { must(t, theDaemon.restart(t.Context(), test.args...)) })
				}
			})
			if !slices.Contains([]int{0, 1, 3, 4}, o.code) {
				t.Errorf("%s", o)
			}
			must(t, routedAgain(t, p))
			l := loadOf(t, p.URL, 12)
			again := exits(t, command(t.Context(), p, "up", "web", "--progress", "json", "--wait-lock", "1m"))
			l.lost(t)
			t.Logf("exit codes %d and %d", o.code, again.code)
			switch {
			case !test.frozen:
				if again.code != 0 {
					t.Errorf("the first: %s\nagain: %s", o, again)
				}
				serves(t, p, 2, "v2")
			case again.code != 0 && !slices.Contains([]int{3, 4}, again.code):
				t.Errorf("the first: %s\nagain: %s", o, again)
			case again.code != 0 && !strings.Contains(o.stdout+again.stdout, "Docker runs its healthcheck no more"):
				t.Errorf("neither says why: %s\nagain: %s", o, again)
			}
			isUnlocked(t, p)
		})
	}
}
