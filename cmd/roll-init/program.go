package main

import (
	"slices"
	"strings"

	"github.com/roll-deploy/roll/internal/program"
)

// recognise finds the program of a process that ends gracefully on another signal than SIGTERM: --auto rewrites for no
// other one. Servers that are graceful on SIGTERM need nothing, and what is not known is never guessed. It is nil for them.
func recognise(executable string, cmdline []string) *program.Program {
	if p := program.Find(executable, cmdline); p != nil && p.Rewrite != 0 {
		return p
	}
	return nil
}

// autoNames are the programs that --auto knows.
func autoNames() string {
	var names []string
	for _, p := range program.Table {
		name, _, _ := strings.Cut(p.Name, " ")
		if p.Rewrite != 0 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
