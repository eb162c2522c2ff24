package main

import (
	"path"
	"strings"
	"syscall"
)

// program is a server that ends gracefully on another signal than SIGTERM.
type program struct {
	name     string
	names    []string // base names of its executable or script, or first words of its title; * stands for anything
	graceful syscall.Signal
	note     string // what else it needs to be graceful
	source   string // who says so
}

// programs are the ones that --auto knows. Servers that are graceful on SIGTERM (gunicorn, uvicorn, Puma, Caddy, Traefik,
// Celery, Redis, the JVM and others) need no entry, and what is not known is never guessed.
var programs = []program{
	{"nginx", []string{"nginx", "openresty", "angie", "freenginx", "tengine"}, syscall.SIGQUIT, "", "https://nginx.org/en/docs/control.html"},
	{"php-fpm", []string{"php-fpm*"}, syscall.SIGQUIT, "process_control_timeout above 0 in its configuration", "https://www.php.net/manual/en/install.fpm.configuration.php"},
	{"apache", []string{"apache2", "httpd"}, syscall.SIGWINCH, "", "https://httpd.apache.org/docs/2.4/stopping.html"},
	{"haproxy", []string{"haproxy"}, syscall.SIGUSR1, "", "https://docs.haproxy.org/2.6/management.html#4"},
	{"unicorn", []string{"unicorn", "unicorn_rails"}, syscall.SIGQUIT, "", "https://yhbt.net/unicorn/SIGNALS.html"},
	{"uwsgi", []string{"uwsgi", "uwsgi-core", "uwsgi_python*", "uwsgi-python*"}, syscall.SIGHUP, "exit-on-reload in its configuration", "https://uwsgi-docs.readthedocs.io/en/latest/Management.html"},
	{"postgres", []string{"postgres", "postmaster"}, syscall.SIGINT, "", "https://www.postgresql.org/docs/current/server-shutdown.html"},
}

// recognise finds the program of a process: by the name of its executable, by the first word of its command line, which
// may be a title that it gave itself ("nginx: master process"), or by the script that Ruby or Python runs. It is nil for a
// program that is not in the table.
func recognise(executable string, cmdline []string) *program {
	executable = path.Base(strings.TrimSuffix(executable, " (deleted)"))
	words := []string{executable}
	for i, arg := range cmdline {
		if i == 1 && !strings.HasPrefix(executable, "ruby") && !strings.HasPrefix(executable, "python") || i > 1 {
			break
		}
		first, _, _ := strings.Cut(strings.TrimSpace(arg), " ")
		words = append(words, path.Base(strings.TrimSuffix(first, ":")))
	}
	for _, word := range words {
		for i := range programs {
			if programs[i].has(word) {
				return &programs[i]
			}
		}
	}
	return nil
}

func (p *program) has(word string) bool {
	for _, pattern := range p.names {
		if ok, _ := path.Match(pattern, word); ok {
			return true
		}
	}
	return false
}
