package compose

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Kept is what is needed to run a container again as it was: its settings in
// the form in which the Engine takes them, the image by its id, its volumes by
// their names, the anonymous ones too, and the files that Compose copied into
// it before its start. It survives JSON. It holds whatever the container was
// given, its secrets too.
//
// Not in it: what the program wrote into the container's own layer, what
// post_start hooks did, and a MAC address that was given for one network,
// which the Engine does not show of a stopped container.
type Kept struct {
	ID       string // the container that it was read from
	Name     string
	ImageID  string
	Platform *ocispec.Platform `json:",omitempty"` // where the Engine names it
	Config   *container.Config
	Host     *container.HostConfig
	Networks map[string]*network.EndpointSettings // by name
	Files    []byte                               `json:",omitempty"` // tar archive; names from the root

	Anonymous []string `json:",omitempty"` // volumes that nobody named, and that Host names now

	made string // the container that Restore has created
}

// Keep reads from a stopped container what Restore needs. The error of one
// that is gone is ErrGone.
func (e *Engine) Keep(ctx context.Context, id string) (*Kept, error) {
	e.calls.Add(1)
	c, err := e.api.ContainerInspect(ctx, id)
	if cerrdefs.IsNotFound(err) {
		return nil, fmt.Errorf("inspect container %s: %w", short(id), ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("inspect container %s: %w", short(id), err)
	}
	k, err := kept(c)
	if err != nil {
		return nil, fmt.Errorf("read container %s: %w", short(id), err)
	}
	if k.Files, err = e.injected(ctx, c); err != nil {
		return nil, fmt.Errorf("read files of container %s: %w", short(id), err)
	}
	return k, nil
}

// kept takes out of an inspect document what the container was created with:
// the Engine adds things to that which it does not accept, or which it would
// assign anew.
func kept(c container.InspectResponse) (*Kept, error) {
	if c.ContainerJSONBase == nil || c.HostConfig == nil || c.Config == nil || c.Image == "" {
		return nil, errors.New("the Engine does not show its settings")
	}
	config, host := *c.Config, *c.HostConfig
	k := &Kept{ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), ImageID: c.Image, Config: &config, Host: &host, Networks: map[string]*network.EndpointSettings{}}
	if c.ImageManifestDescriptor != nil {
		k.Platform = c.ImageManifestDescriptor.Platform
	}
	if config.Hostname == short(c.ID) || host.UTSMode.IsHost() {
		config.Hostname = ""
	}
	if host.NetworkMode.IsContainer() { // the Engine shows what it took from the other one, and refuses it
		config.Hostname, config.Domainname, config.ExposedPorts = "", "", nil
	}
	host.Binds, host.Mounts = slices.Clone(host.Binds), slices.Clone(host.Mounts)
	for _, m := range c.Mounts {
		if reattach(&host, m) {
			k.Anonymous = append(k.Anonymous, m.Name)
		}
	}
	if c.NetworkSettings != nil {
		for name, shown := range c.NetworkSettings.Networks {
			if shown == nil {
				shown = &network.EndpointSettings{}
			}
			k.Networks[name] = &network.EndpointSettings{
				NetworkID: shown.NetworkID, IPAMConfig: shown.IPAMConfig, Links: shown.Links, DriverOpts: shown.DriverOpts, GwPriority: shown.GwPriority,
				Aliases: slices.DeleteFunc(slices.Clone(shown.Aliases), func(alias string) bool { return alias == short(c.ID) }),
			}
		}
	}
	return k, nil
}

// reattach names the volume behind a mount where the settings do not, and
// reports whether it had to: an anonymous volume would be a new one otherwise.
func reattach(host *container.HostConfig, m container.MountPoint) bool {
	if m.Type != mount.TypeVolume || m.Name == "" {
		return false
	}
	bind := m.Name + ":" + m.Destination
	if slices.ContainsFunc(host.Binds, func(b string) bool { return b == bind || strings.HasPrefix(b, bind+":") }) {
		return false
	}
	for i, o := range host.Mounts {
		if path.Clean(o.Target) == m.Destination {
			if o.Type != mount.TypeVolume || o.Source != "" {
				return false
			}
			host.Mounts[i].Source = m.Name
			return true
		}
	}
	if !m.RW {
		bind += ":ro"
	}
	host.Binds = append(host.Binds, bind)
	return true
}

// What Keep takes for injected files at most. Secrets and configs are small
// and few; a program that changed more files than that made them itself.
const (
	injectedFiles = 200
	injectedSize  = 1 << 20
	injectedTotal = 8 << 20
)

