package healthflip

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

func TestCheckRefusesAMarkerThatTheReplicaWouldNotSeeAlone(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	touch := "instead: roll.flip.exec: touch /tmp/drain and roll.unflip.exec: rm -f /tmp/drain"
	own := "instead: a path in the container's own layer, such as roll.flip.file: /drain"
	for _, test := range []struct {
		name     string
		file     string
		readOnly bool
		mounts   []Mount
		want     string
	}{
		{name: "the container's own layer", file: "/tmp/drain"},
		{name: "a mount elsewhere", file: "/tmp/drain", mounts: []Mount{{Type: "tmpfs", Destination: "/tmpfiles"}, {Type: "bind", Source: "/a", Destination: "/tmp/other"}}},
		{name: "an anonymous volume on a read-only root", file: "/tmp/drain", readOnly: true, mounts: []Mount{{Type: "volume", Source: hex, Destination: "/tmp"}}},
		{name: "an anonymous volume of a Compose file", file: "/tmp/drain", mounts: []Mount{{Type: "volume", Destination: "/tmp/"}}},
		{name: "an anonymous volume inside a tmpfs", file: "/tmp/a/drain", mounts: []Mount{{Type: "volume", Destination: "/tmp/a"}, {Type: "tmpfs", Destination: "/tmp"}}},
		{name: "a tmpfs", file: "/tmp/drain", mounts: []Mount{{Type: "tmpfs", Destination: "/tmp"}},
			want: `label roll.flip.file: "/tmp/drain": the Engine cannot write below the tmpfs at /tmp where the replica would see it; ` + touch},
		{name: "a tmpfs inside a volume", file: "/tmp/drain", mounts: []Mount{{Type: "tmpfs", Destination: "/tmp/"}, {Type: "volume", Destination: "/"}},
			want: `label roll.flip.file: "/tmp/drain": the Engine cannot write below the tmpfs at /tmp/ where the replica would see it; ` + touch},
		{name: "a tmpfs behind the usual link", file: "/var/run/drain", mounts: []Mount{{Type: "tmpfs", Destination: "/run"}},
			want: `label roll.flip.file: "/var/run/drain": the Engine cannot write below the tmpfs at /run where the replica would see it; instead: roll.flip.exec: touch /var/run/drain and roll.unflip.exec: rm -f /var/run/drain`},
		{name: "a read-only root", file: "/tmp/drain", readOnly: true,
			want: `label roll.flip.file: "/tmp/drain": the root file system is read-only, so no file can be written to it; instead: roll.flip.http or roll.flip.signal, or remove read_only`},
		{name: "a read-only mount", file: "/tmp/drain", mounts: []Mount{{Type: "volume", Source: "", Destination: "/tmp", ReadOnly: true}},
			want: `label roll.flip.file: "/tmp/drain": the volume mount at /tmp is read-only; ` + own},
		{name: "a bind mount", file: "/tmp/drain", mounts: []Mount{{Type: "bind", Source: "/srv", Destination: "/tmp"}},
			want: `label roll.flip.file: "/tmp/drain": the bind mount at /tmp is shared by the service's replicas, so the marker would flip all of them at once; ` + own},
		{name: "a named volume", file: "/tmp/drain", mounts: []Mount{{Type: "volume", Source: "web_data", Destination: "/tmp"}},
			want: `label roll.flip.file: "/tmp/drain": the volume mount at /tmp is shared by the service's replicas, so the marker would flip all of them at once; ` + own},
		{name: "the marker is a mount", file: "/tmp/drain", mounts: []Mount{{Type: "bind", Source: "/srv/drain", Destination: "/tmp/drain"}},
			want: `label roll.flip.file: "/tmp/drain": the bind mount at /tmp/drain is the marker itself, so the file would always exist; ` + own},
		{name: "shared memory", file: "/dev/shm/drain",
			want: `label roll.flip.file: "/dev/shm/drain": /dev belongs to the kernel; ` + own},
	} {
		t.Run(test.name, func(t *testing.T) {
			labels := map[string]string{"roll.flip.file": test.file}
			checkError(t, Check(labels, test.readOnly, test.mounts), test.want)
		})
	}
	t.Run("another way has no marker", func(t *testing.T) {
		checkError(t, Check(map[string]string{"roll.flip": "none"}, true, nil), "")
	})
	t.Run("labels that are refused anyway", func(t *testing.T) {
		checkError(t, Check(map[string]string{"roll.flip.file": "drain"}, false, nil),
			`label roll.flip.file: "drain": the path is relative, and the Engine has no working directory; instead: roll.flip.file: /drain`)
	})
}

