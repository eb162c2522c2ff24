package check

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/internal/program"
)

// The masks that programs were seen with.
const (
	shCaught     = 0x10002 // dash, bash, busybox: INT and CHLD
	shTrap       = shCaught | 0x4000
	nodeCaught   = 0x4602
	pyCaught     = 0x2
	pyHandler    = 0x4002
	pyIgnored    = 0x1001000
	goHandlers   = 0xfffffffc7fc1feff
	tiniIgnored  = 0x300000
	nginxCaught  = 0x18016a07
	fpmCaught    = 0x10014004 // TERM, QUIT, CHLD and more
	apacheCaught = 0x18014a03
	jvmCaught    = 0x2000000181005ccf
)

// ps makes a process: its id and parent, its command line, and changes of it.
func ps(pid, parent int, line string, caught uint64, with ...func(*Process)) Process {
	args := strings.Fields(line)
	name := args[0][strings.LastIndex(args[0], "/")+1:]
	p := Process{PID: pid, Parent: parent, Comm: strings.TrimSuffix(name, ":"), Args: args, Masked: true, Caught: caught, Threads: []Thread{{Wait: "do_epoll_wait"}}}
	for _, f := range with {
		f(&p)
	}
	return p
}

func ignoring(mask uint64) func(*Process) { return func(p *Process) { p.Ignored = mask } }
func pending(mask uint64) func(*Process)  { return func(p *Process) { p.Pending = mask } }
func named(comm string) func(*Process)    { return func(p *Process) { p.Comm = comm } }

// threads replaces the threads: mask and wait in turn.
func threads(all ...Thread) func(*Process) { return func(p *Process) { p.Threads = all } }

func tree(processes ...Process) Replica {
	return Replica{Service: "web", Name: "web-1", Signal: program.TERM, Grace: 10 * time.Second, PID: processes[0].PID, Processes: processes, Dir: "/app"}
}

func (r Replica) on(s program.Signal) Replica       { r.Signal = s; return r }
func (r Replica) within(d time.Duration) Replica    { r.Grace = d; return r }
func (r Replica) started(argv ...string) Replica    { r.Command = argv; return r }
func (r Replica) counting(pids int) Replica         { r.Pids = pids; return r }
func (r Replica) with(file, content string) Replica { r.Files = add(r.Files, file, content); return r }
func (r Replica) env1(line string) Replica          { r.Environ = append(r.Environ, line); return r }

func add(files map[string]string, file, content string) map[string]string {
	all := map[string]string{file: content}
	for k, v := range files {
		all[k] = v
	}
	return all
}

func shell(pid, parent int, line string) Process { return ps(pid, parent, line, shCaught) }

func handlerApp(pid, parent int) Process {
	return ps(pid, parent, "python3 -u app.py", pyHandler, ignoring(pyIgnored))
}

const listening = "const http = require('http'); process.on('SIGTERM', () => server.close())"

func tini(rest string) Process {
	return ps(1, 0, "tini "+rest, 0, ignoring(tiniIgnored), threads(Thread{Wait: "do_sigtimedwait"}))
}

func dumbInit(rest string) Process { return ps(1, 0, "dumb-init "+rest, 0x7ffbfeff) }

