package traefik

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-connections/nat"
)

var _ Docker = (*client.Client)(nil)

// engine is a Docker in memory.
type engine struct {
	mu         sync.Mutex
	containers []*fake
	lists      int
	listError  error
	inspected  []string
	execs      [][]string
	exec       func(argv []string) (code int, stdout, stderr string)
	codes      []int
}

// fake is a container of engine.
type fake struct {
	container.InspectResponse
	files map[string]string // content, or "-> target" for a symbolic link
}

// started is when every fake container and every fake Traefik started.
var started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func run(name, image string, argv ...string) *fake {
	f := &fake{
		InspectResponse: container.InspectResponse{
			ContainerJSONBase: &container.ContainerJSONBase{
				ID: name + "-0123456789abcdef", Name: "/" + name, Path: argv[0], Args: argv[1:],
				State:      &container.State{Running: true, Status: "running", StartedAt: started.Format(time.RFC3339Nano)},
				HostConfig: &container.HostConfig{},
			},
			Config:          &container.Config{Image: image, Labels: map[string]string{}},
			NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{}},
		},
		files: map[string]string{},
	}
	f.NetworkSettings.Ports = nat.PortMap{}
	return f
}

func official(args ...string) *fake {
	return run("proxy-traefik-1", "traefik:v3.6", append([]string{"/entrypoint.sh"}, args...)...)
}

func (f *fake) publish(port, host string) *fake {
	ip, hostPort, _ := net.SplitHostPort(host)
	key := nat.Port(port + "/tcp")
	f.NetworkSettings.Ports[key] = append(f.NetworkSettings.Ports[key], nat.PortBinding{HostIP: ip, HostPort: hostPort})
	return f
}

func (f *fake) attach(name, ip string) *fake {
	f.NetworkSettings.Networks[name] = &network.EndpointSettings{IPAddress: ip}
	return f
}

func (f *fake) label(name, value string) *fake {
	f.Config.Labels[name] = value
	return f
}

func (f *fake) file(name, content string) *fake {
	f.files[name] = content
	return f
}

func (f *fake) with(change func(*fake)) *fake {
	change(f)
	return f
}

func (e *engine) find(id string) (*fake, error) {
	for _, c := range e.containers {
		if c.ID == id {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no such container %s: %w", id, errdefs.ErrNotFound)
}

func (e *engine) ContainerList(context.Context, container.ListOptions) ([]container.Summary, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lists++
	var summaries []container.Summary
	for _, c := range e.containers {
		if c.State.Running {
			summaries = append(summaries, container.Summary{
				ID: c.ID, Image: c.Config.Image, Labels: c.Config.Labels, Command: strings.Join(append([]string{c.Path}, c.Args...), " "),
			})
		}
	}
	return summaries, e.listError
}

func (e *engine) ContainerInspect(_ context.Context, id string) (container.InspectResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return container.InspectResponse{}, err
	}
	e.inspected = append(e.inspected, strings.TrimPrefix(c.Name, "/"))
	return c.InspectResponse, nil
}

func (e *engine) CopyFromContainer(_ context.Context, id, file string) (io.ReadCloser, container.PathStat, error) {
	c, err := e.find(id)
	if err != nil {
		return nil, container.PathStat{}, err
	}
	content, ok := c.files[file]
	if !ok {
		return nil, container.PathStat{}, fmt.Errorf("no such file: %w", errdefs.ErrNotFound)
	}
	header := &tar.Header{Name: file, Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o644}
	if target, ok := strings.CutPrefix(content, "-> "); ok {
		header, content = &tar.Header{Name: file, Typeflag: tar.TypeSymlink, Linkname: target}, ""
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := errors.Join(w.WriteHeader(header), write(w, content), w.Close()); err != nil {
		return nil, container.PathStat{}, err
	}
	return io.NopCloser(&archive), container.PathStat{}, nil
}

func write(w io.Writer, content string) error {
	_, err := io.WriteString(w, content)
	return err
}

func (e *engine) ContainerExecCreate(_ context.Context, _ string, options container.ExecOptions) (container.ExecCreateResponse, error) {
	e.execs = append(e.execs, options.Cmd)
	return container.ExecCreateResponse{ID: fmt.Sprint(len(e.execs) - 1)}, nil
}

func (e *engine) ContainerExecAttach(context.Context, string, container.ExecAttachOptions) (types.HijackedResponse, error) {
	if e.exec == nil {
		return types.HijackedResponse{}, fmt.Errorf("executable file not found: %w", errdefs.ErrInvalidArgument)
	}
	code, stdout, stderr := e.exec(e.execs[len(e.execs)-1])
	e.codes = append(e.codes, code)
	var stream bytes.Buffer
	_ = write(stdcopy.NewStdWriter(&stream, stdcopy.Stderr), stderr)
	_ = write(stdcopy.NewStdWriter(&stream, stdcopy.Stdout), stdout)
	ours, theirs := net.Pipe()
	_ = theirs.Close()
	return types.HijackedResponse{Conn: ours, Reader: bufio.NewReader(&stream)}, nil
}

func (e *engine) ContainerExecInspect(context.Context, string) (container.ExecInspect, error) {
	return container.ExecInspect{ExitCode: e.codes[len(e.codes)-1]}, nil
}

// api is a fake Traefik that started at a given time.
func api(at time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/version":
			fmt.Fprintf(w, `{"Version":"3.6.12","startDate":%q}`, at.Format(time.RFC3339Nano))
		case "/api/rawdata":
			fmt.Fprint(w, `{"services":{"api@internal":{},"web@docker":{"loadBalancer":{"servers":[{"url":"http://10.0.0.1:80"}]}}}}`)
		default:
			http.NotFound(w, r)
		}
	})
}

