//go:build e2e

package traefik

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
)

// Every case of TestConflicts, told by a real Traefik with two real containers:
// what is refused is an outage, and what is not refused is none.
func TestRealMerge(t *testing.T) {
	w := newWorld(t)
	groups := map[Provider][]int{} // one front for all cases with the same settings
	for i, c := range mergeCases {
		provider := Provider{ExposedByDefault: !c.hidden, DefaultRule: c.defaultRule, Constraints: c.constraints}
		groups[provider] = append(groups[provider], i)
	}
	n := 0
	for provider, cases := range groups {
		n++
		t.Run(fmt.Sprintf("front %d", n), func(t *testing.T) {
			f := w.front(t, n, provider)
			for _, i := range cases {
				t.Run(mergeCases[i].name, func(t *testing.T) {
					w.merge(t, f, provider, labelsOf(mergeCases[i].old), labelsOf(mergeCases[i].new))
				})
			}
		})
	}
}

// front is a Traefik with its addresses on this host.
type front struct{ api, web, tcp string }

func (w *world) front(t *testing.T, n int, provider Provider) front {
	t.Helper()
	socket, _ := strings.CutPrefix(w.docker.DaemonHost(), "unix://")
	constraints := "Label(`roll.e2e`,`" + w.name + "`)"
	if provider.Constraints != "" {
		constraints += " && (" + provider.Constraints + ")"
	}
	args := []string{
		"--providers.docker", "--providers.providersthrottleduration=100ms", "--api.insecure=true", "--entrypoints.web.address=:80",
		"--entrypoints.tcp.address=:9000", "--entrypoints.udp.address=:5300/udp", "--entrypoints.udp2.address=:5301/udp",
		"--providers.docker.constraints=" + constraints, fmt.Sprintf("--providers.docker.exposedbydefault=%t", provider.ExposedByDefault),
	}
	if provider.DefaultRule != "" {
		args = append(args, "--providers.docker.defaultrule="+provider.DefaultRule)
	}
	ports := nat.PortMap{}
	for _, port := range []nat.Port{"8080/tcp", "80/tcp", "9000/tcp"} {
		ports[port] = []nat.PortBinding{{HostIP: "127.0.0.1"}}
	}
	id := w.start(t, fmt.Sprintf("front-%d", n), nil, &container.HostConfig{Binds: []string{socket + ":/var/run/docker.sock"}, PortBindings: ports}, args...)
	var found container.InspectResponse
	await(t, "the front's ports are published", func(ctx context.Context) (bool, string) {
		var err error
		found, err = w.docker.ContainerInspect(ctx, id)
		return err == nil && len(found.NetworkSettings.Ports["80/tcp"]) > 0, fmt.Sprint(err)
	})
	address := func(port nat.Port) string {
		return net.JoinHostPort("127.0.0.1", found.NetworkSettings.Ports[port][0].HostPort)
	}
	f := front{api: address("8080/tcp"), web: address("80/tcp"), tcp: address("9000/tcp")}
	await(t, "the front answers", func(ctx context.Context) (bool, string) {
		_, _, err := f.defined(ctx)
		return err == nil, fmt.Sprint(err)
	})
	return f
}

// defined asks what there is of the Docker provider, as object.String writes
// it, and how many servers there are in all services.
func (f front) defined(ctx context.Context) (names []string, servers int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.api+"/api/rawdata", nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	type one struct {
		LoadBalancer struct{ Servers []any }
	}
	var raw map[string]map[string]one
	if err := json.NewDecoder(resp.Body).Decode(&raw); err != nil {
		return nil, 0, err
	}
	for section, prefix := range map[string]string{
		"routers": "router ", "services": "service ", "middlewares": "middleware ", "tcpRouters": "TCP router ", "tcpServices": "TCP service ",
		"tcpMiddlewares": "TCP middleware ", "udpRouters": "UDP router ", "udpServices": "UDP service ",
	} {
		for name, o := range raw[section] {
			if strings.HasSuffix(name, "@docker") {
				names = append(names, prefix+name)
				servers += len(o.LoadBalancer.Servers)
			}
		}
	}
	slices.Sort(names)
	return names, servers, nil
}

