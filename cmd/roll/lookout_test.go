package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/internal/check"
)

// host is an Engine as far as a lookout sees it.
type host struct {
	old   bool              // its ps does not know the columns
	gone  bool              // the container is
	line  string            // of its one process: caught and command line
	pids  []int             // counts, one a question; the last stays
	files map[string]string // a value that begins with -> is a link
	calls []string
}

func (h *host) ContainerTop(_ context.Context, _ string, arguments []string) (container.TopResponse, error) {
	h.calls = append(h.calls, "top "+arguments[0])
	if h.gone {
		return container.TopResponse{}, fmt.Errorf("no such container: %w", cerrdefs.ErrNotFound)
	}
	caught, command, _ := strings.Cut(h.line, " ")
	name, _, _ := strings.Cut(command, " ")
	if arguments[0] == "-ef" {
		return container.TopResponse{Titles: []string{"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"},
			Processes: [][]string{{"root", "100", "50", "0", "10:00", "?", "00:00:00", command}}}, nil
	}
	if h.old {
		return container.TopResponse{}, errors.New("Error response from daemon: ps: unknown user-defined format specifier")
	}
	return container.TopResponse{Titles: []string{"PID", "PPID", "LWP", "STAT", "BLOCKED", "CAUGHT", "IGNORED", "PENDING", "WCHAN", "COMMAND", "COMMAND"},
		Processes: [][]string{{"100", "50", "100", "Ss", "0", caught, "0", "0", "do_wait", name, command}}}, nil
}

func (h *host) ContainerStatsOneShot(context.Context, string) (container.StatsResponseReader, error) {
	h.calls = append(h.calls, "stats")
	n := h.pids[0]
	if len(h.pids) > 1 {
		h.pids = h.pids[1:]
	}
	return container.StatsResponseReader{Body: io.NopCloser(strings.NewReader(fmt.Sprintf(`{"pids_stats":{"current":%d}}`, n)))}, nil
}

func (h *host) CopyFromContainer(_ context.Context, _, path string) (io.ReadCloser, container.PathStat, error) {
	h.calls = append(h.calls, "read "+path)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	found := false
	for name, content := range h.files {
		if target, link := strings.CutPrefix(content, "->"); link && name == path {
			return io.NopCloser(&archive), container.PathStat{Mode: os.ModeSymlink, LinkTarget: target}, nil
		}
		if name == path || strings.HasPrefix(name, path+"/") {
			found = true
			entry := strings.TrimPrefix(name, path[:strings.LastIndex(path, "/")+1])
			_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: entry, Size: int64(len(content)), Mode: 0o644})
			_, _ = w.Write([]byte(content))
		}
	}
	if !found {
		return nil, container.PathStat{}, fmt.Errorf("no such file: %w", cerrdefs.ErrNotFound)
	}
	return io.NopCloser(&archive), container.PathStat{}, w.Close()
}

func web(name string) compose.Replica {
	return compose.Replica{ID: name + "-0123456789ab", Name: name, Service: "web", ImageID: "sha256:1", State: compose.Running, PID: 100}
}

// verdicts are what a look at one replica leads to.
func verdicts(t *testing.T, h *host, signal string) string {
	t.Helper()
	r := web("web-1")
	r.StopSignal = signal
	seen, err := newLookout(h).see(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range check.Merge(check.Stop(seen)) {
		all = append(all, string(f.ID)+" "+string(f.Confidence))
	}
	return strings.Join(all, ", ")
}

func TestAReplicaIsLookedAt(t *testing.T) {
	const fpm = "10014004 php-fpm8.2 master process (/etc/php-fpm.conf)"
	for _, c := range []struct {
		name   string
		host   host
		signal string
		want   string
	}{
		{"its masks", host{line: "10002 sh -c app; true"}, "", "DROPPED certain"},
		{"without masks, where ps does not know them", host{line: "10002 sh -c app; true", old: true}, "", "DROPPED likely"},
		{"a file that it runs", host{line: "4602 node /app.js", files: map[string]string{"/app.js": "process.on('SIGTERM', f)"}}, "", "OK likely"},
		{"a file behind a link", host{line: "4602 node /app.js", files: map[string]string{"/app.js": "->/real.js", "/real.js": "process.on('SIGTERM', f)"}}, "", "OK likely"},
		{"a file that is not there", host{line: "4602 node /app.js"}, "", "UNKNOWN unknown"},
		{"a setting in a file that another one includes", host{line: fpm, files: map[string]string{
			"/etc/php-fpm.conf": "include=/etc/php-fpm.d/*.conf", "/etc/php-fpm.d/a.conf": "pm = static", "/etc/php-fpm.d/b.conf": "process_control_timeout = 9",
		}}, "SIGQUIT", "OK certain"},
		{"zombies", host{line: "4002 python3 app.py", pids: []int{4}}, "", "ZOMBIES certain, OK likely"},
		{"a probe that ran in between is no zombie", host{line: "4002 python3 app.py", pids: []int{4, 1}}, "", "OK likely"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.host.pids == nil {
				c.host.pids = []int{1}
			}
			if got := verdicts(t, &c.host, c.signal); got != c.want {
				t.Errorf("got %s, want %s; asked %v", got, c.want, c.host.calls)
			}
		})
	}
}

func TestAReplicaThatVanishesIsNoError(t *testing.T) {
	if _, err := newLookout(&host{gone: true}).see(t.Context(), web("web-1")); !errors.Is(err, compose.ErrGone) {
		t.Errorf("got %v, want ErrGone", err)
	}
}

func TestCallsGrowWithReplicasAlone(t *testing.T) {
	for _, old := range []bool{false, true} {
		h := &host{line: "4602 node /app.js", files: map[string]string{"/app.js": "listen()"}, pids: []int{1}, old: old}
		l := newLookout(h)
		for i := range 50 {
			if _, err := l.see(t.Context(), web(fmt.Sprintf("web-%d", i))); err != nil {
				t.Fatal(err)
			}
		}
		want := 2*50 + 1 // a list and a count each; the file of the image once
		if old {
			want = 1 + 50 + 1 // the columns once
		}
		if len(h.calls) != want {
			t.Errorf("ps old %t: %d calls, want %d", old, len(h.calls), want)
		}
	}
}
