package compose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/network"
)

// Again creates replicas of the kind that one of them was, as Compose created
// it: the same image, settings and files, with numbers and names of their own
// and new anonymous volumes.
type Again struct {
	Engine  *Engine
	Project string
	Kept    *Kept
}

// Create creates and starts replicas until there are total of them, whatever
// their state. Their numbers begin above those that are there, as Compose's
// do (facts.md C).
func (a *Again) Create(ctx context.Context, service string, total int) error {
	there, err := a.Engine.Replicas(ctx, a.Project, service)
	if err != nil {
		return fmt.Errorf("count replicas: %w", err)
	}
	last := 0
	for _, r := range there {
		last = max(last, r.Number)
	}
	for i := range total - len(there) {
		k, err := a.Kept.Numbered(last + 1 + i)
		if err != nil {
			return err
		}
		if _, _, err := a.Engine.Restore(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// Numbered is another replica of the same kind: it has this number, and what
// belongs to the one that was kept is not part of it.
func (k *Kept) Numbered(n int) (*Kept, error) {
	if k.Config == nil || k.Host == nil || k.ImageID == "" {
		return nil, errors.New("what was kept of the replica is not whole")
	}
	config, host := *k.Config, *k.Host
	other := &Kept{
		ID: k.ID, ImageID: k.ImageID, Platform: k.Platform, Config: &config, Host: &host, Files: k.Files,
		Name: strings.TrimSuffix(k.Name, config.Labels[labelNumber]) + strconv.Itoa(n), Networks: map[string]*network.EndpointSettings{},
	}
	config.Labels = maps.Clone(config.Labels)
	if config.Labels == nil {
		config.Labels = map[string]string{}
	}
	config.Labels[labelNumber] = strconv.Itoa(n)
	own := func(volume string) bool { return slices.Contains(k.Anonymous, volume) }
	host.Binds = slices.DeleteFunc(slices.Clone(host.Binds), func(bind string) bool {
		volume, _, _ := strings.Cut(bind, ":")
		return own(volume)
	})
	host.Mounts = slices.Clone(host.Mounts)
	for i := range host.Mounts {
		if own(host.Mounts[i].Source) {
			host.Mounts[i].Source = ""
		}
	}
	for name, endpoint := range k.Networks {
		settings := anew(endpoint)
		settings.Aliases = slices.Clone(settings.Aliases)
		for i, alias := range settings.Aliases {
			if alias == k.Name {
				settings.Aliases[i] = other.Name
			}
		}
		other.Networks[name] = settings
	}
	return other, nil
}

// Kind is what replicas of one kind have in common: the image's id and the
// configuration's hash.
func (k *Kept) Kind() (imageID, hash string) { return k.ImageID, k.Config.Labels[labelHash] }

// Declared is a service as it was when this replica was created: the file's,
// with this one's image, labels, healthcheck and stop settings.
func (k *Kept) Declared(now Service) Service {
	now.Image = k.ImageID
	now.Labels = maps.Clone(k.Config.Labels)
	maps.DeleteFunc(now.Labels, func(name, _ string) bool { return strings.HasPrefix(name, "com.docker.compose.") })
	var r Replica
	fillConfig(&r, k.Config)
	now.Healthcheck, now.NoHealthcheck = r.Healthcheck, r.Healthcheck == nil
	return now
}
