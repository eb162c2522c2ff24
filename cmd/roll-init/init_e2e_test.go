//go:build e2e

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestAThousandRacesEndWithoutAZombieOrAHang(t *testing.T) {
	t.Parallel()
	const runs = 1000
	work := make(chan int, runs)
	for i := range runs {
		work <- i
	}
	close(work)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range work {
				// Eight orphans end in the very moment in which the main process does.
				l := born(t, place{}, "roll-init -w -- $APP burst", fmt.Sprint(i%256))
				select {
				case <-l.done:
				case <-time.After(patience):
					t.Errorf("run %d hangs:\n%s", i, l.output())
					return
				}
				if l.code != i%256 {
					t.Errorf("run %d: exit code %d, want %d:\n%s", i, l.code, i%256, l.all())
				}
				if n := strings.Count(l.all(), "reaped process"); n < 8 {
					t.Errorf("run %d: %d of 8 orphans reaped:\n%s", i, n, l.output())
				}
			}
		})
	}
	group.Wait()
}

func TestAChildThatEndsAtOnceIsNotMissed(t *testing.T) {
	t.Parallel()
	for range 300 {
		born(t, place{}, "roll-init -- /bin/true").ends(0)
	}
}

// healthOf is what the healthcheck of a replica says.
func healthOf(l *life) (string, int) {
	return l.inside(filepath.Join(binaries, "roll-init"), "health")
}

func TestTheDrain(t *testing.T) {
	begin := func(t *testing.T, line string) *life {
		t.Helper()
		l := born(t, place{}, line)
		l.says("ready")
		if text, code := healthOf(l); code != 0 {
			t.Fatalf("unhealthy from the start: %s", text)
		}
		return l
	}
	t.Run("on the stop signal the replica is unhealthy, serves on, then gets the rewritten signal", func(t *testing.T) {
		t.Parallel()
		l := begin(t, "roll-init -v --drain 700ms -r TERM:QUIT -- $APP stop 0s 5")
		start := time.Now()
		l.signal(syscall.SIGTERM)
		l.says("unhealthy from now on")
		if text, code := healthOf(l); code != 1 || !strings.Contains(text, "stopping") {
			t.Errorf("health said %q, exit code %d", text, code)
		}
		l.says("got 3")
		if took := time.Since(start); took < 700*time.Millisecond {
			t.Errorf("the application got its signal after %s", took)
		}
		l.ends(5)
	})
	t.Run("a second stop signal skips the rest of it", func(t *testing.T) {
		t.Parallel()
		for _, second := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			l := begin(t, "roll-init -v --drain 1h -- $APP stop 0s 5")
			l.signal(syscall.SIGTERM)
			l.says("serving on for 1h0m0s")
			l.signal(second)
			l.says(fmt.Sprintf("got %d", second))
			l.ends(5)
		}
	})
	t.Run("a third one kills", func(t *testing.T) {
		t.Parallel()
		l := begin(t, "roll-init -v --drain 1h -- $APP stop 1h 5")
		l.signal(syscall.SIGTERM)
		l.says("serving on")
		l.signal(syscall.SIGTERM)
		l.says("got 15")
		l.signal(syscall.SIGTERM)
		l.ends(137)
	})
	t.Run("an application that ends during it ends the container at once", func(t *testing.T) {
		t.Parallel()
		l := begin(t, "roll-init -v --drain 1h -- $APP stop 0s 6")
		l.signal(syscall.SIGTERM)
		l.says("serving on")
		l.signal(syscall.SIGUSR1)
		l.ends(6)
	})
	t.Run("other signals pass through it at once", func(t *testing.T) {
		t.Parallel()
		l := begin(t, "roll-init -v --drain 1h -- $APP report")
		l.signal(syscall.SIGTERM)
		l.says("serving on")
		l.signal(syscall.SIGHUP)
		l.says("1")
		l.signal(syscall.SIGUSR2)
		l.says("12")
	})
	t.Run("other signals do not begin it", func(t *testing.T) {
		t.Parallel()
		l := begin(t, "roll-init --drain 1h -- $APP stop 0s 4")
		l.signal(syscall.SIGHUP)
		l.ends(4)
	})
	t.Run("a stop signal of one's own begins it", func(t *testing.T) {
		t.Parallel()
		l := begin(t, "roll-init -v --drain 100ms --stop-signal QUIT -- $APP stop 0s 4")
		l.signal(syscall.SIGQUIT)
		l.says("serving on for 100ms")
		l.says("got 3")
		l.ends(4)
	})
	t.Run("a container that was frozen meanwhile counts that time", func(t *testing.T) {
		t.Parallel()
		l := begin(t, "roll-init -v --drain 500ms -- $APP stop 0s 4")
		l.signal(syscall.SIGTERM)
		l.says("serving on")
		l.signal(syscall.SIGSTOP)
		time.Sleep(600 * time.Millisecond) // the drain's time passes while nothing runs
		l.signal(syscall.SIGCONT)
		l.says("got 15")
		l.ends(4)
	})
	t.Run("the time since a flip is a part of it", func(t *testing.T) {
		t.Parallel()
		l := begin(t, "roll-init -v --drain 200ms -- $APP stop 0s 4")
		if text, code := l.inside(filepath.Join(binaries, "roll-init"), "flip"); code != 0 {
			t.Fatal(text)
		}
		<-time.After(200 * time.Millisecond)
		l.signal(syscall.SIGTERM)
		l.says("nothing left to drain")
		l.says("got 15")
		l.ends(4)
	})
	t.Run("its length comes from the environment, a flag wins", func(t *testing.T) {
		t.Parallel()
		l := born(t, place{env: []string{"ROLL_INIT_DRAIN=2m", "ROLL_INIT_VERBOSITY=2"}}, "tini -- $APP stop 0s 4")
		l.says("ready")
		l.signal(syscall.SIGTERM)
		l.says("serving on for 2m0s")
		l = born(t, place{env: []string{"ROLL_INIT_DRAIN=2m", "ROLL_INIT_VERBOSITY=2"}}, "roll-init --drain=3m -- $APP stop 0s 4")
		l.says("ready")
		l.signal(syscall.SIGTERM)
		l.says("serving on for 3m0s")
	})
	t.Run("one that does not fit into the grace period is warned about", func(t *testing.T) {
		t.Parallel()
		for line, want := range map[string]string{
			"roll-init --drain 30s --stop-grace 20s -- true": "the drain of 30s does not fit into the grace period of 20s",
			"roll-init --drain 10s -- true":                  "docker's default grace period of 10s",
		} {
			l := born(t, place{}, line)
			l.ends(0)
			l.contains(want)
		}
		for _, line := range []string{"roll-init --drain 30s --stop-grace 40s -- true", "roll-init --drain 9s -- true"} {
			l := born(t, place{}, line)
			l.ends(0)
			if text := l.all(); text != "" {
				t.Errorf("%s: %s", line, text)
			}
		}
	})
}

