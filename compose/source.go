package compose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// FileError is a mistake at a place in a Compose file.
type FileError struct {
	File   string // relative to the project directory
	Line   int    // from 1; 0: not known
	Column int    // from 1; 0: not known
	Err    error
}

func (e *FileError) Error() string {
	place := e.File
	if e.Line > 0 {
		place += ":" + strconv.Itoa(e.Line)
		if e.Column > 0 {
			place += ":" + strconv.Itoa(e.Column)
		}
	}
	return place + ": " + e.Err.Error()
}

func (e *FileError) Unwrap() error { return e.Err }

// source is one YAML document of a Compose file. It is parsed by the same
// library as compose-go's own copy, so that both accept the same text.
type source struct {
	file string
	root *yaml.Node
}

// most chains of include and extends that are followed: compose-go refuses
// cycles, but only after this has run.
const deepest = 20

// parse returns the documents of the files and of those that they include, in
// the order in which Compose merges them.
func parse(files []types.ConfigFile, dir string, environment types.Mapping) ([]source, error) {
	var all []source
	var add func(file string, content []byte, depth int) error
	add = func(file string, content []byte, depth int) error {
		decoder := yaml.NewDecoder(bytes.NewReader(content))
		for {
			var document yaml.Node
			err := decoder.Decode(&document)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return syntaxError(err, relative(dir, file))
			}
			s := source{file: file, root: &document}
			for _, path := range s.includes(environment) {
				included, err := os.ReadFile(path)
				if err != nil || depth > deepest || slices.ContainsFunc(all, func(s source) bool { return s.file == path }) {
					continue // compose-go says what is wrong with it
				}
				if err := add(path, included, depth+1); err != nil {
					return err
				}
			}
			all = append(all, s)
		}
	}
	for _, file := range files {
		if err := add(file.Filename, file.Content, 0); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// includes returns the files of the include section.
func (s source) includes(environment types.Mapping) []string {
	section := child(content(s.root), "include")
	if section == nil {
		return nil
	}
	var paths []string
	for _, entry := range section.Content {
		if path := child(entry, "path"); path != nil {
			entry = path
		}
		switch entry.Kind {
		case yaml.ScalarNode:
			paths = append(paths, entry.Value)
		case yaml.SequenceNode:
			for _, path := range entry.Content {
				paths = append(paths, path.Value)
			}
		}
	}
	for i, path := range paths {
		if expanded, err := template.Substitute(path, environment.Resolve); err == nil {
			paths[i] = expanded
		}
	}
	return absolute(filepath.Dir(s.file), paths)
}

// service finds what is written below a service, or below the service that
// it extends. Nil: nothing.
func (s source) service(all []source, name string, path []string, depth int) (string, *yaml.Node) {
	key, node := entry(child(content(s.root), "services"), name)
	if node == nil || depth > deepest {
		return "", nil
	}
	if len(path) == 0 {
		return s.file, key
	}
	if found := below(key, node, path); found != nil {
		return s.file, found
	}
	base := child(node, "extends")
	if base == nil {
		return "", nil
	}
	if base.Kind == yaml.ScalarNode {
		return s.service(all, base.Value, path, depth+1)
	}
	from, file := child(base, "service"), child(base, "file")
	if from == nil {
		return "", nil
	}
	if file == nil {
		return s.service(all, from.Value, path, depth+1)
	}
	other := source{file: absolute(filepath.Dir(s.file), []string{file.Value})[0], root: &yaml.Node{}}
	text, err := os.ReadFile(other.file)
	if err != nil || yaml.Unmarshal(text, other.root) != nil {
		return "", nil
	}
	return other.service(all, from.Value, path, depth+1)
}

// content returns what a document holds, past aliases.
func content(node *yaml.Node) *yaml.Node {
	for range deepest {
		switch {
		case node == nil:
			return nil
		case node.Kind == yaml.DocumentNode && len(node.Content) > 0:
			node = node.Content[0]
		case node.Kind == yaml.AliasNode:
			node = node.Alias
		default:
			return node
		}
	}
	return nil
}

// below walks from a node along path and returns the node that a person would
// look at: the key of a mapping, the item of a list.
func below(key, node *yaml.Node, path []string) *yaml.Node {
	for _, name := range path {
		key, node = entry(node, name)
		if key == nil {
			return nil
		}
	}
	return key
}

func child(node *yaml.Node, name string) *yaml.Node {
	_, value := entry(node, name)
	return value
}

// entry finds a key of a mapping (merge keys included) or an item of a list,
// by index or by the NAME of NAME=value.
func entry(node *yaml.Node, name string) (key, value *yaml.Node) {
	node = content(node)
	if node == nil {
		return nil, nil
	}
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == name {
				return node.Content[i], content(node.Content[i+1])
			}
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value != "<<" {
				continue
			}
			merged := content(node.Content[i+1])
			if merged == nil || merged == node {
				continue
			}
			sources := []*yaml.Node{merged}
			if merged.Kind == yaml.SequenceNode {
				sources = merged.Content
			}
			for _, merged := range sources {
				if merged = content(merged); merged == nil || merged.Kind != yaml.MappingNode {
					continue
				}
				for j := 0; j+1 < len(merged.Content); j += 2 {
					if merged.Content[j].Value == name {
						return merged.Content[j], content(merged.Content[j+1])
					}
				}
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], content(node.Content[i])
		}
		for _, item := range node.Content {
			if before, _, _ := strings.Cut(item.Value, "="); item.Kind == yaml.ScalarNode && before == name {
				return item, item
			}
		}
	}
	return nil, nil
}

