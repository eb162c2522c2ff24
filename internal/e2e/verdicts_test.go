//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/roll-deploy/roll/internal/lab"
	"github.com/roll-deploy/roll/internal/probe"
)

var update = flag.Bool("update", false, "write docs/verdicts.md")

// verdictsPage is what this test has found out, for people to read.
const verdictsPage = "../../docs/verdicts.md"

// What becomes of a request of 3 s that is in flight when the container is
// stopped.
const (
	answered = "answered"
	cut      = "cut"
	none     = "" // it takes no requests
)

// verdictCase is a container of a real program, what roll check says of it
// while it runs, and what a stop then does.
type verdictCase struct {
	name    string // of the service
	compose string // what is particular about it, in the Compose file
	want    string // verdicts and confidence
	request string
	code    int
}

var verdictCases = []verdictCase{
	// Shells.
	{"sh", `{command: [sh, -c, "python3 -u app.py"], stop_grace_period: 2s}`, "DROPPED certain", cut, killed},
	{"sh-exec", `command: [sh, -c, "exec python3 -u app.py"]`, "OK likely", answered, 0},
	{"bash-list", `command: [bash, -c, "cd /app && python3 -u app.py"]`, "OK likely", answered, 0},
	{"busybox-sh", `command: [busybox, sh, -c, "python3 -u app.py"]`, "OK likely", answered, 0},
	{"pipe", `{command: [sh, -c, "python3 -u app.py | busybox tee /tmp/log"], stop_grace_period: 2s}`, "DROPPED certain", cut, killed},
	{"loop", `{command: [sh, -c, "while true; do python3 -u app.py; sleep 1; done"], stop_grace_period: 2s}`, "DROPPED certain", cut, killed},
	{"tini-g-loop", `{entrypoint: [tini, -g, --], command: [sh, -c, "while true; do python3 -u app.py; sleep 1; done"]}`, "KILLED-BY-INIT-EXIT certain", cut, 143},
	{"init-sh", `{init: true, command: [sh, -c, "python3 -u app.py; true"]}`, "KILLED-BY-INIT-EXIT certain", cut, 143},
	{"one-wait", `command: [sh, -c, "trap 'kill $$pid' TERM; python3 -u app.py & pid=$$!; wait $$pid"]`, "KILLED-BY-INIT-EXIT likely", cut, 143},
	{"two-waits", `command: [sh, -c, "trap 'kill $$pid' TERM; python3 -u app.py & pid=$$!; wait $$pid; wait $$pid"]`, "OK likely", answered, 0},
	{"trap-nothing", `{environment: {HANDLER: none}, command: [sh, -c, "trap '' TERM; exec python3 -u app.py"], stop_grace_period: 2s}`, "IGNORED certain", cut, killed},

	// Python.
	{"no-handler", `{environment: {HANDLER: none}, command: [python3, -u, app.py], stop_grace_period: 2s}`, "DROPPED certain", cut, killed},
	{"blocked", `command: [python3, -u, /cases/mask.py, nobody]`, "QUEUED-NEVER-READ likely", none, killed},
	{"sigwait", `command: [python3, -u, /cases/mask.py, main]`, "OK likely", none, 0},
	{"sigwait-thread", `command: [python3, -u, /cases/mask.py, thread]`, "OK likely", none, 0},
	{"http-server", `command: [python3, -m, http.server, "8080"]`, "DROPPED certain, DEV-SERVER certain", none, killed},
	{"flask", `{command: [python3, -m, flask, --app, /cases/hello.py, run, --host=0.0.0.0, --port=8080], stop_grace_period: 2s}`, "DROPPED certain, DEV-SERVER certain", cut, killed},
	{"django", `command: [python3, /cases/manage.py, runserver, --noreload, "0.0.0.0:8080"]`, "DROPPED certain, DEV-SERVER certain", none, killed},
	{"waitress", `{command: [python3, -m, waitress, --port=8080, "wsgi:application"], stop_grace_period: 2s}`, "DROPPED certain", cut, killed},
	{"gunicorn", `command: [gunicorn, --bind=:8080, --workers=2, wsgi]`, "GRACE-TOO-SHORT certain, OK certain", answered, 0},
	{"gunicorn-short", `command: [gunicorn, --bind=:8080, --workers=2, --graceful-timeout=1, wsgi]`, "KNOB-TOO-SHORT certain", cut, 0},
	{"gunicorn-quit", `{stop_signal: QUIT, command: [gunicorn, --bind=:8080, --workers=2, --graceful-timeout=4, wsgi]}`, "WRONG-SIGNAL certain", cut, 0},
	{"uwsgi", `command: [uwsgi-core, --plugin=python3, "--http-socket=:8080", --master, --processes=2, --wsgi-file=wsgi.py]`, "WRONG-SIGNAL certain", cut, killed},
	{"uwsgi-die-on-term", `command: [uwsgi-core, --plugin=python3, "--http-socket=:8080", --master, --processes=2, --die-on-term, --wsgi-file=wsgi.py]`, "INSTANT-DEATH certain", cut, 0},
	{"uwsgi-hook", `command: [uwsgi-core, --plugin=python3, "--http-socket=:8080", --master, --processes=2, "--hook-master-start=unix_signal:15 gracefully_kill_them_all", --wsgi-file=wsgi.py]`, "OK certain", answered, 0},

	// Node.
	{"node-tini", `{entrypoint: [tini, --], command: [node, server.js]}`, "OK likely", answered, 0},
	{"node-deaf", `{command: [node, /cases/deaf.js], stop_grace_period: 2s}`, "DROPPED likely", cut, killed},
	{"npm", `command: [npm, start]`, "KILLED-BY-INIT-EXIT certain", cut, 1},
	{"npm-exec", `command: [npm, run, serve]`, "OK likely", answered, 0},
	{"nodemon", `command: [nodemon, server.js]`, "KILLED-BY-INIT-EXIT certain, DEV-SERVER certain", cut, 143},
	{"pm2", `{environment: {PM2_HOME: /tmp/pm2}, command: [pm2-runtime, pm2.config.js]}`, "KNOB-TOO-SHORT certain, WRONG-SIGNAL likely", cut, 0},
	{"node-winch", `{stop_signal: WINCH, command: [node, server.js], stop_grace_period: 2s}`, "DROPPED certain", cut, killed},

	// What starts others.
	{"supervisord", `command: [supervisord, -c, /cases/supervisord.conf]`, "OK likely", answered, 0},
	{"supervisord-short", `command: [supervisord, -c, /cases/supervisord-short.conf]`, "KNOB-TOO-SHORT certain, OK likely", cut, 0},
	{"supervisord-sh", `command: [supervisord, -c, /cases/supervisord-sh.conf]`, "KILLED-BY-INIT-EXIT certain", cut, 0},
	{"supervisord-quit", `command: [supervisord, -c, /cases/supervisord-quit.conf]`, "INSTANT-DEATH certain", cut, 0},
	{"s6-quit", `{stop_signal: QUIT, command: [sh, -c, "cp -r /cases/scan /tmp/scan && exec s6-svscan /tmp/scan"]}`, "OK likely", answered, 0},
	{"s6", `command: [sh, -c, "cp -r /cases/scan /tmp/scan && exec s6-svscan /tmp/scan"]`, "OK likely", answered, 0},
	{"runit", `command: [sh, -c, "cp -r /cases/scan /tmp/scan && exec runsvdir /tmp/scan"]`, "KILLED-BY-INIT-EXIT certain", cut, 0},
	{"busybox-init", `command: [busybox, init]`, "KILLED-BY-INIT-EXIT certain", none, 0},

	// Web servers.
	{"nginx", `command: [nginx, -c, /app/nginx.conf]`, "WRONG-SIGNAL certain", cut, 0},
	{"nginx-quit", `{stop_signal: QUIT, command: [nginx, -c, /app/nginx.conf]}`, "OK certain", answered, 0},
	{"nginx-rewritten", `{entrypoint: [dumb-init, -r, "15:3", --], command: [nginx, -c, /app/nginx.conf]}`, "OK certain", answered, 0},
	{"php-fpm", `{stop_signal: QUIT, command: [php-fpm8.2, --nodaemonize, --fpm-config, fpm-default.conf]}`, "KNOB-TOO-SHORT certain", none, 0},
	{"php-fpm-10s", `{stop_signal: QUIT, stop_grace_period: 12s, command: [php-fpm8.2, --nodaemonize, --fpm-config, fpm.conf]}`, "OK certain", none, 0},
	{"php-fpm-term", `{stop_grace_period: 12s, command: [php-fpm8.2, --nodaemonize, --fpm-config, fpm.conf]}`, "WRONG-SIGNAL certain", none, 0},
	{"php-s", `command: [php8.2, -S, "0.0.0.0:8080"]`, "DROPPED certain, DEV-SERVER certain", none, killed},
	{"apache", `command: [apache2, -f, /app/apache.conf, -D, FOREGROUND]`, "WRONG-SIGNAL certain", cut, 0},
	{"apache-winch", `{stop_signal: WINCH, stop_grace_period: 17s, command: [apache2, -f, /app/apache.conf, -D, FOREGROUND]}`, "OK certain", answered, 0},
	{"apache-short", `{stop_signal: WINCH, command: [apache2, -f, /cases/apache-short.conf, -D, FOREGROUND]}`, "KNOB-TOO-SHORT certain", cut, 0},
	{"haproxy-master", `command: [haproxy, -W, -db, -f, haproxy.cfg]`, "WRONG-SIGNAL certain", cut, 0},
	{"haproxy-master-usr1", `{stop_signal: USR1, command: [haproxy, -W, -db, -f, haproxy.cfg]}`, "OK certain", answered, 0},
	{"haproxy", `{command: [haproxy, -db, -f, haproxy.cfg], stop_grace_period: 2s}`, "DROPPED certain", cut, killed},
	{"haproxy-usr1", `{stop_signal: USR1, command: [haproxy, -db, -f, haproxy.cfg]}`, "OK certain", answered, 0},

	// Ruby.
	{"puma", `command: [puma, --bind=tcp://0.0.0.0:8080, config.ru]`, "OK certain", answered, 1},
	{"puma-cluster", `command: [puma, --bind=tcp://0.0.0.0:8080, --workers=2, config.ru]`, "OK certain", answered, 1},
	{"puma-quit", `{stop_signal: QUIT, command: [puma, --bind=tcp://0.0.0.0:8080, config.ru]}`, "WRONG-SIGNAL certain", cut, 1},
	{"unicorn", `command: [unicorn, --config-file=unicorn.rb, config.ru]`, "WRONG-SIGNAL certain", cut, 0},
	{"unicorn-quit", `{stop_signal: QUIT, command: [unicorn, --config-file=unicorn.rb, config.ru]}`, "OK certain", answered, 0},
	{"ruby", `command: [ruby, -e, "sleep"]`, "UNKNOWN unknown", none, 1},
	{"sidekiq", `command: [sidekiq, -t, "25", -r, /cases/sidekiq.rb]`, "GRACE-TOO-SHORT certain, OK certain", none, 0},

	// Other runtimes.
	{"java", `command: [./java.sh]`, "OK likely", answered, 143},
	{"java-deaf", `{environment: {HANDLER: none}, command: [./java.sh]}`, "OK likely", cut, 143},
	{"java-xrs", `{environment: {JAVA_TOOL_OPTIONS: -Xrs}, command: [./java.sh], stop_grace_period: 2s}`, "DROPPED certain", cut, killed},
	{"go", `{image: "roll-lab/replica:v1", volumes: [], command: []}`, "OK likely", none, 0},
	{"go-deaf", `{image: "roll-lab/replica:v1", volumes: [], environment: {GRACE: none}, command: []}`, "INSTANT-DEATH certain", none, 2},
	{"perl", `command: [perl, -e, "sleep 1000"]`, "DROPPED certain", none, killed},
	{"erlang", `command: [erl, -noinput]`, "OK likely", none, 0},
	{"redis-quit", `{stop_signal: QUIT, command: [redis-server, --save, ""]}`, "DROPPED certain", none, killed},

	// Workers.
	{"celery-dumb-init", `{entrypoint: [dumb-init, --], command: [celery, -A, tasks, worker, --concurrency=2]}`, "GROUP-DOUBLE-SIGNAL certain", none, 0},
	{"celery-single", `{entrypoint: [dumb-init, -c, --], command: [celery, -A, tasks, worker, --concurrency=2]}`, "OK certain", none, 0},
	{"celery-tini", `{entrypoint: [tini, --], command: [celery, -A, tasks, worker, --concurrency=2]}`, "OK certain", none, 0},
	{"celery-tini-g", `{entrypoint: [tini, -g, --], command: [celery, -A, tasks, worker, --concurrency=2]}`, "GROUP-DOUBLE-SIGNAL certain", none, 0},

	// What stands in front.
	{"su", `command: [su, -s, /bin/sh, -c, "exec python3 -u app.py", www-data]`, "KNOB-TOO-SHORT certain", cut, 143},
	{"runuser", `command: [runuser, -u, www-data, --, python3, -u, app.py]`, "KNOB-TOO-SHORT certain", cut, 143},
	{"sudo", `command: [sudo, -u, www-data, python3, -u, app.py]`, "OK likely", answered, 0},
	{"gosu", `command: [gosu, www-data, python3, -u, app.py]`, "OK likely", answered, 0},
	{"setpriv", `command: [setpriv, --reuid=33, --clear-groups, python3, -u, app.py]`, "OK likely", answered, 0},
	{"flock", `{command: [flock, /tmp/lock, python3, -u, app.py], stop_grace_period: 2s}`, "DROPPED certain", cut, killed},
	{"time", `{command: [time, python3, -u, app.py], stop_grace_period: 2s}`, "DROPPED certain", cut, killed},
	{"strace", `{cap_add: [SYS_PTRACE], command: [strace, -f, -o, /dev/null, python3, -u, app.py], stop_grace_period: 2s}`, "IGNORED certain", cut, killed},

	// Dead processes.
	{"zombies", `command: [sh, -c, "(sleep 0.1 & sleep 0.1 & sleep 0.1 &); exec sleep 1000"]`, "DROPPED certain, ZOMBIES certain", none, killed},
	{"zombies-tini", `{entrypoint: [tini, --], command: [sh, -c, "(sleep 0.1 & sleep 0.1 & sleep 0.1 &); exec sleep 1000"]}`, "INSTANT-DEATH certain", none, 143},
	{"zombies-parent", `{entrypoint: [tini, --], command: [sh, -c, "(sleep 0.1 & sleep 0.1 & sleep 0.1 & exec sleep 1000); true"]}`, "KILLED-BY-INIT-EXIT certain, ZOMBIES certain", none, 143},
}

