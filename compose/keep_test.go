package compose

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
)

const oldID = "7d5d66a1f823b520ddacb39c55084e45cdf08211174aaab959995fcf8fc6e2ca"

// document is a stopped container as an Engine shows it, with changes.
func document(t *testing.T, changes string) container.InspectResponse {
	t.Helper()
	c := container.InspectResponse{}
	for _, text := range []string{`{
		"Id": "` + oldID + `", "Name": "/shop-web-1", "Image": "sha256:old", "State": {"Status": "exited"},
		"HostConfig": {"NetworkMode": "shop_back", "Binds": ["/srv/data.txt:/data.txt:ro", "shop_data:/named:rw"],
			"Mounts": [{"Type": "volume", "Target": "/anon", "VolumeOptions": {}}, {"Type": "bind", "Source": "/srv/data.txt", "Target": "/run/secrets/fromfile"}],
			"RestartPolicy": {"Name": "unless-stopped"}, "Tmpfs": {"/scratch": ""}},
		"Config": {"Hostname": "7d5d66a1f823", "Image": "shop/web:1", "Entrypoint": ["/web"], "Labels": {"com.docker.compose.container-number": "1"}},
		"Mounts": [
			{"Type": "volume", "Name": "222e", "Destination": "/anon", "RW": true},
			{"Type": "bind", "Source": "/srv/data.txt", "Destination": "/run/secrets/fromfile"},
			{"Type": "bind", "Source": "/srv/data.txt", "Destination": "/data.txt"},
			{"Type": "volume", "Name": "shop_data", "Destination": "/named", "RW": true}],
		"NetworkSettings": {"Networks": {
			"shop_back": {"IPAMConfig": {}, "Aliases": ["shop-web-1", "web", "shopback", "7d5d66a1f823"], "NetworkID": "a529", "DriverOpts": {"a": "b"}},
			"shop_front": {"IPAMConfig": {"IPv4Address": "10.1.2.3"}, "Aliases": ["web"], "NetworkID": "92ff", "MacAddress": "02:42:00:00:00:01", "IPAddress": "10.1.2.3", "Gateway": "10.1.2.1", "EndpointID": "e", "GwPriority": 7}}}
	}`, changes} {
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestWhatIsKeptOfAContainer(t *testing.T) {
	for name, test := range map[string]struct {
		changes string
		check   func(*Kept) (got, want any)
	}{
		"the image is the one it ran, and the reference stays what it was": {`{}`, func(k *Kept) (any, any) {
			return []string{k.ID, k.Name, k.ImageID, k.Config.Image}, []string{oldID, "shop-web-1", "sha256:old", "shop/web:1"}
		}},
		"a host name that the Engine made up is made up anew": {`{}`, func(k *Kept) (any, any) { return k.Config.Hostname, "" }},
		"a host name that somebody chose stays":               {`{"Config": {"Hostname": "shop"}}`, func(k *Kept) (any, any) { return k.Config.Hostname, "shop" }},
		"the host's own name is not given again":              {`{"HostConfig": {"UTSMode": "host"}, "Config": {"Hostname": "tower"}}`, func(k *Kept) (any, any) { return k.Config.Hostname, "" }},
		"what comes from the container whose network it shares is not given again": {
			`{"HostConfig": {"NetworkMode": "container:abc"}, "Config": {"Hostname": "other", "Domainname": "d", "ExposedPorts": {"80/tcp": {}}}}`,
			func(k *Kept) (any, any) {
				return []any{k.Config.Hostname, k.Config.Domainname, len(k.Config.ExposedPorts)}, []any{"", "", 0}
			},
		},
		"the anonymous volume is attached by its name": {`{}`, func(k *Kept) (any, any) {
			return k.Host.Mounts[0], mount.Mount{Type: mount.TypeVolume, Source: "222e", Target: "/anon", VolumeOptions: &mount.VolumeOptions{}}
		}},
		"a bind and a named volume stay as they were written": {`{}`, func(k *Kept) (any, any) {
			return k.Host.Binds, []string{"/srv/data.txt:/data.txt:ro", "shop_data:/named:rw"}
		}},
		"an anonymous volume of the image is attached by its name": {
			`{"HostConfig": {"Mounts": null, "Binds": null}, "Mounts": [{"Type": "volume", "Name": "333f", "Destination": "/var/lib/db", "RW": true}, {"Type": "volume", "Name": "444a", "Destination": "/ro"}]}`,
			func(k *Kept) (any, any) { return k.Host.Binds, []string{"333f:/var/lib/db", "444a:/ro:ro"} },
		},
		"what the Engine assigned in a network is not kept, what was asked for is": {`{}`, func(k *Kept) (any, any) {
			return k.Networks, map[string]*network.EndpointSettings{
				"shop_back":  {NetworkID: "a529", IPAMConfig: &network.EndpointIPAMConfig{}, Aliases: []string{"shop-web-1", "web", "shopback"}, DriverOpts: map[string]string{"a": "b"}},
				"shop_front": {NetworkID: "92ff", IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "10.1.2.3"}, Aliases: []string{"web"}, GwPriority: 7},
			}
		}},
		"an entry point that was emptied does not become the image's": {`{"Config": {"Entrypoint": []}}`, func(k *Kept) (any, any) {
			return k.Config.Entrypoint != nil && len(k.Config.Entrypoint) == 0, true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := document(t, test.changes)
			k, err := kept(c)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(k)
			if err != nil {
				t.Fatal(err)
			}
			var back Kept
			if err := json.Unmarshal(text, &back); err != nil {
				t.Fatal(err)
			}
			for _, k := range []*Kept{k, &back} {
				if got, want := test.check(k); !reflect.DeepEqual(got, want) {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
			if again := document(t, test.changes); !reflect.DeepEqual(c, again) {
				t.Error("the document itself was changed")
			}
		})
	}
}

func TestAContainerWhoseSettingsAreNotShownIsAnError(t *testing.T) {
	for _, c := range []container.InspectResponse{{}, {ContainerJSONBase: &container.ContainerJSONBase{ID: "a", Image: "b"}}} {
		if _, err := kept(c); err == nil {
			t.Errorf("kept %+v", c)
		}
	}
}

func TestWhichChangedFilesMayBeInjected(t *testing.T) {
	change := func(kind container.ChangeType, path string) container.FilesystemChange {
		return container.FilesystemChange{Kind: kind, Path: path}
	}
	add, mod, del := container.ChangeAdd, container.ChangeModify, container.ChangeDelete
	changes := []container.FilesystemChange{
		change(mod, "/etc"), change(add, "/etc/app"), change(add, "/etc/app/deep.conf"), change(mod, "/etc/passwd"), change(del, "/etc/gone"),
		change(add, "/run"), change(add, "/run/secrets"), change(add, "/run/secrets/token"), change(add, "/run/secrets/fromfile"),
		change(add, "/settings"), change(add, "/named"), change(add, "/scratch"), change(mod, "/tmp"), change(add, "/tmp/drain"), change(add, "/anon/x"),
	}
	c := document(t, `{}`)
	got := candidates(changes, c.Mounts, c.HostConfig.Tmpfs, "/tmp/drain")
	if want := []string{"/run/secrets/token", "/settings", "/etc/app/deep.conf", "/etc/passwd"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for i := range 2 * injectedFiles {
		changes = append(changes, change(add, fmt.Sprintf("/tmp/cache/%d", i)))
	}
	if got := candidates(changes, nil, nil, ""); len(got) != injectedFiles || got[0] != "/run/secrets/fromfile" || !slices.Contains(got, "/settings") {
		t.Errorf("of very many: %d, first %q", len(got), got[0])
	}
}

// copied is a file as the archive of a container has it.
type copied struct {
	mode     int64
	uid      int
	modified time.Time
	content  string
}

func (f copied) serve(w http.ResponseWriter, name string) {
	stat, _ := json.Marshal(container.PathStat{Name: name, Size: int64(len(f.content)), Mode: 0o440, Mtime: f.modified})
	w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString(stat))
	archive := tar.NewWriter(w)
	_ = archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(f.content)), Mode: f.mode, Uid: f.uid, ModTime: f.modified.Truncate(time.Second)})
	_, _ = io.WriteString(archive, f.content)
	_ = archive.Close()
}

