// Command app is what the tests run under roll-init, and what puts roll-init into a process id namespace of its own.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	switch os.Args[1] {
	case "enter":
		enter(os.Args[2])
	case "report":
		report(os.Args[2:])
	case "stop":
		stop(os.Args[2], os.Args[3])
	case "serve":
		serve(os.Args[2], os.Args[3])
	case "orphans":
		orphans(os.Args[2], os.Args[3])
	case "burst":
		burst(os.Args[2])
	case "where":
		where()
	}
}

func must(err error) {
	if err != nil {
		fmt.Println("app:", err)
		os.Exit(99)
	}
}

// place is where a program is to start. It is the same as in the tests.
type place struct {
	Path     string   // of the program
	Args     []string // with its name
	Root     string   // "" is the machine's
	Dir      string
	User     int
	ReadOnly bool
	NoCaps   bool
	Ignore   []int
	Block    []int
	Terminal bool // make standard input the terminal of a new session, as `docker run -t` does
	Listen   bool // set LISTEN_PID to this process
	Keep     bool // stay in the namespaces of the machine
}

// enter finishes the namespaces that this process was started in, and makes place for the program.
func enter(text string) {
	runtime.LockOSThread()
	var p place
	must(json.Unmarshal([]byte(text), &p))
	if !p.Keep {
		must(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
		proc := p.Root + "/proc"
		must(os.MkdirAll(proc, 0o755))
		must(syscall.Mount("proc", proc, "proc", 0, ""))
	}
	if p.ReadOnly {
		must(syscall.Mount("", "/", "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
	}
	if p.Root != "" {
		must(syscall.Chroot(p.Root))
		must(os.Chdir("/"))
	}
	if p.Dir != "" {
		must(os.Chdir(p.Dir))
	}
	if p.Terminal {
		_, err := syscall.Setsid()
		must(err)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, 0, syscall.TIOCSCTTY, 0); errno != 0 {
			must(errno)
		}
	}
	if p.NoCaps {
		for c := uintptr(0); c < 64; c++ {
			_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, 24, c, 0) // PR_CAPBSET_DROP
		}
		if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, 38, 1, 0, 0, 0, 0); errno != 0 { // PR_SET_NO_NEW_PRIVS
			must(errno)
		}
	}
	if p.User != 0 {
		must(syscall.Setgroups(nil))
		must(syscall.Setgid(p.User))
		must(syscall.Setuid(p.User))
	}
	if p.Listen {
		must(os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())))
	}
	argv0, err := syscall.BytePtrFromString(p.Path)
	must(err)
	argv, err := syscall.SlicePtrFromStrings(p.Args)
	must(err)
	envv, err := syscall.SlicePtrFromStrings(os.Environ())
	must(err)
	// The Go runtime would undo both on its way to the program, so it is left behind from here on.
	action := [4]uint64{1} // SIG_IGN
	for _, s := range p.Ignore {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
	var mask uint64
	for _, s := range p.Block {
		mask |= 1 << (s - 1)
	}
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, 2, uintptr(unsafe.Pointer(&mask)), 0, 8, 0, 0)
	_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(argv0)), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envv[0])))
	must(errno)
}

// report prints the number of every signal that arrives, except its own SIGCHLD and what the Go runtime sends itself
// (SIGURG). With the argument urg it prints that too.
func report(args []string) {
	urg := len(args) > 0 && args[0] == "urg"
	signals := make(chan os.Signal, 1000)
	signal.Notify(signals)
	fmt.Println("ready")
	for s := range signals {
		if n := s.(syscall.Signal); n != syscall.SIGCHLD && (urg || n != syscall.SIGURG) {
			fmt.Println(int(n))
		}
	}
}

// stop exits with a code, so long after its first TERM, INT, QUIT, USR1, HUP or WINCH.
func stop(after, code string) {
	d, err := time.ParseDuration(after)
	must(err)
	n, err := strconv.Atoi(code)
	must(err)
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGWINCH)
	fmt.Println("ready")
	s := <-signals
	fmt.Println("got", int(s.(syscall.Signal)))
	time.Sleep(d)
	fmt.Println("bye")
	os.Exit(n)
}

// serve answers HTTP on a port of its own, until SIGTERM or SIGQUIT: a request takes as long as it is told to; the signal
// ends it after the requests in flight.
func serve(network, address string) {
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGQUIT)
	listener, err := net.Listen(network, address)
	must(err)
	busy := make(chan int, 100)
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			busy <- 1
			d, _ := time.ParseDuration(r.URL.Query().Get("for"))
			code, _ := strconv.Atoi(r.URL.Query().Get("code"))
			time.Sleep(d)
			w.WriteHeader(max(code, 200))
			_, _ = io.WriteString(w, "answered\n")
			w.(http.Flusher).Flush()
			<-busy
		}))
	}()
	fmt.Println("serving", listener.Addr().(*net.TCPAddr).Port)
	s := <-signals
	fmt.Println("got", int(s.(syscall.Signal)))
	for tick := time.Tick(10 * time.Millisecond); len(busy) > 0; {
		<-tick
	}
	fmt.Println("bye")
}

// orphans leaves n processes that sleep for so long to whoever adopts them, and waits until none of them is left.
func orphans(n, sleep string) {
	script := `i=0; while [ $i -lt ` + n + ` ]; do sleep ` + sleep + ` & i=$((i+1)); done`
	must(exec.Command("sh", "-c", script).Run())
	for tick := time.Tick(20 * time.Millisecond); ; <-tick {
		living, zombies := count("sleep")
		if zombies == 0 && living == 0 {
			return
		}
	}
}

// count counts processes by their name: those that live, and those that nobody has reaped. One that is just about to be
// reaped counts as a zombie too.
func count(name string) (living, zombies int) {
	dir, err := os.ReadDir("/proc")
	must(err)
	for _, e := range dir {
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil || !strings.Contains(string(text), "("+name+")") {
			continue
		}
		if strings.Contains(string(text), ") Z ") {
			zombies++
		} else {
			living++
		}
	}
	return living, zombies
}

// burst leaves many processes behind that all end at once, together with this one.
func burst(code string) {
	reader, writer, err := os.Pipe()
	must(err)
	// A background job of a shell reads /dev/null, so these get the pipe by another number.
	cmd := exec.Command("sh", "-c", `for i in 1 2 3 4 5 6 7 8; do cat <&3 >/dev/null & done`)
	cmd.ExtraFiles = []*os.File{reader}
	must(cmd.Run())
	n, err := strconv.Atoi(code)
	must(err)
	runtime.KeepAlive(writer) // the exit closes it, and each cat ends in that moment
	os.Exit(n)
}

// where prints which process this is, in which group, session and folder, and which files it has.
func where() {
	session, _, _ := syscall.RawSyscall(syscall.SYS_GETSID, 0, 0, 0)
	dir, err := os.Getwd()
	must(err)
	leader := func(id int) string {
		if id == os.Getpid() {
			return "own"
		}
		return "inherited"
	}
	fmt.Println("group", leader(syscall.Getpgrp()), "session", leader(int(session)), "dir", dir)
	fmt.Println("LISTEN_PID is this process:", os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()))
	if text, err := io.ReadAll(os.NewFile(3, "3")); err == nil {
		fmt.Printf("file 3: %s\n", text)
	}
}
