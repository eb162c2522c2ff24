package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// defaultGrace is what docker grants between the stop signal and SIGKILL when nobody says otherwise.
const defaultGrace = 10 * time.Second

// orphanWait is how long other children may outlive an application that ended by itself, by default: the container is to
// end, so that its restart policy can act, also when one of them ignores its signal.
const orphanWait = 10 * time.Second

// keeper starts the application, passes signals on and reaps, until all children have ended.
type keeper struct {
	*options
	log    *log
	health *condition
	course course

	main     int  // id of the application
	ended    bool // the application has ended
	code     int  // its exit code
	stop     syscall.Signal
	passed   bool         // a stop signal was passed on
	told     map[int]bool // other children that got one, or will not
	drained  <-chan time.Time
	patience <-chan time.Time // ends the wait for other children
}

// keep runs the init and returns its exit code.
func keep(o *options, l *log) int {
	k := &keeper{options: o, log: l, health: &condition{}, course: course{drain: o.drain}, stop: syscall.SIGTERM, told: map[int]bool{}}
	k.warn()
	if o.death != 0 {
		if err := prctl(prSetPdeathsig, uintptr(o.death)); err != nil {
			l.warnf("the death of the parent will not be noticed: %v", err)
		}
	}
	if o.subreaper {
		if err := prctl(prSetChildSubreaper, 1); err != nil {
			l.warnf("orphans will not be adopted: %v", err)
		}
	}
	pid, children, signals, err := start(o, l)
	if err != nil {
		var failed startError
		if errors.As(err, &failed) {
			l.errorf("%v", err)
			return failed.code
		}
		l.errorf("%v", err)
		return exitNotRunnable
	}
	k.main = pid
	l.infof("started %s as process %d", strings.Join(o.command, " "), pid)
	closeInherited()
	if c, err := listen(k.health, l); err != nil {
		l.warnf("flips and health checks are not answered: %v", err)
	} else {
		go c.serve()
	}
	// A folder that is somewhere mounted cannot be unmounted while it is somebody's current one.
	_ = os.Chdir("/")
	return k.loop(children, signals)
}

// warn says at the start what will not work as hoped.
func (k *keeper) warn() {
	if os.Getpid() != 1 && !k.subreaper {
		k.log.warnf("this is process %d, not 1, and no subreaper: orphans are somebody else's, and are not waited for. "+
			"Make roll-init the entrypoint, or let it adopt them with -s", os.Getpid())
	}
	if k.group && k.name == "roll-init" {
		k.log.warnf("-g: every process of the application's group gets each signal. Servers that stop their own workers " +
			"(Celery, uvicorn, Airflow) lose requests by that")
	}
	switch {
	case k.drain == 0:
	case k.grace > 0 && k.drain >= k.grace:
		k.log.warnf("the drain of %s does not fit into the grace period of %s: SIGKILL comes before the application gets its stop "+
			"signal. Shorten the drain, or lengthen the grace period (stop_grace_period, docker stop -t)", k.drain, k.grace)
	case k.grace == 0 && k.drain >= defaultGrace:
		k.log.warnf("the drain of %s does not fit into docker's default grace period of %s. If stop_grace_period is longer, say so: "+
			"ROLL_INIT_STOP_GRACE", k.drain, defaultGrace)
	}
}

func (k *keeper) loop(children, signals <-chan os.Signal) int {
	for {
		var left bool
		select {
		case <-children:
			k.log.debugf("received SIGCHLD")
			left = k.reap()
		case s := <-signals:
			k.receive(s.(syscall.Signal))
			continue
		case <-k.drained:
			if k.course.over() && !k.ended {
				k.log.infof("the drain of %s is over", k.drain)
				k.passStop()
			}
			continue
		case <-k.patience:
			k.log.warnf("gave up waiting for %s", names(offspring()))
			return k.exit()
		}
		switch {
		case !k.ended:
		case !left, k.wait == 0:
			return k.exit()
		default:
			k.tellRest()
		}
	}
}

// reap collects every child that has ended, and reports whether there are others. One SIGCHLD may stand for many.
func (k *keeper) reap() (left bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil: // ECHILD
			return false
		case pid == 0:
			return true
		}
		code := status.ExitStatus()
		if status.Signaled() {
			code = 128 + int(status.Signal())
		}
		delete(k.told, pid)
		switch {
		case pid == k.main && !k.ended:
			k.ended, k.code = true, code
			k.log.infof("the application ended with exit code %d", code)
		case k.reaped:
			k.log.warnf("reaped process %d, an orphan that ended with exit code %d", pid, code)
		default:
			k.log.debugf("reaped process %d, exit code %d", pid, code)
		}
	}
}

