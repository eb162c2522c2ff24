package compose

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

// The files that say in an exhibit what became of the container.
const (
	exhibitLog     = "roll-failed.log"  // its last lines
	exhibitInspect = "roll-failed.json" // its inspect document
	exhibitLines   = 10_000
	labelExhibit   = "roll.failed" // the name of the container that it is a copy of
)

// Exhibit leaves a stopped container for inspection in the only way in which
// nobody takes it for a replica: Compose starts whatever carries its labels,
// and labels cannot be taken off. So it makes a copy, which is never started:
// the same image, command, environment, injected files, named volumes and
// networks, without the labels of Compose, Traefik and roll, without network
// aliases, published ports and restart policy, and with the log and the
// inspect document of the container as files in its root folder. What the
// program wrote into its own layer is not in it. It returns the copy's name.
func (e *Engine) Exhibit(ctx context.Context, id string) (name string, err error) {
	k, err := e.Keep(ctx, id)
	if err != nil {
		return "", err
	}
	name = "roll-failed-" + k.Name
	e.calls.Add(1)
	image, err := e.api.ImageInspect(ctx, k.ImageID)
	if err != nil {
		return "", fmt.Errorf("look up image %s: %w", digest(k.ImageID), err)
	}
	var inherited map[string]string
	if image.Config != nil {
		inherited = image.Config.Labels
	}
	k.hide(inherited)
	e.calls.Add(1)
	_, document, err := e.api.ContainerInspectWithRaw(ctx, id, false)
	if err != nil {
		return "", fmt.Errorf("inspect container %s: %w", short(id), err)
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, document, "", "  ") != nil {
		pretty.Reset()
		pretty.Write(document)
	}
	lines, err := e.Logs(ctx, id, exhibitLines)
	if err != nil {
		return "", err
	}
	var files []*file
	for title, content := range map[string][]byte{exhibitLog: []byte(strings.Join(append(lines, ""), "\n")), exhibitInspect: pretty.Bytes()} {
		files = append(files, &file{content: content, header: tar.Header{Typeflag: tar.TypeReg, Name: title, Mode: 0o600, Size: int64(len(content)), ModTime: time.Now()}})
	}
	packed, err := pack(files)
	if err != nil {
		return "", err
	}
	c, err := e.create(ctx, k, name)
	if err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	if err := e.joinNetworks(ctx, k, c); err != nil {
		return name, fmt.Errorf("make %s: %w", name, err)
	}
	for _, archive := range [][]byte{k.Files, packed} {
		if err := e.putFiles(ctx, &Kept{Files: archive}, c); err != nil {
			return name, fmt.Errorf("make %s: %w", name, err)
		}
	}
	return name, nil
}

// hide takes off what would make others count or reach a container. inherited
// are the image's labels: one that is taken off comes back from there, unless
// it is there and empty.
func (k *Kept) hide(inherited map[string]string) {
	others := func(name string) bool {
		return strings.HasPrefix(name, "com.docker.compose.") || strings.HasPrefix(strings.ToLower(name), "traefik.") || strings.HasPrefix(name, "roll.")
	}
	labels := map[string]string{labelExhibit: k.Name}
	for name, value := range k.Config.Labels {
		if !others(name) {
			labels[name] = value
		}
	}
	for name := range inherited {
		if others(name) && name != labelExhibit {
			labels[name] = ""
		}
	}
	k.Config.Labels = labels
	k.Host.PortBindings, k.Host.PublishAllPorts = nil, false
	k.Host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyDisabled}
	for _, endpoint := range k.Networks {
		endpoint.Aliases, endpoint.IPAMConfig = nil, nil
	}
}
