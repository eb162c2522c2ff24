package traefik

import (
	"fmt"
	"strings"
	"testing"
)

// labels reads one label per line.
func labelsOf(text string) map[string]string {
	labels := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			labels[name] = value
		}
	}
	return labels
}

func told(conflicts []Conflict) string {
	var b strings.Builder
	for _, c := range conflicts {
		fmt.Fprintf(&b, "%s: %s\n", c.Object(), c.Consequence)
		for _, d := range c.Differences {
			fmt.Fprintf(&b, "  %s: %s, %s\n", d.Label, d.Old, d.New)
		}
	}
	return b.String()
}

func TestConflicts(t *testing.T) {
	for _, c := range mergeCases {
		t.Run(c.name, func(t *testing.T) {
			provider := Provider{ExposedByDefault: true, DefaultRule: c.defaultRule, Constraints: c.constraints}
			provider.ExposedByDefault = !c.hidden
			old := Source{Name: "shop-web-1", Service: "web", Project: "shop", Labels: labelsOf(c.old)}
			new := Source{Service: "web", Project: "shop", Labels: labelsOf(c.new)}
			if got, want := told(Conflicts(old, new, provider)), unindent(c.want); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if same := Conflicts(old, Source{Name: "shop-web-2", Service: "web", Project: "shop", Labels: old.Labels}, provider); len(same) > 0 && !c.never {
				t.Errorf("replicas with the same labels conflict:\n%s", told(same))
			}
		})
	}
}

// unindent takes the tabs away.
func unindent(text string) string {
	return strings.ReplaceAll(strings.TrimPrefix(text, "\n"), "\t", "")
}

const (
	webRouter  = "traefik.http.routers.web.rule=Host(`web.test`)\n"
	webService = "traefik.http.services.web.loadbalancer.server.port=8080\n"
	web        = webRouter + webService
)

