package healthflip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
)

var routes = map[string]string{"roll.flip.http": "/sethealth/ko?by=roll", "roll.unflip.http": "/sethealth/ok"}

// with returns labels and one more.
func with(labels map[string]string, name, value string) map[string]string {
	more := map[string]string{name: value}
	for name, value := range labels {
		more[name] = value
	}
	return more
}

// refusing returns a port on which nothing listens.
func refusing(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return netip.MustParseAddrPort(listener.Addr().String()).Port()
}

func TestHTTPCallsTheReplicaOverItsNetwork(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.RequestURI)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	address := addressOf(t, server)
	port := fmt.Sprint(address.Port())
	for _, test := range []struct {
		name   string
		labels map[string]string
		change func(*container.InspectResponse)
		want   string
	}{
		{"port by label", with(routes, "roll.flip.port", port), reachable([]netip.Addr{address.Addr()}, "1/tcp", "2/tcp"),
			"GET /sethealth/ko?by=roll, GET /sethealth/ok"},
		{"Traefik's port", with(routes, "traefik.http.services.web.loadbalancer.server.port", port), reachable([]netip.Addr{address.Addr()}),
			"GET /sethealth/ko?by=roll, GET /sethealth/ok"},
		{"the single exposed TCP port", with(routes, "roll.flip.method", "post"), reachable([]netip.Addr{address.Addr()}, port+"/tcp", "53/udp"),
			"POST /sethealth/ko?by=roll, POST /sethealth/ok"},
		{"the second address when the first refuses", with(routes, "roll.flip.port", port),
			reachable([]netip.Addr{netip.MustParseAddr("127.0.0.0"), address.Addr(), netip.MustParseAddr("::1")}),
			"GET /sethealth/ko?by=roll, GET /sethealth/ok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got = nil
			f := New(&fakeDocker{t: t, inspect: running(test.labels, test.change)})
			checkError(t, f.Flip(t.Context(), "id"), "")
			checkError(t, f.Unflip(t.Context(), "id"), "")
			if text := strings.Join(got, ", "); text != test.want {
				t.Errorf("the replica got %s, want %s", text, test.want)
			}
		})
	}
}

func TestHTTPTakesOnly2xxForAnAnswer(t *testing.T) {
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		want    string // %s is the replica's URL
	}{
		{"an error with a long body", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no\n"+strings.Repeat("x", 9000), http.StatusServiceUnavailable)
		}, "GET %s: status 503 Service Unavailable: no " + strings.Repeat("x", bodyShown-3) + "..."},
		{"a redirect, which is not followed", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/sethealth/ko" {
				t.Errorf("followed to %s", r.URL)
			}
			w.Header().Set("Location", "/login")
			w.WriteHeader(http.StatusFound)
		}, "GET %s: status 302 Found"},
		{"a status without a name", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) }, "GET %s: status 599"},
		{"a connection that is cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "GET %s: EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.handler)
			t.Cleanup(server.Close)
			address := addressOf(t, server)
			docker := &fakeDocker{t: t, inspect: running(routes, reachable([]netip.Addr{address.Addr()}, fmt.Sprintf("%d/tcp", address.Port())))}
			f := New(docker)
			checkError(t, f.Flip(t.Context(), "id"), strings.ReplaceAll(test.want, "%s", server.URL+"/sethealth/ko?by=roll"))
			if f.Calls() != 2 {
				t.Errorf("%d calls, want an inspect and a request", f.Calls())
			}
		})
	}
}

func TestHTTPSaysThatTheReplicaDoesNotAnswer(t *testing.T) {
	stop := errors.New("the roll was interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel(stop)
		<-release
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	address := addressOf(t, server)
	docker := &fakeDocker{t: t, inspect: running(routes, reachable([]netip.Addr{address.Addr()}, fmt.Sprintf("%d/tcp", address.Port())))}
	err := New(docker).Flip(ctx, "id")
	want := fmt.Sprintf("GET %s/sethealth/ko?by=roll: connected, but no answer after ", server.URL)
	if err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, stop) {
		t.Errorf("got %v\nwant %s...", err, want)
	}
}

func TestHTTPNeedsToKnowThePort(t *testing.T) {
	for _, test := range []struct {
		name  string
		ports []string
		want  string
	}{
		{"none is exposed", nil, "label roll.flip.port: nothing tells which port to call: the container exposes none; instead: roll.flip.port: 3000"},
		{"two are exposed", []string{"9090/tcp", "80/tcp"}, "label roll.flip.port: nothing tells which port to call: the container exposes 80, 9090; instead: roll.flip.port: 3000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			docker := &fakeDocker{t: t, inspect: running(routes, reachable(nil, test.ports...))}
			checkError(t, New(docker).Flip(t.Context(), "id"), test.want)
		})
	}
}

// distantDocker is an Engine behind ssh.
type distantDocker struct{ *fakeDocker }

func (distantDocker) DaemonHost() string { return "ssh://deploy@web1" }

