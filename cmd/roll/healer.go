package main

import (
	"context"
	"fmt"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// healer is a running container that restarts unhealthy ones.
type healer struct {
	name  string
	image string
	label string // watches containers on which this is true; "all": every one
}

// healersOn finds them by their image. An autoheal (willfarrell/autoheal and
// those that follow it) is told by its environment whom to watch, a deunhealth
// (qmcgaw/deunhealth) by one label.
func healersOn(ctx context.Context, engine interface {
	ContainerList(ctx context.Context, options container.ListOptions) ([]container.Summary, error)
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
}) ([]healer, error) {
	running, err := engine.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("look for containers that restart unhealthy ones: %w", err)
	}
	var found []healer
	for _, c := range running {
		image := strings.ToLower(c.Image)
		switch {
		case strings.Contains(image, "deunhealth"):
			found = append(found, healer{nameOf(c), c.Image, "deunhealth.restart.on.unhealthy"})
		case strings.Contains(image, "autoheal"):
			full, err := engine.ContainerInspect(ctx, c.ID)
			if cerrdefs.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("inspect container %s: %w", nameOf(c), err)
			}
			found = append(found, healer{nameOf(c), c.Image, watched(full)})
		}
	}
	return found, nil
}

func nameOf(c container.Summary) string {
	if len(c.Names) == 0 {
		return c.ID[:min(12, len(c.ID))]
	}
	return strings.TrimPrefix(c.Names[0], "/")
}

// watched is the label that an autoheal goes by.
func watched(c container.InspectResponse) string {
	if c.Config != nil {
		for _, variable := range c.Config.Env {
			if value, ok := strings.CutPrefix(variable, "AUTOHEAL_CONTAINER_LABEL="); ok && value != "" {
				return value
			}
		}
	}
	return "autoheal"
}

// restarts reports whether the healer would restart the replica when it is
// unhealthy. The label autoheal: "False", in this spelling, excepts a
// container from an autoheal that watches all.
func (h healer) restarts(r compose.Replica) bool {
	if h.label == "all" {
		return r.Labels["autoheal"] != "False"
	}
	return r.Labels[h.label] == "true"
}

func (h healer) refusal(service compose.Service, r compose.Replica) deploy.Refusal {
	path, instead := []string{"labels"}, fmt.Sprintf("remove the label %s from the service, and for replicas that have it, once: docker stop %s while rolling", h.label, h.name)
	if h.label == "all" {
		instead = fmt.Sprintf(`the label autoheal: "False" on the service, and for replicas that do not have it, once: docker stop %s while rolling`, h.name)
	} else if _, written := service.Labels[h.label]; written {
		path = append(path, h.label)
	}
	return deploy.Refusal{
		Path: path, What: fmt.Sprintf("container %s (%s) restarts %s when it is unhealthy", h.name, h.image, r.Name),
		Why: "a flipped replica is unhealthy on purpose, and would be restarted with requests in it", Instead: instead,
	}
}
