// Command demo shows what roll does: it deploys a new version of a service
// behind a real Traefik while requests come in, and then deploys it once more
// with docker compose alone, for comparison. It brings up what it needs and
// removes it in the end.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	d := demo{out: os.Stdout, err: os.Stderr, ink: ink(term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")}
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		cancel()
		os.Exit(1)
	}
}
