package traefik

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

// settings reads the one source that Traefik reads: a file, else the command
// line, else the environment.
func (s search) settings(ctx context.Context, c container.InspectResponse, argv []string) (Settings, error) {
	args, found := arguments(argv)
	if i := slices.IndexFunc(argv, func(word string) bool { return strings.HasPrefix(word, "-") }); !found && i >= 0 {
		args = argv[i:]
	}
	flags := flatFlags(args)
	for _, file := range configFiles(flags["configfile"], c.Config) {
		content, err := s.readFile(ctx, c.ID, file)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return Settings{}, fmt.Errorf("read Traefik's settings (%s): %w", file, err)
		}
		flat, err := flatFile(file, content)
		if err != nil {
			return Settings{}, err
		}
		return settingsFrom(file, flat)
	}
	if file := flags["configfile"]; file != "" {
		return Settings{}, fmt.Errorf("read Traefik's settings (%s): the file is not there", file)
	}
	if len(args) > 0 {
		return settingsFrom("command line", flags)
	}
	if flat := flatEnvironment(c.Config.Env); len(flat) > 0 {
		return settingsFrom("environment", flat)
	}
	return settingsFrom("defaults", nil)
}

// configFiles are the places where Traefik looks, in its order
// (loadConfigFiles in its pkg/cli/loader_file.go).
func configFiles(named string, config *container.Config) []string {
	directory := path.Join("/", config.WorkingDir)
	if named != "" {
		if !path.IsAbs(named) {
			named = path.Join(directory, named)
		}
		return []string{path.Clean(named)}
	}
	home, xdg := "", ""
	for _, variable := range config.Env {
		if value, ok := strings.CutPrefix(variable, "HOME="); ok {
			home = value
		}
		if value, ok := strings.CutPrefix(variable, "XDG_CONFIG_HOME="); ok {
			xdg = value
		}
	}
	if home == "" && (config.User == "" || config.User == "root" || config.User == "0") {
		home = "/root"
	}
	bases := []string{"/etc/traefik/traefik", path.Join("/", xdg, "traefik")}
	if home != "" {
		bases = append(bases, path.Join("/", home, ".config/traefik"))
	}
	bases = append(bases, path.Join(directory, "traefik"))
	var files []string
	for _, base := range bases {
		for _, extension := range []string{".toml", ".yaml", ".yml"} {
			if !slices.Contains(files, base+extension) {
				files = append(files, base+extension)
			}
		}
	}
	return files
}

// readFile takes one file out of a container, through symbolic links.
func (s search) readFile(ctx context.Context, id, file string) ([]byte, error) {
	const largest, links = 1 << 20, 5
	for range links {
		content, target, err := s.readEntry(ctx, id, file, largest)
		if err != nil || target == "" {
			return content, err
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(file), target)
		}
		file = target
	}
	return nil, errors.New("too many symbolic links")
}

// readEntry is a file's content, or where a symbolic link leads.
func (s search) readEntry(ctx context.Context, id, file string, largest int64) (content []byte, target string, err error) {
	archive, _, err := s.docker.CopyFromContainer(ctx, id, file)
	if err != nil {
		return nil, "", err
	}
	defer archive.Close()
	reader := tar.NewReader(archive)
	entry, err := reader.Next()
	if err != nil {
		return nil, "", err
	}
	switch {
	case entry.Typeflag == tar.TypeSymlink:
		return nil, entry.Linkname, nil
	case entry.Typeflag != tar.TypeReg:
		return nil, "", errors.New("it is not a file")
	case entry.Size > largest:
		return nil, "", errors.New("it is larger than " + strconv.FormatInt(largest, 10) + " bytes")
	}
	content, err = io.ReadAll(reader)
	return content, "", err
}
