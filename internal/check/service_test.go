package check

import (
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/internal/program"
)

// C43: what the numbers of a Compose file mean for a drain.
func TestTheTimingOfAServiceIsJudged(t *testing.T) {
	slow := &compose.Healthcheck{Interval: 30 * time.Second, Timeout: 30 * time.Second, StartInterval: 5 * time.Second, Retries: 3}
	quick := &compose.Healthcheck{Interval: time.Second, Timeout: 2 * time.Second, StartInterval: 5 * time.Second, Retries: 2}
	drains := func(d string, grace time.Duration) Replica {
		return Replica{Service: "web", Entrypoint: []string{"/roll-init", "--drain", d, "--", "/app"}, Grace: grace}
	}
	for _, c := range []struct {
		name string
		got  []Finding
		want string
	}{
		{"docker's own numbers are slow", Health("web", slow, true), "SLOW-HEALTHCHECK, SLOW-START"},
		{"a second and two failures are not", Health("web", quick, true), ""},
		{"no healthcheck has no timing", Health("web", nil, true), ""},
		{"start_interval is what counts inside start_period", Health("web", &compose.Healthcheck{Interval: 4 * time.Second, StartPeriod: time.Minute, StartInterval: time.Second, Retries: 3}, true), ""},
		{"a drain shorter than detection", Drain(drains("5s", 130*time.Second), slow, 2*time.Second), "DRAIN-TOO-SHORT"},
		{"a drain longer than detection", Drain(drains("8s", 130*time.Second), quick, 2*time.Second), ""},
		{"a drain that the grace does not hold", Drain(drains("15s", 10*time.Second), quick, 2*time.Second), "GRACE-TOO-SHORT"},
		{"a drain of a variable", Drain(Replica{Entrypoint: []string{"/roll-init", "/app"}, Environ: []string{"ROLL_INIT_DRAIN=1s"}, Grace: time.Minute}, quick, 2*time.Second), "DRAIN-TOO-SHORT"},
		{"a flag of the application is no drain", Drain(Replica{Entrypoint: []string{"/roll-init", "--", "/app", "--drain", "1s"}, Grace: time.Minute}, quick, 2*time.Second), ""},
		{"nothing of the sort", Drain(Replica{Entrypoint: []string{"/app"}, Environ: []string{"ROLL_INIT_DRAIN=1s"}}, quick, 0), ""},
		{"a grace shorter than gunicorn's own limit", Declared(compose.Service{Name: "web", Command: []string{"gunicorn", "app:app"}}), "GRACE-TOO-SHORT likely"},
		{"the image may set the signal", Declared(compose.Service{Name: "web", Command: []string{"nginx"}}), ""},
		{"the file sets the wrong one", Declared(compose.Service{Name: "web", Command: []string{"nginx"}, StopSignal: "SIGTERM"}), "WRONG-SIGNAL likely"},
		{"the image decides all", Declared(compose.Service{Name: "web"}), ""},
		{"it ended by SIGKILL", History(compose.Replica{Name: "web-1", State: compose.Exited, ExitCode: 137}), "KILLED-LAST-TIME"},
		{"it ended for lack of memory", History(compose.Replica{Name: "web-1", State: compose.Exited, ExitCode: 137, OOMKilled: true}), "OUT-OF-MEMORY"},
		{"it ended as it should", History(compose.Replica{Name: "web-1", State: compose.Exited, ExitCode: 143}), ""},
		{"it runs", History(compose.Replica{Name: "web-1", State: compose.Running}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ids(c.got); got != c.want {
				t.Errorf("got %q, want %q\n%s", got, c.want, told(c.got))
			}
		})
	}
}