// serving starts an api on loopback and returns its host:port and port.
func serving(t *testing.T, handler http.Handler) (address, port string) {
	t.Helper()
	u, err := url.Parse(serve(t, handler))
	if err != nil {
		t.Fatal(err)
	}
	return u.Host, u.Port()
}

// closed is a host:port on loopback that refuses connections.
func closed(t *testing.T) (address, port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(address)
	return address, port
}

// discover expects one instance.
func discover(t *testing.T, e *engine, options Options) Instance {
	t.Helper()
	instances, err := Discover(t.Context(), e, options)
	if err != nil {
		t.Fatal(err)
	}
	if len(instances) != 1 {
		t.Fatalf("found %d instances, want 1: %+v", len(instances), instances)
	}
	return instances[0]
}

// reached fails unless the instance was found that way and answers.
func reached(t *testing.T, instance Instance, how string) {
	t.Helper()
	if instance.Client == nil {
		t.Fatalf("not reached: %s", instance.Reason)
	}
	if instance.How != how || instance.Reason != "" || instance.Version != "3.6.12" {
		t.Errorf("reached by %q (version %s, reason %q), want %q", instance.How, instance.Version, instance.Reason, how)
	}
	view, err := instance.Client.Raw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := routesText(view.Routes()); got != "api@internal []\nweb@docker [10.0.0.1:80]\n" {
		t.Errorf("it routes\n%s", got)
	}
}

func TestThePublishedPortIsAskedFirst(t *testing.T) {
	address, _ := serving(t, api(started))
	e := &engine{containers: []*fake{
		run("app", "app:1", "/app"),
		official("--api.insecure=true", "--providers.docker", "--providers.providersthrottleduration=1s").publish("8080", "0.0.0.0"+address[len("127.0.0.1"):]).attach("front", "192.0.2.1"),
	}}
	instance := discover(t, e, Options{})
	reached(t, instance, "published port "+address)
	if instance.Name != "proxy-traefik-1" || instance.ContainerID != "proxy-traefik-1-0123456789abcdef" || instance.Throttle != time.Second || !instance.Settings.Docker.Enabled {
		t.Errorf("instance is %+v", instance)
	}
	if got := fmt.Sprint(e.inspected); got != "[proxy-traefik-1]" {
		t.Errorf("inspected %s, want Traefik alone", got)
	}
}

