// Command suite runs the checks and tests of this repository, and ends with one line of counts.
//
//	suite lint      gofmt, go vet, staticcheck
//	suite test      lint, unit tests, then end-to-end tests on the lab, which is taken down at the end in any case
//	suite engines [VERSION...]
//	                the end-to-end tests on each engine that the lab can provide
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	s := &suite{out: os.Stdout}
	err := s.run(ctx, os.Args[1:])
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}