func TestAStopThatEndedInSIGKILLIsFoundInTheEvents(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	kill := func(id string, s program.Signal, seconds int) Kill {
		return Kill{ID: id, Name: "web-" + id, Service: "web", Signal: s, At: at(seconds)}
	}
	found := Killed([]Kill{
		kill("1", program.TERM, 0), kill("2", program.TERM, 1), kill("1", killSignal, 10), // 1 was stopped and killed, 2 ended
		kill("3", killSignal, 11),                             // docker kill
		kill("4", program.HUP, 20), kill("4", killSignal, 20), // docker rm -f in the same second
	})
	if len(found) != 1 || found[0].Replicas[0] != "web-1" || found[0].Proof != "events: SIGTERM at 00:00:00, SIGKILL 10s later" {
		t.Errorf("%+v", found)
	}
}

func TestProcessListsAreRead(t *testing.T) {
	titles := strings.Fields("PID PPID LWP STAT BLOCKED CAUGHT IGNORED PENDING WCHAN COMMAND COMMAND")
	list, err := ParseTop(titles, [][]string{
		{"100", "50", "100", "Ss", "0000000000004000", "<7fc1feff", "0000000000001000", "0000000000000000", "do_epoll_wait", "npm", "start npm start"},
		{"100", "50", "101", "Ssl", "fffffffc3bba3a00", "0", "0", "0000000000004000", "-", "npm", "start npm start"},
		{"120", "100", "120", "Z", "0", "0", "0", "0", "-", "sh", "[sh] <defunct>"},
	})
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %+v", err, list)
	}
	p := list[0]
	if p.Comm != "npm start" || strings.Join(p.Args, " ") != "npm start" || len(p.Threads) != 2 || p.Caught != 0x7fc1feff || p.Pending != 0x4000 || p.Ignored != 0x1000 || p.Threads[0].Wait != "do_epoll_wait" || p.Threads[1].Wait != "" {
		t.Errorf("%+v", p)
	}
	for _, c := range []struct{ name, rest, comm, line string }{
		{"node", "node server.js", "node", "node server.js"},
		{"python3", "/usr/bin/python3 app.py", "python3", "/usr/bin/python3 app.py"},
		{"gunicorn", "/usr/bin/python3 /usr/bin/gunicorn", "gunicorn", "/usr/bin/python3 /usr/bin/gunicorn"},
		{"puma:", "cluster w puma: cluster worker 0", "puma: cluster w", "puma: cluster worker 0"},
		{"sh", "sh -c sh -c x", "sh", "sh -c sh -c x"},
	} {
		comm, args := command(c.name, c.rest)
		if comm != c.comm || strings.Join(args, " ") != c.line {
			t.Errorf("%s %s: %q %q", c.name, c.rest, comm, args)
		}
	}
	plain, err := ParseTop(strings.Fields("UID PID PPID C STIME TTY TIME CMD"), [][]string{{"root", "100", "50", "0", "10:00", "?", "00:00:00", "sh -c app"}})
	if err != nil || len(plain) != 1 || plain[0].Masked || plain[0].program().Kind != program.Shell {
		t.Errorf("%v %+v", err, plain)
	}
	for _, bad := range [][][]string{{{"1"}}, {{"x", "1", "1", "S", "0", "0", "0", "0", "-", "a", "a"}}} {
		if list, err := ParseTop(titles, bad); err == nil {
			t.Errorf("%v is read as %+v", bad, list)
		}
	}
	if _, err := ParseTop([]string{"USER", "COMMAND"}, nil); err == nil {
		t.Error("a list without process ids is read")
	}
}

func TestReplicasOfOneKindAreToldTogether(t *testing.T) {
	one := Finding{ID: Dropped, Level: Error, Service: "web", Replicas: []string{"web-1"}, Text: "same"}
	two, warning, none := one, one, Finding{ID: NoTraefik, Level: Error}
	two.Replicas = []string{"web-2"}
	warning.ID, warning.Level = Zombies, Warn
	merged := Merge([]Finding{none, warning, one, two})
	if len(merged) != 3 || len(merged[0].Replicas) != 2 || merged[1].ID != Zombies || merged[2].ID != NoTraefik || Worst(merged) != Error {
		t.Errorf("%+v", merged)
	}
	if len(one.Replicas) != 1 {
		t.Error("a finding was changed")
	}
}
