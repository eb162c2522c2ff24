package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
)

// Engine is the Docker Engine that the lab works with.
type Engine struct {
	// Host is the address of its API, always a unix socket: Traefik needs to mount it.
	Host string
	// Version is what the engine says, such as 20.10.24+dfsg1.
	Version string
	// Private is set when the lab started the engine; only such an engine is ever stopped.
	Private bool
}

// Socket is the path of the engine's API socket.
func (e Engine) Socket() string { return strings.TrimPrefix(e.Host, "unix://") }

// Engines are the versions that can be asked for by name, with the Debian suite that each comes from. The 28.5 packages
// run on Debian 12 with Debian 12's own runc, because the newer one needs a newer C library.
var Engines = map[string]string{"20.10": "bookworm", "28.5": "sid"}

// privateEngine is what is written down about the engine that the lab started, so that another process can use and
// stop it.
type privateEngine struct {
	PID     int    `json:"pid"`
	Asked   string `json:"asked,omitempty"`
	Version string `json:"version"`
}

func (s state) socketHost() string { return "unix://" + s.path("run", "docker.sock") }

// findEngine returns the engine that answers: the one that DOCKER_HOST names, else the one that an earlier run of the
// lab left running, else that of the current docker context or the default socket. Its error is errNoEngine when none
// answers.
func findEngine(ctx context.Context, p *progress, s state) (Engine, error) {
	var tried []string
	for _, host := range []func() string{
		func() string { return os.Getenv("DOCKER_HOST") },
		s.socketHost,
		func() string { return contextHost(ctx) },
	} {
		host := host()
		if host == "" {
			continue
		}
		version, err := ask(ctx, host)
		if err != nil {
			tried = append(tried, host)
			if host == os.Getenv("DOCKER_HOST") {
				p.printf("DOCKER_HOST=%s does not answer: %v", host, err)
			}
			continue
		}
		if !strings.HasPrefix(host, "unix://") {
			return Engine{}, fmt.Errorf("use the engine at %s: the lab needs one on this machine, behind a unix socket; unset DOCKER_HOST or name a unix:// address", host)
		}
		return Engine{Host: host, Version: version, Private: host == s.socketHost()}, nil
	}
	return Engine{}, fmt.Errorf("%w at %s", errNoEngine, strings.Join(tried, ", "))
}

var errNoEngine = errors.New("no engine answers")

// contextHost is where the docker command line would look, or Docker's default without one.
func contextHost(ctx context.Context) string {
	cmd := exec.CommandContext(ctx, "docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "DOCKER_HOST=") })
	if out, err := cmd.Output(); err == nil {
		return strings.TrimSpace(string(out))
	}
	return client.DefaultDockerHost
}

// ask returns the version of the engine at host, or why it does not answer.
func ask(ctx context.Context, host string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("no answer in 30s"))
	defer cancel()
	c, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		return "", err
	}
	defer c.Close()
	v, err := c.ServerVersion(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return "", cause
		}
		return "", err
	}
	return v.Version, nil
}

// startEngine starts a private engine: the given version of Engines, or with "" the one that is installed. It returns
// the one that runs already when it is what was asked for.
func startEngine(ctx context.Context, p *progress, s state, version string) (Engine, error) {
	release, err := s.lock(ctx, "engine")
	if err != nil {
		return Engine{}, err
	}
	defer release()

	if running, ok := s.running(); ok {
		if got, err := ask(ctx, s.socketHost()); err == nil && (version == "" || running.Asked == version) {
			return Engine{Host: s.socketHost(), Version: got, Private: true}, nil
		}
		if err := stopPrivate(ctx, p, s); err != nil {
			return Engine{}, err
		}
	}
	if err := s.clearRun(); err != nil {
		return Engine{}, fmt.Errorf("clean up after an engine that was killed: %w", err)
	}
	path, err := provideEngine(ctx, p, s, version)
	if err != nil {
		return Engine{}, err
	}
	daemon, err := lookPath("dockerd", path)
	if err != nil {
		return Engine{}, err
	}
	out, err := tool{}.run(ctx, daemon, "--version")
	if err != nil {
		return Engine{}, err
	}
	number := versionIn(out)
	if version != "" && !versionAtLeast(number, version) {
		return Engine{}, fmt.Errorf("start engine %s: Debian gave %s", version, number)
	}
	if version != "" && !strings.HasPrefix(number, version+".") {
		p.printf("engine %s was asked for and Debian has moved on: using %s", version, number)
	}
	var pid int
	err = p.step("start engine "+number, func() error {
		if pid, err = s.launch(ctx, daemon, path, s.path("engines", number, "data")); err != nil {
			return err
		}
		return s.empty(ctx) // of what an engine that was killed still held
	})
	if err != nil {
		return Engine{}, err
	}
	record, err := json.Marshal(privateEngine{PID: pid, Asked: version, Version: number})
	if err != nil {
		return Engine{}, err
	}
	if err := os.WriteFile(s.path("run", "engine.json"), record, 0o644); err != nil {
		return Engine{}, err
	}
	return Engine{Host: s.socketHost(), Version: number, Private: true}, nil
}

