package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// checkup is what `roll-init health` looks at besides the flip.
type checkup struct {
	path    string // HTTP path; "" asks nobody
	port    int
	host    string // an IPv4 address; "" is this container
	timeout time.Duration
	command []string
}

// checkupFlag is one flag of `roll-init health`.
type checkupFlag struct {
	name, value, env, help string
	set                    func(c *checkup, text string) error
}

var checkupFlags = []checkupFlag{
	{"--http", "PATH", "ROLL_INIT_HEALTH_HTTP", "ask the application over HTTP: 200 to 399 is healthy", func(c *checkup, text string) error {
		if !strings.HasPrefix(text, "/") || strings.ContainsAny(text, " \r\n") {
			return fmt.Errorf("%q is no path: write /health", text)
		}
		c.path = text
		return nil
	}},
	{"--port", "N", "ROLL_INIT_HEALTH_PORT", "where the application listens", func(c *checkup, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("%q is no port: write a number such as 8080", text)
		}
		c.port = n
		return nil
	}},
	{"--host", "ADDRESS", "ROLL_INIT_HEALTH_HOST", "its IPv4 address (127.0.0.1, then ::1)", func(c *checkup, text string) error {
		if _, err := parseIPv4(text); err != nil {
			return err
		}
		c.host = text
		return nil
	}},
	{"--timeout", "DURATION", "ROLL_INIT_HEALTH_TIMEOUT", "how long it may take to answer (5s)", func(c *checkup, text string) error {
		d, err := parseDuration(text)
		if err == nil && d == 0 {
			err = errors.New("it must be more than 0s")
		}
		c.timeout = d
		return err
	}},
}

// checkupFrom reads the command line of `roll-init health`, after that word. Flags win over variables.
func checkupFrom(args []string, env lookup) (checkup, error) {
	c := checkup{timeout: 5 * time.Second}
	for _, f := range checkupFlags {
		if text, _ := env(f.env); text != "" {
			if err := f.set(&c, text); err != nil {
				return c, usagef("variable %s: %v", f.env, err)
			}
		}
	}
next:
	for len(args) > 0 {
		if args[0] == "--" {
			c.command = args[1:]
			break
		}
		if !strings.HasPrefix(args[0], "-") {
			c.command = args
			break
		}
		name, value, given := strings.Cut(args[0], "=")
		args = args[1:]
		for _, f := range checkupFlags {
			if f.name != name {
				continue
			}
			if !given {
				if len(args) == 0 {
					return c, usagef("%s needs a value: %s %s", name, name, f.value)
				}
				value, args = args[0], args[1:]
			}
			if err := f.set(&c, value); err != nil {
				return c, usagef("%s: %v", name, err)
			}
			continue next
		}
		return c, usagef("unknown flag %s of roll-init health", name)
	}
	switch {
	case c.path != "" && c.port == 0:
		return c, usagef("--http needs --port: --http %s --port 8080", c.path)
	case c.path == "" && (c.port != 0 || c.host != ""):
		return c, usagef("--port and --host need --http: --http /health --port 8080")
	}
	return c, nil
}

// http asks the application for its path and returns nil when it answered with 200 to 399.
func (c checkup) http() error {
	if c.host != "" {
		to, err := parseIPv4(c.host)
		if err != nil {
			return err
		}
		return c.httpAt(syscall.AF_INET, &syscall.SockaddrInet4{Port: c.port, Addr: to}, c.host)
	}
	err := c.httpAt(syscall.AF_INET, &syscall.SockaddrInet4{Port: c.port, Addr: [4]byte{127, 0, 0, 1}}, "127.0.0.1")
	if errors.Is(err, syscall.ECONNREFUSED) {
		six := c.httpAt(syscall.AF_INET6, &syscall.SockaddrInet6{Port: c.port, Addr: [16]byte{15: 1}}, "[::1]")
		if !errors.Is(six, syscall.ECONNREFUSED) && !errors.Is(six, syscall.EAFNOSUPPORT) && !errors.Is(six, syscall.EADDRNOTAVAIL) {
			return six
		}
	}
	return err
}

func (c checkup) httpAt(family int, to syscall.Sockaddr, host string) error {
	url := fmt.Sprintf("http://%s:%d%s", host, c.port, c.path)
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	defer syscall.Close(fd)
	limit(fd, c.timeout)
	if err = syscall.Connect(fd, to); err == nil {
		// The answer's first line is all that is read, so HTTP/1.0's missing features do not matter.
		request := "GET " + c.path + " HTTP/1.0\r\nHost: localhost\r\nUser-Agent: roll-init\r\nConnection: close\r\n\r\n"
		_, err = syscall.SendmsgN(fd, []byte(request), nil, nil, syscall.MSG_NOSIGNAL)
	}
	switch {
	case errors.Is(err, syscall.EINPROGRESS), errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("ask %s: no connection within %s", url, c.timeout)
	case err != nil:
		return fmt.Errorf("ask %s: %w", url, err)
	}
	line := readLine(fd)
	if line == "" {
		return fmt.Errorf("ask %s: no answer within %s", url, c.timeout)
	}
	fields := strings.SplitN(line, " ", 3)
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "HTTP/") {
		return fmt.Errorf("ask %s: the answer is not HTTP: %q", url, line)
	}
	if code, err := strconv.Atoi(fields[1]); err != nil || code < 200 || code > 399 {
		return fmt.Errorf("%s answered %s", url, strings.Join(fields[1:], " "))
	}
	return nil
}

func parseIPv4(text string) ([4]byte, error) {
	var address [4]byte
	parts := strings.Split(text, ".")
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || len(parts) != 4 {
			return address, fmt.Errorf("%q is no IPv4 address: write 10.0.0.7", text)
		}
		address[i] = byte(n)
	}
	return address, nil
}

// checkHealth is `roll-init health`: exit code 0 is healthy and 1 is not, as docker wants it. A command takes this process's
// place, and so its exit code counts.
func checkHealth(args []string, env lookup, l *log) int {
	c, err := checkupFrom(args, env)
	if err != nil {
		l.errorf("%v", err)
		return 1
	}
	if err := ask("health"); err != nil {
		l.errorf("unhealthy: %v", err)
		return 1
	}
	if c.path != "" {
		if err := c.http(); err != nil {
			l.errorf("unhealthy: %v", err)
			return 1
		}
	}
	if len(c.command) == 0 {
		return 0
	}
	path, _ := env("PATH")
	file, err := find(c.command[0], path)
	if err != nil {
		l.errorf("unhealthy: %v", err)
		return 1
	}
	return execute(file, c.command, l)
}

// tell is `roll-init flip` and `roll-init unflip`.
func tell(request string, args []string, l *log) int {
	if len(args) > 0 {
		l.errorf("%s takes no arguments", request)
		return exitUsage
	}
	if err := ask(request); err != nil {
		l.errorf("%s: %v", request, err)
		return 1
	}
	// What roll shows when it is asked for every step.
	_, _ = os.Stdout.WriteString(map[string]string{"flip": "reporting unhealthy\n", "unflip": "reporting healthy\n"}[request])
	return 0
}