// ids are the verdicts, worst first, each with its confidence where it is not
// certain.
func ids(findings []Finding) string {
	var all []string
	for _, f := range Merge(findings) {
		text := string(f.ID)
		if f.Confidence != Certain {
			text += " " + string(f.Confidence)
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// The cases are those that were measured on the programs themselves.
func TestWhatAStopDoes(t *testing.T) {
	nginx := ps(1, 0, "nginx: master process nginx -g daemon off;", nginxCaught, named("nginx"))
	fpm := ps(1, 0, "php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)", fpmCaught, named("php-fpm8.2"))
	const fpmConf = "/etc/php/8.2/fpm/php-fpm.conf"
	apache := ps(1, 0, "/usr/sbin/apache2 -DFOREGROUND", apacheCaught)
	haproxy := ps(1, 0, "haproxy -W -db -f /h.cfg", 0x10004a07)
	gunicorn := ps(1, 0, "/usr/bin/python3 /usr/bin/gunicorn app:app", 0x8314a07, named("gunicorn"))
	uwsgi := func(flags string) Process { return ps(1, 0, "uwsgi --http :80"+flags, 0x14007) }
	puma := ps(1, 0, "puma 5.6.5 (tcp://0.0.0.0:80) [app]", 0x1c007e4f, named("ruby"))
	celery := func(pid, parent int) Process {
		return ps(pid, parent, "/usr/bin/python3 /usr/bin/celery -A app worker", 0x14407, named("celery"))
	}
	child := func(pid, parent int) Process { return celery(pid, parent) }
	supervisord := ps(1, 0, "/usr/bin/python3 /usr/bin/supervisord -n -c /s.conf", 0x4a07, named("supervisord"))
	npm := ps(1, 0, "npm start", nodeCaught, named("npm start"))
	postgres := ps(1, 0, "postgres", 0x10014a87)
	su := ps(1, 0, "su -c exec_app www", 0x14002)
	for _, c := range []struct {
		name string
		r    Replica
		want string
	}{
		{"C1 shell form under dash: the shell never passes the signal on", tree(shell(1, 0, "/bin/sh -c python3 -u app.py"), ps(7, 1, "python3 -u app.py", pyHandler)), "DROPPED"},
		{"C2 the same with exec and a handler", tree(handlerApp(1, 0)), "OK likely"},
		{"C3 bash made room for the last command", tree(handlerApp(1, 0)).started("bash", "-c", "a && python3 -u app.py"), "OK likely"},
		{"C4 busybox made room, and left QUIT ignored", tree(ps(1, 0, "python3 -u app.py", pyHandler, ignoring(0x4|pyIgnored))), "OK likely"},
		{"C4 then QUIT does nothing", tree(ps(1, 0, "python3 -u app.py", pyHandler, ignoring(0x4|pyIgnored))).on(program.QUIT), "IGNORED"},
		{"C5 a pipe behind the application", tree(shell(1, 0, "sh -c app | tee log"), ps(7, 1, "app", 0x4000), ps(8, 1, "tee log", 0)), "DROPPED"},
		{"C6 a loop starts it again", tree(shell(1, 0, "sh -c while true; do app; sleep 1; done"), ps(7, 1, "app", 0x4000)), "DROPPED"},
		{"C7 tini -g in front of a loop", tree(tini("-g -- sh -c while true; do app; sleep 1; done"), shell(7, 1, "sh -c while true; do app; sleep 1; done"), ps(8, 7, "app", 0x4000)), "KILLED-BY-INIT-EXIT"},
		{"C8 tini and node with a listener", tree(tini("-- node server.js"), ps(7, 1, "node server.js", nodeCaught)).with("/app/server.js", listening), "OK likely"},
		{"C9 node alone, its source not read", tree(ps(1, 0, "node server.js", nodeCaught)), "UNKNOWN unknown"},
		{"C9 node alone, and its source has no listener", tree(ps(1, 0, "node server.js", nodeCaught)).with("/app/server.js", "require('http').createServer(f).listen(80)"), "DROPPED likely"},
		{"C9 node alone, and a module of its own may listen", tree(ps(1, 0, "node server.js", nodeCaught)).with("/app/server.js", "require('./lib')"), "UNKNOWN unknown"},
		{"C9 after the signal: node has lost its handler", tree(ps(1, 0, "node server.js", nodeCaught&^0x4000)), "DROPPED"},
		{"C10 npm start under dash", tree(npm, shell(7, 1, "sh -c node server.js"), ps(8, 7, "node server.js", nodeCaught)), "KILLED-BY-INIT-EXIT"},
		{"C10 npm 9 passes nothing on", tree(npm, shell(7, 1, "sh -c node server.js"), ps(8, 7, "node server.js", nodeCaught)).with(npmFiles[0], `{"version": "9.2.0"}`), "DROPPED likely"},
		{"C10 npm start of exec node", tree(npm, ps(7, 1, "node server.js", nodeCaught)).with("/app/server.js", listening), "OK likely"},
		{"C11 nodemon", tree(ps(1, 0, "node /usr/local/bin/nodemon app.js", nodeCaught), ps(7, 1, "node app.js", nodeCaught)), "KILLED-BY-INIT-EXIT, DEV-SERVER"},
		{"C12 pm2 sends INT and kills after 1.6 s", tree(ps(1, 0, "node /usr/local/bin/pm2-docker --raw pm2.config.js --only app", nodeCaught), ps(7, 1, "node /app/app.js", nodeCaught)), "KNOB-TOO-SHORT, WRONG-SIGNAL likely"},
		{"C12 pm2 told otherwise", tree(ps(1, 0, "node /usr/local/bin/pm2-runtime pm2.config.js", nodeCaught), ps(7, 1, "node /app/app.js", nodeCaught)).env1("PM2_KILL_SIGNAL=SIGTERM").
			with("/app/pm2.config.js", "module.exports = {apps: [{kill_timeout: 8000}]}").with("/app/app.js", listening), "OK likely"},
		{"C13 supervisord", tree(supervisord, handlerApp(7, 1)), "OK likely"},
		{"C13 supervisord that waits for a second", tree(supervisord, handlerApp(7, 1)).with("/s.conf", "[program:app]\ncommand=python3 -u app.py\nstopwaitsecs=1\n"), "KNOB-TOO-SHORT, OK likely"},
		{"C13 supervisord and a shell", tree(supervisord, shell(7, 1, "sh -c app; true"), ps(8, 7, "app", 0x4000)), "KILLED-BY-INIT-EXIT"},
		{"C13 supervisord with a signal that Python does not handle", tree(supervisord, handlerApp(7, 1)).with("/s.conf", "[program:app]\ncommand=python3 -u app.py\nstopsignal=QUIT\n"), "INSTANT-DEATH"},
		{"C14 circus waits for 30 s", tree(ps(1, 0, "/usr/bin/python3 /usr/bin/circusd circus.ini", 0x4a07, named("circusd")), handlerApp(7, 1)), "GRACE-TOO-SHORT, OK likely"},
		{"C14 circus with a longer grace", tree(ps(1, 0, "/usr/bin/python3 /usr/bin/circusd circus.ini", 0x4a07, named("circusd")), handlerApp(7, 1)).within(time.Minute), "OK likely"},
		{"C15 nginx on TERM", tree(nginx), "WRONG-SIGNAL"},
		{"C15 nginx on QUIT", tree(nginx).on(program.QUIT), "OK"},
		{"C15 nginx below dumb-init that rewrites", tree(dumbInit("-r 15:3 nginx"), ps(7, 1, "nginx: master process nginx", nginxCaught, named("nginx"))), "OK"},
		{"C15 nginx below roll-init --auto", tree(ps(1, 0, "/roll-init --auto -- nginx", goHandlers), ps(7, 1, "nginx: master process nginx", nginxCaught, named("nginx"))), "OK"},
		{"C16 php-fpm without process_control_timeout", tree(fpm).on(program.QUIT).with(fpmConf, "[global]\n;process_control_timeout = 10s\n"), "KNOB-TOO-SHORT"},
		{"C16 php-fpm whose configuration was not read", tree(fpm).on(program.QUIT), "KNOB-TOO-SHORT likely"},
		{"C16 php-fpm with process_control_timeout", tree(fpm).on(program.QUIT).with(fpmConf, "[global]\nprocess_control_timeout = 10s\n"), "OK"},
		{"C16 php-fpm with it in an included file", tree(fpm).on(program.QUIT).with(fpmConf, "include=/etc/php/8.2/fpm/pool.d/*.conf\n").with("/etc/php/8.2/fpm/pool.d/", "").
			with("/etc/php/8.2/fpm/pool.d/zz.conf", "[global]\nprocess_control_timeout = 10s\n"), "OK"},
		{"C16 php-fpm on TERM", tree(fpm), "WRONG-SIGNAL"},
		{"C17 apache on TERM", tree(apache), "WRONG-SIGNAL"},
		{"C17 apache on WINCH", tree(apache).on(program.WINCH), "OK"},
		{"C17 apache with GracefulShutdownTimeout 1", tree(apache).on(program.WINCH).with("/etc/apache2/apache2.conf", "GracefulShutdownTimeout 1\n"), "KNOB-TOO-SHORT"},
		{"C18 haproxy -W on TERM", tree(haproxy), "WRONG-SIGNAL"},
		{"C18 haproxy -W on USR1", tree(haproxy).on(program.USR1), "OK"},
		{"C18 haproxy without -W on TERM", tree(ps(1, 0, "haproxy -db -f /h.cfg", 0xa05)), "DROPPED"},
		{"C18 haproxy without -W on USR1", tree(ps(1, 0, "haproxy -db -f /h.cfg", 0xa05)).on(program.USR1), "OK"},
		{"C19 gunicorn needs longer than docker grants", tree(gunicorn), "GRACE-TOO-SHORT, OK"},
		{"C19 gunicorn with time enough", tree(gunicorn).within(40 * time.Second), "OK"},
		{"C19 gunicorn --graceful-timeout 1", tree(ps(1, 0, "/usr/bin/python3 /usr/bin/gunicorn --graceful-timeout 1 app:app", 0x8314a07)), "KNOB-TOO-SHORT"},
		{"C19 gunicorn on QUIT", tree(gunicorn).on(program.QUIT), "WRONG-SIGNAL"},
		{"C20 uwsgi --master", tree(uwsgi(" --master")), "WRONG-SIGNAL"},
		{"C20 uwsgi --die-on-term", tree(uwsgi(" --master --die-on-term")), "INSTANT-DEATH"},
		{"C20 uwsgi with the hook", tree(ps(1, 0, "uwsgi --ini /u.ini", 0x14007)).with("/u.ini", "[uwsgi]\nmaster = true\nhook-master-start = unix_signal:15 gracefully_kill_them_all\n"), "OK"},
		{"C21 puma", tree(puma), "OK"},
		{"C21 puma on QUIT", tree(ps(1, 0, "puma 5.6.5 (tcp://0.0.0.0:80) [app]", 0x1c007e4f, named("ruby"))).on(program.QUIT), "WRONG-SIGNAL"},
		{"C22 unicorn on TERM", tree(ps(1, 0, "unicorn master -c /u.rb", 0x8014a47, named("ruby"))), "WRONG-SIGNAL"},
		{"C22 unicorn on QUIT", tree(ps(1, 0, "unicorn master -c /u.rb", 0x8014a47, named("ruby"))).on(program.QUIT), "OK"},
		{"C23 passenger", tree(ps(1, 0, "/usr/bin/ruby /usr/bin/passenger start", 0x4002, named("passenger"))), "INSTANT-DEATH"},
		{"C24 celery below dumb-init", tree(dumbInit("-- celery -A app worker"), celery(7, 1), child(8, 7)), "GROUP-DOUBLE-SIGNAL"},
		{"C24 celery below dumb-init -c", tree(dumbInit("-c -- celery -A app worker"), celery(7, 1), child(8, 7)), "OK"},
		{"C24 celery below tini", tree(tini("-- celery -A app worker"), celery(7, 1), child(8, 7)), "OK"},
		{"C24 celery below tini -g", tree(tini("-g -- celery -A app worker"), celery(7, 1), child(8, 7)), "GROUP-DOUBLE-SIGNAL"},
		{"C24 celery below docker's init, told by a variable", tree(ps(1, 0, "/sbin/docker-init -- celery -A app worker", 0, ignoring(tiniIgnored)), celery(7, 1), child(8, 7)).env1("TINI_KILL_PROCESS_GROUP=1"), "GROUP-DOUBLE-SIGNAL"},
		{"C25 sidekiq needs longer than docker grants", tree(ps(1, 0, "sidekiq 6.4.1 app [0 of 10 busy]", 0x84007, named("ruby"))).started("sidekiq", "-t", "25"), "GRACE-TOO-SHORT, OK"},
		{"C26 waitress", tree(ps(1, 0, "/usr/bin/python3 /usr/bin/waitress-serve app:app", pyCaught)), "DROPPED"},
		{"C26 flask run", tree(ps(1, 0, "/usr/bin/python3 /usr/bin/flask run", pyCaught)), "DROPPED, DEV-SERVER"},
		{"C26 runserver --noreload", tree(ps(1, 0, "python3 manage.py runserver --noreload", pyCaught)), "DROPPED, DEV-SERVER"},
		{"C26 php -S", tree(ps(1, 0, "php -S 0.0.0.0:80", 0x2)), "DROPPED, DEV-SERVER"},
		{"C26 python -m http.server", tree(ps(1, 0, "python3 -m http.server", pyCaught)), "DROPPED, DEV-SERVER"},
		{"C27 Go without signal.Notify", tree(ps(1, 0, "/server", goHandlers, threads(Thread{Wait: "futex_wait"}, Thread{}))), "INSTANT-DEATH"},
		{"C27 Go with signal.Notify", tree(ps(1, 0, "/server", goHandlers, threads(Thread{Wait: "futex_wait"}, Thread{Blocked: 0xfffffffc3bba3a00}))), "OK likely"},
		{"C27 Go with signal.Notify for other signals too", tree(ps(1, 0, "/server", goHandlers, threads(Thread{Blocked: 0xfffffffc3bba3000}, Thread{}))), "OK likely"},
		{"C28 java", tree(ps(1, 0, "java -jar app.jar", jvmCaught)), "OK likely"},
		{"C28 java -Xrs", tree(ps(1, 0, "java -Xrs -jar app.jar", jvmCaught&^0x4007)), "DROPPED"},
		{"C29 postgres on TERM waits for its clients", tree(postgres), "WRONG-SIGNAL"},
		{"C29 postgres on INT", tree(postgres).on(program.INT), "OK"},
		{"C29 postgres on QUIT", tree(postgres).on(program.QUIT), "WRONG-SIGNAL"},
		{"C30 redis on QUIT", tree(ps(1, 0, "redis-server *:6379", 0x44ca)).on(program.QUIT), "DROPPED"},
		{"C31 erl", tree(ps(1, 0, "/usr/lib/erlang/bin/beam.smp -noinput", 0x14a07)), "OK likely"},
		{"C31 a ruby script", tree(ps(1, 0, "ruby app.rb", 0x4002)), "UNKNOWN unknown"},
		{"C31 perl that sleeps", tree(ps(1, 0, "perl -e sleep", 0)), "DROPPED"},
		{"C31 bun", tree(ps(1, 0, "bun run server.ts", 0)), "DROPPED"},
		{"C31 deno", tree(ps(1, 0, "deno run server.ts", 0x4000)), "UNKNOWN unknown"},
		{"C32 su kills after 2 s", tree(su, handlerApp(7, 1)), "KNOB-TOO-SHORT"},
		{"C32 runuser too", tree(ps(1, 0, "runuser -u www app", 0x14002), handlerApp(7, 1)), "KNOB-TOO-SHORT"},
		{"C32 sudo waits", tree(ps(1, 0, "sudo -u www python3 -u app.py", 0x1814a07), handlerApp(7, 1)), "OK likely"},
		{"C33 flock in front", tree(ps(1, 0, "flock /lock app", 0), ps(7, 1, "app", 0x4000)), "DROPPED"},
		{"C33 time in front", tree(ps(1, 0, "/usr/bin/time app", 0), ps(7, 1, "app", 0x4000)), "DROPPED"},
		{"C33 strace in front", tree(ps(1, 0, "strace -f app", 0), ps(7, 1, "app", 0x4000)), "DROPPED"},
		{"C34 a trap and one wait", tree(ps(1, 0, "/bin/sh /run.sh", shTrap), handlerApp(7, 1)).with("/run.sh", "app & pid=$!\ntrap 'kill -TERM $pid' TERM\nwait $pid\n"), "KILLED-BY-INIT-EXIT likely"},
		{"C34 a trap and a second wait", tree(ps(1, 0, "/bin/sh /run.sh", shTrap), handlerApp(7, 1)).with("/run.sh", "trap 'kill -TERM $pid' TERM\napp &\npid=$!\nwait $pid\nwait $pid\n"), "OK likely"},
		{"C34 a trap in front of a foreground command", tree(ps(1, 0, "/bin/sh /run.sh", shTrap), handlerApp(7, 1)).with("/run.sh", "trap 'kill -TERM $pid' TERM\napp\n"), "DROPPED likely"},
		{"C34 a trap that sleeps and exits, below dumb-init", tree(dumbInit("-- /run.sh"), ps(7, 1, "/bin/sh /run.sh", shTrap), handlerApp(8, 7)).with("/run.sh", "trap \"sleep 30; pkill app; exit 0\" TERM\n/control.sh\n"), "KILLED-BY-INIT-EXIT likely"},
		{"C35 a trap that ignores, and exec", tree(ps(1, 0, "python3 app.py", pyCaught, ignoring(0x4000))), "IGNORED"},
		{"C36 blocked, sent and never read", tree(ps(1, 0, "python3 app.py", pyCaught, threads(Thread{Blocked: 0x4000, Wait: "hrtimer_nanosleep"}), pending(0x4000))), "QUEUED-NEVER-READ"},
		{"C36 blocked, and nobody waits for it", tree(ps(1, 0, "python3 app.py", pyCaught, threads(Thread{Blocked: 0x4000, Wait: "hrtimer_nanosleep"}))), "QUEUED-NEVER-READ likely"},
		{"C36 sigwait in the main thread", tree(ps(1, 0, "python3 app.py", pyCaught, threads(Thread{Wait: "do_sigtimedwait"}))), "OK likely"},
		{"C36 sigwait in another thread", tree(ps(1, 0, "python3 app.py", pyCaught, threads(Thread{Blocked: 0x4000, Wait: "futex_wait"}, Thread{Wait: "do_sigtimedwait"}))), "OK likely"},
		{"C37 docker --init in front of a shell", tree(ps(1, 0, "/sbin/docker-init -- sh -c app; true", 0, ignoring(tiniIgnored)), shell(7, 1, "sh -c app; true"), ps(8, 7, "app", 0x4000)), "KILLED-BY-INIT-EXIT"},
		{"C38 the masks of tini say nothing about it", tree(tini("-- python3 -u app.py"), handlerApp(7, 1)), "OK likely"},
		{"C38 nor when the kernel does not tell what it waits in", tree(ps(1, 0, "tini -- python3 -u app.py", 0, ignoring(tiniIgnored), threads(Thread{})), handlerApp(7, 1)), "OK likely"},
		{"C39 zombies of PID 1", tree(ps(1, 0, "python3 -u app.py", pyHandler)).counting(4), "ZOMBIES, OK likely"},
		{"a dead process or two may be a probe that ends", tree(ps(1, 0, "python3 -u app.py", pyHandler)).counting(2), "ZOMBIES likely, OK likely"},
		{"a program that is starting has no handlers yet", starting(tree(ps(1, 0, "python3 -u app.py", pyCaught))), "UNKNOWN unknown"},
		{"a program that is starting and has them", starting(tree(handlerApp(1, 0))), "OK likely"},
		{"C39 none with tini", tree(tini("-- python3 -u app.py"), handlerApp(7, 1)).counting(2), "OK likely"},
		{"C40 WINCH to Go", tree(ps(1, 0, "/server", goHandlers, threads(Thread{Wait: "futex_wait"}))).on(program.WINCH), "DROPPED"},
		{"C40 WINCH to node", tree(ps(1, 0, "node server.js", nodeCaught)).on(program.WINCH), "DROPPED"},
		{"C40 WINCH to Python below an init", tree(tini("-- python3 -u app.py"), handlerApp(7, 1)).on(program.WINCH), "DROPPED"},
		{"C41 s6 with an inherited QUIT", tree(ps(1, 0, "/package/admin/s6/command/s6-svscan -d4 -- /run/service", 0x1)).on(program.QUIT), "WRONG-SIGNAL likely"},
		{"C41 s6 on TERM", tree(ps(1, 0, "/package/admin/s6/command/s6-svscan -d4 -- /run/service", 0x1)), "OK likely"},
		{"C42 runsvdir", tree(ps(1, 0, "runsvdir -P /etc/service", 0x4001)), "KILLED-BY-INIT-EXIT"},
		{"C42 busybox init", tree(ps(1, 0, "busybox init", 0)), "KILLED-BY-INIT-EXIT"},
		{"C44 no masks: a shell is a shell still", tree(unmasked(shell(1, 0, "/bin/sh -c python3 -u app.py")), unmasked(ps(7, 1, "python3 -u app.py", 0))), "DROPPED likely"},
		{"C44 no masks: a server is a server still", tree(unmasked(nginx)), "WRONG-SIGNAL likely"},
		{"C44 no masks: the rest is unknown", tree(unmasked(ps(1, 0, "/server", 0))), "UNKNOWN unknown"},
		{"a program that only has a server's name", tree(ps(1, 0, "httpd -f -p 80", 0)), "UNKNOWN unknown"},
		{"a server that has not installed its handlers yet", tree(ps(1, 0, "/usr/bin/python3 /usr/bin/gunicorn app:app", pyCaught)), "UNKNOWN unknown"},
		{"a supervisor that runs nothing yet", tree(supervisord), "UNKNOWN unknown"},
		{"no PID 1: it shares the processes of the host", shared(tree(ps(1, 0, "/server", 0))), "INSTANT-DEATH"},
		{"a native program with a handler", tree(ps(1, 0, "/server", 0x4002)), "UNKNOWN unknown"},
		{"an init in front of a program without a handler", tree(tini("-- /server"), ps(7, 1, "/server", 0)), "INSTANT-DEATH"},
		{"a rewrite to nothing", tree(dumbInit("-r 15:0 nginx"), nginx), "DROPPED"},
		{"roll-init in front of a shell", tree(ps(1, 0, "/roll-init -- sh -c app; true", goHandlers), shell(7, 1, "sh -c app; true"), ps(8, 7, "app", 0x4000)), "DROPPED"},
		{"nothing runs: the shell form", declared(nil, "/bin/sh", "-c", "python3 app.py"), "DROPPED unknown"},
		{"nothing runs: the shell form with exec of a server", declared(nil, "/bin/sh", "-c", "exec gunicorn app:app"), "GRACE-TOO-SHORT likely, OK likely"},
		{"nothing runs: nginx behind its entrypoint script", declared([]string{"/docker-entrypoint.sh"}, "nginx", "-g", "daemon off;").with("/docker-entrypoint.sh", "#!/bin/sh\nexec \"$@\"\n"), "WRONG-SIGNAL likely"},
		{"nothing runs: tini in front of a shell", declared([]string{"tini", "--"}, "sh", "-c", "app; true"), "KILLED-BY-INIT-EXIT likely"},
		{"nothing runs: a program that nobody knows", declared(nil, "/server"), "UNKNOWN unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := Stop(c.r)
			if got := ids(found); got != c.want {
				t.Errorf("got %s, want %s\n%s", got, c.want, told(found))
			}
			for _, f := range found {
				if f.Level >= Warn && f.Fix == "" {
					t.Errorf("%s says no way out: %s", f.ID, f.Text)
				}
			}
		})
	}
}

func shared(r Replica) Replica { r.Shared = true; return r }

func starting(r Replica) Replica { r.Starting = true; return r }

func unmasked(p Process) Process {
	return Process{PID: p.PID, Parent: p.Parent, Args: p.Args}
}

func declared(entrypoint []string, command ...string) Replica {
	return Replica{Service: "web", Signal: program.TERM, Grace: 10 * time.Second, Entrypoint: entrypoint, Command: command}
}

func told(findings []Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s %s: %s\n  %s\n  fix: %s\n", f.Level, f.ID, f.Text, f.Proof, f.Fix)
	}
	return b.String()
}
