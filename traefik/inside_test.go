package traefik

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// ask sends what a tool's command line asks for. Only http is known here.
func askFor(t *testing.T, argv []string) (status string, header http.Header, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, argv[len(argv)-1], nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, word := range argv {
		if word == "--header" {
			name, value, _ := strings.Cut(argv[i+1], ": ")
			request.Header.Set(name, value)
			if name == "Host" {
				request.Host = value
			}
		}
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.Status, response.Header, string(content)
}

// wget behaves as BusyBox's does with -q -S.
func wget(t *testing.T, server string, argv []string) (code int, stdout, stderr string) {
	t.Helper()
	if !strings.HasPrefix(argv[len(argv)-1], server) {
		return 1, "", "wget: can't connect to remote host: Connection refused\n"
	}
	status, header, body := askFor(t, argv)
	stderr = "  HTTP/1.1 " + status + "\n"
	for name := range header {
		stderr += "  " + name + ": " + header.Get(name) + "\n"
	}
	if !strings.HasPrefix(status, "200") {
		return 1, "", stderr + "wget: server returned error: HTTP/1.1 " + status + "\n"
	}
	return 0, body, stderr
}

// curl behaves as curl does with -s -S -i.
func curl(t *testing.T, argv []string) (code int, stdout, stderr string) {
	t.Helper()
	status, header, body := askFor(t, argv)
	stdout = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 " + status + "\r\nTransfer-Encoding: chunked\r\n"
	for name := range header {
		stdout += name + ": " + header.Get(name) + "\r\n"
	}
	return 0, stdout + "\r\n" + body, ""
}

func TestClientWorksUnchangedFromInside(t *testing.T) {
	server := serve(t, replay(t, lists))
	for name, tool := range map[string]func([]string) (int, string, string){
		"wget": func(argv []string) (int, string, string) {
			if argv[0] != "wget" {
				return 127, "", "not found"
			}
			return wget(t, server, argv)
		},
		"curl": func(argv []string) (int, string, string) {
			if argv[0] != "curl" {
				return 126, "OCI runtime exec failed: executable file not found", ""
			}
			return curl(t, argv)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := &engine{exec: tool}
			client := newClient(t, server, WithHost("traefik.test"), WithHTTPClient(&http.Client{Transport: &inside{docker: e}}))
			version, err := client.Version(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if version.Uptime < 0 {
				t.Error("the headers are lost")
			}
			services, err := client.Services(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			view, err := client.Raw(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := routesText(View{Services: services}.Routes()), routesText(view.Routes()); got != want || len(services) < 10 {
				t.Errorf("lists say\n%srawdata says\n%s", got, want)
			}
			if last := fmt.Sprint(e.execs[len(e.execs)-1]); !strings.Contains(last, "--header Host: traefik.test") {
				t.Errorf("ran %s", last)
			}
			before := len(e.execs)
			if _, err := client.Overview(t.Context()); err != nil || len(e.execs) != before+1 {
				t.Errorf("%d runs for one question, %v", len(e.execs)-before, err)
			}
		})
	}
}

func TestAnswersFromInsideThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		code           int
		stdout, stderr string
		want           string
	}{
		"no connection":    {1, "", "wget: can't connect to remote host (127.0.0.1): Connection refused\n", `run ended with 1`},
		"not found":        {1, "", "  HTTP/1.1 404 Not Found\nwget: server returned error: HTTP/1.1 404 Not Found\n", "404 Not Found"},
		"password wanted":  {8, "", "  HTTP/1.1 401 Unauthorized\n", "401 Unauthorized: it wants a user and a password"},
		"cut in the midst": {1, `{"Version":`, "  HTTP/1.1 200 OK\n", "wget ended with 1 in the middle of the answer"},
		"no tool":          {127, "", "", "its image has neither wget nor curl"},
		"nothing":          {0, "", "", "wget ended with 0"},
	} {
		e := &engine{exec: func([]string) (int, string, string) { return c.code, c.stdout, c.stderr }}
		_, err := newClient(t, "http://127.0.0.1:8080", WithHTTPClient(&http.Client{Transport: &inside{docker: e}})).Version(t.Context())
		want := strings.Replace(c.want, "run ended", "wget ended", 1)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

func TestRealOutputOfCurlIsRead(t *testing.T) {
	// The recordings are what curl -s -i printed.
	for file, want := range map[string]int{"rawdata.http": 200, "guarded-no-password.http": 401} {
		content, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		status, header, body := parseCurl(content, nil)
		_, _, recordedBody := recorded(t, file)
		if status != want || header.Get("Date") == "" || string(body) != string(recordedBody) {
			t.Errorf("%s: %d %v, body of %d bytes", file, status, header, len(body))
		}
	}
}
