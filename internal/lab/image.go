package lab

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

const (
	// TraefikImage is the Traefik that routes to the projects of the lab.
	TraefikImage = "traefik:v3.6"
	// traefikVersion is what is built where the image cannot be pulled; see traefikbuild/go.mod.
	traefikVersion = "3.6.12"
	// ReplicaImage is the repository of the images of the lab's own server; its tags are versions.
	ReplicaImage = "roll-lab/replica"
	// sourceLabel tells from which sources a replica image was built, so that a changed server is rebuilt.
	sourceLabel = "roll-lab.source"
)

// provideTraefik makes sure that the engine has the image of Traefik: it is there, or it is pulled, or it is built from
// source and imported.
func provideTraefik(ctx context.Context, p *progress, s state, c *client.Client) error {
	if _, err := c.ImageInspect(ctx, TraefikImage); err == nil {
		return nil
	} else if !errdefs.IsNotFound(err) {
		return err
	}
	binary := s.path("traefik-v"+traefikVersion, "traefik")
	if _, err := os.Stat(binary); err != nil { // a binary built before says that pulling did not work
		if err := p.step("pull "+TraefikImage, func() error { return pull(ctx, c, TraefikImage) }); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return err
		}
	}
	err := s.build(ctx, binary, func(tmp string) error {
		dir, err := moduleDir("traefikbuild")
		if err != nil {
			return err
		}
		return p.step("build Traefik "+traefikVersion+" (5 minutes on two cores the first time)", func() error {
			return buildGo(ctx, dir, tmp, "github.com/traefik/traefik/v3/pkg/version.Version="+traefikVersion, "github.com/traefik/traefik/v3/cmd/traefik")
		})
	})
	if err != nil {
		return fmt.Errorf("build Traefik: %w", err)
	}
	return p.step("import "+TraefikImage, func() error {
		return importBinaries(ctx, c, []string{binary}, TraefikImage, `ENTRYPOINT ["/traefik"]`, "EXPOSE 80")
	})
}

// pull pulls an image without credentials. Without a registry in reach it gives up after a minute of silence.
func pull(ctx context.Context, c *client.Client, ref string) error {
	silence := errors.New("no progress for a minute")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(time.Minute, func() { cancel(silence) })
	defer watchdog.Stop()
	body, err := c.ImagePull(ctx, ref, image.PullOptions{})
	if err == nil {
		defer body.Close()
		err = readStream(body, func() { watchdog.Reset(time.Minute) })
	}
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("pull %s: %w", ref, err)
	}
	return nil
}

// readStream reads the messages with which the engine reports a pull or an import, and returns the error among them.
func readStream(r io.Reader, each func()) error {
	messages := json.NewDecoder(bufio.NewReader(r))
	for {
		var m struct {
			Error string `json:"error"`
		}
		err := messages.Decode(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
		each()
	}
}

// importBinaries makes an image that holds static programs, in the root folder under their own names, and an empty /tmp.
// changes are Dockerfile instructions.
func importBinaries(ctx context.Context, c *client.Client, binaries []string, ref string, changes ...string) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeImage(w, binaries...)) }()
	defer r.Close()
	body, err := c.ImageImport(ctx, image.ImportSource{Source: r, SourceName: "-"}, ref, image.ImportOptions{Changes: changes})
	if err != nil {
		return fmt.Errorf("import %s: %w", ref, err)
	}
	defer body.Close()
	if err := readStream(body, func() {}); err != nil {
		return fmt.Errorf("import %s: %w", ref, err)
	}
	return nil
}

// writeImage writes the root file system of such an image as a tar archive.
func writeImage(w io.Writer, binaries ...string) error {
	t := tar.NewWriter(w)
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return err
	}
	for _, binary := range binaries {
		if err := writeProgram(t, binary); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeProgram(t *tar.Writer, binary string) error {
	f, err := os.Open(binary)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.Base(binary), Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

// Replica makes sure that the engine has an image of the lab's server that answers with version, and returns its name.
// env is baked into the image as NAME=VALUE, for versions that crash or never become healthy; see the variables in the
// replica folder. Images of different versions or variables have different ids. Each also holds /roll-init, for projects
// that make it the entrypoint.
func (l *Lab) Replica(ctx context.Context, version string, env ...string) (string, error) {
	ref := ReplicaImage + ":" + version
	binary, source, err := l.program(ctx, "replica", "replica")
	if err != nil {
		return "", fmt.Errorf("build the replica: %w", err)
	}
	pid1, pid1Source, err := l.program(ctx, "roll-init", filepath.Join("..", "..", "cmd", "roll-init"))
	if err != nil {
		return "", fmt.Errorf("build roll-init: %w", err)
	}
	env = slices.Sorted(slices.Values(append([]string{"VERSION=" + version}, env...)))
	sum := sha256.New()
	fmt.Fprintln(sum, source, pid1Source, env)
	label := hex.EncodeToString(sum.Sum(nil))[:16]

	release, err := l.state.lock(ctx, "replica-image")
	if err != nil {
		return "", err
	}
	defer release()
	found, err := l.Docker.ImageInspect(ctx, ref)
	if err == nil && found.Config != nil && found.Config.Labels[sourceLabel] == label {
		return ref, nil
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return "", err
	}
	changes := []string{`ENTRYPOINT ["/replica"]`, "EXPOSE 8080", "LABEL " + sourceLabel + "=" + label}
	for _, pair := range env {
		changes = append(changes, "ENV "+pair)
	}
	return ref, importBinaries(ctx, l.Docker, []string{binary, pid1}, ref, changes...)
}

// program builds one of our programs from a folder, relative to the lab's, once for every state of its sources.
func (l *Lab) program(ctx context.Context, name, folder string) (path, source string, err error) {
	dir, err := moduleDir(folder)
	if err != nil {
		return "", "", err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", "", err
	}
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version())
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return "", "", err
		}
		fmt.Fprintln(sum, filepath.Base(file), len(text))
		sum.Write(text)
	}
	source = hex.EncodeToString(sum.Sum(nil))[:16]
	path = l.state.path(name+"-"+source, name)
	err = l.state.build(ctx, path, func(tmp string) error {
		return l.progress.step("build "+name, func() error { return buildGo(ctx, dir, tmp, "", ".") })
	})
	return path, source, err
}
