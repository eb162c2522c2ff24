package traefik

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func realView(t testing.TB) View {
	t.Helper()
	_, _, body := recorded(t, "rawdata.http")
	view, err := ParseView(body)
	if err != nil {
		t.Fatal(err)
	}
	return view
}

// routesText is one line a service.
func routesText(routes map[string][]netip.AddrPort) string {
	var text strings.Builder
	for _, service := range slices.Sorted(maps.Keys(routes)) {
		fmt.Fprintf(&text, "%s %v\n", service, routes[service])
	}
	return text.String()
}

func TestRoutesAreAllServersThatAreNotDown(t *testing.T) {
	const want = `api@internal []
copy@file []
dashboard@internal []
db@file/tcp [127.0.0.1:19480 [fd00::4]:5432]
dns@file/udp [10.0.0.12:53 [fd00::5]:53]
idle@file [10.0.0.11:80]
names@file [10.0.0.10:9000]
noop@internal []
six@file [[fd00::2]:80 [fd00::3]:443 10.0.0.9:80]
spare@file []
split@file []
web@file [127.0.0.1:19480]
`
	if got := routesText(realView(t).Routes()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestWhereListsServersThatAreDownToo(t *testing.T) {
	loopback := netip.MustParseAddr("127.0.0.1")
	got := fmt.Sprintf("%+v", realView(t).Where(func(a netip.AddrPort) bool { return a.Addr() == loopback }))
	const want = "[{Service:web@file Server:http://127.0.0.1:19480 Status:UP} {Service:web@file Server:http://127.0.0.1:1 Status:DOWN} " +
		"{Service:db@file/tcp Server:127.0.0.1:19480 Status:UP} {Service:db@file/tcp Server:127.0.0.1:1 Status:DOWN}]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if found := realView(t).Where(func(netip.AddrPort) bool { return false }); found != nil {
		t.Errorf("nothing was to be found, got %v", found)
	}
}

func TestViewKeepsWhatTraefikSaysAboutServicesAndRouters(t *testing.T) {
	view := realView(t)
	types := map[string]string{}
	for _, service := range view.Services {
		types[service.Key()] = service.Type
	}
	for service, want := range map[string]string{
		"web@file": "loadbalancer", "split@file": "weighted", "copy@file": "mirroring", "spare@file": "failover",
		"api@internal": "", "db@file/tcp": "loadbalancer",
	} {
		if got, ok := types[service]; !ok || got != want {
			t.Errorf("type of %s is %q (present: %v), want %q", service, got, ok, want)
		}
	}
	lost := view.Routers[slices.IndexFunc(view.Routers, func(r Route) bool { return r.Name == "lost@file" })]
	const want = `{Name:lost@file Protocol:http Rule:Host(` + "`lost.test`" + `) Service:missing EntryPoints:[tcp] Status:disabled Errors:[the service "missing@file" does not exist]}`
	if got := fmt.Sprintf("%+v", lost); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := fmt.Sprint(view.Middlewares); got != "[dashboard_redirect@internal dashboard_stripprefix@internal]" {
		t.Errorf("middlewares are %s", got)
	}
	if !view.fromProvider("docker", "file") || view.fromProvider("docker", "swarm") {
		t.Error("the view is the file provider's alone")
	}
}

func TestOneNameInTwoTablesIsTwoServices(t *testing.T) {
	view, err := ParseView([]byte(`{"services":{"db@docker":{"loadBalancer":{"servers":[{"url":"http://10.0.0.1"}]}}},
		"tcpServices":{"db@docker":{"loadBalancer":{"servers":[{"address":"10.0.0.1:5432"}]}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := routesText(view.Routes()), "db@docker [10.0.0.1:80]\ndb@docker/tcp [10.0.0.1:5432]\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestAddressesOfServers(t *testing.T) {
	for _, c := range []struct{ target, want string }{
		{"http://10.0.0.1:8080", "10.0.0.1:8080"},
		{"http://10.0.0.1", "10.0.0.1:80"},
		{"http://10.0.0.1/", "10.0.0.1:80"},
		{"https://10.0.0.1", "10.0.0.1:443"},
		{"h2c://10.0.0.1", "10.0.0.1:80"},
		{"http://[fd00::2]:80", "[fd00::2]:80"},
		{"http://[fd00::2]", "[fd00::2]:80"},
		{"https://[FD00:0::2]", "[fd00::2]:443"},
		{"http://[::ffff:10.0.0.1]:80", "10.0.0.1:80"},
		{"http://app:80", "invalid AddrPort"},
		{"http://10.0.0.1:99999", "invalid AddrPort"},
		{"http://10.0.0.1:0", "invalid AddrPort"},
		{"http://fd00::2:80", "invalid AddrPort"},
		{"10.0.0.1:80", "invalid AddrPort"},
		{"://", "invalid AddrPort"},
		{"", "invalid AddrPort"},
	} {
		if got := addressOfURL(c.target).String(); got != c.want {
			t.Errorf("%q leads to %s, want %s", c.target, got, c.want)
		}
	}
}

func TestWhatIsNoAnswerOfTraefikIsAnError(t *testing.T) {
	_, _, whole := recorded(t, "rawdata.http")
	for name, body := range map[string]string{
		"empty":                     "",
		"blanks":                    " \n",
		"null":                      "null",
		"a list":                    "[]",
		"a page":                    "<html>Sign in</html>",
		"an object without any key": "{}",
		"another API's object":      `{"message":"hello"}`,
		"no services":               `{"services":{}}`,
		"cut in the middle":         string(whole[:len(whole)/2]),
		"cut before the last brace": string(whole[:len(whole)-2]),
		"two values":                string(whole) + string(whole),
		"services as a list":        `{"services":[]}`,
		"a server as a number":      `{"services":{"a":{"loadBalancer":{"servers":[1]}}}}`,
		"not UTF-8":                 "\xff\xfe",
	} {
		_, err := ParseView([]byte(body))
		if err == nil || !strings.HasPrefix(err.Error(), "not an answer of Traefik's API: ") || len(err.Error()) > 300 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRawData(f *testing.F) {
	for _, file := range []string{"rawdata.http", "guarded-rawdata.http", "many-1.http", "no-route.http"} {
		_, _, body := recorded(f, file)
		f.Add(body)
	}
	f.Add([]byte(`{"services":{"a@docker":{"loadBalancer":{"servers":[{"url":"http://[fe80::1%25eth0]:80"},{"url":"\u0000"}]},"serverStatus":{"\u0000":"down"}}}}`))
	f.Add([]byte(`{"services":{"":{"loadBalancer":{"servers":[{},{"url":"http://1.2.3.4:"}]}},"b":null},"udpServices":{"b":{"loadBalancer":{"servers":[{"address":"[::]:1"}]}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		view, err := ParseView(body)
		if err != nil {
			return
		}
		if len(view.Services) == 0 {
			t.Error("a view without services is no view")
		}
		in := map[string]int{}
		for _, listing := range view.Where(func(netip.AddrPort) bool { return true }) {
			if listing.Status != Down {
				in[listing.Service]++
			}
		}
		for service, servers := range view.Routes() {
			if len(servers) > in[service] || len(servers) == 0 && in[service] > 0 {
				t.Errorf("%s has %d listed servers and routes to %d", service, in[service], len(servers))
			}
		}
	})
}
