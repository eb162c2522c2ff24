package traefik

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

// objectsOf are the objects of conflicts, and secrets that they show.
func objectsOf(t *testing.T, conflicts []Conflict) []string {
	t.Helper()
	var names []string
	for _, c := range conflicts {
		names = append(names, c.Object())
		if c.Consequence == "" || len(c.Differences) == 0 {
			t.Errorf("half a conflict: %+v", c)
		}
		for _, d := range c.Differences {
			if secret(d.Label) && (strings.Contains(d.Old, "5ecret") || strings.Contains(d.New, "5ecret")) {
				t.Errorf("%s shows a secret: %s, %s", d.Label, d.Old, d.New)
			}
			for _, text := range []string{d.Old, d.New} {
				if strings.ContainsFunc(text, unicode.IsControl) {
					t.Errorf("%s shows %q, which a terminal obeys", d.Label, text)
				}
			}
		}
	}
	return names
}

func FuzzConflicts(f *testing.F) {
	for _, c := range mergeCases {
		f.Add(c.old, c.new, c.defaultRule, c.constraints, c.hidden)
	}
	f.Add("traefik.http.middlewares.m.basicauth.users=5ecret", "traefik.http.middlewares.m.basicauth.users=5ecret2", "", "", false)
	f.Add("traefik.http.routers..rule=a\ntraefik.http.routers.web.tls.domains[0].main=a", "traefik.tcp.routers.a.rule=\ntraefik.http.routers.web.tls.domains[x].main=b", "{{ .Name }}", "Label(`a`, `b`)", false)
	f.Fuzz(func(t *testing.T, before, after, defaultRule, constraints string, hidden bool) {
		provider := Provider{ExposedByDefault: !hidden, DefaultRule: defaultRule, Constraints: constraints}
		old := Source{Name: "shop-web-1", Service: "web", Project: "shop", Labels: labelsOf(before)}
		new := Source{Name: "shop-web-1", Service: "web", Project: "shop", Labels: labelsOf(after)}
		forth, back := objectsOf(t, Conflicts(old, new, provider)), objectsOf(t, Conflicts(new, old, provider))
		if !slices.Equal(forth, back) {
			t.Errorf("old and new conflict in %q, new and old in %q", forth, back)
		}
		if same := Conflicts(old, old, provider); len(same) > 0 {
			t.Errorf("a container conflicts with itself:\n%s", told(same))
		}
	})
}

func FuzzLabels(f *testing.F) {
	for _, text := range []string{web, "traefik.enable=maybe", "Traefik.enable=true", "TRAEFIK.HTTP=1", "traefik.tcp.routers.a.rule=HostSNI(`*`)", "traefik.udp.services..loadbalancer.server.port=1", "traefik.http.services.a.loadbalancer.server.url=http://1.2.3.4"} {
		f.Add(text, "web", "shop", "Label(`a`,`b`) || !LabelRegex(`c`, `[`)")
	}
	f.Add("a=b", "", "", "((((!Label(`a`, `b`)))))")
	f.Add("a=b", "ö", "..", `Label("a", 'b')`)
	f.Fuzz(func(t *testing.T, text, service, project, constraints string) {
		labels := labelsOf(text)
		provider := Provider{ExposedByDefault: true, Constraints: constraints}
		hurdle := provider.Ignores(labels)
		if hurdle != nil && hurdle.Why == "" {
			t.Errorf("ignored without a reason: %+v", hurdle)
		}
		if enabled, said := Enabled(labels); said && !enabled && hurdle == nil {
			t.Errorf("not enabled, and yet not ignored: %q", labels)
		}
		names := ServicesOf(labels, service, project)
		if len(names) == 0 || !slices.IsSorted(names) {
			t.Errorf("services %q", names)
		}
		for _, name := range names {
			if !strings.Contains(name, "@docker") {
				t.Errorf("service %q", name)
			}
		}
		_ = Network(labels)
		_ = provider.Wavers(labels, []string{"a", "b"})
		for _, name := range Fixed(labels) {
			if _, ok := labels[name]; !ok {
				t.Errorf("%q is no label of the container", name)
			}
		}
		ok, err := satisfies(constraints, labels)
		not, errNot := satisfies("!("+constraints+")", labels)
		if err == nil && errNot == nil && ok == not && constraints != "" {
			t.Errorf("both %s and not", constraints)
		}
	})
}

