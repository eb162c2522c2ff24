package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-connections/nat"
)

const (
	// projectPrefix begins the name of every project of the lab, followed by the process that made it.
	projectPrefix = "rollt"
	// ownerLabel marks what the lab itself adds to a project. It is not one of Compose's labels: Compose must not take
	// the lab's Traefik for an orphan of the project.
	ownerLabel = "roll-lab.project"

	projectLabel = "com.docker.compose.project"
	serviceLabel = "com.docker.compose.service"
)

// The ports on which the lab's Traefik listens in its container.
const (
	webPort = nat.Port("80/tcp")
	apiPort = nat.Port("8080/tcp")
	tcpPort = nat.Port("9000/tcp")
)

// Source says what a project is made of.
type Source struct {
	// Dir is a folder with a Compose file. It is copied, so that a test may change it.
	Dir string
	// Compose is the text of a Compose file, used when Dir is empty.
	Compose string
	// Env are variables for Compose and for roll, as NAME=VALUE, such as VERSION=v2.
	Env []string
	// TraefikArgs are added to the command line of the lab's Traefik, and win over its own.
	TraefikArgs []string
	// NoTraefik leaves out the lab's Traefik, for projects without one and for those that bring their own as a
	// service named traefik.
	NoTraefik bool
}

// Project is a Compose project with a name that nobody else has, and a Traefik that sees nothing but this project.
//
// The lab's Traefik has the entry points web, on URL, and tcp, on TCP; its API is at API. It routes only containers
// with traefik.enable=true.
type Project struct {
	Name string // Compose's project name
	Dir  string // its folder; run roll and Compose here
	URL  string // where Traefik's entry point web listens, such as http://127.0.0.1:32768; empty before Up
	API  string // where Traefik's API listens, without /api; empty before Up
	TCP  string // address of Traefik's entry point tcp; empty before Up, and when the project brings its own Traefik

	lab     *Lab
	source  Source
	mu      sync.Mutex
	env     []string
	traefik string // id of the lab's Traefik
}

// NewProject prepares a project; nothing runs before Up. Close removes it.
func (l *Lab) NewProject(source Source) (*Project, error) {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // never fails
	name := fmt.Sprintf("%s-%d-%s", projectPrefix, os.Getpid(), hex.EncodeToString(random))
	dir := l.state.path("projects", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create project folder: %w", err)
	}
	p := &Project{Name: name, Dir: dir, lab: l, source: source, env: slices.Clone(source.Env)}
	var err error
	if source.Dir != "" {
		err = os.CopyFS(dir, os.DirFS(source.Dir))
	} else {
		err = p.Write("compose.yaml", source.Compose)
	}
	if err != nil {
		return nil, fmt.Errorf("fill project folder: %w", err)
	}
	return p, nil
}

// Write writes a file of the project.
func (p *Project) Write(name, text string) error {
	return os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o644)
}

// Setenv sets a variable for Compose and for roll from here on.
func (p *Project) Setenv(name, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env = append(p.env, name+"="+value)
}

// Env is the environment for programs that work on the project, such as roll: the lab's, the project's name, and the
// project's variables.
func (p *Project) Env() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(append(p.lab.Env(), "COMPOSE_PROJECT_NAME="+p.Name), p.env...)
}

// Compose runs `docker compose` in the project and returns what it wrote to its standard output.
func (p *Project) Compose(ctx context.Context, args ...string) (string, error) {
	t := tool{dir: p.Dir, env: p.Env(), only: true}
	return t.run(ctx, "docker", append([]string{"compose"}, args...)...)
}

// Up runs `docker compose up -d` with more arguments, and starts Traefik when it does not run yet.
func (p *Project) Up(ctx context.Context, args ...string) error {
	if _, err := p.Compose(ctx, append([]string{"up", "-d"}, args...)...); err != nil {
		return err
	}
	if p.source.NoTraefik {
		return p.adoptTraefik(ctx)
	}
	return p.startTraefik(ctx)
}

// Containers are the project's containers in every state, by name: those of the named services, or all of them.
// The lab's Traefik is not among them.
func (p *Project) Containers(ctx context.Context, services ...string) ([]container.Summary, error) {
	all, err := p.lab.Docker.ContainerList(ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", projectLabel+"="+p.Name)),
	})
	if err != nil {
		return nil, fmt.Errorf("list containers of %s: %w", p.Name, err)
	}
	all = slices.DeleteFunc(all, func(c container.Summary) bool {
		return len(services) > 0 && !slices.Contains(services, c.Labels[serviceLabel])
	})
	slices.SortFunc(all, func(a, b container.Summary) int { return strings.Compare(a.Names[0], b.Names[0]) })
	return all, nil
}

