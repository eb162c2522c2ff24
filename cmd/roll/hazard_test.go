package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/healthflip"
	"github.com/roll-deploy/roll/traefik"
)

// opened loads a project of one service, web, without an Engine.
func opened(t *testing.T, file string) (*session, compose.Service) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	project, err := compose.Load(t.Context(), compose.Options{WorkingDir: dir, ProjectName: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	service, err := project.Service("web")
	if err != nil {
		t.Fatal(err)
	}
	return &session{project: project, flipper: healthflip.New(nil)}, service
}

// said are refusals with their lines of the file.
func (s *session) said(refusals []deploy.Refusal) string {
	err := s.placed(&deploy.RefusedError{Service: "web", Refusals: refusals})
	return strings.TrimPrefix(err.Error()+"\n", "refused to roll web: nothing was changed\n")
}

func instance(p traefik.Provider) []traefik.Instance {
	p.Enabled = true
	return []traefik.Instance{{Name: "traefik", Settings: traefik.Settings{Source: "command line", Docker: p}}}
}

const shop = `services:
  web:
    image: shop
    labels:
      traefik.enable: "true"
      traefik.http.routers.web.rule: Host(` + "`www.test`" + `)
      traefik.http.services.web.loadbalancer.server.port: "80"
`

func TestClashes(t *testing.T) {
	const why = ": Traefik deletes an object that is defined twice differently, for everybody, for as long as both are healthy: "
	for _, test := range []struct {
		name     string
		file     string
		image    map[string]string
		old      map[string]string // besides those of shop
		provider traefik.Provider
		want     string
	}{
		{name: "nothing changed", file: shop},
		{
			name: "a rule changed", file: shop, old: map[string]string{"traefik.http.routers.web.rule": "Host(`test`)"},
			want: "  compose.yaml:6: router web@docker would be defined twice: traefik.http.routers.web.rule is \"Host(`test`)\" on running replicas and \"Host(`www.test`)\" in the file" +
				why + "its requests get 404; instead: give the router a new name, traefik.http.routers.web2\n",
		},
		{
			name: "an option is no more", file: shop, old: map[string]string{"traefik.http.services.web.loadbalancer.sticky.cookie.name": "s"},
			want: "  compose.yaml:4: service web@docker would be defined twice: traefik.http.services.web.loadbalancer.sticky.cookie.name is \"s\" on running replicas and not set in the file" +
				why + "the requests of every router that leads to it get 404; instead: give the service a new name, traefik.http.services.web2, and new names to the routers that lead to it, as traefik.http.routers.web2\n",
		},
		{
			name: "the image brings a label", file: shop, image: map[string]string{"traefik.http.routers.web.priority": "7"},
			want: "  compose.yaml:4: router web@docker would be defined twice: traefik.http.routers.web.priority is not set on running replicas and \"7\" in the image" +
				why + "its requests get 404; instead: give the router a new name, traefik.http.routers.web2\n",
		},
		{name: "the file goes before the image", file: shop, image: map[string]string{"traefik.http.routers.web.rule": "Host(`test`)"}},
		{
			name: "constraints look at Compose's labels as well", file: shop, old: map[string]string{"traefik.http.routers.web.rule": "Host(`test`)"},
			provider: traefik.Provider{Constraints: "Label(`com.docker.compose.project`,`another`)"},
		},
		{
			name: "four options changed", file: shop,
			old: map[string]string{
				"traefik.http.routers.web.priority": "1", "traefik.http.routers.web.entrypoints": "a", "traefik.http.routers.web.tls": "true", "traefik.http.routers.web.rule": "Host(`test`)",
			},
			want: "  compose.yaml:6: router web@docker would be defined twice: traefik.http.routers.web.entrypoints is \"a\" on running replicas and not set in the file, " +
				"traefik.http.routers.web.priority is \"1\" on running replicas and not set in the file, traefik.http.routers.web.rule is \"Host(`test`)\" on running replicas and \"Host(`www.test`)\" in the file, and 1 more" +
				why + "its requests get 404; instead: give the router a new name, traefik.http.routers.web2\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, service := opened(t, test.file)
			labels := newcomer(service, compose.Image{}).Labels
			for name, value := range test.old {
				labels[name] = value
			}
			found := clashes(service, compose.Image{Labels: test.image}, []compose.Replica{{ID: "a", Name: "shop-web-1", Service: "web", Project: "shop", Labels: labels}}, instance(test.provider))
			if got := s.said(found["a"]); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestNewNamesAreFree(t *testing.T) {
	labels := map[string]string{"traefik.http.routers.web2.rule": "x", "traefik.http.routers.Web3.rule": "x"}
	for name, want := range map[string]string{"web": "web4", "web2": "web4", "api": "api2", "v9": "v10", "42": "422"} {
		if got := successor(name, labels); got != want {
			t.Errorf("after %s comes %s, want %s", name, got, want)
		}
	}
}

func TestFitness(t *testing.T) {
	visible := traefik.Provider{ExposedByDefault: true}
	const two = "    networks: [back, front]\nnetworks: {back: {}, front: {}}\n"
	for _, test := range []struct {
		name      string
		file      string
		instances []traefik.Instance
		apart     bool // not behind Traefik
		want      string
		notes     string
	}{
		{name: "all is well", file: shop, instances: instance(visible)},
		{
			name: "two networks", file: shop + two, instances: instance(visible),
			want: "  compose.yaml:4: service web is in several networks: of the networks shop_back and shop_front Traefik takes any one, and another at the next change; over one that it is not in, requests time out; instead: traefik.docker.network: shop_back (the one that Traefik is in)\n",
		},
		{name: "two networks, and Traefik's settings name one", file: shop + two, instances: instance(traefik.Provider{ExposedByDefault: true, Network: "shop_front"})},
		{name: "two networks of a worker", file: shop + two, instances: instance(visible), apart: true},
		{
			name: "two networks, and Traefik's settings are not known", file: shop + two, instances: []traefik.Instance{{Name: "http://traefik"}},
			notes: "service web is in several networks: of the networks shop_back and shop_front Traefik takes any one, and another at the next change; over one that it is not in, requests time out; unless Traefik's own settings name one, write traefik.docker.network: shop_back (the one that Traefik is in)",
		},
		{
			name: "a network without the project's name", file: shop + "      traefik.docker.network: front\n" + two, instances: instance(visible),
			want: "  compose.yaml:8: service web is in several networks: the service is not in a network of the name front but in shop_back and shop_front, and Traefik takes any one of them; instead: traefik.docker.network: shop_back (the one that Traefik is in)\n",
		},
		{
			name: "a server with a URL of its own", file: shop + "      traefik.http.services.web.loadbalancer.server.url: http://10.0.0.1\n", instances: instance(visible),
			want: "  compose.yaml:8: label traefik.http.services.web.loadbalancer.server.url of service web: it gives Traefik one fixed address, whatever the replicas do: whether requests go to old or new ones, and when they stop to, cannot be told; instead: the label with server.port in the place of server.url, so that each replica is a server of its own\n",
		},
		{
			name: "a label with a capital", file: shop + "      Traefik.http.routers.web.priority: \"1\"\n", apart: true,
			want: "  compose.yaml:8: Traefik would not route to new replicas of web: Traefik ignores a container altogether when one of its labels begins with Traefik; instead: traefik.http.routers.web.priority\n",
		},
		{
			name: "a service that leaves Traefik", file: strings.Replace(shop, `enable: "true"`, `enable: "false"`, 1), instances: instance(visible),
			want: "  compose.yaml:5: Traefik would not route to new replicas of web: it takes the container out of Traefik; instead: traefik.enable: \"true\"\n",
		},
		{name: "a service that never was in Traefik", file: strings.Replace(shop, `enable: "true"`, `enable: "false"`, 1), instances: instance(visible), apart: true},
		{
			name: "a service that nobody enabled", file: strings.Replace(shop, "      traefik.enable: \"true\"\n", "", 1), instances: instance(traefik.Provider{}),
			want: "  compose.yaml:4: Traefik would not route to new replicas of web: Traefik runs with exposedByDefault=false and ignores a container without the label traefik.enable; instead: traefik.enable: \"true\"\n",
		},
		{name: "one Traefik of two takes it", file: shop, instances: append(instance(traefik.Provider{Constraints: "Label(`a`,`b`)"}), instance(visible)...)},
		{
			name: "a marker below a tmpfs", file: shop + "      roll.flip.file: /run/drain\n    tmpfs: [/run]\n", instances: instance(visible), apart: true,
			want: "  compose.yaml:8: service web cannot be flipped: label roll.flip.file: \"/run/drain\": the Engine cannot write below the tmpfs at /run where the replica would see it; instead: roll.flip.exec: touch /run/drain and roll.unflip.exec: rm -f /run/drain\n",
		},
		{
			name: "a marker on a read-only root", file: shop + "      roll.flip.file: /drain\n    read_only: true\n", instances: instance(visible),
			want: "  compose.yaml:8: service web cannot be flipped: label roll.flip.file: \"/drain\": the root file system is read-only, so no file can be written to it; instead: roll.flip.http or roll.flip.signal, or remove read_only\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, service := opened(t, test.file)
			refusals, notes := fitness(service, compose.Image{}, test.instances, !test.apart)
			if got := s.said(refusals); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
			if got := strings.Join(notes, "\n"); got != test.notes {
				t.Errorf("notes:\n%s\nwant:\n%s", got, test.notes)
			}
		})
	}
}

// running answers with containers that are there.
type running []container.InspectResponse

func (r running) ContainerList(context.Context, container.ListOptions) ([]container.Summary, error) {
	var all []container.Summary
	for _, c := range r {
		all = append(all, container.Summary{ID: c.ID, Names: []string{c.Name}, Image: c.Config.Image})
	}
	return all, nil
}

func (r running) ContainerInspect(_ context.Context, id string) (container.InspectResponse, error) {
	for _, c := range r {
		if c.ID == id {
			return c, nil
		}
	}
	return container.InspectResponse{}, os.ErrNotExist
}

func TestWhoRestartsUnhealthyReplicas(t *testing.T) {
	for _, test := range []struct {
		name   string
		image  string
		env    []string
		labels map[string]string
		file   string
		want   string
	}{
		{name: "another container", image: "nginx", labels: map[string]string{"autoheal": "true"}},
		{name: "an autoheal that does not watch the service", image: "willfarrell/autoheal:1.2.0"},
		{
			name: "an autoheal that watches the service", image: "willfarrell/autoheal", labels: map[string]string{"autoheal": "true"}, file: shop + "      autoheal: \"true\"\n",
			want: "  compose.yaml:8: container healer (willfarrell/autoheal) restarts shop-web-1 when it is unhealthy: a flipped replica is unhealthy on purpose, and would be restarted with requests in it; instead: remove the label autoheal from the service, and for replicas that have it, once: docker stop healer while rolling\n",
		},
		{name: "a label that is not exactly true", image: "willfarrell/autoheal", labels: map[string]string{"autoheal": "True"}},
		{
			name: "an autoheal that watches everybody", image: "willfarrell/autoheal", env: []string{"AUTOHEAL_CONTAINER_LABEL=all"},
			want: "  compose.yaml:4: container healer (willfarrell/autoheal) restarts shop-web-1 when it is unhealthy: a flipped replica is unhealthy on purpose, and would be restarted with requests in it; instead: the label autoheal: \"False\" on the service, and for replicas that do not have it, once: docker stop healer while rolling\n",
		},
		{name: "an autoheal that watches everybody but those that opt out", image: "willfarrell/autoheal", env: []string{"AUTOHEAL_CONTAINER_LABEL=all"}, labels: map[string]string{"autoheal": "False"}},
		{
			name: "an autoheal with a label of its own", image: "ghcr.io/x/docker-autoheal", env: []string{"AUTOHEAL_CONTAINER_LABEL=heal.me"}, labels: map[string]string{"heal.me": "true"},
			want: "  compose.yaml:4: container healer (ghcr.io/x/docker-autoheal) restarts shop-web-1 when it is unhealthy: a flipped replica is unhealthy on purpose, and would be restarted with requests in it; instead: remove the label heal.me from the service, and for replicas that have it, once: docker stop healer while rolling\n",
		},
		{
			name: "a deunhealth", image: "qmcgaw/deunhealth", labels: map[string]string{"deunhealth.restart.on.unhealthy": "true"},
			want: "  compose.yaml:4: container healer (qmcgaw/deunhealth) restarts shop-web-1 when it is unhealthy: a flipped replica is unhealthy on purpose, and would be restarted with requests in it; instead: remove the label deunhealth.restart.on.unhealthy from the service, and for replicas that have it, once: docker stop healer while rolling\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.file == "" {
				test.file = shop
			}
			s, service := opened(t, test.file)
			healers, err := healersOn(t.Context(), running{{
				ContainerJSONBase: &container.ContainerJSONBase{ID: "0123456789abcdef", Name: "/healer"},
				Config:            &container.Config{Image: test.image, Env: test.env},
			}})
			if err != nil {
				t.Fatal(err)
			}
			snap := deploy.Snapshot{Service: service, Ways: map[string]string{}, Replicas: []compose.Replica{{ID: "a", Name: "shop-web-1", Labels: test.labels}}}
			var refusals []deploy.Refusal
			for _, r := range s.flips(&snap, healers) {
				refusals = append(refusals, r)
			}
			if got := s.said(refusals); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestReplicasThatCannotBeFlipped(t *testing.T) {
	const once = "; for replicas that were created like this, once: roll up --accept-loss web\n"
	for _, test := range []struct {
		name    string
		replica compose.Replica
		way     string
		want    string
	}{
		{name: "a good way", replica: compose.Replica{Labels: map[string]string{"roll.flip.file": "/drain"}}, way: "file /drain"},
		{
			name:    "a marker below a tmpfs",
			replica: compose.Replica{Labels: map[string]string{"roll.flip.file": "/tmp/drain"}, Mounts: []compose.Mount{{Type: "tmpfs", Destination: "/tmp"}}},
			want:    "  compose.yaml:4: shop-web-1 cannot be flipped: label roll.flip.file: \"/tmp/drain\": the Engine cannot write below the tmpfs at /tmp where the replica would see it; instead: roll.flip.exec: touch /tmp/drain and roll.unflip.exec: rm -f /tmp/drain" + once,
		},
		{
			name:    "a marker on a read-only root",
			replica: compose.Replica{Labels: map[string]string{"roll.flip.file": "/drain"}, ReadOnly: true},
			want:    "  compose.yaml:4: shop-web-1 cannot be flipped: label roll.flip.file: \"/drain\": the root file system is read-only, so no file can be written to it; instead: roll.flip.http or roll.flip.signal, or remove read_only" + once,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, service := opened(t, shop)
			test.replica.ID, test.replica.Name = "a", "shop-web-1"
			snap := deploy.Snapshot{Service: service, Ways: map[string]string{}, Replicas: []compose.Replica{test.replica}}
			untold := s.flips(&snap, nil)
			var refusals []deploy.Refusal
			for _, r := range untold {
				refusals = append(refusals, r)
			}
			if got := s.said(refusals); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
			if snap.Ways["a"] != test.way {
				t.Errorf("way %q, want %q", snap.Ways["a"], test.way)
			}
		})
	}
}