const verdictsCommon = `x-case: &case
  image: roll-lab/servers
  working_dir: /app
  volumes: [%[1]q, %[2]q]
  stop_grace_period: 5s
x-worker: &worker {depends_on: {redis: {condition: service_healthy}}}
services:
  redis: {<<: *case, command: [redis-server, --save, "", --protected-mode, "no"], healthcheck: {test: [CMD, redis-cli, ping], interval: 500ms}}
`

// Every verdict about a program that runs is what becomes of it when it is
// stopped, and no good one is called bad.
func TestVerdictsAreWhatBecomesOfRealPrograms(t *testing.T) {
	if _, err := theLab.Servers(t.Context()); err != nil {
		t.Fatal(err)
	}
	var file strings.Builder
	fmt.Fprintf(&file, verdictsCommon, absolute(t, "../../examples/servers/app")+":/app:ro", absolute(t, "testdata/verdicts")+":/cases:ro")
	for _, c := range verdictCases {
		body := strings.TrimSuffix(strings.TrimPrefix(c.compose, "{"), "}")
		kind := "*case"
		if strings.HasPrefix(c.name, "celery") || c.name == "sidekiq" {
			kind = "[*case, *worker]"
		}
		fmt.Fprintf(&file, "  %s: {<<: %s, %s}\n", c.name, kind, body)
	}
	p := theLab.Project(t, lab.Source{Compose: file.String(), NoTraefik: true})
	_, err := p.Compose(t.Context(), "up", "-d")
	must(t, err)
	containers, err := p.Containers(t.Context())
	must(t, err)
	of := map[string]container.Summary{}
	for _, c := range containers {
		of[c.Labels["com.docker.compose.service"]] = c
	}
	var starts errgroup.Group
	for _, c := range verdictCases {
		if c.request != none {
			url := address(t, []container.Summary{of[c.name]})
			starts.Go(func() error {
				if err := awaitAnswer(t.Context(), url); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				return nil
			})
		}
	}
	must(t, starts.Wait())

	rows := make([]string, len(verdictCases))
	verdicts := func() (said []string) {
		found := checked(t, p, "--layer", "replicas")
		for _, c := range verdictCases {
			var ids []string
			for _, f := range found[c.name] {
				if f.ID != "KILLED-LAST-TIME" {
					ids = append(ids, f.ID+" "+f.Confidence)
				}
			}
			said = append(said, strings.Join(ids, ", "))
		}
		return said
	}
	// What takes no requests does not say when it is up.
	got := verdicts()
	expected := func(i int) bool { return got[i] == verdictCases[i].want }
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); got = verdicts() {
		if all(len(rows), expected) {
			break
		}
	}
	var stops errgroup.Group
	stops.SetLimit(12)
	for i, c := range verdictCases {
		if !expected(i) {
			t.Errorf("%s: roll check says %s, want %s", c.name, got[i], c.want)
		}
		stops.Go(func() error {
			request, code, err := stopWithARequest(t.Context(), of[c.name], c.request != none)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if request != c.request || code != c.code {
				t.Errorf("%s: request %q, exit code %d, want %q, %d", c.name, request, code, c.request, c.code)
			}
			rows[i] = fmt.Sprintf("| `%s` | %s | %s | %d |", strings.ReplaceAll(strings.Trim(c.compose, "{}"), "|", `\|`), got[i], request, code)
			return nil
		})
	}
	must(t, stops.Wait())

	page := verdictsHead + strings.Join(rows, "\n") + "\n"
	if *update {
		must(t, os.WriteFile(verdictsPage, []byte(page), 0o644))
	}
	if before, err := os.ReadFile(verdictsPage); err != nil || string(before) != page {
		t.Errorf("%s is not what this run found (%v): write it with -update", verdictsPage, err)
	}
}

