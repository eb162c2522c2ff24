package traefik

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newClient(t testing.TB, url string, opts ...Option) *Client {
	t.Helper()
	client, err := New(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestClientReadsRealAnswers(t *testing.T) {
	client := newClient(t, serve(t, replay(t, lists)))
	ctx := t.Context()

	version, err := client.Version(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if version.Version == "" || version.Started.IsZero() || version.Uptime < 0 || version.Uptime > time.Minute {
		t.Errorf("version is %+v", version)
	}
	view, err := client.Raw(ctx)
	if err != nil {
		t.Fatal(err)
	}
	services, err := client.Services(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The lists and the snapshot tell the same.
	if got, want := routesText((View{Services: services}).Routes()), routesText(view.Routes()); got != want {
		t.Errorf("lists say\n%srawdata says\n%s", got, want)
	}
	routers, err := client.Routers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(routers), fmt.Sprint(view.Routers); got != want {
		t.Errorf("lists say\n%s\nrawdata says\n%s", got, want)
	}
	overview, err := client.Overview(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%+v", overview.HTTP.Routers) + fmt.Sprint(overview.Providers); got != "{Total:9 Warnings:0 Errors:1}[File]" {
		t.Errorf("overview is %s", got)
	}
	entryPoints, err := client.EntryPoints(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(entryPoints); got != "[{tcp 127.0.0.1:19481} {traefik 127.0.0.1:19480} {udp 127.0.0.1:19482/udp}]" {
		t.Errorf("entrypoints are %s", got)
	}
	if client.Calls() != 10 {
		t.Errorf("%d calls, want 10", client.Calls())
	}
}

func TestListsAreReadPageByPage(t *testing.T) {
	client := newClient(t, serve(t, replay(t, map[string]string{
		"/api/http/services?page=1&per_page=100": "many-1.http",
		"/api/http/services?page=2&per_page=100": "many-2.http",
		"/api/tcp/services?page=1&per_page=100":  "tcp-services.http",
		"/api/udp/services?page=1&per_page=100":  "udp-services.http",
	})))
	services, err := client.Services(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, service := range services {
		names[service.Key()] = true
	}
	// 120 of the file, 3 of Traefik's own, one each of TCP and UDP.
	if len(services) != 125 || len(names) != 125 || !names["s1@file"] || !names["s120@file"] {
		t.Errorf("%d services, %d names", len(services), len(names))
	}
}

func TestAListThatNeverEndsIsAnError(t *testing.T) {
	for _, next := range []string{"0", "-1", "3", "two", "99999999999999999999"} {
		client := newClient(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Next-Page", next)
			_, _ = w.Write([]byte("[]"))
		})))
		_, err := client.EntryPoints(t.Context())
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("X-Next-Page is %q after page 1", next)) {
			t.Errorf("%s: %v", next, err)
		}
	}
}

func TestBasePathAndPasswordAreInTheURL(t *testing.T) {
	guarded := replay(t, map[string]string{"/ops/api/rawdata": "guarded-rawdata.http", "/ops/api/version": "guarded-version.http"})
	refused := replay(t, map[string]string{"/ops/api/rawdata": "guarded-no-password.http", "/ops/api/version": "guarded-no-password.http"})
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "user" || password != "secret" {
			refused.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	}))
	host := strings.TrimPrefix(server, "http://")
	for _, path := range []string{"/ops", "/ops/", "/ops/dashboard/", "/ops/dashboard/#/http/routers", "/ops/api"} {
		client := newClient(t, "http://user:secret@"+host+path)
		view, err := client.Raw(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if len(view.Routers) == 0 || view.Routers[0].Name != "ops@file" {
			t.Errorf("%s: routers are %v", path, view.Routers)
		}
	}
	_, err := newClient(t, "http://user:wrong@"+host+"/ops", WithName("proxy-1")).Version(t.Context())
	want := "ask Traefik proxy-1: GET http://" + host + "/ops/api/version: 401 Unauthorized: it wants a user and a password, like http://user:password@host"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	var status *StatusError
	if !errors.As(err, &status) || status.Code != http.StatusUnauthorized {
		t.Errorf("not a StatusError with 401: %#v", err)
	}
}

func TestErrorBodiesAreReadAsJSONWhateverTheirType(t *testing.T) {
	for file, want := range map[string]string{
		"page-beyond-the-end.http": "400 Bad Request: invalid request: page: 9, per_page: 100",
		"no-such-service.http":     "404 Not Found: service not found: none@file",
		"guarded-no-password.http": "401 Unauthorized: it wants a user and a password, like http://user:password@host",
	} {
		_, err := newClient(t, serve(t, replay(t, map[string]string{"/api/version": file}))).Version(t.Context())
		if err == nil || !strings.HasSuffix(err.Error(), "/api/version: "+want) {
			t.Errorf("%s: got %v, want ... %s", file, err, want)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := serve(t, replay(t, lists))
	url := serve(t, http.RedirectHandler(strings.Replace(elsewhere, "http://", "http://user:secret@", 1)+"/login", http.StatusFound))
	_, err := newClient(t, url).Raw(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "302 Found: it leads to "+elsewhere+"/login") {
		t.Errorf("got %v", err)
	}
}

func TestWrongAnswersAreErrorsThatNameInstanceAndURL(t *testing.T) {
	_, _, whole := recorded(t, "rawdata.http")
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"a login page":       {func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>Sign in</html>") }, `"<html>Sign in</html>"`},
		"truncated JSON":     {func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(whole[:1000]) }, "unexpected end of JSON input"},
		"a body cut short":   {cutShort(whole), "read answer: unexpected EOF"},
		"a huge body":        {endless, "answer is larger than 65536 bytes"},
		"a connection reset": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"no answer at all":   {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within 100ms"},
		"a header, no body":  {headerOnly, "no answer within 100ms"},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, c.handler)
			client := newClient(t, strings.Replace(url, "http://", "http://user:secret@", 1), WithName("proxy-1"), WithTimeout(100*time.Millisecond), withMaxBody(1<<16))
			_, err := client.Raw(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), "ask Traefik proxy-1: GET "+url+"/api/rawdata: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is in: %v", err)
			}
		})
	}
}

