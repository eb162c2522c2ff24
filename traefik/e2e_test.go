//go:build e2e

package traefik

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
)

const image = "traefik:v3.6"

// world is what one test starts on the real Engine; all of it ends with the
// test.
type world struct {
	docker  *client.Client
	name    string // of the network, and the beginning of all containers' names
	network string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = docker.Close() })
	if _, err := docker.ImageInspect(t.Context(), image); err != nil {
		t.Fatalf("this test needs an Engine with the image %s: %v", image, err)
	}
	w := &world{docker: docker, name: fmt.Sprintf("roll-traefik-e2e-%d-%d", os.Getpid(), time.Now().UnixNano())}
	created, err := docker.NetworkCreate(t.Context(), w.name, network.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.network = created.ID
	t.Cleanup(func() {
		if err := docker.NetworkRemove(context.WithoutCancel(t.Context()), created.ID); err != nil {
			t.Error(err)
		}
	})
	return w
}

// start runs a container of the Traefik image.
func (w *world) start(t *testing.T, name string, labels map[string]string, host *container.HostConfig, args ...string) string {
	t.Helper()
	return w.startChecked(t, name, labels, host, nil, args...)
}

func (w *world) startChecked(t *testing.T, name string, labels map[string]string, host *container.HostConfig, check *container.HealthConfig, args ...string) string {
	t.Helper()
	host.NetworkMode = container.NetworkMode(w.name)
	exposed := nat.PortSet{"8080/tcp": {}}
	for port := range host.PortBindings {
		exposed[port] = struct{}{}
	}
	created, err := w.docker.ContainerCreate(t.Context(),
		&container.Config{Image: image, Cmd: args, Labels: labels, ExposedPorts: exposed, Healthcheck: check}, host, nil, nil, w.name+"-"+name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.docker.ContainerRemove(context.WithoutCancel(t.Context()), created.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !errdefs.IsNotFound(err) {
			t.Error(err)
		}
	})
	if err := w.docker.ContainerStart(t.Context(), created.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return created.ID
}

// proxy runs a Traefik that watches the backends of this world alone.
func (w *world) proxy(t *testing.T, name string, publish bool, args ...string) string {
	t.Helper()
	socket, ok := strings.CutPrefix(w.docker.DaemonHost(), "unix://")
	if !ok {
		t.Fatalf("this test needs an Engine on a unix socket, not %s", w.docker.DaemonHost())
	}
	host := &container.HostConfig{Binds: []string{socket + ":/var/run/docker.sock"}}
	if publish {
		host.PortBindings = nat.PortMap{"8080/tcp": {{HostIP: "127.0.0.1"}}}
	}
	return w.start(t, name, nil, host, append([]string{
		"--providers.docker", "--providers.docker.exposedbydefault=false", "--providers.docker.constraints=Label(`roll.e2e`,`" + w.name + "`)",
	}, args...)...)
}

// backend runs a container that joins the service web. Nobody talks to it.
func (w *world) backend(t *testing.T) (id string, address netip.AddrPort) {
	t.Helper()
	id = w.start(t, "backend", map[string]string{
		"traefik.enable": "true", "roll.e2e": w.name, Label: "false", "traefik.http.services.web.loadbalancer.server.port": "8080",
		"traefik.http.routers.web.rule": "Host(`web.test`)",
	}, &container.HostConfig{})
	c, err := w.docker.ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return id, netip.AddrPortFrom(netip.MustParseAddr(c.NetworkSettings.Networks[w.name].IPAddress), 8080)
}

// discover finds the Traefiks of this world: others may run on the Engine.
func (w *world) discover(ctx context.Context) ([]Instance, error) {
	instances, err := Discover(ctx, w.docker, Options{})
	return slices.DeleteFunc(instances, func(i Instance) bool { return !strings.HasPrefix(i.Name, w.name) }), err
}

// await asks until done says yes.
func await(t *testing.T, what string, done func(ctx context.Context) (ok bool, seen string)) {
	t.Helper()
	const limit = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		ok, seen := done(ctx)
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s, last seen: %s", what, limit, seen)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (w *world) reachable(t *testing.T, count int) []Instance {
	t.Helper()
	var instances []Instance
	await(t, "all instances are reachable", func(ctx context.Context) (bool, string) {
		var err error
		instances, err = w.discover(ctx)
		unreached := slices.ContainsFunc(instances, func(i Instance) bool { return i.Client == nil })
		return err == nil && len(instances) == count && !unreached, fmt.Sprintf("%+v, %v", instances, err)
	})
	return instances
}

func TestRealTraefiksAreFoundAndShowABackendComeAndGo(t *testing.T) {
	w := newWorld(t)
	w.proxy(t, "a-published", true, "--api.insecure=true", "--providers.providersthrottleduration=500ms")
	hidden := w.proxy(t, "b-address", false, "--api.insecure=true", "--entrypoints.traefik.address=:9000")
	instances := w.reachable(t, 2)
	if !strings.HasPrefix(instances[0].How, "published port 127.0.0.1:") || instances[0].Throttle != 500*time.Millisecond {
		t.Errorf("first is reached by %q, throttle %s", instances[0].How, instances[0].Throttle)
	}
	if !strings.HasPrefix(instances[1].How, "address ") || !strings.HasSuffix(instances[1].How, ":9000") || instances[1].Throttle != 2*time.Second {
		t.Errorf("second is reached by %q, throttle %s", instances[1].How, instances[1].Throttle)
	}

	router := NewRouter(instances, w.discover)
	id, address := w.backend(t)
	keys := []string{w.name + "-a-published web@docker", w.name + "-b-address web@docker"}
	routed := func(want bool) {
		t.Helper()
		await(t, fmt.Sprintf("%s routed is %v", address, want), func(ctx context.Context) (bool, string) {
			routes, err := router.Routes(ctx)
			all := err == nil
			for _, key := range keys {
				all = all && slices.Contains(routes[key], address) == want
			}
			return all, fmt.Sprint(routes, err)
		})
	}
	routed(true)

	// A restart moves nothing out of the view for good, and needs no help.
	if err := w.docker.ContainerRestart(t.Context(), hidden, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	routed(true)

	if err := w.docker.ContainerRemove(t.Context(), id, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	routed(false)

	// An instance that has ended routes nothing and is not asked any more.
	if err := w.docker.ContainerRemove(t.Context(), hidden, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := router.Routes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(router.Instances()); got != "["+w.name+"-a-published]" {
		t.Errorf("instances are %s", got)
	}
}

func TestARestartedTraefikNeverShowsARunningBackendAsGone(t *testing.T) {
	w := newWorld(t)
	proxy := w.proxy(t, "proxy", false, "--api.insecure=true")
	router := NewRouter(w.reachable(t, 1), w.discover)
	_, address := w.backend(t)
	key := w.name + "-proxy web@docker"
	await(t, "the backend is routed", func(ctx context.Context) (bool, string) {
		routes, err := router.Routes(ctx)
		return slices.Contains(routes[key], address), fmt.Sprint(routes, err)
	})
	for range 3 {
		ended := make(chan error, 1)
		go func() { ended <- w.docker.ContainerRestart(t.Context(), proxy, container.StopOptions{}) }()
		answers, restarted := 0, false
		await(t, "Traefik answers again", func(ctx context.Context) (bool, string) {
			select {
			case err := <-ended:
				if err != nil {
					t.Fatal(err)
				}
				restarted = true
			default:
			}
			routes, err := router.Routes(ctx)
			if err != nil {
				return false, err.Error()
			}
			if !slices.Contains(routes[key], address) {
				t.Fatalf("the backend is shown as gone: %v", routes)
			}
			answers++
			return restarted && answers > 5, fmt.Sprint(answers, " answers")
		})
	}
}

func TestARealTraefikWithoutAnAPISaysWhatToWrite(t *testing.T) {
	w := newWorld(t)
	w.proxy(t, "a-off", false)
	w.proxy(t, "b-inside", false, "--api.insecure=true", "--entrypoints.traefik.address=127.0.0.1:8080")
	instances, err := w.discover(t.Context())
	if err != nil || len(instances) != 2 {
		t.Fatalf("%+v, %v", instances, err)
	}
	if !strings.HasPrefix(instances[0].Reason, "its API is off: start it with --api.insecure=true") {
		t.Errorf("reason is %s", instances[0].Reason)
	}
	// The image of the tests is one file: there is nothing to exec in it.
	if want := "inside the container: its image has neither wget nor curl"; !strings.Contains(instances[1].Reason, want) {
		t.Errorf("reason is %s, want %s", instances[1].Reason, want)
	}
}

func TestServicesOfSaysWhatARealTraefikMakesOfLabels(t *testing.T) {
	w := newWorld(t)
	w.proxy(t, "proxy", false, "--api.insecure=true", "--entrypoints.web.address=:80", "--entrypoints.dns.address=:53/udp")
	router := NewRouter(w.reachable(t, 1), w.discover)
	for name, labels := range map[string]map[string]string{
		"implicit":   {},
		"router":     {"traefik.http.routers.r.rule": "Host(`a.test`)"},
		"two":        {"traefik.http.services.two-a.loadbalancer.server.port": "80", "traefik.HTTP.Services.two-b.loadbalancer.server.port": "81"},
		"tcp":        {"traefik.tcp.routers.t.rule": "HostSNI(`a.test`)", "traefik.tcp.routers.t.tls": "true"},
		"tcp_http":   {"traefik.tcp.services.db.loadbalancer.server.port": "1", "traefik.http.middlewares.m.compress": "true"},
		"udp":        {"traefik.udp.services.dns.loadbalancer.server.port": "53"},
		"capitals":   {"Traefik.http.services.capital.loadbalancer.server.port": "80"},
		"case":       {"traefik.http.services.Case.loadbalancer.server.port": "80", "traefik.http.services.case.loadbalancer.server.scheme": "http"},
		"disabled":   {"traefik.enable": "false"},
		"no_boolean": {"traefik.enable": "yes"},
	} {
		full := map[string]string{"traefik.enable": "true", "roll.e2e": w.name, Label: "false", "com.docker.compose.service": name, "com.docker.compose.project": w.name}
		for key, value := range labels {
			full[key] = value
		}
		id := w.start(t, name, full, &container.HostConfig{})
		c, err := w.docker.ContainerInspect(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		address := netip.MustParseAddr(c.NetworkSettings.Networks[w.name].IPAddress)
		var want []string
		if enabled, _ := Enabled(full); enabled {
			for _, service := range ServicesOf(full, name, w.name) {
				want = append(want, w.name+"-proxy "+service)
			}
		}
		// The next container is started meanwhile, so that "in no service" is
		// seen in an answer that is newer than this one's start.
		_, marker := w.marker(t, name)
		await(t, name+" is in "+fmt.Sprint(want), func(ctx context.Context) (bool, string) {
			routes, err := router.Routes(ctx)
			var in []string
			newer := false
			for service, servers := range routes {
				for _, server := range servers {
					if server.Addr() == address {
						in = append(in, service)
					}
					newer = newer || server.Addr() == marker
				}
			}
			slices.Sort(in)
			return err == nil && newer && slices.Equal(in, want), fmt.Sprint(in, " ", newer, " ", err)
		})
	}
}

// marker runs a backend of no interest: once it is routed, everything that
// was started before it is too.
func (w *world) marker(t *testing.T, name string) (id string, address netip.Addr) {
	t.Helper()
	id = w.start(t, "marker-"+name, map[string]string{
		"traefik.enable": "true", "roll.e2e": w.name, Label: "false", "traefik.http.services.marker.loadbalancer.server.port": "8080",
	}, &container.HostConfig{})
	c, err := w.docker.ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return id, netip.MustParseAddr(c.NetworkSettings.Networks[w.name].IPAddress)
}