// answer is what a client sees: a status, or why there is none.
func (f front) answer(ctx context.Context, host string) string {
	if host == "" {
		conn, err := net.Dial("tcp", f.tcp)
		if err != nil {
			return "no connection"
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		line, err := bufio.NewReader(conn).ReadString('\n')
		if errors.Is(err, io.EOF) || line == "" {
			return "closed"
		}
		return strings.TrimSpace(line)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.web+"/ping", nil)
	if err != nil {
		return err.Error()
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	return resp.Status
}

// merge starts the old and then the new container, and compares what Traefik
// makes of both with what Conflicts says, and with what clients see.
func (w *world) merge(t *testing.T, f front, provider Provider, before, after map[string]string) {
	found, err := w.docker.ImageInspect(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	health := slices.Concat([]string{"CMD"}, found.Config.Entrypoint, []string{"healthcheck"})
	backend := func(name string, labels map[string]string) (id string, s Source) {
		all := maps.Clone(labels)
		maps.Copy(all, map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "roll.e2e": w.name, Label: "false"})
		args := []string{"--ping"}
		for _, value := range labels {
			if value == "8081" {
				args = append(args, "--entrypoints.traefik.address=:8081")
			}
		}
		// Traefik takes it when it answers, and not before.
		check := &container.HealthConfig{Test: slices.Concat(health, args), Interval: time.Second, Timeout: 10 * time.Second, Retries: 30}
		id = w.startChecked(t, name, all, &container.HostConfig{}, check, args...)
		return id, Source{Name: w.name + "-" + name, Service: "web", Project: "shop", Labels: all}
	}
	settled := func(what string, want []string, servers int) {
		t.Helper()
		await(t, what, func(ctx context.Context) (bool, string) {
			names, count, err := f.defined(ctx)
			return err == nil && slices.Equal(names, want) && count >= servers, fmt.Sprintf("%q with %d servers, %v; want %q with %d", names, count, err, want, servers)
		})
	}

	oldID, old := backend("old", before)
	a := kept(old, provider)
	settled("the old container alone", slices.Sorted(maps.Keys(a)), 0)
	host, usual := "", ""
	if len(a) > 0 {
		host, usual = f.usual(t.Context())
	}

	_, new := backend("new", after)
	b := kept(new, provider)
	conflicts := Conflicts(old, new, provider)
	both := maps.Clone(a)
	maps.Copy(both, b)
	shared := 0
	outage := false
	for _, c := range conflicts {
		delete(both, c.Object())
		outage = outage || c.Kind != storeKind
	}
	for name, o := range both {
		if _, inA := a[name]; inA && b[name].kind == serviceKind && o.kind == serviceKind {
			shared++
		}
	}
	settled("both containers together", slices.Sorted(maps.Keys(both)), 2*shared)
	switch {
	case usual == "":
	case outage:
		await(t, "the outage", func(ctx context.Context) (bool, string) {
			seen := f.answer(ctx, host)
			return strings.HasSuffix(seen, "404 Not Found") || seen == "closed", seen
		})
	default:
		for range 20 {
			if seen := f.answer(t.Context(), host); seen != usual && !strings.Contains(seen, "200 OK") {
				t.Errorf("nothing is refused, and a client sees %s instead of %s", seen, usual)
			}
		}
	}

	if err := w.docker.ContainerRemove(t.Context(), oldID, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	settled("the new container alone", slices.Sorted(maps.Keys(b)), 0)
}

// kept are the objects of a container that Traefik's API shows.
func kept(s Source, provider Provider) map[string]object {
	if provider.ignores(s.Labels) {
		return map[string]object{}
	}
	all := objects(s, provider)
	maps.DeleteFunc(all, func(_ string, o object) bool { return o.kind == storeKind })
	return all
}

// usual finds a host that leads somewhere, else looks at the TCP entrypoint.
func (f front) usual(ctx context.Context) (host, status string) {
	for _, host := range []string{"web.test", "web-shop", "a.test"} {
		if status := f.answer(ctx, host); status != "404 Not Found" {
			return host, status
		}
	}
	if status := f.answer(ctx, ""); strings.HasPrefix(status, "HTTP/1.1 200") {
		return "", status
	}
	return "", ""
}
