package traefik

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"testing"
)

// recorded is an answer of a real Traefik, from testdata.
func recorded(t testing.TB, file string) (status int, header http.Header, body []byte) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	head, body, found := bytes.Cut(content, []byte("\r\n\r\n"))
	if !found {
		t.Fatalf("%s has no headers", file)
	}
	reader := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(head, "\r\n\r\n"...))))
	line, err := reader.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	fields, err := reader.ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	fields.Del("Transfer-Encoding")
	fields.Del("Content-Length")
	return statusOf(line), http.Header(fields), body
}

// replay serves recorded answers by path and query; everything else is the
// answer of a Traefik that has no route.
func replay(t testing.TB, files map[string]string) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, ok := files[r.URL.RequestURI()]
		if !ok {
			file = "no-route.http"
		}
		status, header, body := recorded(t, file)
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
	})
}

// serve starts a server that ends with the test.
func serve(t testing.TB, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// lists are the pages that Services and Routers read, all on one page.
var lists = map[string]string{
	"/api/version":                            "version.http",
	"/api/overview":                           "overview.http",
	"/api/rawdata":                            "rawdata.http",
	"/api/entrypoints?page=1&per_page=100":    "entrypoints.http",
	"/api/http/services?page=1&per_page=100":  "http-services.http",
	"/api/tcp/services?page=1&per_page=100":   "tcp-services.http",
	"/api/udp/services?page=1&per_page=100":   "udp-services.http",
	"/api/http/routers?page=1&per_page=100":   "http-routers.http",
	"/api/tcp/routers?page=1&per_page=100":    "tcp-routers.http",
	"/api/udp/routers?page=1&per_page=100":    "udp-routers.http",
	"/api/http/services?page=99&per_page=100": "page-beyond-the-end.http",
}