// injected packs the files that Compose copied into a container between its
// creation and its start: secrets and configs with `content:` or
// `environment:` (facts.md C). Nothing in the container says which they are.
// But their times come from an archive, whose times are whole seconds, and a
// file that a program wrote has a fraction. roll's own marker file comes from
// an archive, too, and must not come back.
func (e *Engine) injected(ctx context.Context, c container.InspectResponse) ([]byte, error) {
	e.calls.Add(1)
	changes, err := e.api.ContainerDiff(ctx, c.ID)
	if cerrdefs.IsNotFound(err) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, err
	}
	paths := candidates(changes, c.Mounts, c.HostConfig.Tmpfs, c.Config.Labels[labelFlipFile])
	files := make([]*file, len(paths))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i, name := range paths {
		group.Go(func() (err error) {
			files[i], err = e.fromArchive(gctx, c.ID, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var taken []*file
	total := 0
	for _, f := range files {
		if f != nil && total+len(f.content) <= injectedTotal {
			total += len(f.content)
			taken = append(taken, f)
		}
	}
	return pack(taken)
}

// labelFlipFile is healthflip's label for the marker file.
const labelFlipFile = "roll.flip.file"

// candidates are the changed paths that may be injected files, the likeliest
// first: no folders of others, nothing that is mounted, nothing deleted.
func candidates(changes []container.FilesystemChange, mounts []container.MountPoint, tmpfs map[string]string, marker string) []string {
	mounted := map[string]bool{}
	for _, m := range mounts {
		mounted[path.Clean(m.Destination)] = true
	}
	for target := range tmpfs {
		mounted[path.Clean(target)] = true
	}
	folders := map[string]bool{}
	for _, c := range changes {
		folders[path.Dir(c.Path)] = true
	}
	var found []container.FilesystemChange
	for _, c := range changes {
		if c.Kind != container.ChangeDelete && !folders[c.Path] && !within(c.Path, mounted) && (marker == "" || c.Path != path.Clean(marker)) {
			found = append(found, c)
		}
	}
	rank := func(c container.FilesystemChange) int {
		switch {
		case strings.HasPrefix(c.Path, "/run/secrets/"):
			return 0
		case c.Kind == container.ChangeAdd:
			return strings.Count(c.Path, "/")
		}
		return 1000 + strings.Count(c.Path, "/")
	}
	slices.SortFunc(found, func(a, b container.FilesystemChange) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Path, b.Path))
	})
	paths := make([]string, 0, len(found))
	for _, c := range found[:min(len(found), injectedFiles)] {
		paths = append(paths, c.Path)
	}
	return paths
}

// within reports whether name is one of the folders, or in one of them.
func within(name string, folders map[string]bool) bool {
	for ; name != "/" && name != "."; name = path.Dir(name) {
		if folders[name] {
			return true
		}
	}
	return false
}

// file is one injected file.
type file struct {
	header  tar.Header
	content []byte
}

// fromArchive reads a file of a container; nil when it is not an injected one.
func (e *Engine) fromArchive(ctx context.Context, id, name string) (*file, error) {
	e.calls.Add(1)
	body, stat, err := e.api.CopyFromContainer(ctx, id, name)
	if cerrdefs.IsNotFound(err) {
		return nil, nil // below a link that leads nowhere now
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	if !stat.Mode.IsRegular() || stat.Mtime.Nanosecond() != 0 || stat.Size > injectedSize {
		return nil, nil
	}
	archive := tar.NewReader(body)
	header, err := archive.Next()
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", name, err)
	}
	content, err := io.ReadAll(io.LimitReader(archive, injectedSize))
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", name, err)
	}
	return &file{content: content, header: tar.Header{
		Typeflag: tar.TypeReg, Name: strings.TrimPrefix(name, "/"), Size: int64(len(content)),
		Mode: header.Mode, Uid: header.Uid, Gid: header.Gid, ModTime: header.ModTime,
	}}, nil
}

// pack makes one archive of files, nil of none.
func pack(files []*file) ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range files {
		if err := w.WriteHeader(&f.header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.header.Name, err)
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.header.Name, err)
		}
	}
	if err := w.Close(); err != nil || len(files) == 0 {
		return nil, err
	}
	return archive.Bytes(), nil
}

// Restore creates and starts the container that was kept once more, under its
// old name, and returns its new id. After an error it may be called again and
// goes on from what it had done, also when the Engine did something and its
// answer was lost. Until it is complete the container is called
// <old id>_<name>, as Compose calls those that it recreates: a half-made one
// is never taken for a replica.
//
// It is created from the image's id when the old reference means another image
// by now, as it does after a roll to a new image; `docker inspect` then shows
// the id where the reference was. Compose compares a label, not that.
func (e *Engine) Restore(ctx context.Context, k *Kept) (id, name string, err error) {
	c, err := e.remade(ctx, k)
	if err != nil {
		return "", "", fmt.Errorf("make %s again: %w", k.Name, err)
	}
	steps := []func(context.Context, *Kept, container.InspectResponse) error{e.joinNetworks, e.putFiles, e.rename, e.begin}
	for _, step := range steps {
		if err := step(ctx, k, c); err != nil {
			return "", "", fmt.Errorf("make %s again: %w", k.Name, err)
		}
	}
	return c.ID, k.Name, nil
}

