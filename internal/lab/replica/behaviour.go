package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
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
	// Unasked never asks for the signal, so that the Go runtime dies of it.
	Unasked Grace = "none"
)

// Behaviour is everything that the environment can ask of a replica.
type Behaviour struct {
	Version      string        // VERSION: what it answers with; baked into the image
	Port         int           // PORT: where it serves HTTP, 8080 by default
	TCPPort      int           // TCP_PORT: where it greets and echoes lines; 0 means nowhere
	BootDelay    time.Duration // BOOT_DELAY: how long it takes until it listens
	DieAfter     time.Duration // DIE_AFTER: exit 1 so long after it listens, in the way of GRACE; 0 means never
	SickAfter    time.Duration // SICK_AFTER: report unhealthy so long after it listens, and serve on; 0 means never
	NeverHealthy bool          // NEVER_HEALTHY: it serves, but its health route always answers 503
	Crash        bool          // CRASH: exit 3 at once
	FaultsFrom   int           // FAULTS_FROM=5:/shared/start: only the fifth start and later ones that are counted in
	Counter      string        // these files, /shared/start.1 and so on, have the four faults above; 0 means every start
	Grace        Grace         // GRACE: graceful, exit, ignore or none
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
	case Graceful, AtOnce, Ignore, Unasked:
	default:
		return b, fmt.Errorf("GRACE=%s: want graceful, exit, ignore or none", b.Grace)
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
	if v := getenv("FAULTS_FROM"); v != "" {
		first, counter, _ := strings.Cut(v, ":")
		n, err := strconv.Atoi(first)
		if err != nil || n < 1 || counter == "" {
			return b, fmt.Errorf("FAULTS_FROM=%s: want a number and a path, such as 5:/shared/start", v)
		}
		b.FaultsFrom, b.Counter = n, counter
	}
	for name, field := range map[string]*time.Duration{"BOOT_DELAY": &b.BootDelay, "DIE_AFTER": &b.DieAfter, "SICK_AFTER": &b.SickAfter, "GRACE_FOR": &b.GraceFor} {
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

// spared is the behaviour of this start: without faults when it is an early one. It counts the start.
func (b Behaviour) spared() (Behaviour, error) {
	if b.FaultsFrom == 0 {
		return b, nil
	}
	for n := 1; ; n++ {
		f, err := os.OpenFile(fmt.Sprintf("%s.%d", b.Counter, n), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return b, fmt.Errorf("count this start: %w", err)
		}
		if n < b.FaultsFrom {
			b.DieAfter, b.SickAfter, b.NeverHealthy, b.Crash = 0, 0, false, false
		}
		return b, f.Close()
	}
}

// marked reports whether the marker file is there.
func (b Behaviour) marked() bool {
	if b.Marker == "" {
		return false
	}
	_, err := os.Stat(b.Marker)
	return err == nil
}
