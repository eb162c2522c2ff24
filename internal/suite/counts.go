package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// counts is what became of every test. A test that ran twice, such as a unit test in a package that has end-to-end tests
// too, counts once, and as failed when it failed once.
type counts struct {
	// where is put before the names of tests, so that the same test counts on every engine. It may be empty.
	where   string
	results map[string]string // where, package and test -> pass, fail or skip
}

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // in build-output and build-fail
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// read follows a run of go test: it writes one line a package, and everything that a failed test or package printed.
func (c *counts) read(r io.Reader, out io.Writer) error {
	if c.results == nil {
		c.results = map[string]string{}
	}
	printed := map[string][]string{} // by "package test", until its result is known
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			c.line(line, out, printed)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the tests' output: %w", err)
		}
	}
}

func (c *counts) line(line []byte, out io.Writer, printed map[string][]string) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		_, _ = out.Write(line) // what the go command itself says
		return
	}
	pkg := strings.TrimSpace(c.where + " " + e.Package)
	name := strings.TrimSpace(pkg + " " + e.Test)
	switch e.Action {
	case "build-output":
		fmt.Fprint(out, e.Output)
	case "output":
		printed[name] = append(printed[name], e.Output)
	case "pass", "skip":
		if e.Test == "" {
			if e.Action == "pass" {
				fmt.Fprintf(out, "ok    %s %.1fs\n", e.Package, e.Elapsed)
			}
		} else if c.results[name] != "fail" {
			c.results[name] = e.Action
		}
		delete(printed, name)
	case "fail":
		for _, text := range printed[name] {
			fmt.Fprint(out, text)
		}
		delete(printed, name)
		if e.Test == "" {
			c.cutOff(pkg, printed, out)
			fmt.Fprintf(out, "FAIL  %s %.1fs\n", e.Package, e.Elapsed)
			if c.packageFailed(pkg) {
				return // its tests say so already
			}
		}
		c.results[name] = "fail"
	}
}

// cutOff fails the tests of a package that its end left without a result, as a time limit does. What they printed has the
// stacks of all goroutines.
func (c *counts) cutOff(pkg string, printed map[string][]string, out io.Writer) {
	for _, name := range slices.Sorted(maps.Keys(printed)) {
		if !strings.HasPrefix(name, pkg+" ") {
			continue
		}
		for _, text := range printed[name] {
			fmt.Fprint(out, text)
		}
		fmt.Fprintln(out, "CUT OFF", name)
		delete(printed, name)
		c.results[name] = "fail"
	}
}

// packageFailed reports whether a test of the package has failed. A package that does not build, or whose process was
// killed, has none and counts by itself.
func (c *counts) packageFailed(pkg string) bool {
	for name, result := range c.results {
		if result == "fail" && strings.HasPrefix(name, pkg+" ") {
			return true
		}
	}
	return false
}

// failed are the names of the tests that failed, sorted.
func (c *counts) failed() []string {
	var names []string
	for name, result := range c.results {
		if result == "fail" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// String is the last line of a run: "N passed, N failed", and ", N skipped" when there are any.
func (c *counts) String() string {
	n := map[string]int{}
	for _, result := range c.results {
		n[result]++
	}
	text := fmt.Sprintf("%d passed, %d failed", n["pass"], n["fail"])
	if n["skip"] > 0 {
		text += fmt.Sprintf(", %d skipped", n["skip"])
	}
	return text
}