func FuzzSettings(f *testing.F) {
	f.Add("traefik.yml", "api: {insecure: true}\nproviders: {docker: {exposedByDefault: false}, providersThrottleDuration: 500ms}\nentryPoints: {traefik: {address: ':9000'}}\n")
	f.Add("traefik.toml", "[api]\ninsecure = true\n[providers.docker]\n")
	f.Add("traefik.json", `{"entryPoints":{"web":{"address":"[::]:80/udp"}}}`)
	f.Add("args", "--api.insecure\n--entrypoints.a.address=:1:2\n--providers.providersthrottleduration=9223372036854775807")
	f.Add("env", "TRAEFIK_API=true\nTRAEFIK_PROVIDERS_DOCKER_SWARMMODE=true\nTRAEFIK_PROVIDERS_DOCKER_SWARMMODEREFRESHSECONDS=-1")
	f.Add("a.yml", "a: &a [*a]")
	f.Fuzz(func(t *testing.T, name, text string) {
		var flat map[string]string
		switch name {
		case "args":
			flat = flatFlags(strings.Split(text, "\n"))
		case "env":
			flat = flatEnvironment(strings.Split(text, "\n"))
		default:
			var err error
			if flat, err = flatFile(name, []byte(text)); err != nil {
				return
			}
		}
		s, err := settingsFrom(name, flat)
		if s.EntryPoints["traefik"] == "" && flat["entrypoints.traefik.address"] != "" {
			t.Errorf("no entrypoint traefik: %+v", s)
		}
		if err == nil && (s.Throttle < 0 || s.Swarm.Refresh < 0 || s.Throttle > 100*365*24*time.Hour) && !strings.Contains(text, "-") && s.Throttle < 0 {
			t.Errorf("throttle %s, refresh %s", s.Throttle, s.Swarm.Refresh)
		}
		for entryPoint := range s.EntryPoints {
			if port, inside, ok := s.port(entryPoint); ok && (port == "" || inside == "") {
				t.Errorf("entrypoint %s: port %q, %q", entryPoint, port, inside)
			}
		}
		_ = noDoor(s)
		for _, d := range doorsOf(s, map[string]string{"traefik.http.routers.api.rule": text, "traefik.http.routers.api.service": "api@internal"}) {
			if strings.Contains(d.base, "\n") {
				t.Errorf("door %+v", d)
			}
		}
	})
}

// answers is a network that gives one answer to every request.
type answers struct {
	status int
	body   string
}

func (a answers) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(a.body)), Request: request}, nil
}

func FuzzAnswers(f *testing.F) {
	for _, body := range []string{`{"Version":"3.6.12","startDate":"2026-01-01T00:00:00Z"}`, `[{"name":"web@docker","status":"enabled"}]`, `{"message":"no"}`, `{"message":"\u001b[2J\u0000"}`, "\x1b[2J", `{"message":"` + strings.Repeat("a", 3000) + `"}`, `[]`, `null`, "<html>", `[{"address":":80","name":"web","http":{"middlewares":null}}]`, `{"http":{"routers":{"total":-1}}}`} {
		f.Add(200, body)
		f.Add(404, body)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		status = 200 + (status%400+400)%400
		client, err := New("http://traefik.test:8080", WithHTTPClient(&http.Client{Transport: answers{status, body}}))
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		_, errVersion := client.Version(ctx)
		_, errView := client.Raw(ctx)
		_, errServices := client.Services(ctx)
		_, errRouters := client.Routers(ctx)
		_, errOverview := client.Overview(ctx)
		_, errEntryPoints := client.EntryPoints(ctx)
		for i, err := range []error{errVersion, errView, errServices, errRouters, errOverview, errEntryPoints} {
			switch {
			case err == nil && status != http.StatusOK:
				t.Errorf("call %d: status %d is no error", i, status)
			case err != nil && (len(err.Error()) > 1000 || strings.ContainsFunc(err.Error(), func(r rune) bool { return unicode.IsControl(r) && r != '\n' })):
				t.Errorf("call %d: %q", i, err)
			}
			var answered *StatusError
			if status != http.StatusOK && err != nil && !errors.As(err, &answered) {
				t.Errorf("call %d: status %d, and the error is %v", i, status, err)
			}
		}
	})
}

func FuzzInside(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Type: a\r\n\r\nbody"), []byte("  HTTP/1.1 200 OK\n  Content-Type: a\n"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n"), []byte("wget: server returned error: HTTP/1.1 404 Not Found"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\n"), []byte("HTTP/1.1 99999999999999999999"))
	f.Fuzz(func(t *testing.T, stdout, stderr []byte) {
		for name, parse := range map[string]func([]byte, []byte) (int, http.Header, []byte){"wget": parseWget, "curl": parseCurl} {
			status, header, body := parse(stdout, stderr)
			if status != 0 && (status < 100 || status > 599 || header == nil) || len(body) > len(stdout) {
				t.Errorf("%s: status %d, header %v, %d bytes of %d", name, status, header, len(body), len(stdout))
			}
		}
		if got := fmt.Sprint(statusOf(string(stdout))); len(got) > 3 {
			t.Errorf("status %s", got)
		}
	})
}
