package healthflip

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	labelFlip         = "roll.flip"
	labelHTTP         = "roll.flip.http"
	labelUnflipHTTP   = "roll.unflip.http"
	labelPort         = "roll.flip.port"
	labelMethod       = "roll.flip.method"
	labelExec         = "roll.flip.exec"
	labelUnflipExec   = "roll.unflip.exec"
	labelFile         = "roll.flip.file"
	labelSignal       = "roll.flip.signal"
	labelUnflipSignal = "roll.unflip.signal"
)

// companions are labels that mean nothing without the label they belong to.
var companions = map[string]string{
	labelUnflipHTTP:   labelHTTP,
	labelPort:         labelHTTP,
	labelMethod:       labelHTTP,
	labelUnflipExec:   labelExec,
	labelUnflipSignal: labelSignal,
}

// Labels returns the names of all labels that this package reads under roll.,
// sorted. The slice is the caller's own.
func Labels() []string {
	names := slices.Collect(maps.Keys(companions))
	names = append(names, labelFlip, labelHTTP, labelExec, labelFile, labelSignal)
	slices.Sort(names)
	return names
}

// LabelError says that a label of a replica cannot be used. It refuses a
// deploy before anything has changed, so it says what to write.
type LabelError struct {
	Label   string // the label's full name
	Value   string // its value; empty when it has none or is missing
	Problem string // why it cannot be used
	Instead string // what to write or do
}

// Error puts all four on one line.
func (e LabelError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("label %s: %s; instead: %s", e.Label, e.Problem, e.Instead)
	}
	return fmt.Sprintf("label %s: %q: %s; instead: %s", e.Label, e.Value, e.Problem, e.Instead)
}

// chosen returns the one label that names a way, or "" when none does.
func chosen(labels map[string]string) (string, error) {
	var names []string
	for _, name := range []string{labelFlip, labelExec, labelFile, labelHTTP, labelSignal} {
		if _, ok := labels[name]; ok {
			names = append(names, name)
		}
	}
	if last := len(names) - 1; last > 0 {
		return "", LabelError{names[last], labels[names[last]],
			fmt.Sprintf("it stands beside %s, and a replica has exactly one way to flip", strings.Join(names[:last], " and ")),
			"keep one of them"}
	}
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range slices.Sorted(maps.Keys(companions)) {
		if value, ok := labels[name]; ok && companions[name] != names[0] {
			return "", LabelError{name, value, fmt.Sprintf("it belongs to %s, which is not set", companions[name]),
				fmt.Sprintf("set %s, or remove this label", companions[name])}
		}
	}
	return names[0], nil
}

// pair returns the values of a label and of the one that undoes it.
func pair(labels map[string]string, flip, unflip, example, exampleUndo string) (string, string, error) {
	if strings.TrimSpace(labels[flip]) == "" {
		return "", "", LabelError{flip, labels[flip], "it is empty", flip + ": " + example}
	}
	value, ok := labels[unflip]
	switch {
	case !ok:
		return "", "", LabelError{unflip, "", "it is missing, so the flip could not be undone", unflip + ": " + exampleUndo}
	case strings.TrimSpace(value) == "":
		return "", "", LabelError{unflip, value, "it is empty, so the flip could not be undone", unflip + ": " + exampleUndo}
	}
	return labels[flip], value, nil
}