// provideEngine makes sure that the programs of an engine are here, and returns the PATH to find them.
func provideEngine(ctx context.Context, p *progress, s state, version string) (path string, err error) {
	path = os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin"
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%w, and only root can start one: start Docker Engine 20.10 or newer, or run as root on Debian or Ubuntu", errNoEngine)
	}
	var missing []string
	for program, pkg := range map[string]string{"dockerd": "docker.io", "containerd": "docker.io", "runc": "docker.io", "iptables": "iptables", "ip": "iproute2"} {
		if _, err := lookPath(program, path); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) > 0 {
		if why := canInstall(); why != nil {
			return "", fmt.Errorf("%w, and the lab cannot install one (%w): install Docker Engine 20.10 or newer, and iptables", errNoEngine, why)
		}
		if err := install(ctx, p, enginePackages...); err != nil {
			return "", fmt.Errorf("install the engine: %w", err)
		}
	}
	if version == "" {
		return path, nil
	}
	from, ok := Engines[version]
	if !ok {
		return "", fmt.Errorf("unknown engine %q: want 20.10 or 28.5", version)
	}
	if daemon, err := lookPath("dockerd", path); err == nil {
		if out, err := (tool{}).run(ctx, daemon, "--version"); err == nil && strings.HasPrefix(versionIn(out), version+".") {
			return path, nil
		}
	}
	root := s.path("engines", version, "root")
	err = s.build(ctx, root, func(tmp string) error {
		if why := canInstall(); why != nil {
			return fmt.Errorf("unpack engine %s: %w", version, why)
		}
		u, err := openSuite(ctx, p, s, from)
		if err != nil {
			return err
		}
		if err := os.RemoveAll(tmp); err != nil {
			return err
		}
		return u.unpack(ctx, p, tmp, "docker.io", "containerd")
	})
	return filepath.Join(root, "usr/sbin") + ":" + filepath.Join(root, "usr/bin") + ":" + path, err
}

// launch starts dockerd so that it outlives this process, and waits until it answers.
func (s state) launch(ctx context.Context, daemon, path, data string) (pid int, err error) {
	if err := errors.Join(os.MkdirAll(s.path("run"), 0o711), os.MkdirAll(data, 0o711)); err != nil {
		return 0, err
	}
	log, err := os.Create(s.path("run", "dockerd.log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	// Not CommandContext: the daemon outlives whoever started it.
	cmd := exec.Command(daemon, "--data-root", data, "--exec-root", s.path("run", "exec"), "--pidfile", s.path("run", "docker.pid"), "-H", s.socketHost())
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PATH="+path)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	err = poll(ctx, "the engine to answer", time.Minute, 100*time.Millisecond, func(ctx context.Context) (bool, string, error) {
		select {
		case err := <-exited:
			return false, "", fmt.Errorf("dockerd ended: %w\n%s", err, s.engineLog())
		default:
		}
		_, err := ask(ctx, s.socketHost())
		return err == nil, fmt.Sprint(err), nil
	})
	if err != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		return 0, fmt.Errorf("%w\n%s", err, s.engineLog())
	}
	return cmd.Process.Pid, nil
}

func (s state) engineLog() string {
	text, err := os.ReadFile(s.path("run", "dockerd.log"))
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text), 15)
}

// running returns the private engine that was started and whose process still is that engine: a pid that was given to
// another program meanwhile does not count.
func (s state) running() (privateEngine, bool) {
	var e privateEngine
	text, err := os.ReadFile(s.path("run", "engine.json"))
	if err != nil || json.Unmarshal(text, &e) != nil || e.PID <= 1 {
		return e, false
	}
	return e, alive(e.PID) && strings.Contains(commandLine(e.PID), s.path("run", "docker.pid"))
}

// stopPrivate stops the private engine with everything that runs in it. Images stay in its data folder.
func stopPrivate(ctx context.Context, p *progress, s state) error {
	e, ok := s.running()
	if !ok {
		return s.clearRun()
	}
	return p.step("stop engine "+e.Version, func() error {
		if err := s.empty(ctx); err != nil {
			p.printf("empty the engine before it stops: %v", err)
		}
		if err := syscall.Kill(e.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop dockerd (pid %d): %w", e.PID, err)
		}
		err := poll(ctx, fmt.Sprintf("dockerd (pid %d) to end", e.PID), 30*time.Second, 50*time.Millisecond, func(context.Context) (bool, string, error) {
			return !alive(e.PID), "still running", nil
		})
		if err != nil {
			p.printf("%v; killing it", err)
			_ = syscall.Kill(e.PID, syscall.SIGKILL)
		}
		return s.clearRun()
	})
}

// empty removes what was created in the private engine: all of it was made by tests.
func (s state) empty(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("not empty after 1m"))
	defer cancel()
	c, err := client.NewClientWithOpts(client.WithHost(s.socketHost()), client.WithAPIVersionNegotiation())
	if err != nil {
		return err
	}
	defer c.Close()
	all, err := c.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return err
	}
	for _, one := range all {
		if err := c.ContainerRemove(ctx, one.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			return err
		}
	}
	if _, err := c.NetworksPrune(ctx, filters.Args{}); err != nil {
		return err
	}
	_, err = c.VolumesPrune(ctx, filters.Args{})
	return err
}

// clearRun ends what an engine of the lab left behind and removes its run folder. A daemon that was killed leaves its
// shims with their containers, its socket, its pid file and mounts.
func (s state) clearRun() error {
	run := s.path("run") + "/"
	ours := func() (pids []int) {
		for _, pid := range processes() {
			if strings.Contains(commandLine(pid), run) && pid != os.Getpid() && alive(pid) {
				if name := programOf(pid); name == "dockerd" || strings.HasPrefix(name, "containerd") {
					pids = append(pids, pid)
				}
			}
		}
		return pids
	}
	for _, pid := range ours() {
		for _, child := range children(pid) {
			if strings.HasPrefix(programOf(pid), "containerd-shim") {
				_ = syscall.Kill(child, syscall.SIGKILL)
			}
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	// The data folder is listed too: a killed daemon leaves its overlays mounted there.
	for _, dir := range []string{run, s.path("engines") + "/"} {
		for _, point := range mountsBelow(dir) {
			_ = syscall.Unmount(point, syscall.MNT_DETACH)
		}
	}
	if err := os.RemoveAll(run); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
