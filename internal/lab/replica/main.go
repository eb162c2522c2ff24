// Command replica is the application that the lab deploys: a small server that behaves as well, or as badly, as a
// test asks for through its environment. It is one static binary, so that it runs in an image with nothing else in it.
//
//	replica                 serve HTTP (and TCP with TCP_PORT) until told to stop
//	replica worker          work without listening; alive as long as its heartbeat file is young
//	replica health [URL]    the healthcheck: exit 0 when healthy, 1 when not
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop, flips := make(chan os.Signal, 1), make(chan os.Signal, 8)
	if os.Getenv("GRACE") != string(Unasked) {
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		signal.Notify(flips, syscall.SIGUSR1, syscall.SIGUSR2)
	}
	os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, stop, flips))
}
