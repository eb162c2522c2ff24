package compose

import (
	"fmt"
	"slices"
)

// Stale are the names of containers that `docker compose up` would replace.
type Stale []string

// stale reads them from a rehearsal of `up`.
func stale(actions []Action) Stale {
	var names Stale
	for _, a := range actions {
		switch a.Status {
		case "Recreate", "Recreated", "Stopping", "Stopped", "Removing", "Removed":
			if a.Kind == "Container" && !slices.Contains(names, a.Name) {
				names = append(names, a.Name)
			}
		}
	}
	return names
}

// Outdated says whether a replica is not what the project asks for, and why.
// imageID is what the service's image reference means now; empty: not known.
// Compose does not see every image that changed (it compares a label, which
// may be missing), so that the image counts by itself.
func (s Stale) Outdated(r Replica, imageID string) (reason string, outdated bool) {
	if imageID != "" && r.ImageID != imageID {
		return fmt.Sprintf("image is now %s (this one runs %s of %s)", digest(imageID), digest(r.ImageID), r.Image), true
	}
	if slices.Contains(s, r.Name) {
		return "configuration changed: docker compose up would replace it", true
	}
	return "", false
}

// Outdated says whether a replica is not what the project asks for, and why.
// hash is the configuration's hash by the Compose that would create replicas
// now; imageID is what the service's image reference means now. An empty one
// is not known and not compared.
//
// Ask Stale instead where a Compose is at hand: CLI.Hash says where its hashes
// cannot be compared. A hash that another version of Compose wrote may differ although
// the configuration does not (facts.md C, config-hash): the reason names the
// writer, so that a person can tell.
func Outdated(r Replica, hash, imageID string) (reason string, outdated bool) {
	if hash != "" && r.ConfigHash != hash {
		writer := ""
		if r.Version != "" {
			writer = ", written by Compose " + r.Version
		}
		if r.ConfigHash == "" {
			return "it carries no configuration hash", true
		}
		return fmt.Sprintf("configuration changed (hash %s -> %s%s)", brief(r.ConfigHash, 4), brief(hash, 4), writer), true
	}
	if imageID != "" && r.ImageID != imageID {
		return fmt.Sprintf("image %s is now %s (this one runs %s)", r.Image, digest(imageID), digest(r.ImageID)), true
	}
	return "", false
}

func digest(id string) string {
	const prefix = "sha256:"
	if len(id) > len(prefix) && id[:len(prefix)] == prefix {
		return prefix + brief(id[len(prefix):], 12)
	}
	return brief(id, 12)
}

func brief(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
