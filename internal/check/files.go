package check

import (
	"cmp"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roll-deploy/roll/internal/program"
)

// Wants names the files that would tell more about a replica and that were not
// read yet; a name that ends in / is a directory. Files that include others
// are followed by asking again.
func Wants(r Replica) []string {
	j := &judge{r: r}
	wanted := map[string]bool{}
	want := func(names ...string) {
		for _, name := range names {
			if _, read := r.Files[name]; name != "" && name != "/" && !read {
				wanted[name] = true
			}
		}
	}
	all := r.Processes
	if len(all) == 0 && len(r.argv()) > 0 {
		all = []Process{{Comm: path.Base(r.argv()[0]), Args: r.argv()}}
		if len(r.Entrypoint) == 1 {
			want(r.absolute(r.Entrypoint[0]))
		}
		if len(r.Command) > 0 {
			all = append(all, Process{Comm: path.Base(r.Command[0]), Args: r.Command})
		}
	}
	for i := range all {
		p := &all[i]
		known := p.program()
		if known == nil {
			continue
		}
		switch known.Name {
		case "shell", "busybox sh":
			_, file := j.script(p)
			want(file)
		case "node":
			_, file := j.source(p)
			want(file)
		case "npm":
			want(npmFiles...)
		default:
			want(j.configs(p, known)...)
		}
	}
	return slices.Sorted(maps.Keys(wanted))
}

var (
	inTitle  = regexp.MustCompile(`\((/[^)]+)\)`)
	includes = regexp.MustCompile(`(?m)^\s*(?:include|files|Include|IncludeOptional)\s*=?\s*(.+?)\s*$`)
)

// configs are the configuration files of a program, with those that they
// include as far as they have been read.
func (j *judge) configs(p *Process, known *program.Program) []string {
	var names []string
	// flag finds what follows one of the flags, here or in the container's own
	// command, because a program may have replaced its command line by a title.
	flag := func(flags ...string) {
		for _, args := range [][]string{p.Args, j.r.argv()} {
			for i, a := range args {
				for _, f := range flags {
					if a == f && i+1 < len(args) {
						names = append(names, j.r.absolute(args[i+1]))
					} else if rest, ok := strings.CutPrefix(a, f+"="); ok {
						names = append(names, j.r.absolute(rest))
					}
				}
			}
		}
	}
	switch known.Name {
	case "php-fpm":
		if m := inTitle.FindStringSubmatch(strings.Join(p.Args, " ")); m != nil {
			names = append(names, m[1])
		} else if flag("-y", "--fpm-config"); len(names) == 0 {
			names = []string{"/usr/local/etc/php-fpm.conf"}
		}
	case "apache":
		if flag("-f"); len(names) == 0 {
			names = []string{"/usr/local/apache2/conf/httpd.conf", "/etc/apache2/apache2.conf"}
		}
	case "haproxy", "haproxy without -W":
		flag("-f")
	case "supervisord":
		if flag("-c", "--configuration"); len(names) == 0 {
			names = []string{"/etc/supervisord.conf", "/etc/supervisor/supervisord.conf", "/usr/etc/supervisord.conf"}
		}
	case "circus":
		names = append(names, j.operands(p, ".ini")...)
	case "pm2":
		names = append(names, j.operands(p, ".js", ".cjs", ".json", ".yml", ".yaml")...)
	case "uwsgi":
		flag("--ini")
		names = append(names, j.operands(p, ".ini")...)
	case "sidekiq":
		if flag("-C", "--config"); len(names) == 0 {
			names = []string{j.r.absolute("config/sidekiq.yml")}
		}
	case "gunicorn":
		if flag("-c", "--config"); len(names) == 0 {
			names = []string{j.r.absolute("gunicorn.conf.py")}
		}
	}
	for _, name := range slices.Clone(names) {
		for _, m := range includes.FindAllStringSubmatch(j.r.Files[name], -1) {
			for _, pattern := range strings.Fields(strings.Trim(m[1], `"'`)) {
				switch {
				case path.IsAbs(pattern):
				case known.Name == "php-fpm" && strings.HasPrefix(pattern, "etc/"): // relative to the prefix that it was built for
					pattern = path.Join(strings.TrimSuffix(path.Dir(name), "etc"), pattern)
				default:
					pattern = path.Join(path.Dir(name), pattern)
				}
				if strings.ContainsAny(pattern, "*?[") {
					pattern = path.Dir(pattern) + "/"
				}
				names = append(names, pattern)
			}
		}
	}
	return names
}

// operands are arguments that are files of these kinds.
func (j *judge) operands(p *Process, extensions ...string) []string {
	var names []string
	for _, args := range [][]string{p.Args, j.r.argv()} {
		for i, a := range args {
			if i > 0 && slices.Contains(extensions, path.Ext(a)) && !strings.HasPrefix(a, "-") {
				names = append(names, j.r.absolute(a))
			}
		}
	}
	return names
}

