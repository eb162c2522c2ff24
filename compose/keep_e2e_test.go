//go:build e2e

package compose

import (
	"archive/tar"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
)

const keptShop = `services:
  web:
    image: ${IMAGE}
    hostname: shop
    environment: {FOO: bar, TOKEN: "${SECRET}"}
    volumes:
      - ./data.txt:/data.txt:ro
      - data:/named
      - /anonymous
    networks:
      front: {aliases: [shopfront]}
      back: {aliases: [shopback], priority: 100}
    secrets: [inline, fromfile]
    configs:
      - settings
      - {source: deep, target: /etc/app/deep.conf, mode: 0440, uid: "1000", gid: "1001"}
    labels: {tier: front, roll.flip.file: /drain}
    stop_grace_period: 7s
    stop_signal: SIGTERM
    ulimits: {nofile: {soft: 1024, hard: 2048}}
    cap_drop: [NET_RAW]
    mem_limit: 64m
    restart: unless-stopped
    ports: ["8080"]
    tmpfs: [/scratch]
    healthcheck: {test: [CMD, /app, health], interval: 500ms, retries: 2}
networks: {front: {}, back: {}}
volumes: {data: {}}
secrets:
  inline: {environment: SECRET}
  fromfile: {file: ./data.txt}
configs:
  settings: {content: "x=1"}
  deep: {content: "y=2"}
`

// composed are the parts of an inspect document that say what a container is,
// without what the Engine assigns anew to each.
func composed(t *testing.T, c container.InspectResponse) map[string]string {
	t.Helper()
	config, host := *c.Config, *c.HostConfig
	config.Image = c.Image // see Engine.Restore
	host.Mounts = slices.Clone(host.Mounts)
	for i := range host.Mounts {
		if host.Mounts[i].Target == "/anonymous" {
			host.Mounts[i].Source = "" // see reattach
		}
	}
	slices.SortFunc(c.Mounts, func(a, b container.MountPoint) int { return strings.Compare(a.Destination, b.Destination) })
	networks := map[string]any{}
	for name, n := range c.NetworkSettings.Networks {
		networks[name] = []any{n.IPAMConfig, n.Links, n.DriverOpts, n.NetworkID, slices.DeleteFunc(slices.Clone(n.Aliases), func(a string) bool { return a == c.ID[:12] })}
	}
	all := map[string]string{}
	for name, part := range map[string]any{
		"name": c.Name, "image": c.Image, "config": config, "host": host, "mounts": c.Mounts, "networks": networks, "ports": len(c.NetworkSettings.Ports),
	} {
		text, err := json.MarshalIndent(part, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	return all
}

// inside reads a file of a container: its mode, its owner and its content.
func (w *world) inside(t *testing.T, id, name string) string {
	t.Helper()
	body, _, err := w.api.CopyFromContainer(t.Context(), id, name)
	if err != nil {
		return err.Error()
	}
	defer body.Close()
	archive := tar.NewReader(body)
	header, err := archive.Next()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal([]any{header.Mode, header.Uid, header.Gid, header.ModTime, string(content)})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAKeptReplicaComesBackAsComposeMadeIt(t *testing.T) {
	w := open(t, keptShop)
	ctx := t.Context()
	if err := w.cli.Create(ctx, "web", 2); err != nil {
		t.Fatal(err)
	}
	old := w.until(t, "two are healthy", func(all []Replica) bool { return len(all) == 2 && allReady(all) })[0]
	before, err := w.api.ContainerInspect(ctx, old.ID)
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"/run/secrets/inline", "/run/secrets/fromfile", "/settings", "/etc/app/deep.conf", "/anonymous/mine"}
	put := func(id, folder, name string) {
		t.Helper()
		archive, err := pack([]*file{{header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: 4}, content: []byte("here")}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.api.CopyToContainer(ctx, id, folder, strings.NewReader(string(archive)), container.CopyToContainerOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put(old.ID, "/anonymous", "mine")
	put(old.ID, "/", "drain")
	files := map[string]string{}
	for _, path := range paths {
		files[path] = w.inside(t, old.ID, path)
	}
	// The tag moves on, as in a roll.
	w.importImage(t, w.image, "second")
	if err := w.engine.Stop(ctx, old.ID, nil); err != nil {
		t.Fatal(err)
	}
	k, err := w.engine.Keep(ctx, old.ID)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	k = &Kept{}
	if err := json.Unmarshal(text, k); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.Remove(ctx, old.ID); err != nil {
		t.Fatal(err)
	}
	id, name, err := w.engine.Restore(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	if name != old.Name || id == old.ID {
		t.Errorf("restored %s as %s %s", old.Name, name, id)
	}
	all := w.until(t, "the restored one is healthy", func(all []Replica) bool { return len(all) == 2 && allReady(all) })
	if now := all[0]; now.ID != id || now.ConfigHash != old.ConfigHash || now.Number != old.Number || now.ImageID != old.ImageID {
		t.Errorf("replica %+v, was %+v", now, old)
	}
	after, err := w.api.ContainerInspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	now := composed(t, after)
	for part, want := range composed(t, before) {
		if now[part] != want {
			t.Errorf("%s is\n%s\nwas\n%s", part, now[part], want)
		}
	}
	for _, path := range paths {
		if got := w.inside(t, id, path); got != files[path] {
			t.Errorf("%s is %s, was %s", path, got, files[path])
		}
	}
	if got := w.inside(t, id, "/drain"); !strings.Contains(got, "not find") && !strings.Contains(got, "No such") {
		t.Errorf("the marker that a flip left came back: %s", got)
	}
	if again, err := w.engine.Keep(ctx, id); err != nil || !maps.Equal(contents(t, again.Files), contents(t, k.Files)) || len(contents(t, k.Files)) != 3 {
		t.Errorf("kept once more: %v, files %v, were %v", err, contents(t, again.Files), contents(t, k.Files))
	}
	ps := w.compose(t, "ps", "--format", "{{.Name}} {{.Service}} {{.State}} {{.Health}}")
	if want := old.Name + " web running healthy"; !strings.Contains(ps, want) {
		t.Errorf("docker compose ps says\n%s\nwant %s", ps, want)
	}
	// The same replica to Compose: with the tag back there is nothing to do.
	if err := w.api.ImageTag(ctx, old.ImageID, w.image); err != nil {
		t.Fatal(err)
	}
	w.compose(t, "up", "-d", "--no-deps", "--scale", "web=2", "web")
	for _, r := range w.replicas(t, "web") {
		if r.ID != id && r.ID != all[1].ID {
			t.Errorf("docker compose up replaced a replica by %s %s", r.Name, r.Short())
		}
	}
}
