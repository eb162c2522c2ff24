package check

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"go.yaml.in/yaml/v4"
)

// Patch makes edits in the text of a Compose file, line by line, so that
// comments and layout stay, and returns them as a unified diff. Edits that the
// file has no simple place for are returned as unmade: what is written in a
// flow style ({...}) or over several lines is for a person to change.
// The patched text is parsed, and holds what was asked for.
func Patch(name string, text []byte, edits []Edit) (patch []byte, unmade []Edit, err error) {
	now := text
	var made []Edit
	for _, e := range edits {
		if slices.ContainsFunc(made, func(o Edit) bool { return o.Service == e.Service && slices.Equal(o.Path, e.Path) }) {
			continue // two findings about one key: the first, which is the worse, wins
		}
		next, err := set(now, e)
		if err != nil {
			unmade = append(unmade, e)
			continue
		}
		now, made = next, append(made, e)
	}
	return diff.Diff("a/"+name, text, "b/"+name, now), unmade, nil
}

var errNoPlace = errors.New("no simple place in the file")

// plain is a value that stands alone on its line.
var plain = regexp.MustCompile(`^[^&*!|>{\[#\s]`)

// set makes one edit and checks it.
func set(text []byte, e Edit) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	} else {
		lines[last] += "\n"
	}
	path := append([]string{"services", e.Service}, e.Path...)
	key, node := (*yaml.Node)(nil), document.Content[0]
	depth := 0
	for ; depth < len(path); depth++ {
		k, v := member(node, path[depth])
		if k == nil {
			break
		}
		key, node = k, v
	}
	switch {
	case depth == len(path):
		if err := replace(lines, key, node, e.Value); err != nil {
			return nil, err
		}
	case depth < 2 || node.Kind != yaml.MappingNode || node.Style&yaml.FlowStyle != 0 || len(node.Content) == 0 || node.Content[0].Line == key.Line:
		return nil, errNoPlace
	default:
		indent := strings.Repeat(" ", node.Content[0].Column-1)
		var added []string
		for ; depth < len(path)-1; depth++ {
			added = append(added, indent+path[depth]+":\n")
			indent += "  "
		}
		added = append(added, indent+path[depth]+": "+e.Value+"\n")
		lines = slices.Insert(lines, key.Line, added...)
	}
	changed := []byte(strings.Join(lines, ""))
	return changed, verify(changed, path, e.Value)
}

// replace puts another value behind a key, on its line.
func replace(lines []string, key, node *yaml.Node, value string) error {
	line := lines[node.Line-1]
	flow := node.Kind == yaml.SequenceNode && node.Style&yaml.FlowStyle != 0
	if node.Line != key.Line || !flow && (node.Kind != yaml.ScalarNode || !plain.MatchString(line[node.Column-1:])) {
		return errNoPlace
	}
	before, rest := line[:node.Column-1], strings.TrimRight(line[node.Column-1:], "\r\n")
	comment := ""
	if i := strings.Index(rest, " #"); i >= 0 && !strings.ContainsAny(rest[:i], `"'`) {
		comment = rest[i:]
		rest = rest[:i]
	}
	var only yaml.Node // what stands there must be the whole value
	if err := yaml.Unmarshal([]byte(rest), &only); err != nil || len(only.Content) != 1 || only.Content[0].Kind != node.Kind || only.Content[0].Value != node.Value {
		return errNoPlace
	}
	lines[node.Line-1] = before + value + comment + "\n"
	return nil
}

// verify parses the patched text and looks for the value in its place.
func verify(text []byte, path []string, value string) error {
	var document, wanted yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return fmt.Errorf("the patched file does not parse: %w", err)
	}
	if err := yaml.Unmarshal([]byte(value), &wanted); err != nil || len(wanted.Content) == 0 {
		return fmt.Errorf("%s is no value", value)
	}
	node := document.Content[0]
	for _, name := range path {
		k, v := member(node, name)
		if k == nil {
			return errNoPlace
		}
		node = v
	}
	var got, want any
	if err := errors.Join(node.Decode(&got), wanted.Decode(&want)); err != nil || !reflect.DeepEqual(got, want) {
		return errNoPlace
	}
	return nil
}

// member finds a key that is written in this mapping itself.
func member(node *yaml.Node, name string) (key, value *yaml.Node) {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i], node.Content[i+1]
		}
	}
	return nil, nil
}