const verdictsHead = `# What roll check said, and what a stop then did

Each row is a container of a real program (Debian 12, npm 10, nodemon 3, pm2 7): what its Compose file says beside a
` + "`stop_grace_period` of 5s" + `, the verdict of ` + "`roll check`" + ` while it ran, what became of a request of 3 s that was in flight when
` + "`docker stop`" + ` came, and the exit code. 137 is SIGKILL. [The verdicts](check.md) are explained elsewhere. A test writes this page.
One good verdict is wrong: a Java program without a shutdown hook looks like one that has some.

| service | verdict | request | exit code |
| --- | --- | --- | --- |
`

// all reports whether something holds for 0 to n-1.
func all(n int, ok func(int) bool) bool {
	for i := range n {
		if !ok(i) {
			return false
		}
	}
	return true
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	must(t, err)
	return full
}

// fixCases are servers that lose requests when they are stopped, until the patch
// that roll check prints is applied.
var fixCases = []struct {
	name  string // of the service
	lines string // of the Compose file
	want  string // verdict
	patch string // a line of it
}{
	{"sh", `command: /bin/sh -c "python3 -u app.py"`, "DROPPED", `+    command: ["python3", "-u", "app.py"]`},
	{"nginx", `command: nginx -c /app/nginx.conf`, "WRONG-SIGNAL", "+    stop_signal: SIGQUIT"},
	{"apache", `command: apache2 -f /app/apache.conf -D FOREGROUND`, "WRONG-SIGNAL", "+    stop_signal: SIGWINCH"},
	{"haproxy", `command: haproxy -W -db -f haproxy.cfg`, "WRONG-SIGNAL", "+    stop_signal: SIGUSR1"},
	{"haproxy-alone", `command: haproxy -db -f haproxy.cfg`, "DROPPED", "+    stop_signal: SIGUSR1"},
	{"unicorn", `command: unicorn --config-file=unicorn.rb config.ru`, "WRONG-SIGNAL", "+    stop_signal: SIGQUIT"},
	{"puma", "command: puma --bind=tcp://0.0.0.0:8080 --threads=8:8 config.ru\n    stop_signal: SIGQUIT", "WRONG-SIGNAL", "+    stop_signal: SIGTERM"},
	{"gunicorn", "command: gunicorn --bind=:8080 --workers=6 --graceful-timeout=15 wsgi\n    stop_signal: SIGQUIT", "WRONG-SIGNAL", "+    stop_signal: SIGTERM"},
}

