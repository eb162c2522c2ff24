package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Grace says what a replica does with its stop signal (variable GRACE).
type Grace string

const (
	// Graceful finishes what is in flight, then exits 0.
	Graceful Grace = "graceful"
	// AtOnce exits as soon as the signal arrives and cuts every open connection.
	AtOnce Grace = "exit"
	// Ignore serves on until it is killed.
	Ignore Grace = "ignore"
)

// Behaviour is everything that the environment can ask of a replica.
type Behaviour struct {
	Version      string        // VERSION: what it answers with; baked into the image
	Port         int           // PORT: where it serves HTTP, 8080 by default
	TCPPort      int           // TCP_PORT: where it greets and echoes lines; 0 means nowhere
	BootDelay    time.Duration // BOOT_DELAY: how long it takes until it listens
	DieAfter     time.Duration // DIE_AFTER: exit 1 so long after it listens; 0 means never
	NeverHealthy bool          // NEVER_HEALTHY: it serves, but its health route always answers 503
	Crash        bool          // CRASH: exit 3 at once
	Grace        Grace         // GRACE: graceful, exit or ignore
	GraceFor     time.Duration // GRACE_FOR: how long open WebSockets and TCP connections may last after the stop signal
	Marker       string        // MARKER: a file whose presence makes it unhealthy
	Heartbeat    string        // HEARTBEAT: the file that a worker touches every second
}

// behaviourFrom reads the variables through getenv. An unset variable keeps its default.
func behaviourFrom(getenv func(string) string) (Behaviour, error) {
	b := Behaviour{
		Version:   "dev",
		Port:      8080,
		Grace:     Graceful,
		GraceFor:  10 * time.Second,
		Marker:    getenv("MARKER"),
		Heartbeat: "/tmp/heartbeat",
	}
	if v := getenv("VERSION"); v != "" {
		b.Version = v
	}
	if v := getenv("HEARTBEAT"); v != "" {
		b.Heartbeat = v
	}
	if v := getenv("GRACE"); v != "" {
		b.Grace = Grace(v)
	}
	switch b.Grace {
	case Graceful, AtOnce, Ignore:
	default:
		return b, fmt.Errorf("GRACE=%s: want graceful, exit or ignore", b.Grace)
	}
	for name, field := range map[string]*int{"PORT": &b.Port, "TCP_PORT": &b.TCPPort} {
		if v := getenv(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || n > 65535 {
				return b, fmt.Errorf("%s=%s: want a port number", name, v)
			}
			*field = n
		}
	}
	for name, field := range map[string]*time.Duration{"BOOT_DELAY": &b.BootDelay, "DIE_AFTER": &b.DieAfter, "GRACE_FOR": &b.GraceFor} {
		if v := getenv(name); v != "" {
			d, err := time.ParseDuration(v)
			if err != nil || d < 0 {
				return b, fmt.Errorf("%s=%s: want a duration such as 2s", name, v)
			}
			*field = d
		}
	}
	for name, field := range map[string]*bool{"NEVER_HEALTHY": &b.NeverHealthy, "CRASH": &b.Crash} {
		if v := getenv(name); v != "" {
			on, err := strconv.ParseBool(v)
			if err != nil {
				return b, fmt.Errorf("%s=%s: want true or false", name, v)
			}
			*field = on
		}
	}
	return b, nil
}

// marked reports whether the marker file is there.
func (b Behaviour) marked() bool {
	if b.Marker == "" {
		return false
	}
	_, err := os.Stat(b.Marker)
	return err == nil
}
