package healthflip

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
)

var _ Docker = (*client.Client)(nil)

// fakeDocker is an Engine with one running container. Nil functions are
// requests that the test does not expect.
type fakeDocker struct {
	t       *testing.T
	inspect func() (container.InspectResponse, error)
	run     func(options container.ExecOptions) (code int, stdout, stderr string)
	attach  func() error // an error of starting, told instead of a stream
	hang    func()       // commands print stdout, call this, and never end
	copy    func(directory string, header *tar.Header, content string) error
	kill    func(signal string) error

	mu     sync.Mutex
	asked  []string // one word a request
	ending int
}

func (d *fakeDocker) note(request string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, request)
}

func (d *fakeDocker) requests() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.asked, " ")
}

func (d *fakeDocker) ContainerInspect(context.Context, string) (container.InspectResponse, error) {
	d.note("inspect")
	return d.inspect()
}

func (d *fakeDocker) ContainerExecCreate(_ context.Context, _ string, options container.ExecOptions) (container.ExecCreateResponse, error) {
	d.note("create")
	if d.run == nil {
		d.t.Errorf("unexpected exec of %q", options.Cmd)
		return container.ExecCreateResponse{}, cerrdefs.ErrNotImplemented
	}
	code, stdout, stderr := d.run(options)
	if code < 0 {
		return container.ExecCreateResponse{}, cerrdefs.ErrNotFound
	}
	d.ending = code
	return container.ExecCreateResponse{ID: frame(1, stdout) + frame(2, stderr)}, nil
}

// frame is one piece of the Engine's multiplexed stream.
func frame(stream byte, text string) string {
	header := make([]byte, 8)
	header[0] = stream
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return string(header) + text
}

func (d *fakeDocker) ContainerExecAttach(_ context.Context, id string, _ container.ExecAttachOptions) (types.HijackedResponse, error) {
	d.note("attach")
	if d.attach != nil {
		return types.HijackedResponse{}, d.attach()
	}
	near, far := net.Pipe()
	var output io.Reader = strings.NewReader(id)
	if d.hang != nil {
		output = io.MultiReader(output, &hanging{Reader: near, begin: d.hang})
	}
	d.t.Cleanup(func() { far.Close() })
	return types.HijackedResponse{Conn: near, Reader: bufio.NewReader(output)}, nil
}

// hanging calls begin when everything before it has been read.
type hanging struct {
	io.Reader
	begin func()
}

func (h *hanging) Read(p []byte) (int, error) {
	h.begin()
	return h.Reader.Read(p)
}

func (d *fakeDocker) ContainerExecInspect(context.Context, string) (container.ExecInspect, error) {
	d.note("ask")
	return container.ExecInspect{ExitCode: d.ending}, nil
}

func (d *fakeDocker) CopyToContainer(_ context.Context, _, directory string, content io.Reader, options container.CopyToContainerOptions) error {
	d.note("copy")
	if options.AllowOverwriteDirWithFile {
		d.t.Error("a directory in the marker's place would be deleted")
	}
	archive := tar.NewReader(content)
	header, err := archive.Next()
	if err != nil {
		d.t.Errorf("read the archive: %v", err)
		return err
	}
	body, err := io.ReadAll(archive)
	if err != nil {
		d.t.Errorf("read the archive: %v", err)
	}
	if _, err := archive.Next(); err != io.EOF {
		d.t.Errorf("more than one file in the archive: %v", err)
	}
	return d.copy(directory, header, string(body))
}

func (d *fakeDocker) ContainerKill(_ context.Context, _, signal string) error {
	d.note("kill")
	return d.kill(signal)
}

// running is the inspect document of a running replica.
func running(labels map[string]string, change ...func(*container.InspectResponse)) func() (container.InspectResponse, error) {
	found := container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{
			Path: "/app", Args: []string{"serve"},
			State:      &container.State{Running: true, Status: container.StateRunning},
			HostConfig: &container.HostConfig{},
		},
		Config:          &container.Config{Labels: labels},
		NetworkSettings: &container.NetworkSettings{},
	}
	for _, c := range change {
		c(&found)
	}
	return func() (container.InspectResponse, error) { return found, nil }
}

// reachable gives the replica an address and exposes a port.
func reachable(addresses []netip.Addr, ports ...string) func(*container.InspectResponse) {
	return func(found *container.InspectResponse) {
		found.NetworkSettings.Networks = map[string]*network.EndpointSettings{}
		for _, address := range addresses {
			endpoint := &network.EndpointSettings{IPAddress: address.String()}
			if address.Is6() {
				endpoint = &network.EndpointSettings{GlobalIPv6Address: address.String()}
			}
			found.NetworkSettings.Networks[address.String()] = endpoint
		}
		found.Config.ExposedPorts = nat.PortSet{}
		for _, port := range ports {
			found.Config.ExposedPorts[nat.Port(port)] = struct{}{}
		}
	}
}

func addressOf(t *testing.T, server *httptest.Server) netip.AddrPort {
	t.Helper()
	address, err := netip.ParseAddrPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// checkError compares the whole text; "" wants no error.
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("error:\n got %s\nwant %s", got, want)
	}
}

func TestCaptureKeepsBothEndsOfALongOutput(t *testing.T) {
	var c capture
	for range 3 {
		if n, err := c.Write(bytes.Repeat([]byte("a"), 3000)); n != 3000 || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	if _, err := c.Write(append(bytes.Repeat([]byte("b"), 5000), "end"...)); err != nil {
		t.Fatal(err)
	}
	if len(c.head) != keep || len(c.tail) != keep || c.head[0] != 'a' || !strings.HasSuffix(string(c.tail), "bend") {
		t.Errorf("head %d %q..., tail %d ...%q", len(c.head), c.head[:3], len(c.tail), c.tail[len(c.tail)-4:])
	}
}
