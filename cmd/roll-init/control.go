package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// condition is what a replica reports about itself. Its zero value is healthy. It is safe for concurrent use.
type condition struct {
	mu       sync.Mutex
	since    time.Time // when it was flipped; zero when it is not
	stopping bool
}

// answer obeys one request and says what became of it, beginning with ok or no.
func (c *condition) answer(request string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch request {
	case "flip":
		if c.since.IsZero() {
			c.since = time.Now()
		}
		return "ok"
	case "unflip":
		if c.stopping {
			return "no: the replica is stopping"
		}
		c.since = time.Time{}
		return "ok"
	case "health":
		switch {
		case c.stopping:
			return "no: stopping"
		case !c.since.IsZero():
			return "no: flipped"
		}
		return "ok"
	}
	return fmt.Sprintf("no: unknown request %q", request)
}

// stop makes the replica report unhealthy for good, and returns for how long it has done so already.
func (c *condition) stop() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.since.IsZero() {
		c.since = time.Now()
	}
	return time.Since(c.since)
}

// address is where the roll-init of this container listens: an abstract unix socket, which is no file, so it works on a
// read-only root, for every user and without capabilities. Containers that share a network namespace (host networking,
// pods) share these names, so it is made of the two namespaces that an exec into a container shares with its first
// process and with nobody else.
func address() (*syscall.SockaddrUnix, error) {
	name := "@roll-init"
	for _, space := range []string{"mnt", "pid"} {
		link, err := os.Readlink("/proc/self/ns/" + space)
		if err != nil {
			return nil, fmt.Errorf("find the container's namespaces: %w", err)
		}
		name += " " + link
	}
	return &syscall.SockaddrUnix{Name: name}, nil
}

// control answers flips and questions about health from inside the container.
type control struct {
	fd     int
	health *condition
	log    *log
}

// listen opens the container's address. Only one process in a container can hold it.
func listen(health *condition, l *log) (*control, error) {
	at, err := address()
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a unix socket: %w", err)
	}
	if err = syscall.Bind(fd, at); err == nil {
		err = syscall.Listen(fd, 16)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		err = errors.New("another roll-init of this container does so")
	}
	if err != nil {
		_ = syscall.Close(fd)
		return nil, err
	}
	return &control{fd: fd, health: health, log: l}, nil
}

// serve answers until the process ends.
func (c *control) serve() {
	for {
		fd, _, err := syscall.Accept4(c.fd, syscall.SOCK_CLOEXEC)
		switch {
		case err == nil:
			c.one(fd)
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.ECONNABORTED):
		default:
			c.log.errorf("flips and health checks cannot be answered any more: accept: %v", err)
			return
		}
	}
}

// one answers one client, who gets a second for his request: the next one waits.
func (c *control) one(fd int) {
	defer syscall.Close(fd)
	limit(fd, time.Second)
	request := readLine(fd)
	reply := "no: only root and the user of roll-init may do that, from inside the container"
	if request == "health" || mayFlip(fd) {
		reply = c.health.answer(request)
	}
	if request == "health" {
		c.log.debugf("health: %s", reply)
	} else {
		c.log.infof("%s: %s", request, reply)
	}
	_, _ = syscall.SendmsgN(fd, []byte(reply+"\n"), nil, nil, syscall.MSG_NOSIGNAL)
}

// mayFlip reports whether the client is allowed to. The kernel knows no id for a process outside this process id
// namespace.
func mayFlip(fd int) bool {
	peer, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	return err == nil && peer.Pid > 0 && (peer.Uid == 0 || int(peer.Uid) == os.Geteuid())
}

// ask sends a request to the roll-init of this container. The answer is nil when it said ok.
func ask(request string) error {
	at, err := address()
	if err != nil {
		return err
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a unix socket: %w", err)
	}
	defer syscall.Close(fd)
	limit(fd, 5*time.Second)
	if err := syscall.Connect(fd, at); err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return errors.New("no roll-init runs in this container: make it the entrypoint, as in ENTRYPOINT [\"/roll-init\", \"--\"]")
		}
		return fmt.Errorf("connect to roll-init: %w", err)
	}
	// In a shared network namespace a stranger could hold the name.
	if peer, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED); err != nil || peer.Pid == 0 {
		return errors.New("what answers at roll-init's address is not the roll-init of this container")
	}
	if _, err := syscall.SendmsgN(fd, []byte(request+"\n"), nil, nil, syscall.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("ask roll-init: %w", err)
	}
	switch reply := readLine(fd); {
	case reply == "ok":
		return nil
	case reply == "":
		return errors.New("roll-init did not answer within 5s")
	default:
		return errors.New(strings.TrimPrefix(reply, "no: "))
	}
}

// limit bounds every read, write and connect on a socket.
func limit(fd int, d time.Duration) {
	t := syscall.NsecToTimeval(int64(d))
	_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &t)
	_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &t)
}

// readLine reads one line of up to 255 bytes, without its end. It is "" when none came.
func readLine(fd int) string {
	buffer := make([]byte, 0, 256)
	for len(buffer) < cap(buffer) {
		n, err := syscall.Read(fd, buffer[len(buffer):cap(buffer)])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if n <= 0 || err != nil {
			return ""
		}
		buffer = buffer[:len(buffer)+n]
		if line, _, ok := strings.Cut(string(buffer), "\n"); ok {
			return strings.TrimSuffix(line, "\r")
		}
	}
	return ""
}