func TestHTTPOfADistantEngineNeverDialsFromHere(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("called a neighbour that has the replica's address")
	}))
	t.Cleanup(server.Close)
	address := addressOf(t, server)
	ran := ""
	docker := distantDocker{&fakeDocker{t: t, inspect: running(with(routes, "roll.flip.port", fmt.Sprint(address.Port())), reachable([]netip.Addr{address.Addr()})),
		run: func(options container.ExecOptions) (int, string, string) {
			ran = strings.Join(options.Cmd, " ")
			return 0, "HTTP/1.1 200 OK\r\n\r\n", ""
		}}}
	checkError(t, New(docker).Flip(t.Context(), "id"), "")
	if want := fmt.Sprintf("curl -q -sS -i -g http://127.0.0.1:%d/sethealth/ko?by=roll", address.Port()); ran != want {
		t.Errorf("ran %s, want %s", ran, want)
	}
}

func TestHTTPFromInsideTheReplica(t *testing.T) {
	port := refusing(t)
	refused := fmt.Sprintf("dial tcp 127.0.0.1:%d: connect: connection refused", port)
	type answer struct {
		code           int
		stdout, stderr string
	}
	missing := answer{code: 127, stderr: "not found"}
	for _, test := range []struct {
		name       string
		method     string
		curl, wget answer
		ran        string
		want       string
	}{
		{name: "curl gets 204", curl: answer{stdout: "HTTP/1.1 204 No Content\r\n\r\n"}, ran: "curl"},
		{name: "curl gets 500", curl: answer{stdout: "HTTP/1.1 500 Oops\r\nA: HTTP/1.1 200\r\n\r\nit broke"}, ran: "curl",
			want: "GET http://127.0.0.1:PORT/sethealth/ko?by=roll inside the replica: status 500 Internal Server Error: it broke"},
		{name: "wget gets 200", curl: missing, wget: answer{stdout: "body", stderr: "--2026--\n  HTTP/1.0 200 OK\n"}, ran: "curl wget"},
		{name: "wget follows a redirect, and its first answer decides", curl: missing, wget: answer{stdout: "hello", stderr: "  HTTP/1.0 302 Found\n  HTTP/1.0 200 OK\n"}, ran: "curl wget",
			want: "GET http://127.0.0.1:PORT/sethealth/ko?by=roll inside the replica: status 302 Found: hello"},
		{name: "wget gets 503", curl: missing, wget: answer{code: 1, stderr: "  HTTP/1.0 503 Busy\nwget: server returned error"}, ran: "curl wget",
			want: "GET http://127.0.0.1:PORT/sethealth/ko?by=roll inside the replica: status 503 Service Unavailable"},
		{name: "nothing answers", curl: answer{code: 7, stderr: "curl: (7) refused"}, ran: "curl curl",
			want: "GET /sethealth/ko?by=roll: nothing answers: from here: " + refused + "; with curl inside the replica: http://127.0.0.1:PORT/sethealth/ko?by=roll exit code 7: curl: (7) refused, http://127.0.0.1:PORT/sethealth/ko?by=roll exit code 7: curl: (7) refused"},
		{name: "no tool", curl: missing, wget: missing, ran: "curl wget",
			want: "GET /sethealth/ko?by=roll: the replica cannot be called from here (" + refused + "), and neither curl nor wget is in the image: make it listen on port PORT of its network address, add curl or wget to the image, or use roll.flip.file or roll.flip.signal"},
		{name: "POST needs curl", method: "POST", curl: missing, ran: "curl",
			want: "POST /sethealth/ko?by=roll: the replica cannot be called from here (" + refused + "), and curl is not in the image: make it listen on port PORT of its network address, add curl to the image, or use roll.flip.file or roll.flip.signal"},
	} {
		t.Run(test.name, func(t *testing.T) {
			labels := with(routes, "roll.flip.port", fmt.Sprint(port))
			if test.method != "" {
				labels["roll.flip.method"] = test.method
			}
			var ran []string
			docker := &fakeDocker{t: t, inspect: running(labels, reachable([]netip.Addr{netip.MustParseAddr("127.0.0.1")})),
				run: func(options container.ExecOptions) (int, string, string) {
					ran = append(ran, options.Cmd[0])
					if strings.Join(options.Env, " ") != strings.Join(noProxy, " ") {
						t.Errorf("environment %q", options.Env)
					}
					a := test.curl
					if options.Cmd[0] == "wget" {
						a = test.wget
					}
					return a.code, a.stdout, a.stderr
				}}
			checkError(t, New(docker).Flip(t.Context(), "id"), strings.ReplaceAll(test.want, "PORT", fmt.Sprint(port)))
			if got := strings.Join(ran, " "); got != test.ran {
				t.Errorf("ran %s, want %s", got, test.ran)
			}
		})
	}
}

func TestCurlMakesRequestsWithoutABody(t *testing.T) {
	for method, want := range map[string]string{
		"GET":  "curl -q -sS -i -g http://x/",
		"HEAD": "curl -q -sS -i -g -I http://x/",
		"PUT":  "curl -q -sS -i -g -X PUT -H Content-Length: 0 http://x/",
	} {
		if got := strings.Join(curl(method, "http://x/"), " "); got != want {
			t.Errorf("%s: %s, want %s", method, got, want)
		}
	}
}