// remade finds the container that Restore has created before, or creates it.
func (e *Engine) remade(ctx context.Context, k *Kept) (container.InspectResponse, error) {
	interim := short(k.ID) + "_" + k.Name
	c, err := e.look(ctx, cmp.Or(k.made, interim))
	if k.made != "" && errors.Is(err, ErrGone) {
		k.made = ""
		c, err = e.look(ctx, interim)
	}
	if errors.Is(err, ErrGone) {
		if c, err = e.create(ctx, k, interim); err != nil {
			return c, err
		}
	}
	if err != nil {
		return c, err
	}
	k.made = c.ID
	return c, nil
}

func (e *Engine) look(ctx context.Context, id string) (container.InspectResponse, error) {
	e.calls.Add(1)
	c, err := e.api.ContainerInspect(ctx, id)
	switch {
	case cerrdefs.IsNotFound(err):
		return c, ErrGone
	case err != nil:
		return c, err
	case c.ContainerJSONBase == nil || c.State == nil || c.NetworkSettings == nil:
		return c, errors.New("the Engine does not show its state")
	}
	return c, nil
}

// create creates the container from the kept image, whatever its old reference
// means now.
func (e *Engine) create(ctx context.Context, k *Kept, name string) (container.InspectResponse, error) {
	e.calls.Add(1)
	image := k.ImageID
	if now, err := e.api.ImageInspect(ctx, k.Config.Image); err == nil && now.ID == k.ImageID {
		image = k.Config.Image
	}
	for {
		config, host := *k.Config, *k.Host // the client changes them
		config.Image = image
		e.calls.Add(1)
		made, err := e.api.ContainerCreate(ctx, &config, &host, k.firstNetwork(), k.Platform, name)
		if err != nil {
			return container.InspectResponse{}, fmt.Errorf("create: %w", err)
		}
		c, err := e.look(ctx, made.ID)
		if err != nil || c.Image == k.ImageID || image == k.ImageID {
			return c, err
		}
		// The tag moved in this very moment.
		image = k.ImageID
		if err := e.Remove(ctx, made.ID); err != nil {
			return c, err
		}
	}
}

// firstNetwork is what the Engine is told about networks at creation: Engines
// before 25 take no more than one.
func (k *Kept) firstNetwork() *network.NetworkingConfig {
	mode := k.Host.NetworkMode
	if !mode.IsUserDefined() {
		return nil
	}
	for name, endpoint := range k.Networks {
		if name == string(mode) || endpoint != nil && endpoint.NetworkID == string(mode) {
			return &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{string(mode): anew(endpoint)}}
		}
	}
	return nil
}

// anew is an endpoint for a network with that name, whatever its id is now.
func anew(endpoint *network.EndpointSettings) *network.EndpointSettings {
	if endpoint == nil { // a document that somebody wrote by hand
		return &network.EndpointSettings{}
	}
	settings := *endpoint
	settings.NetworkID = ""
	return &settings
}

// joinNetworks connects a container that was never started to its networks.
func (e *Engine) joinNetworks(ctx context.Context, k *Kept, c container.InspectResponse) error {
	if State(c.State.Status) != Created {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(k.Networks)) {
		if _, in := c.NetworkSettings.Networks[name]; in || !container.NetworkMode(name).IsUserDefined() {
			continue
		}
		e.calls.Add(1)
		if err := e.api.NetworkConnect(ctx, name, c.ID, anew(k.Networks[name])); err != nil {
			return fmt.Errorf("connect to network %s: %w", name, err)
		}
	}
	return nil
}

// putFiles brings the injected files back, with their owners and modes.
func (e *Engine) putFiles(ctx context.Context, k *Kept, c container.InspectResponse) error {
	if State(c.State.Status) != Created || len(k.Files) == 0 {
		return nil
	}
	e.calls.Add(1)
	if err := e.api.CopyToContainer(ctx, c.ID, "/", bytes.NewReader(k.Files), container.CopyToContainerOptions{}); err != nil {
		return fmt.Errorf("bring its files back: %w", err)
	}
	return nil
}

func (e *Engine) rename(ctx context.Context, k *Kept, c container.InspectResponse) error {
	if strings.TrimPrefix(c.Name, "/") == k.Name {
		return nil
	}
	e.calls.Add(1)
	if err := e.api.ContainerRename(ctx, c.ID, k.Name); err != nil {
		return fmt.Errorf("name it: %w", err)
	}
	return nil
}

func (e *Engine) begin(ctx context.Context, _ *Kept, c container.InspectResponse) error {
	if c.State.Running {
		return nil
	}
	e.calls.Add(1)
	if err := e.api.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return nil
}
