package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// server is one replica at work.
type server struct {
	Behaviour
	log      *log.Logger
	hostname string
	started  time.Time
	flipped  atomic.Bool
	requests atomic.Int64
	inFlight atomic.Int64

	mu    sync.Mutex
	conns map[io.Closer]struct{} // open WebSockets and TCP connections
	empty chan struct{}          // closed when conns becomes empty while draining; nil before that
}

func newServer(b Behaviour, logger *log.Logger) *server {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "unknown"
	}
	return &server{Behaviour: b, log: logger, hostname: hostname, started: time.Now(), conns: map[io.Closer]struct{}{}}
}

func (s *server) setHealthy(ok bool) {
	s.flipped.Store(!ok)
	s.log.Printf("set healthy: %t", ok)
}

func (s *server) healthy() bool { return !s.flipped.Load() && !s.NeverHealthy && !s.marked() }

// routes is the whole HTTP surface; every answer names the version and the replica in its headers.
func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", s.answer)
	mux.HandleFunc("/health", s.health)
	mux.HandleFunc("/sethealth/ko", func(w http.ResponseWriter, _ *http.Request) { s.setHealthy(false); fmt.Fprintln(w, "ko") })
	mux.HandleFunc("/sethealth/ok", func(w http.ResponseWriter, _ *http.Request) { s.setHealthy(true); fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/slow", s.slow)
	mux.HandleFunc("POST /echo", s.echo)
	mux.HandleFunc("/ws", s.webSocket)
	mux.HandleFunc("/stream", s.stream)
	mux.HandleFunc("/info", s.info)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		s.inFlight.Add(1)
		defer s.inFlight.Add(-1)
		w.Header().Set("X-Version", s.Version)
		w.Header().Set("X-Replica", s.hostname)
		mux.ServeHTTP(w, r)
	})
}

// answer works for ?ms= milliseconds (20 by default) and says who answered.
func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	ms, ok := number(w, r, "ms", 20)
	if !ok || !busy(r.Context(), time.Duration(ms*float64(time.Millisecond))) {
		return
	}
	fmt.Fprintf(w, "%s %s\n", s.Version, s.hostname)
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	if !s.healthy() {
		http.Error(w, "unhealthy", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "healthy")
}

// slow answers after ?s= seconds (20 by default).
func (s *server) slow(w http.ResponseWriter, r *http.Request) {
	sec, ok := number(w, r, "s", 20)
	if !ok || !busy(r.Context(), time.Duration(sec*float64(time.Second))) {
		return
	}
	fmt.Fprintf(w, "%s %s done\n", s.Version, s.hostname)
}

// echo reads the whole body before it answers with its length and SHA-256, so that a truncated body shows.
func (s *server) echo(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	n, err := io.Copy(hash, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, map[string]any{"version": s.Version, "length": n, "sha256": hex.EncodeToString(hash.Sum(nil))})
}

// stream writes ?n= lines (50), one every ?ms= milliseconds (100), and ends with "end".
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	n, ok1 := number(w, r, "n", 50)
	if !ok1 {
		return
	}
	ms, ok2 := number(w, r, "ms", 100)
	if !ok2 {
		return
	}
	control := http.NewResponseController(w)
	for i := range int(n) {
		fmt.Fprintf(w, "%s %d\n", s.Version, i)
		_ = control.Flush()
		if !busy(r.Context(), time.Duration(ms*float64(time.Millisecond))) {
			return
		}
	}
	fmt.Fprintln(w, "end")
}

func (s *server) info(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	writeJSON(w, map[string]any{
		"version": s.Version, "hostname": s.hostname, "pid": os.Getpid(), "started": s.started,
		"healthy": s.healthy(), "requests": s.requests.Load(), "inFlight": s.inFlight.Load(), "connections": open,
	})
}

// webSocket echoes messages until the client leaves, or the replica's grace is over.
func (s *server) webSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		s.log.Print("accept websocket: ", err)
		return
	}
	defer s.track(goingAway{conn})()
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

// goingAway closes a WebSocket the way an application that shuts down does.
type goingAway struct{ *websocket.Conn }

func (c goingAway) Close() error { return c.Conn.Close(websocket.StatusGoingAway, "replica stops") }

// serveLines greets every TCP connection with version and host name, then echoes its lines.
func (s *server) serveLines(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go func() {
			defer s.track(conn)()
			fmt.Fprintf(conn, "%s %s\n", s.Version, s.hostname)
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				if _, err := fmt.Fprintln(conn, lines.Text()); err != nil {
					return
				}
			}
		}()
	}
}

// track remembers an open connection until the returned func is called, which also closes it.
func (s *server) track(c io.Closer) func() {
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		delete(s.conns, c)
		if len(s.conns) == 0 && s.empty != nil {
			close(s.empty)
			s.empty = nil
		}
		s.mu.Unlock()
		_ = c.Close()
	}
}

// drainConns waits until every tracked connection was closed by its client, at most for the grace, then closes the rest.
func (s *server) drainConns(ctx context.Context) {
	s.mu.Lock()
	if len(s.conns) == 0 {
		s.mu.Unlock()
		return
	}
	empty := make(chan struct{})
	s.empty = empty
	s.mu.Unlock()

	timer := time.NewTimer(s.GraceFor)
	defer timer.Stop()
	select {
	case <-empty:
		return
	case <-ctx.Done():
	case <-timer.C:
	}
	s.mu.Lock()
	rest := make([]io.Closer, 0, len(s.conns))
	for c := range s.conns {
		rest = append(rest, c)
	}
	s.mu.Unlock()
	s.log.Printf("grace is over: closing %d connections", len(rest))
	for _, c := range rest {
		_ = c.Close()
	}
}

// busy passes d as work does; it is false when the client went away first.
func busy(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// number reads a non-negative number from the query; on a bad one it answers 400 and is false.
func number(w http.ResponseWriter, r *http.Request, name string, otherwise float64) (float64, bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, true
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 0 {
		http.Error(w, name+": want a number", http.StatusBadRequest)
		return 0, false
	}
	return n, true
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