func TestFlipAndUnflip(t *testing.T) {
	for name, p := range map[string]place{
		"as root":                         {},
		"as a user, read-only, no rights": {User: 65534, NoCaps: true, ReadOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			init := filepath.Join(binaries, "roll-init")
			l := born(t, p, "roll-init -- $APP stop 0s 3")
			l.says("ready")
			// As the container's own user, as an engine's exec does it.
			as := func(user int, args ...string) (string, int) {
				return l.inside(append([]string{"setpriv", "--reuid", fmt.Sprint(user), "--regid", fmt.Sprint(user), "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"}, args...)...)
			}
			for _, c := range []struct {
				verb string
				code int
				want string
			}{
				{"health", 0, ""},
				{"flip", 0, "reporting unhealthy"},
				{"flip", 0, "reporting unhealthy"},
				{"health", 1, "unhealthy: flipped"},
				{"unflip", 0, "reporting healthy"},
				{"health", 0, ""},
				{"unflip", 0, "reporting healthy"},
			} {
				if text, code := as(p.User, init, c.verb); code != c.code || !strings.Contains(text, c.want) {
					t.Errorf("%s: %q, exit code %d; want %q, %d", c.verb, text, code, c.want, c.code)
				}
			}
			if text, code := as(12345, init, "flip"); code != 1 || !strings.Contains(text, "only root and the user of roll-init") {
				t.Errorf("a stranger may flip: %q, exit code %d", text, code)
			}
			l.signal(syscall.SIGTERM)
			l.ends(3)
		})
	}
	t.Run("after the stop signal there is no way back", func(t *testing.T) {
		t.Parallel()
		l := born(t, place{}, "roll-init -v --drain 1h -- $APP report")
		l.says("ready")
		l.signal(syscall.SIGTERM)
		l.says("serving on")
		if text, code := l.inside(filepath.Join(binaries, "roll-init"), "unflip"); code != 1 || !strings.Contains(text, "stopping") {
			t.Errorf("unflip: %q, exit code %d", text, code)
		}
	})
	t.Run("without a roll-init it says so", func(t *testing.T) {
		t.Parallel()
		l := born(t, place{Path: filepath.Join(binaries, "app")}, "app report")
		l.says("ready")
		for _, verb := range []string{"health", "flip", "unflip"} {
			if text, code := l.inside(filepath.Join(binaries, "roll-init"), verb); code != 1 || !strings.Contains(text, "no roll-init runs in this container") {
				t.Errorf("%s: %q, exit code %d", verb, text, code)
			}
		}
	})
	t.Run("another container in the same network is not meant", func(t *testing.T) {
		t.Parallel()
		one, other := born(t, place{}, "roll-init -- $APP report"), born(t, place{}, "roll-init -- $APP report")
		one.says("ready")
		other.says("ready")
		if text, code := one.inside(filepath.Join(binaries, "roll-init"), "flip"); code != 0 {
			t.Fatal(text)
		}
		if text, code := healthOf(one); code != 1 {
			t.Errorf("flipped, but healthy: %s", text)
		}
		if text, code := healthOf(other); code != 0 {
			t.Errorf("not flipped, but unhealthy: %s", text)
		}
	})
}

