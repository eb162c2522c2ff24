package compose

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
)

func TestAnotherReplicaOfAKindHasItsOwnNumberNameAndAnonymousVolumes(t *testing.T) {
	k, err := kept(document(t, `{"Mounts": [
		{"Type": "volume", "Name": "222e", "Destination": "/anon", "RW": true},
		{"Type": "volume", "Name": "333f", "Destination": "/var/lib/db", "RW": true},
		{"Type": "volume", "Name": "shop_data", "Destination": "/named", "RW": true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"222e", "333f"}; !slices.Equal(k.Anonymous, want) {
		t.Errorf("anonymous volumes %q, want %q", k.Anonymous, want)
	}
	again, err := k.Numbered(12)
	if err != nil {
		t.Fatal(err)
	}
	if again.Name != "shop-web-12" || again.Config.Labels[labelNumber] != "12" || again.ImageID != k.ImageID {
		t.Errorf("%s with labels %v from %s", again.Name, again.Config.Labels, again.ImageID)
	}
	if got, want := again.Networks["shop_back"].Aliases, []string{"shop-web-12", "web", "shopback"}; !slices.Equal(got, want) {
		t.Errorf("aliases %q, want %q", got, want)
	}
	if got, want := again.Host.Binds, []string{"/srv/data.txt:/data.txt:ro", "shop_data:/named:rw"}; !slices.Equal(got, want) || again.Host.Mounts[0].Source != "" {
		t.Errorf("binds %q, want %q; mounts %+v", got, want, again.Host.Mounts)
	}
	if k.Name != "shop-web-1" || k.Config.Labels[labelNumber] != "1" || k.Networks["shop_back"].Aliases[0] != "shop-web-1" || k.Host.Mounts[0].Source != "222e" || len(k.Host.Binds) != 3 {
		t.Errorf("the first one changed: %+v", k)
	}
	if _, err := (&Kept{}).Numbered(1); err == nil {
		t.Error("nothing was kept, and it was made again")
	}
}

func TestAServiceIsDeclaredAsItWasWhenTheReplicaWasCreated(t *testing.T) {
	k, err := kept(document(t, `{"Config": {"Labels": {"com.docker.compose.service": "web", "tier": "old"}, "Healthcheck": {"Test": ["CMD", "check"], "Interval": 1000000000}}}`))
	if err != nil {
		t.Fatal(err)
	}
	now := Service{Name: "web", Image: "shop/web:2", Replicas: 3, Labels: map[string]string{"tier": "new"}, NoHealthcheck: true}
	got := k.Declared(now)
	if got.Name != "web" || got.Replicas != 3 || got.Image != "sha256:old" || !reflect.DeepEqual(got.Labels, map[string]string{"tier": "old"}) ||
		got.NoHealthcheck || got.Healthcheck == nil || got.Healthcheck.Interval != time.Second {
		t.Errorf("declared %+v", got)
	}
	k.Config.Healthcheck = nil
	if got := k.Declared(now); !got.NoHealthcheck || got.Healthcheck != nil {
		t.Errorf("declared with healthcheck %+v", got.Healthcheck)
	}
}

func TestReplicasOfAKindAreCreatedUntilThereAreEnough(t *testing.T) {
	h := newHost(t)
	e := h.engine(t)
	k, err := e.Keep(t.Context(), oldID)
	if err != nil {
		t.Fatal(err)
	}
	h.listed = []container.Summary{{ID: oldID, Names: []string{"/shop-web-1"}}}
	again := &Again{Engine: e, Project: "shop", Kept: k}
	if err := again.Create(t.Context(), "web", 3); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range h.made {
		names = append(names, g.name+" "+g.state+" "+g.image)
	}
	if want := []string{"shop-web-2 running sha256:old", "shop-web-3 running sha256:old"}; !slices.Equal(names, want) {
		t.Errorf("made %q, want %q", names, want)
	}
	if err := again.Create(t.Context(), "web", 1); err != nil || len(h.made) != 2 {
		t.Errorf("%v; made %d", err, len(h.made))
	}
	h.lose = "POST containers start"
	if err := again.Create(t.Context(), "web", 4); err == nil || !strings.Contains(err.Error(), "make shop-web-2 again: start") {
		t.Errorf("error %v", err)
	}
}

func TestAnExhibitIsNobodysReplicaAndNobodyReachesIt(t *testing.T) {
	k, err := kept(document(t, `{
		"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}, "PublishAllPorts": true},
		"Config": {"Labels": {"com.docker.compose.project": "shop", "traefik.enable": "true", "roll.flip": "none", "tier": "front", "com.docker.compose.image": "x"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	k.hide(map[string]string{"com.docker.compose.image": "y", "vendor": "me"})
	if want := map[string]string{"roll.failed": "shop-web-1", "tier": "front", "com.docker.compose.image": ""}; !reflect.DeepEqual(k.Config.Labels, want) {
		t.Errorf("labels %v, want %v", k.Config.Labels, want)
	}
	if len(k.Host.PortBindings) > 0 || k.Host.PublishAllPorts || k.Host.RestartPolicy.Name != container.RestartPolicyDisabled {
		t.Errorf("host %+v", k.Host)
	}
	for name, n := range k.Networks {
		if n.Aliases != nil || n.IPAMConfig != nil {
			t.Errorf("network %s: %+v", name, n)
		}
	}
}