const fixable = `services:
  %[1]s:
    image: roll-lab/servers
    working_dir: /app
    %[2]s
    volumes: [%[3]q]
    environment:
      VERSION: ${VERSION:-v1}
    stop_grace_period: 20s
    deploy:
      replicas: 2
    healthcheck:
      test: ["CMD-SHELL", "test ! -e /tmp/drain && busybox wget -q -O /dev/null http://127.0.0.1:8080/"]
      interval: 1s
      timeout: 5s
      retries: 2
      start_period: 60s
    labels:
      traefik.enable: "true"
      traefik.http.routers.%[1]s.rule: PathPrefix(` + "`/%[1]s/`" + `)
      traefik.http.services.%[1]s.loadbalancer.server.port: "8080"
      roll.flip.file: /tmp/drain
`

// A service with the fix that roll check prints is rolled under load without
// loss, and finishes its requests when docker stops it.
func TestTheFixThatCheckPrintsSavesTheRequests(t *testing.T) {
	if _, err := theLab.Servers(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range fixCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := theLab.Project(t, lab.Source{Compose: fmt.Sprintf(fixable, c.name, c.lines, absolute(t, "../../examples/servers/app")+":/app:ro")})
			must(t, p.Up(t.Context()))
			must(t, p.WaitServers(t.Context(), c.name, 2))
			if found := checked(t, p, "--layer", "replicas"); len(found[c.name]) == 0 || found[c.name][0].ID != c.want {
				t.Errorf("roll check says %+v, want %s", found[c.name], c.want)
			}
			o := exits(t, command(t.Context(), p, "check", "--layer", "replicas", "--fix"))
			if !strings.Contains(o.stdout, "\n"+c.patch+"\n") {
				t.Fatalf("the patch lacks %q: %s", c.patch, o)
			}
			apply := exec.CommandContext(t.Context(), "git", "apply", "-")
			apply.Dir, apply.Stdin = p.Dir, strings.NewReader(o.stdout)
			if out, err := apply.CombinedOutput(); err != nil {
				t.Fatalf("git apply: %v: %s", err, out)
			}
			succeeds(t, p, "up", c.name)
			for _, f := range checked(t, p, "--layer", "replicas")[c.name] {
				if f.Level == "warn" || f.Level == "error" {
					t.Errorf("with the fix: %+v", f)
				}
			}

			before := names(t, p, c.name)
			l := startServerLoad(t, p.URL+"/"+c.name)
			p.Setenv("VERSION", "v2")
			succeeds(t, p, "up", c.name)
			l.lost(t)
			replaced(t, p, c.name, before, 2)

			containers, err := p.Containers(t.Context(), c.name)
			must(t, err)
			// How it ends is its own affair: nginx waits for a connection that Traefik has opened and not used yet.
			request, _, err := stopWithARequest(t.Context(), containers[0], true)
			must(t, err)
			if request != answered {
				t.Errorf("stopped by docker: request %s", request)
			}
		})
	}
}

// awaitAnswer waits until a server answers.
func awaitAnswer(ctx context.Context, url string) error {
	const limit = 2 * time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s does not answer for %s", url, limit))
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			return answer.Body.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// stopWithARequest stops a container while it works on a request, if it takes any.
func stopWithARequest(ctx context.Context, c container.Summary, requests bool) (request string, code int, err error) {
	var held *probe.Requests
	if requests {
		for _, network := range c.NetworkSettings.Networks {
			held, err = probe.HoldRequests(ctx, probe.Config{URL: "http://" + network.IPAddress + ":8080/slow"}, 1)
		}
		if err != nil {
			return "", 0, err
		}
	}
	if err := theLab.Docker.ContainerStop(ctx, c.ID, container.StopOptions{}); err != nil {
		return "", 0, err
	}
	stopped, err := theLab.Docker.ContainerInspect(ctx, c.ID)
	if err != nil {
		return "", 0, err
	}
	if held != nil {
		request = answered
		if held.Err() != nil {
			request = cut
		}
	}
	return request, stopped.State.ExitCode, nil
}