var (
	yamlPlace    = regexp.MustCompile(`line (\d+)(?:, column (\d+))?|<unknown position>`)
	yamlPrefix   = regexp.MustCompile(`^yaml: (while [a-z ]+ at (line \d+(, column \d+)?|<unknown position>): )?((line \d+(, column \d+)?|<unknown position>): )?`)
	inFile       = regexp.MustCompile(`^validating (.+?\.[A-Za-z]+|-): `)
	modelPath    = regexp.MustCompile(`\b(services|networks|volumes|secrets|configs|jobs|models|include|name|version)((?:[.\[][^\s:,'"]+)?)`)
	extraKeys    = regexp.MustCompile(`additional properties '([^']+)'`)
	namedService = regexp.MustCompile(`service "([^"]+)"|container_name and (\S+) as`)
	unknownKey   = regexp.MustCompile(`^(?:(\S+)\.)?(\S+) false schema$`)
)

// syntaxError turns an error of the YAML library, whose types are not public,
// into one with a place. The library counts lines from 0 in the errors of its
// parser and from 1 in those of its scanner (its Mark.String and
// formatScannerError), and the column of an alias from 2.
func syntaxError(err error, file string) error {
	text := err.Error()
	message := yamlPrefix.ReplaceAllString(text, "")
	at := &FileError{File: file, Err: errors.New("YAML: " + message)}
	places := yamlPlace.FindAllStringSubmatch(text, -1)
	if len(places) == 0 {
		return at
	}
	last := places[len(places)-1] // before it may be the place of the context
	at.Line, _ = strconv.Atoi(last[1])
	at.Column, _ = strconv.Atoi(last[2])
	switch {
	case strings.Contains(text, "while parsing"), strings.HasPrefix(message, "did not find expected <"):
		at.Line++
	case strings.HasPrefix(message, "unknown anchor"):
		at.Column--
	}
	if at.Column == 0 {
		at.Column = 1
	}
	return at
}

// locate finds the place that an error of compose-go is about. Its errors
// carry the path into the model only as text ("services.web.ports.0 must be
// ..."), so that the text has to be read; what cannot be read stays without a
// place.
func locate(err error, sources []source, dir string) error {
	text := err.Error()
	file := ""
	if m := inFile.FindStringSubmatch(text); m != nil {
		file, text = m[1], text[len(m[0]):]
	}
	key := place(text)
	at := &FileError{Err: err}
	if file != "" {
		if m := unknownKey.FindStringSubmatch(text); m != nil {
			text = fmt.Sprintf("%s: Compose knows no key %q here", strings.TrimPrefix(m[1]+"."+m[2], "."), m[2])
		}
		at.File, at.Err = relative(dir, file), errors.New(text)
	}
	best := 0
	for _, s := range slices.Backward(sources) {
		if file != "" && s.file != file && best > 0 {
			continue
		}
		node, depth := deepestNode(content(s.root), key)
		if depth > best || depth == best && node != nil && s.file == file && at.Line == 0 {
			best = depth
			at.File, at.Line, at.Column = relative(dir, s.file), node.Line, node.Column
		}
	}
	if at.File == "" {
		return fmt.Errorf("load project: %w", err)
	}
	return at
}

// place reads the path of keys out of a message.
func place(text string) string {
	var key string
	if m := namedService.FindStringSubmatch(text); m != nil {
		key = "services." + m[1] + m[2]
	} else if m := modelPath.FindStringSubmatch(text); m != nil {
		key = m[0]
	}
	key = strings.NewReplacer("[", ".", "]", "").Replace(key)
	if m := extraKeys.FindStringSubmatch(text); m != nil {
		if key == "" || !strings.HasPrefix(text, strings.SplitN(key, ".", 2)[0]) {
			return m[1] // at the top level
		}
		key += "." + m[1]
	}
	return strings.TrimRight(key, ".")
}

// deepestNode follows a dotted path as far as it goes. Keys may hold dots
// themselves, so each step takes the longest key that fits.
func deepestNode(node *yaml.Node, path string) (*yaml.Node, int) {
	var last *yaml.Node
	depth := 0
	for path != "" && node != nil {
		var key, value *yaml.Node
		var rest string
		for end := len(path); end > 0 && key == nil; end = strings.LastIndexByte(path[:end], '.') {
			key, value = entry(node, path[:end])
			rest = strings.TrimPrefix(path[end:], ".")
		}
		if key == nil {
			break
		}
		last, node, path = key, value, rest
		depth++
	}
	return last, depth
}