// Logs is what a container of the project wrote, on both streams; id may be a name.
func (p *Project) Logs(ctx context.Context, id string) (string, error) {
	body, err := p.lab.Docker.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", fmt.Errorf("read logs of %s: %w", id, err)
	}
	defer body.Close()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, body); err != nil {
		return text.String(), fmt.Errorf("read logs of %s: %w", id, err)
	}
	return text.String(), nil
}

// WaitServers waits until Traefik lists exactly n servers that are not DOWN in an HTTP or TCP service of its docker
// provider, such as web (Compose's service and project name are Traefik's default: web-PROJECT). The limit is one minute.
func (p *Project) WaitServers(ctx context.Context, service string, n int) error {
	what := fmt.Sprintf("%d servers in Traefik's service %s", n, service)
	return poll(ctx, what, time.Minute, 100*time.Millisecond, func(ctx context.Context) (bool, string, error) {
		servers, err := p.servers(ctx, service)
		if err != nil {
			return false, err.Error(), nil
		}
		return len(servers) == n, fmt.Sprint(servers), nil
	})
}

// servers asks Traefik for the servers that it would pick now.
func (p *Project) servers(ctx context.Context, service string) ([]string, error) {
	type list map[string]struct {
		LoadBalancer struct {
			Servers []struct{ URL, Address string }
		}
		ServerStatus map[string]string
	}
	var view struct{ Services, TCPServices list }
	if err := getJSON(ctx, p.API+"/api/rawdata", &view); err != nil {
		return nil, err
	}
	servers := []string{}
	for _, services := range []list{view.Services, view.TCPServices} {
		one := services[service+"@docker"]
		for _, s := range one.LoadBalancer.Servers {
			if at := s.URL + s.Address; one.ServerStatus[at] != "DOWN" {
				servers = append(servers, at)
			}
		}
	}
	return servers, nil
}

func getJSON(ctx context.Context, url string, v any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Second, fmt.Errorf("no answer from %s in 5s", url))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return fmt.Errorf("%s answered %s: %s", url, resp.Status, text)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// startTraefik runs the project's Traefik in all of the project's networks, on ports that the kernel chooses, and waits
// for its API.
func (p *Project) startTraefik(ctx context.Context) error {
	networks, err := p.networks(ctx)
	if err != nil {
		return err
	}
	if p.traefik == "" {
		if err := p.createTraefik(ctx, networks); err != nil {
			return fmt.Errorf("start Traefik: %w", err)
		}
	}
	found, err := p.lab.Docker.ContainerInspect(ctx, p.traefik)
	if err != nil {
		return fmt.Errorf("start Traefik: %w", err)
	}
	for _, name := range networks {
		if _, in := found.NetworkSettings.Networks[name]; in {
			continue
		}
		if err := p.lab.Docker.NetworkConnect(ctx, name, p.traefik, nil); err != nil {
			return fmt.Errorf("connect Traefik to %s: %w", name, err)
		}
	}
	if !found.State.Running {
		if err := p.lab.Docker.ContainerStart(ctx, p.traefik, container.StartOptions{}); err != nil {
			return fmt.Errorf("start Traefik: %w", err)
		}
	}
	return p.findPorts(ctx, p.traefik)
}

func (p *Project) createTraefik(ctx context.Context, networks []string) error {
	local := func() []nat.PortBinding { return []nat.PortBinding{{HostIP: "127.0.0.1", HostPort: "0"}} }
	host := &container.HostConfig{
		Binds:        []string{p.lab.Engine.Socket() + ":/var/run/docker.sock"},
		PortBindings: nat.PortMap{webPort: local(), apiPort: local(), tcpPort: local()},
	}
	if len(networks) > 0 {
		host.NetworkMode = container.NetworkMode(networks[0])
	}
	made, err := p.lab.Docker.ContainerCreate(ctx, &container.Config{
		Image:        TraefikImage,
		Labels:       map[string]string{ownerLabel: p.Name},
		ExposedPorts: nat.PortSet{webPort: {}, apiPort: {}, tcpPort: {}},
		Cmd: append([]string{
			"--providers.docker=true",
			"--providers.docker.exposedbydefault=false",
			fmt.Sprintf("--providers.docker.constraints=Label(`%s`,`%s`)", projectLabel, p.Name),
			"--entrypoints.web.address=:80",
			"--entrypoints.tcp.address=:9000",
			"--api.insecure=true",
			"--global.checknewversion=false",
			"--global.sendanonymoususage=false",
			"--log.level=INFO",
		}, p.source.TraefikArgs...),
	}, host, nil, nil, p.Name+"-lab-traefik")
	if err != nil {
		return err
	}
	p.traefik = made.ID
	return nil
}