func TestFlipWritesTheMarkerAndUnflipTakesItAway(t *testing.T) {
	labels := map[string]string{"roll.flip.file": "/tmp/drain"}
	var put string
	record := func(directory string, header *tar.Header, content string) error {
		put = fmt.Sprintf("%s %s %c %s %q", directory, header.Name, header.Typeflag, header.Linkname, content)
		return nil
	}
	t.Run("flip", func(t *testing.T) {
		docker := &fakeDocker{t: t, inspect: running(labels), copy: record}
		f := New(docker)
		checkError(t, f.Flip(t.Context(), "id"), "")
		if want := `/tmp drain 0  "unhealthy\n"`; put != want {
			t.Errorf("wrote %s, want %s", put, want)
		}
		if docker.requests() != "inspect copy" || f.Calls() != 2 {
			t.Errorf("%d requests: %s", f.Calls(), docker.requests())
		}
	})
	t.Run("unflip with rm in the image", func(t *testing.T) {
		docker := &fakeDocker{t: t, inspect: running(labels), run: func(options container.ExecOptions) (int, string, string) {
			if got := options.User + " " + strings.Join(options.Cmd, " "); got != "0 rm -f /tmp/drain" {
				t.Errorf("ran %s", got)
			}
			return 0, "", ""
		}}
		f := New(docker)
		checkError(t, f.Unflip(t.Context(), "id"), "")
		if docker.requests() != "inspect create attach ask" || f.Calls() != 4 {
			t.Errorf("%d requests: %s", f.Calls(), docker.requests())
		}
	})
	for name, code := range map[string]int{"unflip without rm in the image": 127, "unflip where rm fails": 1} {
		t.Run(name, func(t *testing.T) {
			put = ""
			docker := &fakeDocker{t: t, inspect: running(labels), copy: record,
				run: func(container.ExecOptions) (int, string, string) { return code, "", "no" }}
			checkError(t, New(docker).Unflip(t.Context(), "id"), "")
			if want := `/tmp drain 2 /nonexistent/roll-unflipped ""`; put != want {
				t.Errorf("wrote %s, want %s", put, want)
			}
		})
	}
	t.Run("unflip of a container that goes meanwhile", func(t *testing.T) {
		docker := &fakeDocker{t: t, inspect: running(labels), run: func(container.ExecOptions) (int, string, string) { return -1, "", "" }}
		err := New(docker).Unflip(t.Context(), "id")
		checkError(t, err, "run rm -f /tmp/drain in the replica: the container is gone")
		if !errors.Is(err, ErrGone) {
			t.Error("not ErrGone")
		}
	})
}

func TestFlipRefusesAMarkerByWhatTheInspectTells(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*container.InspectResponse)
		want   string
	}{
		{"tmpfs: of Compose", func(c *container.InspectResponse) { c.HostConfig.Tmpfs = map[string]string{"/tmp": "size=1m"} },
			`the Engine cannot write below the tmpfs at /tmp where the replica would see it; instead: roll.flip.exec: touch /tmp/drain and roll.unflip.exec: rm -f /tmp/drain`},
		{"a tmpfs mount", func(c *container.InspectResponse) {
			c.Mounts = []container.MountPoint{{Type: mount.TypeTmpfs, Destination: "/tmp", RW: true}}
		}, `the Engine cannot write below the tmpfs at /tmp where the replica would see it; instead: roll.flip.exec: touch /tmp/drain and roll.unflip.exec: rm -f /tmp/drain`},
		{"a named volume", func(c *container.InspectResponse) {
			c.Mounts = []container.MountPoint{{Type: mount.TypeVolume, Name: "data", Source: "/var/lib/docker/volumes/data/_data", Destination: "/tmp", RW: true}}
		}, `the volume mount at /tmp is shared by the service's replicas, so the marker would flip all of them at once; instead: a path in the container's own layer, such as roll.flip.file: /drain`},
		{"a read-only root", func(c *container.InspectResponse) { c.HostConfig.ReadonlyRootfs = true },
			`the root file system is read-only, so no file can be written to it; instead: roll.flip.http or roll.flip.signal, or remove read_only`},
	} {
		t.Run(test.name, func(t *testing.T) {
			docker := &fakeDocker{t: t, inspect: running(map[string]string{"roll.flip.file": "/tmp/drain"}, test.change)}
			want := `label roll.flip.file: "/tmp/drain": ` + test.want
			f := New(docker)
			checkError(t, f.Flip(t.Context(), "id"), want)
			checkError(t, f.Unflip(t.Context(), "id"), want)
			if docker.requests() != "inspect inspect" {
				t.Errorf("requests: %s", docker.requests())
			}
		})
	}
}

func TestAMarkerThatCannotBeWrittenSaysWhy(t *testing.T) {
	labels := map[string]string{"roll.flip.file": "/var/app/drain"}
	t.Run("no such directory", func(t *testing.T) {
		docker := &fakeDocker{t: t, inspect: running(labels), copy: func(string, *tar.Header, string) error { return cerrdefs.ErrNotFound }}
		checkError(t, New(docker).Flip(t.Context(), "id"),
			`label roll.flip.file: "/var/app/drain": the replica has no directory /var/app; instead: create it in the image, or name a path in a directory that exists`)
	})
	t.Run("no such container any more", func(t *testing.T) {
		docker := &fakeDocker{t: t}
		docker.inspect = running(labels)
		docker.copy = func(string, *tar.Header, string) error {
			docker.inspect = func() (container.InspectResponse, error) { return container.InspectResponse{}, cerrdefs.ErrNotFound }
			return cerrdefs.ErrNotFound
		}
		if err := New(docker).Flip(t.Context(), "id"); !errors.Is(err, ErrGone) {
			t.Errorf("got %v, want ErrGone", err)
		}
	})
	t.Run("anything else", func(t *testing.T) {
		docker := &fakeDocker{t: t, inspect: running(labels), copy: func(string, *tar.Header, string) error { return errors.New("disk full") }}
		checkError(t, New(docker).Flip(t.Context(), "id"), "write /var/app/drain in the replica: disk full")
	})
}
