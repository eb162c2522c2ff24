package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// run is main without the process: it returns the exit code. stop carries the stop signals, flips carries SIGUSR1
// (report unhealthy) and SIGUSR2 (report healthy again).
func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer, stop, flips <-chan os.Signal) int {
	b, err := behaviourFrom(getenv)
	if err != nil {
		fmt.Fprintln(out, "replica:", err)
		return 2
	}
	logger := log.New(out, b.Version+" ", log.LstdFlags|log.Lmicroseconds)
	verb := strings.Join(args, " ")
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "health":
		url := fmt.Sprintf("http://127.0.0.1:%d/health", b.Port)
		if len(args) > 1 {
			url = args[1]
		}
		if err := probe(ctx, b, url); err != nil {
			fmt.Fprintln(out, err)
			return 1
		}
		fmt.Fprintln(out, "healthy")
		return 0
	case "", "worker":
	default:
		fmt.Fprintf(out, "replica: unknown command %q: want none, worker or health\n", verb)
		return 2
	}

	if b, err = b.spared(); err != nil {
		fmt.Fprintln(out, "replica:", err)
		return 2
	}
	if b.Crash {
		logger.Print("crashing as asked")
		return 3
	}
	if !pause(ctx, stop, b.BootDelay) {
		logger.Print("stopped while starting")
		return 0
	}
	s := newServer(b, logger)
	go s.followFlips(flips)
	var die <-chan time.Time
	if b.DieAfter > 0 {
		die = time.After(b.DieAfter)
	}
	if b.SickAfter > 0 {
		defer time.AfterFunc(b.SickAfter, func() { s.setHealthy(false) }).Stop()
	}
	if verb == "worker" {
		return s.work(ctx, stop, die)
	}
	return s.serve(ctx, stop, die)
}

// pause waits for d; it is false when something asked to stop meanwhile.
func pause(ctx context.Context, stop <-chan os.Signal, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	case <-ctx.Done():
		return false
	}
}

// followFlips turns SIGUSR1 and SIGUSR2 into what /sethealth/ko and /sethealth/ok do.
func (s *server) followFlips(flips <-chan os.Signal) {
	for sig := range flips {
		s.setHealthy(sig == syscall.SIGUSR2)
	}
}

// serve listens until it is told to stop, and returns the exit code.
func (s *server) serve(ctx context.Context, stop <-chan os.Signal, die <-chan time.Time) int {
	web := &http.Server{Handler: s.routes()}
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", s.Port))
	if err != nil {
		s.log.Print("listen: ", err)
		return 1
	}
	failed := make(chan error, 2)
	go func() { failed <- web.Serve(listener) }()
	var lines net.Listener
	if s.TCPPort != 0 {
		if lines, err = net.Listen("tcp", fmt.Sprintf(":%d", s.TCPPort)); err != nil {
			s.log.Print("listen: ", err)
			return 1
		}
		go func() { failed <- s.serveLines(lines) }()
	}
	s.log.Printf("serving on %s", listener.Addr())

	for {
		select {
		case err := <-failed:
			s.log.Print("serve: ", err)
			return 1
		case <-die:
			s.log.Print("dying as asked")
			if s.Grace == Graceful {
				_ = web.Shutdown(ctx)
			}
			return 1
		case <-ctx.Done():
			_ = web.Close()
			return 0
		case sig := <-stop:
			s.log.Printf("got %s, %s", sig, s.Grace)
			switch s.Grace {
			case Ignore:
				continue
			case AtOnce:
				return 0
			}
			if lines != nil {
				_ = lines.Close()
			}
			// Shutdown closes the listener and idle connections and waits for requests; what was hijacked
			// (WebSockets) or is plain TCP is waited for by drainConns.
			err := web.Shutdown(ctx)
			s.drainConns(ctx)
			s.log.Print("bye")
			if err != nil {
				s.log.Print("shut down: ", err)
				return 1
			}
			return 0
		}
	}
}

// work does a job a second and touches the heartbeat file while healthy. On the stop signal it finishes its job.
func (s *server) work(ctx context.Context, stop <-chan os.Signal, die <-chan time.Time) int {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	s.log.Print("working")
	for job := 1; ; {
		s.beat()
		select {
		case <-tick.C:
			s.log.Printf("job %d done", job)
			job++
		case <-die:
			s.log.Print("dying as asked")
			return 1
		case <-ctx.Done():
			return 0
		case sig := <-stop:
			s.log.Printf("got %s, %s", sig, s.Grace)
			switch s.Grace {
			case Ignore:
				continue
			case AtOnce:
				return 0
			}
			<-tick.C
			s.log.Printf("job %d done", job)
			s.log.Print("bye")
			return 0
		}
	}
}

// beat writes the heartbeat file, or removes it when the worker was told to report unhealthy.
func (s *server) beat() {
	if !s.healthy() {
		_ = os.Remove(s.Heartbeat)
		return
	}
	if err := os.WriteFile(s.Heartbeat, []byte(time.Now().Format(time.RFC3339Nano)), 0o644); err != nil {
		s.log.Print("write heartbeat: ", err)
	}
}

// heartbeatAge is how old a worker's heartbeat may be before it counts as dead.
const heartbeatAge = 3 * time.Second

// probe is the healthcheck. The marker speaks first; url may be "heartbeat" for a worker.
func probe(ctx context.Context, b Behaviour, url string) error {
	if b.marked() {
		return fmt.Errorf("unhealthy: marker %s is there", b.Marker)
	}
	if url == "heartbeat" {
		info, err := os.Stat(b.Heartbeat)
		if err != nil {
			return fmt.Errorf("unhealthy: %w", err)
		}
		if age := time.Since(info.ModTime()); age > heartbeatAge {
			return fmt.Errorf("unhealthy: last heartbeat %s ago", age.Round(time.Millisecond))
		}
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Second, fmt.Errorf("no answer from %s in 2s", url))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("unhealthy: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("unhealthy: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("unhealthy: %s answered %s", url, resp.Status)
	}
	return nil
}