// mergeCases are run here, and against a real Traefik in TestRealMerge.
var mergeCases = []struct {
	name        string
	old, new    string
	defaultRule string
	constraints string
	hidden      bool // exposedByDefault=false
	never       bool // no two replicas of it go together
	want        string
}{
	{name: "nothing changed", old: web, new: web},
	{name: "the rule changed", old: web, new: webService + "traefik.http.routers.web.rule=Host(`web.test`) || Host(`www.test`)", want: `
		router web@docker: its requests get 404
		  traefik.http.routers.web.rule: "Host(` + "`web.test`" + `)", "Host(` + "`web.test`) || Host(`www.test`" + `)"
	`},
	{name: "another label and another image: nothing of Traefik's", old: web + "colour=green", new: web + "colour=blue\nroll.drain=1s"},
	{name: "the server's port changed", old: web, new: webRouter + "traefik.http.services.web.loadbalancer.server.port=8081"},
	{name: "the server's scheme changed", old: web, new: web + "traefik.http.services.web.loadbalancer.server.scheme=http"},
	{name: "the server's weight changed", old: web, new: web + "traefik.http.services.web.loadbalancer.server.weight=2"},
	{name: "the router was renamed", old: web, new: webService + "traefik.http.routers.web2.rule=Host(`web.test`)"},
	{name: "router and service were renamed", old: web, new: "traefik.http.routers.web2.rule=Host(`web.test`) || Host(`www.test`)\ntraefik.http.services.web2.loadbalancer.server.port=8080\ntraefik.http.services.web2.loadbalancer.sticky.cookie.name=s"},
	{name: "the service was renamed, and the router names none", old: web, new: webRouter + "traefik.http.services.web2.loadbalancer.server.port=8080", want: `
		router web@docker: its requests get 404
		  traefik.http.routers.web.service: "web" (implied), "web2" (implied)
	`},
	{name: "the service is named that was implied", old: web, new: web + "traefik.http.routers.web.service=web"},
	{name: "the router leads to another service", old: web + "traefik.http.services.b.loadbalancer.server.port=8080\ntraefik.http.routers.web.service=web", new: web + "traefik.http.services.b.loadbalancer.server.port=8080\ntraefik.http.routers.web.service=b", want: `
		router web@docker: its requests get 404
		  traefik.http.routers.web.service: "web", "b"
	`},
	{name: "a middleware was added to the router", old: web, new: web + "traefik.http.middlewares.zip.compress=true\ntraefik.http.routers.web.middlewares=zip", want: `
		router web@docker: its requests get 404
		  traefik.http.routers.web.middlewares: not set, "zip"
	`},
	{name: "an option of a middleware changed", old: web + "traefik.http.routers.web.middlewares=m\ntraefik.http.middlewares.m.headers.customrequestheaders.X-A=1", new: web + "traefik.http.routers.web.middlewares=m\ntraefik.http.middlewares.m.headers.customrequestheaders.X-A=2", want: `
		middleware m@docker: the requests of every router that leads to it get 404
		  traefik.http.middlewares.m.headers.customrequestheaders.X-A: "1", "2"
	`},
	{name: "the key of a map changed its case", old: web + "traefik.http.routers.web.middlewares=m\ntraefik.http.middlewares.m.headers.customrequestheaders.X-A=1", new: web + "traefik.http.routers.web.middlewares=m\ntraefik.http.middlewares.m.headers.customrequestheaders.x-a=1", want: `
		middleware m@docker: the requests of every router that leads to it get 404
		  traefik.http.middlewares.m.headers.customrequestheaders.X-A: "1", not set
		  traefik.http.middlewares.m.headers.customrequestheaders.x-a: not set, "1"
	`},
	{name: "users of a middleware changed, which nobody may read", old: web + "traefik.http.routers.web.middlewares=m\ntraefik.http.middlewares.m.basicauth.users=a:$apr1$x$1", new: web + "traefik.http.routers.web.middlewares=m\ntraefik.http.middlewares.m.basicauth.users=a:$apr1$x$2", want: `
		middleware m@docker: the requests of every router that leads to it get 404
		  traefik.http.middlewares.m.basicauth.users: hidden, hidden
	`},
	{name: "a new middleware that no old replica has", old: web, new: web + "traefik.http.middlewares.zip.compress=true"},
	{name: "a middleware that is no more", old: web + "traefik.http.middlewares.zip.compress=true", new: web},
	{name: "the balancer got a health check", old: web, new: web + "traefik.http.services.web.loadbalancer.healthcheck.path=/ping", want: `
		service web@docker: the requests of every router that leads to it get 404
		  traefik.http.services.web.loadbalancer.healthcheck.path: not set, "/ping"
	`},
	{name: "the sticky cookie changed its name", old: web + "traefik.http.services.web.loadbalancer.sticky.cookie.name=a", new: web + "traefik.http.services.web.loadbalancer.sticky.cookie.name=b", want: `
		service web@docker: the requests of every router that leads to it get 404
		  traefik.http.services.web.loadbalancer.sticky.cookie.name: "a", "b"
	`},
	{name: "a section that is switched on twice", old: web + "traefik.http.services.web.loadbalancer.sticky=true\ntraefik.http.services.web.loadbalancer.sticky.cookie=true\ntraefik.http.services.web.loadbalancer.sticky.cookie.name=a", new: web + "traefik.http.services.web.loadbalancer.sticky.cookie.name=a"},
	{name: "the priority changed", old: web + "traefik.http.routers.web.priority=10", new: web + "traefik.http.routers.web.priority=20", want: `
		router web@docker: its requests get 404
		  traefik.http.routers.web.priority: "10", "20"
	`},
	{name: "the entrypoints changed", old: web + "traefik.http.routers.web.entrypoints=web", new: web + "traefik.http.routers.web.entrypoints=web,tcp", want: `
		router web@docker: its requests get 404
		  traefik.http.routers.web.entrypoints: "web", "web,tcp"
	`},
	{name: "white space in a list", old: web + "traefik.http.routers.web.entrypoints=web,traefik", new: web + "traefik.http.routers.web.entrypoints= web , traefik"},
	{name: "the order of a list", old: web + "traefik.http.routers.web.entrypoints=web,traefik", new: web + "traefik.http.routers.web.entrypoints=traefik,web", want: `
		router web@docker: its requests get 404
		  traefik.http.routers.web.entrypoints: "web,traefik", "traefik,web"
	`},
	{name: "white space in a rule, which is text", old: web, new: webService + "traefik.http.routers.web.rule=Host( `web.test` )", want: `
		router web@docker: its requests get 404
		  traefik.http.routers.web.rule: "Host(` + "`web.test`" + `)", "Host( ` + "`web.test`" + ` )"
	`},
	{name: "a boolean in another form", old: web + "traefik.http.services.web.loadbalancer.passhostheader=false\ntraefik.http.services.web.loadbalancer.sticky.cookie.secure=true", new: web + "traefik.http.services.web.loadbalancer.passhostheader=0\ntraefik.http.services.web.loadbalancer.sticky.cookie.secure=1"},
	{name: "a default that is written out", old: web, new: web + "traefik.http.services.web.loadbalancer.passhostheader=true"},
	{name: "a duration in another form", old: web + "traefik.http.services.web.loadbalancer.responseforwarding.flushinterval=1s", new: web + "traefik.http.services.web.loadbalancer.responseforwarding.flushinterval=1000ms"},
	{name: "TLS was switched on", old: web, new: web + "traefik.http.routers.web.tls=true", want: `
		router web@docker: its requests get 404
		  traefik.http.routers.web.tls: not set, "true"
	`},
	{name: "the certificate resolver changed", old: web + "traefik.http.routers.web.tls.certresolver=a", new: web + "traefik.http.routers.web.tls.certresolver=b", want: `
		router web@docker: its requests get 404
		  traefik.http.routers.web.tls.certresolver: "a", "b"
	`},
	{name: "labels in another case", old: web, new: "traefik.HTTP.Routers.web.Rule=Host(`web.test`)\ntraefik.http.services.web.loadBalancer.server.port=8080"},
	{name: "a name in another case is another name", old: web, new: "traefik.http.routers.Web.rule=Host(`web.test`)\n" + webService},
	{name: "the default rule and implied names on both sides", old: "traefik.enable=true", new: "traefik.enable=1"},
	{name: "a service with a name instead of the implied one", old: "traefik.enable=true", new: webService, want: `
		router web-shop@docker: its requests get 404
		  traefik.http.routers.web-shop.service: "web-shop" (implied), "web" (implied)
	`},
	{name: "the implied service got an option", old: "traefik.enable=true", new: "traefik.http.services.web-shop.loadbalancer.sticky.cookie.name=s", want: `
		service web-shop@docker: the requests of every router that leads to it get 404
		  traefik.http.services.web-shop.loadbalancer.sticky.cookie.name: not set, "s"
	`},
	{name: "the default rule is written out", old: "traefik.enable=true", new: "traefik.http.routers.web-shop.rule=Host(`web-shop`)", want: `
		router web-shop@docker: its requests get 404
		  traefik.http.routers.web-shop.rule: the default rule "Host(` + "`{{ normalize .Name }}`" + `)", "Host(` + "`web-shop`" + `)"
	`},
	{name: "a router of its own instead of the implied one", old: "traefik.enable=true", new: webRouter},
	{name: "a label that the default rule looks at", defaultRule: "Host(`{{ index .Labels \"site\" }}.test`)", old: "site=a", new: "site=b", want: `
		router web-shop@docker: its requests get 404
		  traefik.http.routers.web-shop.rule: the default rule "Host(` + "`{{ index .Labels \\\"site\\\" }}.test`" + `) site=a", the default rule "Host(` + "`{{ index .Labels \\\"site\\\" }}.test`" + `) site=b"
	`},
	{name: "a label that the default rule does not look at", defaultRule: "Host(`{{ index .Labels \"site\" }}.test`)", old: "site=a\ncolour=green", new: "site=a\ncolour=blue"},
	{name: "a default rule of the container's own", defaultRule: "Host(`{{ .ContainerName }}.test`)", old: "site=a", new: "site=a", never: true, want: `
		router web-shop@docker: its requests get 404
		  traefik.http.routers.web-shop.rule: the default rule "Host(` + "`{{ .ContainerName }}.test`" + `) ContainerName=shop-web-1", the default rule "Host(` + "`{{ .ContainerName }}.test`" + `) ContainerName="
	`},
	{name: "the new version leaves Traefik", old: web, new: webService + "traefik.http.routers.web.rule=Host(`www.test`)\ntraefik.enable=false"},
	{name: "Traefik ignores labels that begin with a capital", old: web, new: webService + "Traefik.http.routers.web.rule=Host(`www.test`)"},
	{name: "exposedByDefault=false, and the old replicas do not ask", hidden: true, old: web, new: "traefik.enable=true\n" + webService + "traefik.http.routers.web.rule=Host(`www.test`)"},
	{name: "the constraints keep the old ones out", constraints: "Label(`zone`, `a`)", old: web + "zone=b", new: "zone=a\n" + webService + "traefik.http.routers.web.rule=Host(`www.test`)"},
	{name: "the constraints keep both", constraints: "Label(`zone`, `a`) || LabelRegex(`zone`, `^b`)", old: web + "zone=b1", new: "zone=a\n" + webService + "traefik.http.routers.web.rule=Host(`www.test`)", want: `
		router web@docker: its requests get 404
		  traefik.http.routers.web.rule: "Host(` + "`web.test`" + `)", "Host(` + "`www.test`" + `)"
	`},
	{name: "a TCP rule changed", old: "traefik.tcp.routers.db.rule=HostSNI(`*`)\ntraefik.tcp.routers.db.entrypoints=tcp\ntraefik.tcp.services.db.loadbalancer.server.port=8080", new: "traefik.tcp.routers.db.rule=HostSNI(`*`) && ClientIP(`0.0.0.0/0`)\ntraefik.tcp.routers.db.entrypoints=tcp\ntraefik.tcp.services.db.loadbalancer.server.port=8080", want: `
		TCP router db@docker: connections are closed at once
		  traefik.tcp.routers.db.rule: "HostSNI(` + "`*`" + `)", "HostSNI(` + "`*`) && ClientIP(`0.0.0.0/0`" + `)"
	`},
	{name: "TCP with an implied service whose port changed", old: "traefik.tcp.routers.db.rule=HostSNI(`*`)\ntraefik.tcp.routers.db.entrypoints=tcp", new: "traefik.tcp.routers.db.rule=HostSNI(`*`)\ntraefik.tcp.routers.db.entrypoints=tcp\ntraefik.tcp.services.web-shop.loadbalancer.server.port=8080"},
	{name: "a TCP balancer with another delay", old: "traefik.tcp.routers.db.rule=HostSNI(`*`)\ntraefik.tcp.routers.db.entrypoints=tcp\ntraefik.tcp.services.db.loadbalancer.server.port=8080", new: "traefik.tcp.routers.db.rule=HostSNI(`*`)\ntraefik.tcp.routers.db.entrypoints=tcp\ntraefik.tcp.services.db.loadbalancer.server.port=8080\ntraefik.tcp.services.db.loadbalancer.terminationdelay=200", want: `
		TCP service db@docker: connections are closed at once
		  traefik.tcp.services.db.loadbalancer.terminationdelay: not set, "200"
	`},
	{name: "a UDP router got an entrypoint", old: "traefik.udp.services.dns.loadbalancer.server.port=53\ntraefik.udp.routers.dns.entrypoints=udp", new: "traefik.udp.services.dns.loadbalancer.server.port=53\ntraefik.udp.routers.dns.entrypoints=udp,udp2", want: `
		UDP router dns@docker: packets are dropped
		  traefik.udp.routers.dns.entrypoints: "udp", "udp,udp2"
	`},
	{name: "transports cannot be defined by labels", old: web + "traefik.http.serverstransports.t.servername=a", new: web + "traefik.http.serverstransports.t.servername=b"},
	{name: "the balancer uses another transport", old: web + "traefik.http.services.web.loadbalancer.serverstransport=a@file", new: web + "traefik.http.services.web.loadbalancer.serverstransport=b@file", want: `
		service web@docker: the requests of every router that leads to it get 404
		  traefik.http.services.web.loadbalancer.serverstransport: "a@file", "b@file"
	`},
	{name: "the default certificate of the TLS store changed", old: web + "traefik.tls.stores.default.defaultgeneratedcert.resolver=a", new: web + "traefik.tls.stores.default.defaultgeneratedcert.resolver=b", want: `
		TLS store default: Traefik serves its own certificate instead of the store's
		  traefik.tls.stores.default.defaultgeneratedcert.resolver: "a", "b"
	`},
}
