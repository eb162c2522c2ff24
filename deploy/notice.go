package deploy

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// command is what a healthcheck runs, for a person.
func command(test []string) string {
	if len(test) > 1 && (test[0] == "CMD" || test[0] == "CMD-SHELL") {
		test = test[1:]
	}
	if len(test) == 3 && test[1] == "-c" {
		test = test[2:]
	}
	return strings.Join(test, " ")
}

var (
	constant  = regexp.MustCompile(`^(true|/bin/true|/usr/bin/true|:|exit( 0)?)$`)
	swallowed = regexp.MustCompile(`\|\|\s*(true|/bin/true|:|exit 0)$`)
)

// blind reports whether a healthcheck surely passes whatever the replica does:
// no flip can reach it.
func blind(test []string) bool {
	text := strings.TrimRight(strings.TrimSpace(command(test)), "; ")
	if constant.MatchString(text) {
		return true
	}
	rest := swallowed.ReplaceAllString(text, "")
	return rest != text && shell(test) && !strings.ContainsAny(text, "\n") && !strings.Contains(rest, "exit") && !strings.Contains(rest, "set -e")
}

func shell(test []string) bool {
	return len(test) > 0 && (test[0] == "CMD-SHELL" || len(test) == 4 && test[2] == "-c")
}

// unsure warns about a healthcheck that hardly looks at what the flip changes;
// empty: nothing speaks against it. Whether it does is proven by the flip
// itself, within one interval.
func unsure(way string, test []string) string {
	kind, _, _ := strings.Cut(way, " ")
	text := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(command(test)), "|| exit 1"))
	if text == "" || strings.ContainsAny(text, ";&|\n") {
		return ""
	}
	words := strings.Fields(text)
	program := path.Base(words[0])
	switch {
	case kind == "init" && program != "roll-init" && !strings.HasSuffix(program, "sh"):
		return "the healthcheck (" + text + ") is not run by roll-init, which has to let it fail after the flip: test: [\"CMD\", \"/roll-init\", \"health\", \"--\", ...]"
	case slices.Contains([]string{"pgrep", "pidof", "ps", "nc"}, program) && slices.Contains([]string{"http", "file", "init"}, kind):
		return "the healthcheck (" + text + ") only looks whether the application is there, and a flipped one still is: the flip (" + way + ") may not reach it"
	}
	return ""
}
