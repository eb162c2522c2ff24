package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
)

// New is Start for a test, which fails without a lab.
func New(t testing.TB) *Lab {
	t.Helper()
	l, err := Start(t.Context(), t.Output())
	if err != nil {
		t.Fatalf("start the lab: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return l
}

// Project is NewProject for a test: the project is removed when the test ends, also by Ctrl-C, and a test that failed
// leaves logs and inspect documents in a folder that its output names.
func (l *Lab) Project(t testing.TB, source Source) *Project {
	t.Helper()
	p, err := l.NewProject(source)
	if err != nil {
		t.Fatalf("create a project: %v", err)
	}
	ctx := context.WithoutCancel(t.Context())
	remove := sync.OnceValue(func() error { return p.Close(ctx) })
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		select {
		case <-ended:
		case sig := <-signals:
			if err := remove(); err != nil {
				l.progress.printf("remove %s: %v", p.Name, err)
			}
			signal.Reset(sig)
			_ = syscall.Kill(os.Getpid(), sig.(syscall.Signal))
		}
	}()
	t.Cleanup(func() {
		if t.Failed() {
			dir, err := p.Dump(ctx, t.Name())
			t.Logf("left for reading: %s (%v)", dir, err)
		}
		signal.Stop(signals)
		close(ended)
		if err := remove(); err != nil {
			t.Errorf("remove %s: %v", p.Name, err)
		}
	})
	return p
}

// Dump writes the logs and inspect documents of the project's containers, its Compose files and Traefik's view to a
// folder named after title, and returns the folder. It goes on after an error and returns the last one.
func (p *Project) Dump(ctx context.Context, title string) (dir string, err error) {
	ctx, cancel := detached(ctx)
	defer cancel()
	dir = p.lab.state.path("artifacts", strings.NewReplacer("/", "_", " ", "_").Replace(title)+"-"+p.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return dir, err
	}
	save := func(name string, text []byte) {
		if failed := os.WriteFile(filepath.Join(dir, name), text, 0o644); failed != nil {
			err = failed
		}
	}
	if failed := os.CopyFS(filepath.Join(dir, "project"), os.DirFS(p.Dir)); failed != nil {
		err = failed
	}
	if p.API != "" {
		var view json.RawMessage
		if failed := getJSON(ctx, p.API+"/api/rawdata", &view); failed != nil {
			view = []byte(failed.Error())
		}
		save("traefik.json", view)
	}
	all, failed := p.lab.Docker.ContainerList(ctx, container.ListOptions{All: true})
	if failed != nil {
		return dir, failed
	}
	for _, one := range all {
		name := strings.TrimPrefix(one.Names[0], "/")
		if !strings.Contains(name, p.Name) {
			continue
		}
		text, failed := p.Logs(ctx, one.ID)
		if failed != nil {
			text += fmt.Sprintln(failed)
		}
		save(name+".log", []byte(text))
		_, document, failed := p.lab.Docker.ContainerInspectWithRaw(ctx, one.ID, false)
		if failed != nil {
			document = []byte(failed.Error())
		}
		save(name+".json", document)
	}
	return dir, err
}