// adoptTraefik finds the ports of a Traefik that is a service of the project; without one there is nothing to find.
func (p *Project) adoptTraefik(ctx context.Context) error {
	found, err := p.Containers(ctx, "traefik")
	if err != nil || len(found) == 0 {
		return err
	}
	return p.findPorts(ctx, found[0].ID)
}

// Traefik is the id of the Traefik that the lab runs for the project; empty before Up and with NoTraefik.
func (p *Project) Traefik() string { return p.traefik }

// RestartTraefik kills the lab's Traefik and starts it again after down returns; its ports change.
func (p *Project) RestartTraefik(ctx context.Context, down func() error) error {
	if err := p.lab.Docker.ContainerKill(ctx, p.traefik, "KILL"); err != nil {
		return fmt.Errorf("kill Traefik: %w", err)
	}
	if err := down(); err != nil {
		return err
	}
	return p.startTraefik(ctx)
}

// findPorts learns the host ports of a Traefik, and waits until its API answers.
func (p *Project) findPorts(ctx context.Context, id string) error {
	return poll(ctx, "Traefik's API", 30*time.Second, 100*time.Millisecond, func(ctx context.Context) (bool, string, error) {
		found, err := p.lab.Docker.ContainerInspect(ctx, id)
		if err != nil {
			return false, "", err
		}
		if !found.State.Running {
			text, _ := p.Logs(ctx, id)
			return false, "", fmt.Errorf("Traefik is %s with exit code %d: %s", found.State.Status, found.State.ExitCode, lastLines(text, 10))
		}
		at := func(port nat.Port) string {
			if bound := found.NetworkSettings.Ports[port]; len(bound) > 0 {
				return "127.0.0.1:" + bound[0].HostPort
			}
			return ""
		}
		if at(apiPort) == "" {
			return false, fmt.Sprintf("port %s is not published: %v", apiPort, found.NetworkSettings.Ports), nil
		}
		p.URL, p.API, p.TCP = "http://"+at(webPort), "http://"+at(apiPort), at(tcpPort)
		var version struct{ Version string }
		if err := getJSON(ctx, p.API+"/api/version", &version); err != nil {
			return false, err.Error(), nil
		}
		return true, version.Version, nil
	})
}

// networks are the names of the project's networks.
func (p *Project) networks(ctx context.Context) ([]string, error) {
	found, err := p.lab.Docker.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("label", projectLabel+"="+p.Name))})
	if err != nil {
		return nil, fmt.Errorf("list networks of %s: %w", p.Name, err)
	}
	names := []string{}
	for _, n := range found {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names, nil
}

// Close removes the project's containers, networks, volumes and folder. It works on a cancelled context too.
// Variable ROLL_KEEP=1 keeps everything, until `lab down`.
func (p *Project) Close(ctx context.Context) error {
	if os.Getenv("ROLL_KEEP") == "1" {
		p.lab.progress.printf("kept %s in %s", p.Name, p.Dir)
		return nil
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	return errors.Join(remove(ctx, p.lab.Docker, p.Name), os.RemoveAll(p.Dir))
}

// remove removes everything whose name or labels contain the project's name, which is unique: Compose's own, the lab's
// Traefik, and what roll keeps for the project.
func remove(ctx context.Context, c *client.Client, project string) error {
	belongs := func(name string, labels map[string]string) bool {
		return strings.Contains(name, project) || labels[projectLabel] == project || labels[ownerLabel] == project
	}
	gone := func(err error) error {
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
	// A second look finds what a program that was cut off created during the first.
	return poll(ctx, "project "+project+" to be removed", cleanupLimit, 200*time.Millisecond, func(ctx context.Context) (bool, string, error) {
		var left []string
		var failed error
		containers, err := c.ContainerList(ctx, container.ListOptions{All: true})
		if err != nil {
			return false, "", err
		}
		for _, one := range containers {
			if belongs(strings.Join(one.Names, " "), one.Labels) {
				left = append(left, one.Names...)
				failed = errors.Join(failed, gone(c.ContainerRemove(ctx, one.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})))
			}
		}
		networks, err := c.NetworkList(ctx, network.ListOptions{})
		if err != nil {
			return false, "", err
		}
		for _, one := range networks {
			if belongs(one.Name, one.Labels) {
				left = append(left, one.Name)
				failed = errors.Join(failed, gone(c.NetworkRemove(ctx, one.ID)))
			}
		}
		volumes, err := c.VolumeList(ctx, volume.ListOptions{})
		if err != nil {
			return false, "", err
		}
		for _, one := range volumes.Volumes {
			if belongs(one.Name, one.Labels) {
				left = append(left, one.Name)
				failed = errors.Join(failed, gone(c.VolumeRemove(ctx, one.Name, true)))
			}
		}
		return len(left) == 0, fmt.Sprintf("%s (%v)", strings.Join(left, ", "), failed), nil
	})
}