// receive takes one signal that was sent to the init.
func (k *keeper) receive(s syscall.Signal) {
	k.log.debugf("received %s", signalName(s))
	if to, ok := k.rewrites[s]; ok && to == 0 {
		k.log.infof("dropped %s", signalName(s))
		return
	}
	// The Go runtime of this process sends itself SIGURG, and one from elsewhere looks just the same.
	if _, ok := k.rewrites[s]; s == syscall.SIGURG && !ok {
		return
	}
	if !k.isStop(s) {
		k.send(k.mapped(s, k.main))
		if k.suspend && (s == syscall.SIGTSTP || s == syscall.SIGTTIN || s == syscall.SIGTTOU) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		}
		return
	}
	k.stop = s
	unhealthy := k.health.stop()
	switch k.course.stop() {
	case drain:
		k.beginDrain(unhealthy)
	case skip:
		k.log.warnf("second stop signal: the rest of the drain is skipped")
		k.passStop()
	case kill:
		k.log.warnf("third stop signal: everything is killed")
		k.killAll()
	case pass:
		k.passStop()
	}
}

// beginDrain lets the application serve on for the drain, of which the time that the replica was unhealthy before the stop
// signal is a part: roll flips a replica and sees it out of service before it stops it.
func (k *keeper) beginDrain(unhealthy time.Duration) {
	left := k.drain - unhealthy
	switch {
	case k.ended:
		k.course.over()
	case left <= 0:
		k.log.infof("%s: unhealthy for %s already, so there is nothing left to drain", signalName(k.stop), unhealthy.Round(time.Millisecond))
		k.course.over()
		k.passStop()
	default:
		k.log.infof("%s: unhealthy from now on, serving on for %s", signalName(k.stop), left.Round(time.Millisecond))
		k.drained = time.After(left)
	}
}

// isStop reports whether a signal asks the replica to stop.
func (k *keeper) isStop(s syscall.Signal) bool {
	if has(k.stops, s) {
		return true
	}
	if !k.auto {
		return false
	}
	p := programOf(k.main)
	return p != nil && syscall.Signal(p.Rewrite) == s
}

// mapped is the signal that a process gets for one that was received.
func (k *keeper) mapped(s syscall.Signal, pid int) syscall.Signal {
	if to, ok := k.rewrites[s]; ok {
		return to
	}
	if k.auto && s == syscall.SIGTERM {
		if p := programOf(pid); p != nil {
			need := ""
			if p.Needs != "" {
				need = "; it needs " + p.Needs
			}
			k.log.infof("%s ends gracefully on %s%s", p.Name, p.Rewrite, need)
			return syscall.Signal(p.Rewrite)
		}
	}
	return s
}

// passStop passes the stop signal on to whoever is left.
func (k *keeper) passStop() {
	k.passed = true
	if k.ended {
		clear(k.told)
		k.tellRest()
		return
	}
	k.send(k.mapped(k.stop, k.main))
}

// send sends a signal to the application, in group mode to its process group, and when it has ended to the children that
// outlived it: its id may be somebody else's by then.
func (k *keeper) send(s syscall.Signal) {
	switch {
	case s == 0:
	case k.ended:
		for _, p := range offspring() {
			k.kill(p.pid, s)
		}
	case k.group:
		k.kill(-k.main, s)
	default:
		k.kill(k.main, s)
	}
}

func (k *keeper) kill(pid int, s syscall.Signal) {
	switch err := syscall.Kill(pid, s); {
	case err == nil:
		k.log.debugf("sent %s to %d", signalName(s), pid)
	case errors.Is(err, syscall.ESRCH): // it ended meanwhile
	default:
		k.log.warnf("send %s to %d: %v", signalName(s), pid, err)
	}
}

// tellRest tells each child that outlived the application to stop, once, as the application was told or would have been.
// It is called whenever a child has ended, because that is when others become children.
func (k *keeper) tellRest() {
	if k.patience == nil {
		limit := k.wait
		if limit < 0 && !k.passed {
			limit = orphanWait
		}
		if limit > 0 {
			k.patience = time.After(limit)
		}
	}
	for _, p := range offspring() {
		if k.told[p.pid] {
			continue
		}
		k.told[p.pid] = true
		if k.group && k.passed && p.group == k.main {
			continue // it got the signal together with the application
		}
		if s := k.mapped(k.stop, p.pid); s != 0 {
			k.log.infof("process %d (%s) outlives the application: it gets %s", p.pid, p.name, signalName(s))
			k.kill(p.pid, s)
		}
	}
}

// killAll kills what is left: as PID 1 everything in the container, else the application's group and the orphans.
func (k *keeper) killAll() {
	switch {
	case os.Getpid() == 1:
		k.kill(-1, syscall.SIGKILL)
	case !k.ended:
		k.kill(-k.main, syscall.SIGKILL)
	}
	for _, p := range offspring() {
		k.kill(p.pid, syscall.SIGKILL)
	}
}

// exit is the exit code to end with.
func (k *keeper) exit() int {
	if as, ok := k.exits[k.code]; ok {
		k.log.infof("exit code %d is reported as %d", k.code, as)
		return as
	}
	return k.code
}

func names(list []process) string {
	var all []string
	for _, p := range list {
		all = append(all, p.name+" ("+strconv.Itoa(p.pid)+")")
	}
	return strings.Join(all, ", ")
}