func TestHealth(t *testing.T) {
	t.Parallel()
	l := born(t, place{}, "roll-init -- $APP serve tcp4 127.0.0.1:0")
	var port int
	if _, err := fmt.Sscanf(l.says("serving"), "serving %d", &port); err != nil {
		t.Fatal(err)
	}
	six := born(t, place{}, "roll-init -- $APP serve tcp6 [::1]:0")
	var port6 int
	if _, err := fmt.Sscanf(six.says("serving"), "serving %d", &port6); err != nil {
		t.Fatal(err)
	}
	init := filepath.Join(binaries, "roll-init")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"health -- true", 0, ""},
		{"health -- false", 1, ""},
		{"health true", 0, ""},
		{"health -- nothing-of-that-name", 1, "not found in PATH"},
		{fmt.Sprintf("health --http / --port %d", port), 0, ""},
		{fmt.Sprintf("health --http=/?code=399 --port=%d", port), 0, ""},
		{fmt.Sprintf("health --http /?code=503 --port %d", port), 1, "answered 503 Service Unavailable"},
		{fmt.Sprintf("health --http /?code=404 --port %d -- true", port), 1, "answered 404 Not Found"},
		{fmt.Sprintf("health --http / --port %d -- false", port), 1, ""},
		{fmt.Sprintf("health --http /?for=1h --port %d --timeout 50ms", port), 1, "no answer within 50ms"},
		{fmt.Sprintf("health --http / --port %d", port6), 0, ""},
		{fmt.Sprintf("health --http / --port %d --host 127.0.0.1", port), 0, ""},
		{"health --http / --port 1", 1, "connection refused"},
		{"health --http /", 1, "--http needs --port"},
		{"health --port 80", 1, "--port and --host need --http"},
		{"health --http health --port 80", 1, `"health" is no path: write /health`},
		{"health --port x", 1, `"x" is no port`},
		{"health --yolo", 1, "unknown flag --yolo"},
		{"flip now", 2, "flip takes no arguments"},
	} {
		if text, code := l.inside(append([]string{init}, strings.Fields(c.args)...)...); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: %q, exit code %d; want %q, %d", c.args, text, code, c.want, c.code)
		}
	}
}

// A shell that dies of its signal leaves the server to the init: that one is told, and its request is answered.
func TestTheInitWaitsForAllItsChildren(t *testing.T) {
	t.Parallel()
	for line, bye := range map[string]bool{
		"roll-init -v --":               true,
		"roll-init -v -g --":            true,
		"tini -vv --":                   true,
		"dumb-init -v":                  true,
		"roll-init -v --drain 100ms --": true,
		"roll-init -v --wait 0s --":     false,
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			l := born(t, place{}, line+" sh -c", "$0 serve tcp4 127.0.0.1:0; true", binaries+"/app")
			var port int
			if _, err := fmt.Sscanf(l.says("serving"), "serving %d", &port); err != nil {
				t.Fatal(err)
			}
			answered := make(chan error, 1)
			go func() {
				r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/?for=500ms", port))
				if err == nil {
					_, err = io.ReadAll(r.Body)
					r.Body.Close()
				}
				answered <- err
			}()
			// The request has arrived when its connection is there.
			connected(t, port)
			l.signal(syscall.SIGTERM)
			l.ends(143)
			if err := <-answered; (err == nil) != bye {
				t.Errorf("the request in flight ended with %v", err)
			}
			if strings.Contains(l.all(), "bye") != bye {
				t.Errorf("the server's own end: want %v:\n%s", bye, l.output())
			}
		})
	}
}