// text is what the configuration files of a program say, and their names:
// empty when none could be read.
func (j *judge) text(p *Process, known *program.Program) (text, where string) {
	seen := map[string]bool{}
	read := func(name string) {
		if content := j.r.Files[name]; content != "" && !seen[name] {
			seen[name] = true
			text += content + "\n"
			where = cmp.Or(where, name)
		}
	}
	for _, name := range j.configs(p, known) {
		read(name)
		if strings.HasSuffix(name, "/") {
			for _, file := range sorted(j.r.Files) {
				if path.Dir(file)+"/" == name {
					read(file)
				}
			}
		}
	}
	return text, where
}

func sorted(files map[string]string) []string { return slices.Sorted(maps.Keys(files)) }

// limit is how long a program lets its own graceful end take, and where that
// is said. where is empty for a default that no file was read to confirm.
func (j *judge) limit(p *Process, known *program.Program) (limit time.Duration, where string) {
	k := known.Limit
	if k.Name == "" {
		return 0, ""
	}
	for _, args := range [][]string{p.Args, j.r.argv()} {
		for i, a := range args {
			for _, f := range k.Flags {
				value, ok := strings.CutPrefix(a, f+"=")
				if a == f && i+1 < len(args) {
					value, ok = args[i+1], true
				}
				if d, err := period(value); ok && err == nil {
					return d, f + " " + value
				}
			}
		}
	}
	text, where := j.text(p, known)
	setting := regexp.MustCompile(`(?mi)^\s*:?` + regexp.QuoteMeta(k.Name) + `\s*[:= ]\s*["']?([0-9]+(?:ms|s|m|h|d)?)\b`)
	if m := setting.FindStringSubmatch(text); m != nil {
		if d, err := period(m[1]); err == nil {
			return d, k.Name + " " + m[1] + " in " + where
		}
	}
	if where != "" {
		where = where + " does not set " + k.Name
	}
	return k.Default, where
}

// period reads 10, 10s, 1m.
func period(text string) (time.Duration, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	return time.ParseDuration(text)
}

// section is one program of supervisord's or circus's configuration.
type section struct {
	name, file string
	values     map[string]string
}

// section finds the one whose command a process runs.
func (j *judge) section(p *Process) section {
	for _, file := range sorted(j.r.Files) {
		for _, s := range sections(j.r.Files[file]) {
			words := strings.Fields(strings.Trim(s.values["command"]+s.values["cmd"], `"'`))
			if len(words) == 0 {
				continue
			}
			line := strings.Join(p.Args, " ")
			command := strings.NewReplacer(`"`, "", `'`, "").Replace(strings.Join(words, " "))
			if path.Base(words[0]) == path.Base(first(p.Args)) && strings.Contains(line, strings.TrimPrefix(command, words[0])) || strings.Contains(line, command) {
				s.file = file
				return s
			}
		}
	}
	return section{}
}

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// sections reads an ini file.
func sections(text string) []section {
	var all []section
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == ';' || line[0] == '#':
		case line[0] == '[':
			all = append(all, section{name: line, values: map[string]string{}})
		case len(all) > 0:
			key, value, _ := strings.Cut(line, "=")
			value, _, _ = strings.Cut(value, " ;")
			all[len(all)-1].values[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return all
}

// uwsgi judges what depends on its configuration; false: nothing special.
func (j *judge) uwsgi(p *Process, s program.Signal) bool {
	known := p.program()
	text, where := j.text(p, known)
	text += "\n" + strings.Join(p.Args, " ") + " " + strings.Join(j.r.argv(), " ")
	proof := strings.TrimPrefix(where+"; "+p.masks(), "; ")
	hook := "hook-master-start = unix_signal:15 gracefully_kill_them_all in its configuration, and SIGTERM"
	master := regexp.MustCompile(`(?m)(--master\b|(^|\s)-M\b|^\s*master\s*=\s*(true|1))`).MatchString(text)
	switch {
	case s == program.TERM && strings.Contains(text, "gracefully_kill_them_all"):
		j.add(OK, Fine, Certain, "uwsgi ends gracefully: gracefully_kill_them_all", proof, "")
	case s == program.TERM && strings.Contains(text, "die-on-term"):
		j.add(InstantDeath, Error, Certain, "uwsgi with die-on-term ends at once on SIGTERM, and cuts its requests", proof, hook)
	case s == program.TERM && master:
		j.add(WrongSignal, Error, Certain, "uwsgi on SIGTERM: "+known.Term, proof, hook)
	case s == program.TERM:
		j.add(InstantDeath, Error, Likely, "uwsgi without a master ends at once on SIGTERM, and cuts its requests", proof, "master = true and "+hook)
	case s == program.HUP && !strings.Contains(text, "exit-on-reload"):
		j.add(WrongSignal, Error, Likely, "uwsgi reloads on SIGHUP and does not end: "+known.Needs, proof, "exit-on-reload = true in its configuration")
	default:
		return false
	}
	return true
}