// host is an Engine with one stopped container, on which containers can be
// made. After lose it does what the next request with that key asks and
// answers with an error.
type host struct {
	mu       sync.Mutex
	old      container.InspectResponse
	files    map[string]copied
	image    string // what shop/web:1 means now
	made     []*guest
	lose     string
	asked    []string
	creating func() // called before a container is created
	listed   []container.Summary
}

type guest struct {
	id, name, image, state string
	config                 container.CreateRequest
	networks               map[string]*network.EndpointSettings
	files                  []byte
}

func (g *guest) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{
		"Id": g.id, "Name": "/" + g.name, "Image": g.image, "State": map[string]any{"Status": g.state, "Running": g.state == "running"},
		"Config": g.config.Config, "HostConfig": g.config.HostConfig, "NetworkSettings": map[string]any{"Networks": g.networks},
	})
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, rest, _ := strings.Cut(r.URL.Path, "/v1.41/")
	parts := strings.Split(rest, "/")
	key := r.Method + " " + parts[0] + " " + parts[len(parts)-1]
	h.asked = append(h.asked, key)
	recorder := httptest.NewRecorder()
	h.answer(recorder, r, key, parts)
	if h.lose == key {
		h.lose = ""
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"message": "lost"}`)
		return
	}
	maps.Copy(w.Header(), recorder.Header())
	w.WriteHeader(recorder.Code)
	_, _ = w.Write(recorder.Body.Bytes())
}

func (h *host) answer(w http.ResponseWriter, r *http.Request, key string, parts []string) {
	fail := func(code int, text string) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
	}
	var found *guest
	for _, g := range h.made {
		if len(parts) > 1 && (g.id == parts[1] || g.name == parts[1]) {
			found = g
		}
	}
	switch {
	case len(parts) == 2 && key == "GET containers json":
		_ = json.NewEncoder(w).Encode(h.listed)
	case key == "GET containers json" && parts[1] == oldID:
		_ = json.NewEncoder(w).Encode(h.old)
	case key == "GET containers changes":
		var changes []container.FilesystemChange
		for name := range h.files {
			changes = append(changes, container.FilesystemChange{Kind: container.ChangeAdd, Path: name})
		}
		_ = json.NewEncoder(w).Encode(changes)
	case key == "GET containers archive":
		h.files[r.URL.Query().Get("path")].serve(w, "x")
	case parts[0] == "images":
		_ = json.NewEncoder(w).Encode(map[string]string{"Id": h.image})
	case key == "POST containers create":
		if h.creating != nil {
			h.creating()
		}
		g := &guest{id: fmt.Sprintf("new%d", len(h.asked)), name: r.URL.Query().Get("name"), image: h.image, state: "created", networks: map[string]*network.EndpointSettings{}}
		if slices.ContainsFunc(h.made, func(o *guest) bool { return o.name == g.name }) {
			fail(http.StatusConflict, "the name is taken")
			return
		}
		_ = json.NewDecoder(r.Body).Decode(&g.config)
		if strings.HasPrefix(g.config.Image, "sha256:") {
			g.image = g.config.Image
		}
		maps.Copy(g.networks, g.config.NetworkingConfig.EndpointsConfig)
		h.made = append(h.made, g)
		_ = json.NewEncoder(w).Encode(container.CreateResponse{ID: g.id})
	case key == "POST networks connect":
		var ask network.ConnectOptions
		_ = json.NewDecoder(r.Body).Decode(&ask)
		for _, g := range h.made {
			if g.id == ask.Container && g.networks[parts[1]] == nil {
				g.networks[parts[1]] = ask.EndpointConfig
				return
			}
		}
		fail(http.StatusForbidden, "connected already")
	case found == nil:
		fail(http.StatusNotFound, "no such container")
	case key == "GET containers json":
		_ = json.NewEncoder(w).Encode(found)
	case r.Method == http.MethodDelete:
		h.made = slices.DeleteFunc(h.made, func(g *guest) bool { return g == found })
	case key == "PUT containers archive":
		found.files, _ = io.ReadAll(r.Body)
	case key == "POST containers rename":
		found.name = r.URL.Query().Get("name")
	case key == "POST containers start":
		found.state = "running"
	default:
		fail(http.StatusTeapot, key)
	}
}

func (h *host) engine(t *testing.T) *Engine {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	api, err := client.NewClientWithOpts(client.WithHost("tcp://"+strings.TrimPrefix(server.URL, "http://")), client.WithVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return NewEngine(api)
}

// contents are the files of an archive.
func contents(t *testing.T, packed []byte) map[string]string {
	t.Helper()
	found := map[string]string{}
	for archive := tar.NewReader(bytes.NewReader(packed)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		found[fmt.Sprintf("%s %o %d", header.Name, header.Mode, header.Uid)] = string(content)
	}
}

func newHost(t *testing.T) *host {
	second := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return &host{old: document(t, `{}`), image: "sha256:new", files: map[string]copied{
		"/run/secrets/token": {0o444, 0, second, "hush"},
		"/etc/app/deep.conf": {0o440, 1000, second, "y=2"},
		"/var/cache/own":     {0o644, 0, second.Add(123456789), "the program wrote this"},
		"/var/cache/huge":    {0o644, 0, second, strings.Repeat("x", injectedSize+1)},
	}}
}

func TestAKeptContainerComesBackWholeWhateverAnswerIsLost(t *testing.T) {
	for _, lost := range []string{"", "GET containers json", "GET images json", "POST containers create", "POST networks connect", "PUT containers archive", "POST containers rename", "POST containers start"} {
		t.Run("lost: "+lost, func(t *testing.T) {
			h := newHost(t)
			e := h.engine(t)
			k, err := e.Keep(t.Context(), oldID)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := contents(t, k.Files), map[string]string{"run/secrets/token 444 0": "hush", "etc/app/deep.conf 440 1000": "y=2"}; !maps.Equal(got, want) {
				t.Errorf("kept files %q, want %q", got, want)
			}
			h.lose = lost
			id, name, err := e.Restore(t.Context(), k)
			if err != nil {
				if lost == "" || !strings.Contains(err.Error(), "make shop-web-1 again") {
					t.Fatal(err)
				}
				id, name, err = e.Restore(t.Context(), k)
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(h.made) != 1 {
				t.Fatalf("%d containers were made", len(h.made))
			}
			g := h.made[0]
			if id != g.id || name != "shop-web-1" || g.name != name || g.state != "running" || g.image != "sha256:old" || g.config.Image != "sha256:old" {
				t.Errorf("made %+v, told %s %s", g, id, name)
			}
			if !bytes.Equal(g.files, k.Files) {
				t.Error("the files are not back")
			}
			if a := g.networks["shop_back"]; a == nil || a.NetworkID != "" || !slices.Equal(a.Aliases, []string{"shop-web-1", "web", "shopback"}) || g.networks["shop_front"] == nil {
				t.Errorf("networks %+v", g.networks)
			}
			if g.config.HostConfig.Mounts[0].Source != "222e" {
				t.Errorf("mounts %+v", g.config.HostConfig.Mounts)
			}
		})
	}
}

func TestTheOldReferenceIsUsedWhileItMeansTheSameImage(t *testing.T) {
	for name, test := range map[string]struct {
		before, during, want string
	}{
		"it still does":                 {"sha256:old", "sha256:old", "shop/web:1"},
		"it means another one":          {"sha256:new", "sha256:new", "sha256:old"},
		"it changes in the very moment": {"sha256:old", "sha256:new", "sha256:old"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.image = test.before
			h.creating = func() { h.image = test.during }
			e := h.engine(t)
			k, err := e.Keep(t.Context(), oldID)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := e.Restore(t.Context(), k); err != nil {
				t.Fatal(err)
			}
			if len(h.made) != 1 || h.made[0].config.Image != test.want || h.made[0].image != "sha256:old" {
				t.Errorf("made %+v", h.made)
			}
		})
	}
}

func TestAContainerThatIsGoneCannotBeKept(t *testing.T) {
	if _, err := newHost(t).engine(t).Keep(t.Context(), "other"); !errors.Is(err, ErrGone) {
		t.Errorf("error %v, want ErrGone", err)
	}
}
