package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sameTarget are the global flags that say which project and which daemon is meant.
var sameTarget = []string{
	"file", "project-name", "project-directory", "env-file", "profile", "traefik", "traefik-ca", "traefik-insecure",
	"config", "context", "host", "tls", "tlscacert", "tlscert", "tlskey", "tlsverify",
}

// typed is how roll was called: its name with the global flags that were given, so that a command which is built on it
// means the same project on the same daemon. A URL with a password is left out: the text may end in a log.
func typed(cmd *cobra.Command) string {
	if cmd == nil {
		return "roll"
	}
	words := []string{"roll"}
	if root := cmd.Root(); root.Name() != "roll" {
		words = []string{root.Name(), "roll"}
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if !slices.Contains(sameTarget, f.Name) {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand
		}
		for _, value := range valuesOf(f) {
			switch {
			case f.Name == "traefik" && strings.Contains(value, "@"):
			case f.NoOptDefVal == "true" && value == "true":
				words = append(words, name)
			case f.NoOptDefVal == "true":
				words = append(words, name+"="+value)
			default:
				words = append(words, name, quoted(value))
			}
		}
	})
	return strings.Join(words, " ")
}

func valuesOf(f *pflag.Flag) []string {
	if list, ok := f.Value.(interface{ GetSlice() []string }); ok {
		return list.GetSlice()
	}
	return []string{f.Value.String()}
}

var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// quoted is a word as a POSIX shell reads it.
func quoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
