package traefik

import (
	"fmt"
	"testing"
)

func TestLabels(t *testing.T) {
	for name, c := range map[string]struct {
		labels   map[string]string
		enabled  string // enabled, said
		services string
		network  string
	}{
		"nothing said, exposedByDefault decides": {
			nil, "false false", "[web-my-shop@docker]", ""},
		"enabled": {
			map[string]string{"traefik.enable": "true"}, "true true", "[web-my-shop@docker]", ""},
		"disabled although it has a router": {
			map[string]string{"traefik.enable": "false", "traefik.http.routers.a.rule": "x"}, "false true", "[web-my-shop@docker]", ""},
		"no boolean is ignored by Traefik": {
			map[string]string{"traefik.enable": "yes"}, "false true", "[web-my-shop@docker]", ""},
		"a router alone takes the implicit service": {
			map[string]string{"traefik.http.routers.a.rule": "x"}, "true true", "[web-my-shop@docker]", ""},
		"an explicit service in any case": {
			map[string]string{"traefik.HTTP.Services.shop.LoadBalancer.server.port": "80"}, "true true", "[shop@docker]", ""},
		"a first word in capitals is ignored by Traefik": {
			map[string]string{"traefik.enable": "true", "Traefik.http.services.shop.loadbalancer.server.port": "80"}, "false true", "[web-my-shop@docker]", ""},
		"two names that differ in case alone": {
			map[string]string{"traefik.http.services.Shop.loadbalancer.server.port": "80", "traefik.http.services.shop.loadbalancer.server.scheme": "http"}, "true true", "[Shop@docker]", ""},
		"two services": {
			map[string]string{"traefik.http.services.a.loadbalancer.server.port": "80", "traefik.http.services.b.loadbalancer.server.port": "81"}, "true true", "[a@docker b@docker]", ""},
		"TCP alone makes no HTTP service": {
			map[string]string{"traefik.tcp.routers.db.rule": "x"}, "true true", "[web-my-shop@docker/tcp]", ""},
		"TCP and HTTP": {
			map[string]string{"traefik.tcp.services.db.loadbalancer.server.port": "1", "traefik.http.routers.a.rule": "x"}, "true true", "[db@docker/tcp web-my-shop@docker]", ""},
		"TCP and an HTTP middleware": {
			map[string]string{"traefik.tcp.services.db.loadbalancer.server.port": "1", "traefik.http.middlewares.m.compress": "true"}, "true true", "[db@docker/tcp web-my-shop@docker]", ""},
		"UDP": {
			map[string]string{"traefik.udp.services.dns.loadbalancer.server.port": "53"}, "true true", "[dns@docker/udp]", ""},
		"a network": {
			map[string]string{"traefik.docker.network": "front"}, "false false", "[web-my-shop@docker]", "front"},
		"a network of Swarm": {
			map[string]string{"traefik.swarm.network": "front"}, "false false", "[web-my-shop@docker]", "front"},
	} {
		enabled, said := Enabled(c.labels)
		if got := fmt.Sprint(enabled, said); got != c.enabled {
			t.Errorf("%s: enabled, said = %s, want %s", name, got, c.enabled)
		}
		if got := fmt.Sprint(ServicesOf(c.labels, "web", "my_shop")); got != c.services {
			t.Errorf("%s: services = %s, want %s", name, got, c.services)
		}
		if got := Network(c.labels); got != c.network {
			t.Errorf("%s: network = %q, want %q", name, got, c.network)
		}
	}
}
