// Package layout holds the test that keeps the layout of this repository and its import rules.
package layout

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/roll-deploy/roll"
)

// folders are the only ones at the top, beside hidden ones and what is built (bin, dist).
var folders = []string{"cmd", "compose", "deploy", "docs", "examples", "healthflip", "internal", "traefik", "bin", "dist"}

// mayImport names, for a package at the top, the packages of ours that it and those below it may import besides
// themselves. What is not listed may import everything.
var mayImport = map[string][]string{
	"compose":    {},
	"deploy":     {"compose"},
	"healthflip": {},
	"traefik":    {},
}

// notInDeploy are packages that show something on a terminal, or that talk to the engine: deploy does neither itself.
var notInDeploy = []string{
	"charm.land/",
	"github.com/charmbracelet/",
	"github.com/docker/cli",
	"github.com/docker/docker/client",
	"github.com/fatih/color",
	"github.com/mattn/go-isatty",
	"github.com/moby/moby/client",
	"github.com/moby/term",
	"github.com/muesli/termenv",
	"github.com/spf13/cobra",
	"golang.org/x/term",
}

// onlyInMain are calls that belong to a main.go, or for contexts also to a test: everything else is handed its context,
// and returns what went wrong.
var onlyInMain = []struct {
	pkg, name string
	inTests   bool
}{
	{"os", "Exit", true}, // TestMain has no other way
	{"log", "Fatal", false},
	{"log", "Fatalf", false},
	{"log", "Fatalln", false},
	{"context", "Background", true},
	{"context", "TODO", true},
}

func TestTheTopHoldsOnlyTheFoldersOfTheDesign(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(folders, e.Name()) {
			t.Errorf("folder %s: want one of %s", e.Name(), strings.Join(folders, ", "))
		}
	}
}

func TestEveryFileKeepsTheRules(t *testing.T) {
	checked := 0
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && file != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "dist") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		broken, err := breaches(filepath.ToSlash(relative), source)
		if err != nil {
			return err
		}
		for _, b := range broken {
			t.Error(b)
		}
		checked++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 10 {
		t.Errorf("only %d files were checked", checked)
	}
}

// breaches lists the rules that a file breaks, one per line of source. file is relative to the top.
func breaches(file string, source []byte) ([]string, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	test := strings.HasSuffix(file, "_test.go")
	top, _, _ := strings.Cut(file, "/")
	var broken []string
	add := func(at token.Pos, format string, args ...any) {
		broken = append(broken, fmt.Sprintf("%s: %s", set.Position(at), fmt.Sprintf(format, args...)))
	}

	local := map[string]string{} // name in this file -> import path
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		name := path.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		local[name] = imported
		if test {
			continue // an end-to-end test may use the lab
		}
		if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
			allowed, limited := mayImport[top]
			theirs, _, _ := strings.Cut(ours, "/")
			if limited && theirs != top && !slices.Contains(allowed, theirs) {
				add(spec.Pos(), "%s must not import %s", top, ours)
			}
		}
		if top == "deploy" {
			for _, banned := range notInDeploy {
				if imported == strings.TrimSuffix(banned, "/") || strings.HasPrefix(imported, strings.TrimSuffix(banned, "/")+"/") {
					add(spec.Pos(), "deploy must not import %s: it knows neither terminals nor docker's client", imported)
				}
			}
		}
	}

	if path.Base(file) == "main.go" {
		return broken, nil
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := selector.X.(*ast.Ident)
		if !ok {
			return true
		}
		for _, call := range onlyInMain {
			if local[pkg.Name] == call.pkg && selector.Sel.Name == call.name && !(test && call.inTests) {
				add(n.Pos(), "%s.%s belongs in main.go", call.pkg, call.name)
			}
		}
		return true
	})
	return broken, nil
}

func TestTheRulesCatchWhatTheyForbid(t *testing.T) {
	for _, c := range []struct{ name, file, source, want string }{
		{"deploy may import compose", "deploy/plan.go", `package deploy; import _ "github.com/roll-deploy/roll/compose"`, ""},
		{"what is below deploy may import deploy", "deploy/deploytest/world.go", `package deploytest; import _ "github.com/roll-deploy/roll/deploy"`, ""},
		{"deploy must not import traefik", "deploy/plan.go", `package deploy; import _ "github.com/roll-deploy/roll/traefik"`,
			"deploy/plan.go:1:24: deploy must not import traefik"},
		{"compose must not import deploy", "compose/project.go", `package compose; import _ "github.com/roll-deploy/roll/deploy"`,
			"compose/project.go:1:25: compose must not import deploy"},
		{"traefik must not import internal packages", "traefik/client.go", `package traefik; import _ "github.com/roll-deploy/roll/internal/probe"`,
			"traefik/client.go:1:25: traefik must not import internal/probe"},
		{"an end-to-end test may use the lab", "traefik/client_e2e_test.go", `package traefik; import _ "github.com/roll-deploy/roll/internal/lab"`, ""},
		{"deploy must not draw", "deploy/event.go", `package deploy; import _ "github.com/charmbracelet/lipgloss"`,
			"deploy/event.go:1:24: deploy must not import github.com/charmbracelet/lipgloss: it knows neither terminals nor docker's client"},
		{"a new name does not hide an exit", "compose/project.go", `package compose; import o "os"; func f() { o.Exit(1) }`,
			"compose/project.go:1:44: os.Exit belongs in main.go"},
		{"a root context is made in main.go", "deploy/roll.go", `package deploy; import "context"; var c = context.TODO()`,
			"deploy/roll.go:1:43: context.TODO belongs in main.go"},
		{"main.go may do both", "cmd/roll/main.go", `package main; import ("context"; "os"); func main() { _ = context.Background(); os.Exit(0) }`, ""},
		{"a test may make a root context", "deploy/roll_test.go", `package deploy; import "context"; var c = context.Background()`, ""},
		{"a test must not end the process by a log", "deploy/roll_test.go", `package deploy; import "log"; func f() { log.Fatal("no") }`,
			"deploy/roll_test.go:1:42: log.Fatal belongs in main.go"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := breaches(c.file, []byte(c.source))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("breaches:\n%s\nwant:\n%s", strings.Join(got, "\n"), c.want)
			}
		})
	}
}