func TestTheContainersAddressComesNext(t *testing.T) {
	_, port := serving(t, api(started))
	refusing, _ := closed(t)
	e := &engine{containers: []*fake{
		official("--api.insecure=true", "--entrypoints.traefik.address=:"+port).publish(port, refusing).attach("front", "127.0.0.1"),
	}}
	reached(t, discover(t, e, Options{}), "address 127.0.0.1:"+port)
}

func TestTheInsideComesLast(t *testing.T) {
	address, port := serving(t, api(started))
	refusing, _ := closed(t)
	e := &engine{containers: []*fake{
		official("--api.insecure=true", "--entrypoints.traefik.address=127.0.0.1:"+port).publish(port, refusing),
	}}
	e.exec = func(argv []string) (int, string, string) { return wget(t, "http://"+address, argv) }
	reached(t, discover(t, e, Options{}), "inside the container")
	want := []string{"wget", "-q", "-S", "--no-check-certificate", "-O", "-", "--header", "Accept: application/json", "http://" + address + "/api/version"}
	if !slices.Equal(e.execs[0], want) {
		t.Errorf("ran %q, want %q", e.execs[0], want)
	}
}

func TestHostNetworkAndTheNetworkOfAnotherContainer(t *testing.T) {
	address, port := serving(t, api(started))
	host := official("--api.insecure=true", "--entrypoints.traefik.address=:"+port).with(func(f *fake) { f.HostConfig.NetworkMode = "host" })
	reached(t, discover(t, &engine{containers: []*fake{host}}, Options{}), "host network "+address)

	vpn := run("vpn", "vpn:1", "/vpn").publish(port, address)
	guest := official("--api.insecure=true", "--entrypoints.traefik.address=:"+port).with(func(f *fake) { f.HostConfig.NetworkMode = "container:" + container.NetworkMode(vpn.ID) })
	reached(t, discover(t, &engine{containers: []*fake{vpn, guest}}, Options{}), "published port "+address)
}