// connected waits until a port of this machine has an established connection.
func connected(t *testing.T, port int) {
	t.Helper()
	want := fmt.Sprintf("0100007F:%04X 0100007F:", port)
	for limit, tick := time.After(patience), time.Tick(5*time.Millisecond); ; <-tick {
		for line := range strings.Lines(readFile(t, "/proc/net/tcp")) {
			if f := strings.Fields(line); len(f) > 4 && f[3] == "01" && strings.Contains(line, want) && f[4] == "00000000:00000000" {
				return
			}
		}
		select {
		case <-limit:
			t.Fatalf("nobody is connected to port %d", port)
		default:
		}
	}
}

func TestTheWaitForOthersHasALimit(t *testing.T) {
	t.Parallel()
	l := born(t, place{}, "roll-init --wait 200ms -- sh -c", `(trap '' TERM; echo deaf; exec sleep 1000) & sleep 0.2; exit 5`)
	l.says("deaf")
	l.ends(5)
	l.contains("gave up waiting for sleep")
}

func TestASingleChildIsSignalledAlone(t *testing.T) {
	t.Parallel()
	for line, both := range map[string]bool{"roll-init -v -v": false, "roll-init -v -v -g": true} {
		l := born(t, place{}, line+" sh -c", `$0 report & trap : USR1; sleep 0.3; echo up; wait; wait; wait`, binaries+"/app")
		l.says("ready")
		l.says("up")
		l.signal(syscall.SIGUSR1)
		if both {
			l.says("10")
		} else {
			l.says("sent SIGUSR1")
			l.signal(syscall.SIGKILL)
			<-l.done
			if strings.Contains(l.all(), "\n10") {
				t.Errorf("the grandchild got it too:\n%s", l.output())
			}
		}
	}
}

func TestItWorksOnScratchUnderAnotherInitAndOutsideOfNamespaces(t *testing.T) {
	t.Parallel()
	t.Run("scratch", func(t *testing.T) {
		t.Parallel()
		root := t.TempDir()
		for _, name := range []string{"roll-init", "app"} {
			if err := os.Link(filepath.Join(binaries, name), filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
		}
		l := born(t, place{Root: root, Path: "/roll-init", User: 65534, NoCaps: true}, "roll-init -- /app stop 0s 3")
		l.says("ready")
		cmd := exec.Command("nsenter", "-t", fmt.Sprint(l.cmd.Process.Pid), "-p", "-m", "-r", "-w", "--", "/roll-init", "flip")
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "reporting unhealthy\n" {
			t.Errorf("flip: %s, %v", out, err)
		}
		l.signal(syscall.SIGTERM)
		l.ends(3)
	})
	t.Run("under another init", func(t *testing.T) {
		t.Parallel()
		l := born(t, place{}, "tini -- "+binaries+"/roll-init -s -v --drain 100ms -- $APP stop 0s 3")
		l.says("ready")
		if text, code := healthOf(l); code != 0 {
			t.Errorf("unhealthy: %s", text)
		}
		l.signal(syscall.SIGTERM)
		l.says("unhealthy from now on")
		l.ends(3)
		if strings.Contains(l.all(), "warning: this is process") {
			t.Errorf("it warned:\n%s", l.output())
		}
	})
	t.Run("in the machine's namespaces", func(t *testing.T) {
		t.Parallel()
		l := born(t, place{Keep: true}, "roll-init -s -- $APP stop 0s 3")
		l.says("ready")
		l.signal(syscall.SIGTERM)
		l.ends(3)
	})
}

func TestFilesAndListenPidArePassedOn(t *testing.T) {
	t.Parallel()
	for _, line := range modes {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString("hello"); err != nil {
			t.Fatal(err)
		}
		l := born(t, place{files: []*os.File{r, w}, Listen: true}, line+" sh -c", `exec 4>&-; exec $0 where`, binaries+"/app")
		w.Close()
		l.ends(0) // it reads file 3 to its end, which comes only when the init does not keep file 4 open
		l.contains("file 3: hello")
		r.Close()
		l = born(t, place{Listen: true}, line+" $APP where")
		l.ends(0)
		l.contains("LISTEN_PID is this process: true")
	}
}

func TestGroupsAndSessions(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"roll-init":    "group own session inherited",
		"roll-init -g": "group own session inherited",
		"tini --":      "group own session inherited",
		"dumb-init":    "group own session own",
		"dumb-init -c": "group own session inherited",
	} {
		l := born(t, place{}, line+" $APP where")
		l.ends(0)
		l.contains(want)
	}
}

