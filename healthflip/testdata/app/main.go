// Command app is the replica of healthflip's end-to-end tests: one static
// program that serves, is its own healthcheck, and stands in for the tools and
// the init that an image may have.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

const usage = "usage: app serve | check-http | check-file FILE | touch FILE | remove FILE | flip | unflip"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve()
	case len(args) == 1 && args[0] == "check-http":
		return checkHTTP()
	case len(args) == 2 && args[0] == "check-file":
		return checkFile(args[1])
	case len(args) == 2 && args[0] == "touch":
		return os.WriteFile(args[1], nil, 0o644)
	case len(args) == 2 && args[0] == "remove":
		return os.Remove(args[1])
	case len(args) == 1 && args[0] == "flip":
		return syscall.Kill(1, syscall.SIGUSR1)
	case len(args) == 1 && args[0] == "unflip":
		return syscall.Kill(1, syscall.SIGUSR2)
	}
	return errors.New(usage)
}

func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var sick atomic.Bool
	marks := make(chan os.Signal, 8)
	signal.Notify(marks, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for mark := range marks {
			sick.Store(mark == syscall.SIGUSR1)
		}
	}()
	http.HandleFunc("GET /sethealth/ko", func(http.ResponseWriter, *http.Request) { sick.Store(true) })
	http.HandleFunc("GET /sethealth/ok", func(http.ResponseWriter, *http.Request) { sick.Store(false) })
	http.HandleFunc("POST /sethealth/ko", func(http.ResponseWriter, *http.Request) { sick.Store(true) })
	http.HandleFunc("POST /sethealth/ok", func(http.ResponseWriter, *http.Request) { sick.Store(false) })
	http.HandleFunc("GET /locked", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "health is locked", http.StatusForbidden)
	})
	http.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			http.Error(w, "told to be unhealthy", http.StatusServiceUnavailable)
		}
	})
	go func() {
		<-ctx.Done()
		os.Exit(0)
	}()
	return http.ListenAndServe(":3000", nil)
}

func checkHTTP() error {
	answer, err := http.Get("http://127.0.0.1:3000/health")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}

// checkFile follows links, as the marker's reader must.
func checkFile(name string) error {
	_, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%s exists", name)
	}
	return err
}