func TestWaysToAContainer(t *testing.T) {
	c := official().publish("8080", "0.0.0.0:1").publish("8080", "[::]:1").publish("8080", "127.0.0.1:2").publish("8080", "192.0.2.7:3").publish("80", "0.0.0.0:4").
		attach("b", "172.18.0.2").attach("a", "172.17.0.2").with(func(f *fake) {
		f.NetworkSettings.Networks["b"].GlobalIPv6Address = "fd00::2"
		f.NetworkSettings.Networks["none"] = nil
	}).InspectResponse
	for name, c := range map[string]struct {
		ways []way
		want string
	}{
		"here":          {waysByPublishedPort(c, "8080", ""), "[{published port 127.0.0.1:1} {published port [::1]:1} {published port 127.0.0.1:2} {published port 192.0.2.7:3}]"},
		"a remote host": {waysByPublishedPort(c, "8080", "build.example.com"), "[{published port build.example.com:1} {published port 192.0.2.7:3}]"},
		"not published": {waysByPublishedPort(c, "9000", ""), "[]"},
		"addresses":     {waysByAddress(c, "8080"), "[{address 172.17.0.2:8080} {address 172.18.0.2:8080} {address [fd00::2]:8080}]"},
	} {
		if got := fmt.Sprint(c.ways); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestAnotherTraefikAtTheSameAddressIsNotTaken(t *testing.T) {
	for name, at := range map[string]time.Time{"older": started.Add(-time.Hour), "younger": started.Add(time.Hour)} {
		address, _ := serving(t, api(at))
		e := &engine{containers: []*fake{official("--api.insecure=true").publish("8080", address)}}
		if instance := discover(t, e, Options{}); instance.Client != nil || !strings.Contains(instance.Reason, "published port "+address+": another Traefik answers there") {
			t.Errorf("%s: %+v", name, instance)
		}
	}
}

func TestSettingsAreReadFromWhereTraefikReadsThem(t *testing.T) {
	address, _ := serving(t, api(started))
	for name, c := range map[string]struct {
		container *fake
		source    string
	}{
		"flags":                 {official("--api.insecure"), "command line"},
		"environment":           {official("traefik").with(func(f *fake) { f.Config.Env = []string{"TRAEFIK_API_INSECURE=true"} }), "environment"},
		"yaml":                  {official("traefik").file("/etc/traefik/traefik.yaml", "api: {insecure: true}"), "/etc/traefik/traefik.yaml"},
		"toml before yaml":      {official("traefik").file("/etc/traefik/traefik.toml", "[api]\ninsecure = true").file("/etc/traefik/traefik.yml", "{}"), "/etc/traefik/traefik.toml"},
		"a file before flags":   {official("--api=false").file("/etc/traefik/traefik.yml", "api: {insecure: true}"), "/etc/traefik/traefik.yml"},
		"a file that is named":  {official("--configFile=/conf/t.yml").file("/conf/t.yml", "api: {insecure: true}").file("/etc/traefik/traefik.yml", "{}"), "/conf/t.yml"},
		"a name in two words":   {official("traefik", "--configfile", "t.yml").file("/work/t.yml", "api: {insecure: true}").with(func(f *fake) { f.Config.WorkingDir = "/work" }), "/work/t.yml"},
		"the working directory": {official("traefik").file("/work/traefik.yml", "api: {insecure: true}").with(func(f *fake) { f.Config.WorkingDir = "/work" }), "/work/traefik.yml"},
		"root's home":           {official("traefik").file("/root/.config/traefik.yml", "api: {insecure: true}"), "/root/.config/traefik.yml"},
		"a symbolic link":       {official("traefik").file("/etc/traefik/traefik.yml", "-> ../real.yml").file("/etc/real.yml", "api: {insecure: true}"), "/etc/traefik/traefik.yml"},
	} {
		t.Run(name, func(t *testing.T) {
			instance := discover(t, &engine{containers: []*fake{c.container.publish("8080", address)}}, Options{})
			reached(t, instance, "published port "+address)
			if instance.Settings.Source != c.source {
				t.Errorf("settings are from %q, want %q", instance.Settings.Source, c.source)
			}
		})
	}
}

func TestARouterToTheAPIIsFoundByTheContainersLabels(t *testing.T) {
	for name, c := range map[string]struct {
		rule, base, basePath string
	}{
		"host":                   {"Host(`traefik.test`)", "", ""},
		"host and the usual":     {"Host(`traefik.test`) && (PathPrefix(`/api`) || PathPrefix(`/dashboard`))", "", ""},
		"a prefix that is cut":   {"Host(`traefik.test`) && PathPrefix(`/traefik`)", "/traefik", ""},
		"a base path":            {"Host(`traefik.test`) && PathPrefix(`/ops`)", "/ops", "/ops"},
		"an other rule besides":  {"Host(`traefik.test`, `other.test`)", "", ""},
		"old quotes, odd blanks": {"Host( \"traefik.test\" )", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Host != "traefik.test" {
					http.NotFound(w, r)
					return
				}
				http.StripPrefix(c.base, api(started)).ServeHTTP(w, r)
			}))
			proxy := official("--api", "--api.basepath="+c.basePath, "--entrypoints.web.address=:80", "--entrypoints.other.address=:81", "--providers.docker").publish("80", address).
				label("traefik.http.routers.dash.rule", c.rule).label("traefik.http.routers.dash.service", "api@internal").
				label("traefik.http.routers.app.rule", "Host(`app.test`)")
			reached(t, discover(t, &engine{containers: []*fake{proxy}}, Options{}), "published port "+address)
		})
	}
}