func cutShort(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body[:len(body)/2])
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	for chunk := bytes.Repeat([]byte(" "), 4096); r.Context().Err() == nil; {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func headerOnly(w http.ResponseWriter, r *http.Request) {
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func TestASlowAnswerEndsWithTheCallersContext(t *testing.T) {
	asked := make(chan struct{})
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { close(asked); <-r.Context().Done() }))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := newClient(t, url).Raw(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), url+"/api/rawdata") {
		t.Errorf("got %v", err)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(replay(t, lists))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := server.Client().Transport.(*http.Transport).TLSClientConfig
	for name, opt := range map[string]Option{
		"CA file":        WithCAFile(ca),
		"skip verify":    WithInsecureSkipVerify(),
		"TLS config":     WithTLS(trusting),
		"HTTP client":    WithHTTPClient(server.Client()),
		"minimum of 1.3": WithTLS(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: trusting.RootCAs}),
	} {
		if _, err := newClient(t, server.URL, opt).Version(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newClient(t, server.URL).Version(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority was trusted: %v", err)
	}
	if _, err := New(server.URL, WithCAFile("testdata/README.md")); err == nil || !strings.Contains(err.Error(), "holds no certificate in PEM form") {
		t.Errorf("a file without certificates: %v", err)
	}
	if _, err := New(server.URL, WithCAFile(ca+".missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestBadURLsSayWhatToWriteInstead(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "has no http:// or https://",
		"localhost:8080":               "has no http:// or https://",
		"user:secret@traefik:8080":     "has no http:// or https://",
		"traefik.example.com":          "has no http:// or https://",
		"ftp://user:secret@host":       "has no http:// or https://",
		"http://":                      "has no host",
		"http:///api":                  "has no host",
		"http://user:secret@host/?a=b": "must not have a query",
		"http://user:secret@ho st":     "is not a URL",
		"http://user:sec%zzret@host":   "is not a URL",
	} {
		_, err := New(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), "write it like http://127.0.0.1:8080 or https://user:password@traefik.example.com") {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && strings.Contains(err.Error(), "sec") {
			t.Errorf("%q: the password is in: %v", text, err)
		}
	}
}

func TestConnectionsAreKeptAlive(t *testing.T) {
	client := newClient(t, serve(t, replay(t, lists)))
	for i, want := range []bool{true, false, false} {
		_, connected, err := client.raw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if connected != want {
			t.Errorf("call %d: new connection is %v, want %v", i, connected, want)
		}
	}
}
