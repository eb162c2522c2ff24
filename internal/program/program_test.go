package program

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/programs.md")

func TestProgramsAreRecognised(t *testing.T) {
	for _, c := range []struct{ name, executable, argv, want string }{
		{"a title", "nginx", "nginx: master process nginx -g daemon off;", "nginx"},
		{"a path", "/usr/sbin/php-fpm8.2", "php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)", "php-fpm"},
		{"haproxy with a master", "haproxy", "haproxy -W -db -f /x.cfg", "haproxy"},
		{"haproxy without one", "haproxy", "haproxy -db -f /x.cfg", "haproxy without -W"},
		{"the script that an interpreter runs", "python3", "/usr/bin/python3 -u /usr/bin/gunicorn app:app", "gunicorn"},
		{"a script by the name that the kernel gave it", "gunicorn", "/usr/bin/python3 /usr/bin/gunicorn app:app", "gunicorn"},
		{"a module", "python3", "python3 -m celery -A app worker", "celery worker"},
		{"another part of celery is not its worker", "python3", "python3 -m celery -A app beat", "python"},
		{"a development server by its words", "python3", "python3 manage.py runserver 0.0.0.0:80 --noreload", "django runserver"},
		{"the same script doing something else", "python3", "python3 manage.py migrate", "python"},
		{"php as a server", "php", "php -S 0.0.0.0:80", "php -S"},
		{"php as itself", "php", "php worker.php", "php"},
		{"npm by its title", "npm start", "npm start", "npm"},
		{"nodemon", "node", "node /usr/local/bin/nodemon app.js", "nodemon"},
		{"a program of node's own", "node", "node server.js", "node"},
		{"node's thread name", "node-MainThread", "node server.js", "node"},
		{"a Python program that is no server", "python3", "python3 -c import time", "python"},
		{"puma by its title", "ruby", "puma 5.6.5 (tcp://0.0.0.0:80) [app]", "puma"},
		{"docker's init", "docker-init", "/sbin/docker-init -- sh -c app", "tini"},
		{"a login shell", "bash", "-bash", "shell"},
		{"a script below a shell is the shell still", "dash", "/bin/sh /docker-entrypoint.sh nginx", "shell"},
		{"an argument is no program", "cat", "cat nginx", ""},
		{"a program that nobody knows", "server", "/server --port 80", ""},
		{"nothing", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if p := Find(c.executable, strings.Fields(c.argv)); p != nil {
				got = p.Name
			}
			if got != c.want {
				t.Errorf("%q is %q, want %q", c.argv, got, c.want)
			}
		})
	}
}

func TestEveryRowIsWhole(t *testing.T) {
	names := map[string]bool{}
	for _, p := range Table {
		if names[p.Name] {
			t.Errorf("%s is there twice", p.Name)
		}
		names[p.Name] = true
		if !strings.HasPrefix(p.Source, "http") || p.Term == "" || p.Kind == "" || len(p.Names)+len(p.Modules) == 0 {
			t.Errorf("%s: a source, a kind, a name to know it by and what SIGTERM does are needed: %+v", p.Name, p)
		}
		for _, s := range p.Graceful {
			for _, other := range append(p.Fast, p.Dropped...) {
				if s == other {
					t.Errorf("%s: %s is graceful and is not", p.Name, s)
				}
			}
		}
		if p.Rewrite != 0 && p.Rewrite != p.Best() {
			t.Errorf("%s: --auto sends %s, the graceful one is %s", p.Name, p.Rewrite, p.Best())
		}
		if p.Rewrite == 0 && len(p.Graceful) > 0 && p.Kind == Server && p.Best() != TERM && len(p.Dropped) == 0 {
			t.Errorf("%s: graceful on %s, and --auto does not send it", p.Name, p.Best())
		}
	}
}

func TestSignalsAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]string{"SIGTERM": "SIGTERM", "quit": "SIGQUIT", "15": "SIGTERM", "RTMIN+3": "SIGRTMIN+3", "SIGRTMIN": "SIGRTMIN", "37": "SIGRTMIN+3"} {
		if s, ok := ParseSignal(text); !ok || s.String() != want {
			t.Errorf("%s: %s, want %s", text, s, want)
		}
	}
	for _, text := range []string{"", "NOPE", "0", "65", "RTMIN+99", "RTMIN-1"} {
		if s, ok := ParseSignal(text); ok {
			t.Errorf("%q is read as %s", text, s)
		}
	}
}

func TestARowIsExplained(t *testing.T) {
	got := ByName("php-fpm8.2").Explain()
	want := `program           php-fpm (server)
recognised by     php-fpm*
graceful          SIGQUIT
fast              SIGTERM, SIGINT
SIGTERM           ends at once, requests are reset
needs             process_control_timeout above 0 in its configuration
limit             process_control_timeout (0s: no grace)
official image    SIGQUIT
roll-init --auto  SIGTERM becomes SIGQUIT
evidence          observed
source            https://www.php.net/manual/en/install.fpm.configuration.php
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if p := ByName("nobody"); p != nil {
		t.Errorf("nobody is %s", p.Name)
	}
}

const page = "../../docs/programs.md"

const preface = `# How programs end

What ` + "`roll check` and `roll-init --auto`" + ` know: one table. *Observed* rows were seen on the program itself, as PID 1 with a request or a task
under way; *documented* ones were read. A program that is not here is unknown to roll, and it says so instead of guessing.
` + "`roll check --explain nginx`" + ` prints one row. This page is made from the table: ` + "`go test ./internal/program -update`" + `.
`

func TestTheDocumentedTableIsTheTable(t *testing.T) {
	want := preface + Markdown()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/programs.md is stale: go test ./internal/program -update")
	}
}
