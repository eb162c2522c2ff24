package main

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestProgramsAreRecognised(t *testing.T) {
	for _, c := range []struct {
		name       string
		executable string
		cmdline    []string
		want       string
	}{
		{"by its executable", "/usr/sbin/nginx", []string{"nginx", "-g", "daemon off;"}, "nginx"},
		{"by its title when the executable is a secret", "", []string{"nginx: master process nginx -g daemon off;"}, "nginx"},
		{"an executable that was replaced", "/usr/sbin/nginx (deleted)", nil, "nginx"},
		{"a versioned name", "/usr/sbin/php-fpm8.2", []string{"php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)"}, "php-fpm"},
		{"apache on Debian and elsewhere", "/usr/sbin/apache2", nil, "apache"},
		{"haproxy", "/usr/local/sbin/haproxy", []string{"haproxy", "-W", "-db"}, "haproxy"},
		{"unicorn by the script", "/usr/bin/ruby3.1", []string{"ruby", "/usr/bin/unicorn", "-c", "x"}, "unicorn"},
		{"unicorn by its title", "/usr/bin/ruby3.1", []string{"unicorn master -c x"}, "unicorn"},
		{"uwsgi", "/usr/bin/uwsgi-core", []string{"uwsgi", "--http", ":80"}, "uwsgi"},
		{"postgres", "/usr/lib/postgresql/15/bin/postgres", nil, "postgres"},
		{"an entrypoint script is not its server yet", "/usr/bin/dash", []string{"/bin/sh", "/docker-entrypoint.sh", "nginx"}, ""},
		{"an argument is no program", "/usr/bin/tail", []string{"tail", "nginx"}, ""},
		{"a module of Python is no script", "/usr/bin/python3", []string{"python3", "-m", "uwsgi"}, ""},
		{"gunicorn is graceful on SIGTERM", "/usr/bin/python3", []string{"python3", "/usr/bin/gunicorn"}, ""},
		{"nothing is known", "", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if p := recognise(c.executable, c.cmdline); p != nil {
				got = p.Name
			}
			if got != c.want {
				t.Errorf("recognised %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheKernelsLineAboutAProcessIsRead(t *testing.T) {
	for text, want := range map[string]process{
		"7 (sh) S 1 7 7 0 -1":          {pid: 7, parent: 1, group: 7, name: "sh"},
		"8 (a) b (c) d) Z 7 6 5 0":     {pid: 8, parent: 7, group: 6, name: "a) b (c) d", zombie: true},
		"9 (tmux: server) R 1 9 9 0\n": {pid: 9, parent: 1, group: 9, name: "tmux: server"},
	} {
		if got, ok := parseStat(text); !ok || got != want {
			t.Errorf("%q: %+v, %t", text, got, ok)
		}
	}
	for _, text := range []string{"", "7", "7 (sh", "x (sh) S 1 1", "7 (sh) S", "7 (sh) S a b", ")("} {
		if got, ok := parseStat(text); ok {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestCommandsAreFound(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	other := filepath.Join(dir, "other")
	for file, mode := range map[string]os.FileMode{"bin/app": 0o755, "other/plain": 0o644, "bin/twice": 0o644, "other/twice": 0o755} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	path := bin + ":" + other
	for _, c := range []struct {
		name string
		code int
		want string
	}{
		{"app", 0, bin + "/app"},
		{bin + "/app", 0, bin + "/app"},
		{"twice", 0, other + "/twice"},
		{"plain", 126, other + "/plain: it may not be executed"},
		{"nothing", 127, "nothing: not found in PATH=" + path},
		{"/nothing", 127, "/nothing: no such file"},
		{bin + "/app/below", 127, "no such file"},
		{dir, 126, dir + ": it is a directory"},
		{"", 127, `the command is "": nothing to run`},
	} {
		got, err := find(c.name, path)
		var failed startError
		if errors.As(err, &failed) {
			got = err.Error()
		}
		if failed.code != c.code || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, exit code %d; want %s, %d", c.name, got, failed.code, c.want, c.code)
		}
	}
}

func TestAReplicasConditionFollowsItsRequests(t *testing.T) {
	c := &condition{}
	for _, step := range []struct{ request, want string }{
		{"health", "ok"}, {"flip", "ok"}, {"health", "no: flipped"}, {"flip", "ok"}, {"unflip", "ok"}, {"health", "ok"},
		{"dance", `no: unknown request "dance"`}, {"", `no: unknown request ""`},
	} {
		if got := c.answer(step.request); got != step.want {
			t.Errorf("%s: %s, want %s", step.request, got, step.want)
		}
	}
	if d := c.stop(); d < 0 {
		t.Errorf("it was unhealthy for %s before", d)
	}
	for request, want := range map[string]string{"health": "no: stopping", "unflip": "no: the replica is stopping", "flip": "ok"} {
		if got := c.answer(request); got != want {
			t.Errorf("while stopping, %s: %s, want %s", request, got, want)
		}
	}
}

func TestHealthOverHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
		case "/hang":
			<-r.Context().Done()
		default:
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	odd, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer odd.Close()
	go func() {
		for {
			conn, err := odd.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("SSH-2.0-server\r\n"))
			conn.Close()
		}
	}()
	oddPort := odd.Addr().(*net.TCPAddr).Port
	for _, c := range []struct {
		checkup checkup
		want    string
	}{
		{checkup{path: "/ok", port: port, timeout: time.Minute}, ""},
		{checkup{path: "/ok?query=1", port: port, timeout: time.Minute, host: "127.0.0.1"}, ""},
		{checkup{path: "/else", port: port, timeout: time.Minute}, "answered 503 Service Unavailable"},
		{checkup{path: "/hang", port: port, timeout: 10 * time.Millisecond}, "no answer within 10ms"},
		{checkup{path: "/ok", port: oddPort, timeout: time.Minute}, "the answer is not HTTP"},
	} {
		err := c.checkup.http()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.checkup, err, c.want)
		}
	}
}
