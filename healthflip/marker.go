package healthflip

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
	"unicode"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

// nowhere is what the link left by unflip points to. The directory does not
// exist either, so that an application that writes through the link creates
// nothing; Debian reserves the name for this.
const nowhere = "/nonexistent/roll-unflipped"

// Mount is a place in a replica's file system that is not its own layer.
type Mount struct {
	Type        string // bind, volume, tmpfs, image
	Source      string // host path, or the volume's name; empty for an anonymous volume
	Destination string
	ReadOnly    bool
}

// Check refuses a marker file that the archive API cannot put where the
// replica sees it (facts.md D5), or that would flip other replicas too:
// below a tmpfs, on a read-only root or mount, on a bind mount or a named
// volume. It is for labels that [Way] accepts; with another way than
// roll.flip.file it has nothing to say. Every error is a [LabelError].
func Check(labels map[string]string, readOnlyRoot bool, mounts []Mount) error {
	w, err := parse(labels, nil)
	if err != nil {
		return err
	}
	file, ok := w.(fileWay)
	if !ok {
		return nil
	}
	refuse := func(problem, instead string) error {
		return LabelError{labelFile, file.path, problem, instead}
	}
	elsewhere := "a path in the container's own layer, such as roll.flip.file: /drain"
	exec := fmt.Sprintf("roll.flip.exec: touch %s and roll.unflip.exec: rm -f %[1]s", quote([]string{file.path}))
	for _, system := range []string{"/proc", "/sys", "/dev"} {
		if within(file.path, system) {
			return refuse(system+" belongs to the kernel", elsewhere)
		}
	}
	for _, marker := range aliases(file.path) {
		mount, mounted := mountOf(marker, mounts)
		where := fmt.Sprintf("the %s mount at %s", mount.Type, mount.Destination)
		switch {
		case !mounted && readOnlyRoot:
			return refuse("the root file system is read-only, so no file can be written to it",
				"roll.flip.http or roll.flip.signal, or remove read_only")
		case !mounted:
		case mount.Type == "tmpfs":
			return refuse(fmt.Sprintf("the Engine cannot write below the tmpfs at %s where the replica would see it", mount.Destination), exec)
		case path.Clean(mount.Destination) == marker:
			return refuse(where+" is the marker itself, so the file would always exist", elsewhere)
		case mount.ReadOnly:
			return refuse(where+" is read-only", elsewhere)
		case !anonymous(mount):
			return refuse(where+" is shared by the service's replicas, so the marker would flip all of them at once", elsewhere)
		}
	}
	return nil
}

// aliases adds the one directory that nearly every image has as a link.
func aliases(marker string) []string {
	if rest, ok := strings.CutPrefix(marker, "/var/run/"); ok {
		return []string{marker, "/run/" + rest}
	}
	return []string{marker}
}

// mountOf returns the innermost mount that marker lies in.
func mountOf(marker string, mounts []Mount) (Mount, bool) {
	var inner Mount
	found := false
	for _, mount := range mounts {
		if within(marker, mount.Destination) && (!found || len(path.Clean(mount.Destination)) > len(path.Clean(inner.Destination))) {
			inner, found = mount, true
		}
	}
	return inner, found
}

func within(name, directory string) bool {
	directory = path.Clean(directory)
	return name == directory || strings.HasPrefix(name, strings.TrimSuffix(directory, "/")+"/")
}

// anonymous volumes are made anew for every container; the Engine names them
// with 64 hexadecimal digits.
func anonymous(mount Mount) bool {
	return mount.Type == "volume" &&
		(mount.Source == "" || len(mount.Source) == 64 && strings.Trim(mount.Source, "0123456789abcdef") == "")
}

// fileWay creates and removes a marker file.
type fileWay struct{ path string }

func parseFile(value string) (way, error) {
	refuse := func(problem, instead string) (way, error) {
		return nil, LabelError{labelFile, value, problem, labelFile + ": " + instead}
	}
	switch {
	case strings.TrimSpace(value) == "":
		return refuse("it is empty", "/tmp/drain")
	case strings.ContainsFunc(value, unicode.IsControl):
		return refuse("it has a control character", "/tmp/drain")
	case !path.IsAbs(value):
		return refuse("the path is relative, and the Engine has no working directory", path.Clean("/"+value))
	case path.Clean(value) == "/":
		return refuse("it is a directory", "/tmp/drain")
	case path.Clean(value) != value:
		return refuse("the path is not in its shortest form", path.Clean(value))
	}
	return fileWay{value}, nil
}

func (w fileWay) text() string { return "file " + w.path }

func (w fileWay) flip(ctx context.Context, f *Flipper, r replica) error {
	if err := Check(r.labels, r.readOnly, r.mounts); err != nil {
		return err
	}
	// Not empty, so that test -s finds it as well.
	content := []byte("unhealthy\n")
	return f.put(ctx, r, w.path, tar.Header{Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}, content)
}

func (w fileWay) unflip(ctx context.Context, f *Flipper, r replica) error {
	if err := Check(r.labels, r.readOnly, r.mounts); err != nil {
		return err
	}
	// As root, because the archive API wrote the marker as root.
	done, err := f.run(ctx, r, container.ExecOptions{User: "0", Cmd: []string{"rm", "-f", w.path}})
	switch {
	case errors.Is(err, ErrGone) || ctx.Err() != nil:
		return err
	case err == nil && done.code == 0:
		return nil
	}
	return f.put(ctx, r, w.path, tar.Header{Typeflag: tar.TypeSymlink, Linkname: nowhere, Mode: 0o777}, nil)
}

// put replaces one file of the replica. A directory in its place is left alone
// and is an error.
func (f *Flipper) put(ctx context.Context, r replica, name string, header tar.Header, content []byte) error {
	header.Name = path.Base(name)
	header.ModTime = time.Now()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&header); err != nil {
		return fmt.Errorf("pack the marker file: %w", err)
	}
	if _, err := w.Write(content); err != nil {
		return fmt.Errorf("pack the marker file: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("pack the marker file: %w", err)
	}
	f.calls.Add(1)
	err := f.docker.CopyToContainer(ctx, r.id, path.Dir(name), &archive, container.CopyToContainerOptions{})
	if cerrdefs.IsNotFound(err) {
		// The Engine says the same of a missing container and of a missing directory.
		if _, gone := f.inspect(ctx, r.id); gone != nil {
			return gone
		}
		return LabelError{labelFile, name, fmt.Sprintf("the replica has no directory %s", path.Dir(name)),
			"create it in the image, or name a path in a directory that exists"}
	}
	return wrap(err, "write "+name+" in the replica")
}
