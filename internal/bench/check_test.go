//go:build e2e

package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/roll-deploy/roll/internal/lab"
)

// BenchmarkCheck looks at many replicas. The bars: 50 of them in under 2 s, and
// requests to the Engine that grow no faster than the replicas.
func BenchmarkCheck(b *testing.B) {
	l := lab.New(b)
	roll := build(b)
	host, calls := counted(b, l)
	type look struct {
		wall  time.Duration
		calls int64
	}
	looks := map[int]look{}
	for _, n := range []int{10, 50} {
		b.Run(fmt.Sprintf("%d replicas", n), func(b *testing.B) {
			file := strings.Replace(app, "interval: 1s", "interval: 30s\n      start_period: 60s", 1)
			p := l.Project(b, lab.Source{Compose: file, Env: []string{fmt.Sprintf("REPLICAS=%d", n)}})
			if err := p.Up(b.Context()); err != nil {
				b.Fatal(err)
			}
			var wall time.Duration
			var asked int64
			rounds := 0
			for b.Loop() {
				before, began := calls.Load(), time.Now()
				cmd := exec.CommandContext(b.Context(), roll, "check", "--format", "json", "--traefik", p.API)
				cmd.Dir, cmd.Env = p.Dir, append(p.Env(), "DOCKER_HOST="+host)
				var stderr strings.Builder
				cmd.Stderr = &stderr
				var exit *exec.ExitError
				if err := cmd.Run(); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
					b.Fatalf("roll check: %v\n%s", err, &stderr)
				}
				wall += time.Since(began)
				asked += calls.Load() - before
				rounds++
			}
			looks[n] = look{wall / time.Duration(rounds), asked / int64(rounds)}
			b.ReportMetric(looks[n].wall.Seconds(), "s")
			b.ReportMetric(float64(looks[n].calls), "calls")
			b.ReportMetric(0, "ns/op")
		})
	}
	few, many := looks[10], looks[50]
	fmt.Printf("\nroll check: 10 replicas %.2f s, %d requests to the Engine; 50 replicas %.2f s, %d requests: %s\n",
		few.wall.Seconds(), few.calls, many.wall.Seconds(), many.calls, pass(many.wall < 2*time.Second && many.calls <= 5*few.calls))
}

// counted is the Engine behind a proxy that counts requests.
func counted(b *testing.B, l *lab.Lab) (host string, calls *atomic.Int64) {
	b.Helper()
	dir, err := os.MkdirTemp("", "roll-bench-") // short enough for a socket
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	network, address, _ := strings.Cut(l.Engine.Host, "://")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	calls = new(atomic.Int64)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close() })
	return "unix://" + socket, calls
}