func TestAutoSendsWhatEndsTheProgramGracefully(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]syscall.Signal{
		"nginx": syscall.SIGQUIT, "php-fpm8.2": syscall.SIGQUIT, "apache2": syscall.SIGWINCH, "httpd": syscall.SIGWINCH,
		"haproxy": syscall.SIGUSR1, "uwsgi": syscall.SIGHUP, "postgres": syscall.SIGINT, "something": syscall.SIGTERM,
	} {
		file := filepath.Join(dir, name)
		if err := os.Link(filepath.Join(binaries, "app"), file); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			// Behind an entrypoint script, as in the official images, and left alone by a shell that does not exec.
			for _, line := range []string{"exec $0 stop 0s 3", "$0 stop 0s 3; true"} {
				l := born(t, place{}, "roll-init --auto -- sh -c", line, file)
				l.says("ready")
				l.signal(syscall.SIGTERM)
				l.says(fmt.Sprintf("got %d", want))
				<-l.done
			}
			l := born(t, place{env: []string{"ROLL_INIT_AUTO=1"}}, "roll-init -v --drain 1h -- sh -c", "exec $0 stop 0s 3", file)
			l.says("ready")
			l.signal(want) // the STOPSIGNAL of the official image
			l.says("serving on for 1h")
			l = born(t, place{}, "roll-init --auto -r TERM:USR1 -- "+file+" stop 0s 3")
			l.says("ready")
			l.signal(syscall.SIGTERM)
			l.says("got 10")
			l.ends(3)
		})
	}
}

func TestScriptsWithoutAnInterpreterLineRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := filepath.Join(dir, "entrypoint")
	if err := os.WriteFile(script, []byte("echo argument $1; exit 4\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	lost := filepath.Join(dir, "lost")
	if err := os.WriteFile(lost, []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := born(t, place{}, "roll-init "+script+" one")
	l.ends(4)
	l.contains("argument one")
	l = born(t, place{}, "roll-init "+lost)
	l.ends(127)
	l.contains("the interpreter after #!")
}

// What is ignored becomes default, unless it is what nohup and background jobs ignore: an application behind a shell's
// `trap "" TERM` could not be stopped otherwise.
func TestAnIgnoredStopSignalWorksAgain(t *testing.T) {
	t.Parallel()
	for _, line := range modes {
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGQUIT} {
			l := born(t, place{Ignore: []int{int(syscall.SIGTERM), int(syscall.SIGQUIT)}}, line+" sh -c", "echo ready; exec sleep 1000")
			l.says("ready")
			l.signal(s)
			l.ends(128 + int(s))
		}
	}
}

func TestItDoesNothingWhileNothingHappens(t *testing.T) {
	t.Parallel()
	l := born(t, place{}, "roll-init -- $APP report")
	l.says("ready")
	if _, code := healthOf(l); code != 0 {
		t.Fatal("unhealthy")
	}
	switches := func() string {
		text := ""
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", l.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			for line := range strings.Lines(readFile(t, task)) {
				if strings.HasPrefix(line, "voluntary") {
					text += task + " " + line
				}
			}
		}
		return text
	}
	// It comes to rest, and then stays so.
	before := ""
	for limit, tick := time.After(patience), time.Tick(3*time.Second); ; <-tick {
		now := switches()
		if now == before {
			break
		}
		before = now
		select {
		case <-limit:
			t.Fatalf("it never rests:\n%s", now)
		default:
		}
	}
	var rss int
	for line := range strings.Lines(readFile(t, fmt.Sprintf("/proc/%d/status", l.cmd.Process.Pid))) {
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &rss); n == 1 && rss > 5*1024 {
			t.Errorf("%d kB resident, want 5 MB or less", rss)
		}
	}
	info, err := os.Stat(filepath.Join(binaries, "roll-init"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 3<<20 {
		t.Errorf("%d bytes, want 3 MB or less", info.Size())
	}
	t.Logf("%d bytes, %d kB resident", info.Size(), rss)
}
