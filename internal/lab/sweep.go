package lab

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

var projectPattern = regexp.MustCompile(`(?:^|[^a-z0-9])(` + projectPrefix + `-(\d+)-[0-9a-f]{8})`)

// ownerOf returns the project that a container, network or volume belongs to by its name, and the process that made
// the project; ok is false for what is not of the lab.
func ownerOf(name string) (project string, pid int, ok bool) {
	found := projectPattern.FindStringSubmatch(name)
	if found == nil {
		return "", 0, false
	}
	pid, err := strconv.Atoi(found[2])
	return found[1], pid, err == nil
}

// leftovers are the projects on the engine whose processes have ended.
func leftovers(ctx context.Context, c *client.Client) ([]string, error) {
	var names []string
	containers, err := c.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, err
	}
	for _, one := range containers {
		names = append(names, one.Names...)
	}
	networks, err := c.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, one := range networks {
		names = append(names, one.Name)
	}
	volumes, err := c.VolumeList(ctx, volume.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, one := range volumes.Volumes {
		names = append(names, one.Name)
	}
	var projects []string
	for _, name := range names {
		if project, pid, ok := ownerOf(name); ok && !alive(pid) {
			projects = append(projects, project)
		}
	}
	slices.Sort(projects)
	return slices.Compact(projects), nil
}

// sweep removes what killed or keeping test processes left on the engine.
func sweep(ctx context.Context, p *progress, c *client.Client) error {
	projects, err := leftovers(ctx, c)
	if err != nil {
		return err
	}
	var failed error
	for _, project := range projects {
		failed = errors.Join(failed, p.step("remove "+project, func() error { return remove(ctx, c, project) }))
	}
	return failed
}

// sweepFolders removes the project folders of processes that have ended.
func (s state) sweepFolders() error {
	entries, err := os.ReadDir(s.path("projects"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if _, pid, ok := ownerOf(e.Name()); ok && !alive(pid) {
			err = errors.Join(err, os.RemoveAll(s.path("projects", e.Name())))
		}
	}
	return err
}
