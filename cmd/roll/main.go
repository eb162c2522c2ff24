// Command roll deploys new versions of Compose services without losing a
// request. It also works as the docker CLI plugin `docker roll`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	giveUp := make(chan struct{})
	signals := make(chan os.Signal, 2)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // by nohup, or by a shell that starts it in the background
			signal.Notify(signals, s)
		}
	}
	// A closed pipe must not end a roll half way. Notify, not Ignore: programs
	// that roll starts would inherit an ignored signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		<-signals
		cancel()
		<-signals
		close(giveUp)
	}()
	code := Run(ctx, os.Args, Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), GiveUp: giveUp})
	os.Exit(code)
}
