//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"sync"
	"testing"
)

// gate passes connections on to somebody else until it is shut: those that are
// open break, and new ones are closed at once.
type gate struct {
	listener net.Listener
	dial     func(context.Context) (net.Conn, error)

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
}

// newGate listens until the test ends.
func newGate(t *testing.T, network, address string, dial func(context.Context) (net.Conn, error)) *gate {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	must(t, err)
	g := &gate{listener: listener, dial: dial, conns: map[net.Conn]bool{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go g.pass(context.WithoutCancel(t.Context()), c)
		}
	}()
	t.Cleanup(func() {
		g.close()
		_ = listener.Close()
		<-ended
	})
	return g
}

func (g *gate) pass(ctx context.Context, from net.Conn) {
	defer from.Close()
	if !g.keep(from) {
		return
	}
	to, err := g.dial(ctx)
	if err != nil {
		return
	}
	defer to.Close()
	if !g.keep(to) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(to, from)
		_ = to.(interface{ CloseWrite() error }).CloseWrite()
	}()
	_, _ = io.Copy(from, to)
	_ = from.Close()
	<-done
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, from)
	delete(g.conns, to)
}

func (g *gate) keep(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.conns[c] = true
	}
	return !g.shut
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	for c := range g.conns {
		_ = c.Close()
	}
	clear(g.conns)
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
}

// follow runs roll with --progress json and hands every line over as it comes.
func follow(t *testing.T, cmd *exec.Cmd, each func(line)) outcome {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var o outcome
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue
		}
		o.lines = append(o.lines, l)
		o.stdout += lines.Text() + "\n"
		each(l)
	}
	must(t, lines.Err())
	_ = cmd.Wait() // the exit code tells
	o.code, o.stderr = cmd.ProcessState.ExitCode(), stderr.String()
	return o
}