func TestWithoutAWayTheReasonSaysWhatToWrite(t *testing.T) {
	refusing, _ := closed(t)
	guarded, _ := serving(t, replay(t, map[string]string{"/api/version": "guarded-no-password.http"}))
	for name, c := range map[string]struct {
		container *fake
		want      string
	}{
		"no API": {official("--providers.docker"),
			"its API is off: start it with --api.insecure=true, without publishing that port to the world, or name another way to it with --traefik URL"},
		"API without a router": {official("--api"),
			"its API is on, but not on an entrypoint of its own, and no label of the container routes to api@internal: add --api.insecure=true, or name it with --traefik https://USER:PASSWORD@HOST"},
		"nobody answers": {official("--api.insecure").publish("8080", refusing),
			"published port " + refusing + ": connection refused; inside the container: its image has neither wget nor curl; " +
				"publish its API to this host (ports: 127.0.0.1:8080:8080) or name it with --traefik URL"},
		"a password": {official("--api", "--entrypoints.web.address=:80").publish("80", guarded).label("traefik.http.routers.d.service", "api@internal"),
			"it wants a password: name it with --traefik https://USER:PASSWORD@HOST"},
		"a file that is not there": {official("--configfile=/conf/t.yml"),
			"read Traefik's settings (/conf/t.yml): the file is not there; name its API with --traefik URL"},
		"a file that cannot be read": {official("traefik").file("/etc/traefik/traefik.yml", "api: ["),
			"read Traefik's settings (/etc/traefik/traefik.yml): yaml: "},
		"links in a circle": {official("traefik").file("/etc/traefik/traefik.yml", "-> traefik.yml"),
			"read Traefik's settings (/etc/traefik/traefik.yml): too many symbolic links"},
		"paused":         {official("--api.insecure").with(func(f *fake) { f.State.Paused, f.State.Status = true, "paused" }), "the container is paused"},
		"restarting":     {official("--api.insecure").with(func(f *fake) { f.State.Restarting, f.State.Status = true, "restarting" }), "the container is restarting"},
		"label, no URL":  {official().label(Label, "yes"), "label roll.traefik: read the Traefik URL: yes has no http:// or https://: write it like"},
		"label, refused": {official().label(Label, "http://"+refusing), "label roll.traefik: ask Traefik proxy-traefik-1: GET http://" + refusing + "/api/version: "},
	} {
		t.Run(name, func(t *testing.T) {
			instance := discover(t, &engine{containers: []*fake{c.container}}, Options{})
			if instance.Client != nil || !strings.Contains(instance.Reason, c.want) {
				t.Errorf("got  %s\nwant %s", instance.Reason, c.want)
			}
			if instance.Throttle != 2*time.Second || instance.Name != "proxy-traefik-1" {
				t.Errorf("instance is %+v", instance)
			}
		})
	}
}

func TestTheLabelOverrulesRecognition(t *testing.T) {
	address, _ := serving(t, api(started.Add(time.Hour)))
	other, _ := serving(t, api(started))
	e := &engine{containers: []*fake{
		official("--api.insecure").label(Label, "False"),
		run("b", "mine:1", "/mine", "--api.insecure").label(Label, "true").publish("8080", other),
		run("a", "mine:1", "/mine").label(Label, "http://"+address),
		run("app", "app:1", "/app"),
	}}
	instances, err := Discover(t.Context(), e, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(instances) != 2 {
		t.Fatalf("found %+v", instances)
	}
	reached(t, instances[0], "URL http://"+address+" of label roll.traefik")
	reached(t, instances[1], "published port "+other)
}

func TestURLsReplaceDiscovery(t *testing.T) {
	one, _ := serving(t, api(started))
	two, _ := serving(t, api(started))
	instances, err := Discover(t.Context(), nil, Options{URLs: []string{"http://user:secret@" + one + "/dashboard/", "http://" + two}})
	if err != nil {
		t.Fatal(err)
	}
	if len(instances) != 2 || instances[0].Name != "http://"+one || instances[1].Name != "http://"+two {
		t.Fatalf("instances are %+v", instances)
	}
	reached(t, instances[0], "URL http://"+one)

	refusing, _ := closed(t)
	_, err = Discover(t.Context(), nil, Options{URLs: []string{"http://" + one, "http://user:secret@" + refusing, "here:80", "http://" + one + "/"}})
	if err == nil {
		t.Fatal("URLs that do not answer are an error")
	}
	for _, want := range []string{"GET http://" + refusing + "/api/version", "here:80", "http://" + one + " is given twice"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is in: %v", err)
	}
}

func TestTheEnginesErrorsAreNamed(t *testing.T) {
	_, err := Discover(t.Context(), &engine{listError: errors.New("no daemon")}, Options{})
	if err == nil || err.Error() != "find Traefik: list containers: no daemon" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Discover(ctx, &engine{containers: []*fake{official("--api.insecure").publish("8080", "127.0.0.1:1")}}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
