package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/roll-deploy/roll/internal/lab"
)

// endToEnd is the build tag of the tests that need an engine.
const endToEnd = "e2e"

// suite is one run.
type suite struct {
	out   io.Writer
	tests counts
	env   []string // of the programs that are run; nil: the suite's own
}

func (s *suite) run(ctx context.Context, args []string) error {
	verb, rest := "", []string(nil)
	if len(args) > 0 {
		verb, rest = args[0], args[1:]
	}
	switch {
	case verb == "lint" && len(rest) == 0:
		return s.lint(ctx)
	case verb == "test" && len(rest) == 0:
		err := errors.Join(s.lint(ctx), s.goTest(ctx, "unit tests", "./..."), s.onLab(ctx, ""))
		return s.conclude(err)
	case verb == "engines":
		var err error
		if len(rest) == 0 {
			rest = []string{"20.10", "28.5"}
		}
		for _, version := range rest {
			s.tests.where = "engine " + version + ":"
			err = errors.Join(err, s.onLab(ctx, version))
		}
		return s.conclude(err)
	default:
		return fmt.Errorf("unknown command %q: want lint, test or engines", strings.Join(args, " "))
	}
}

// conclude prints what failed, and the counts as the last line.
func (s *suite) conclude(err error) error {
	for _, name := range s.tests.failed() {
		fmt.Fprintln(s.out, "FAILED", name)
	}
	if err != nil {
		fmt.Fprintf(s.out, "%v\n", err)
		err = errors.New("not everything passed")
	}
	fmt.Fprintln(s.out, s.tests.String())
	return err
}

// lint runs every check, also after one has failed.
func (s *suite) lint(ctx context.Context) error {
	var failed []error
	if files, err := output(ctx, "gofmt", "-l", "."); err != nil || files != "" {
		fmt.Fprint(s.out, files)
		failed = append(failed, errors.New("lint: gofmt"))
	}
	static := []string{"tool", "-modfile=internal/tools/go.mod", "staticcheck"}
	for _, args := range [][]string{
		{"vet", "./..."},
		{"vet", "-tags", endToEnd, "./..."},
		append(slices.Clone(static), "./..."),
		append(slices.Clone(static), "-tags", endToEnd, "./..."),
	} {
		fmt.Fprintln(s.out, "== go", strings.Join(args, " "))
		if err := s.command(ctx, s.out, "go", args...).Run(); err != nil {
			failed = append(failed, fmt.Errorf("lint: go %s: %w", strings.Join(args, " "), err))
		}
	}
	return errors.Join(failed...)
}

// onLab runs the end-to-end tests on the lab, with a private engine of the given version or, with "", on the engine
// that is there. The lab is taken down afterwards, also after a failure or Ctrl-C.
func (s *suite) onLab(ctx context.Context, version string) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	defer func() {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), 3*time.Minute, errors.New("the lab is not down after 3m"))
		defer cancel()
		err = errors.Join(err, lab.Stop(ctx, s.out))
	}()
	open := lab.Start
	if version != "" {
		open = func(ctx context.Context, w io.Writer) (*lab.Lab, error) { return lab.StartEngine(ctx, w, version) }
	}
	l, err := open(ctx, s.out)
	if err != nil {
		return fmt.Errorf("bring up the lab: %w", err)
	}
	defer l.Close()
	packages, err := endToEndPackages(ctx)
	if err != nil {
		return err
	}
	if len(packages) == 0 {
		return errors.New("no package has end-to-end tests")
	}
	// Tests that do not use the lab's API find its engine in the usual variables.
	s.env = l.Env()
	defer func() { s.env = nil }()
	title := "end-to-end tests on engine " + l.Engine.Version + ", Compose " + l.Compose
	return s.goTest(ctx, title, append([]string{"-tags", endToEnd, "-p", "1", "-parallel", "2", "-timeout", "85m"}, packages...)...)
}

// endToEndPackages are the packages with test files that only the build tag brings in.
func endToEndPackages(ctx context.Context) ([]string, error) {
	const files = "{{.ImportPath}} {{.TestGoFiles}} {{.XTestGoFiles}}"
	with, err := output(ctx, "go", "list", "-tags", endToEnd, "-f", files, "./...")
	if err != nil {
		return nil, err
	}
	without, err := output(ctx, "go", "list", "-f", files, "./...")
	if err != nil {
		return nil, err
	}
	plain := strings.Split(without, "\n")
	var packages []string
	for line := range strings.Lines(with) {
		line = strings.TrimSuffix(line, "\n")
		if !slices.Contains(plain, line) {
			name, _, _ := strings.Cut(line, " ")
			packages = append(packages, name)
		}
	}
	return packages, nil
}

// goTest runs go test with -json, shows what matters and counts.
func (s *suite) goTest(ctx context.Context, title string, args ...string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fmt.Fprintln(s.out, "==", title)
	r, w := io.Pipe()
	counted := make(chan error, 1)
	go func() { counted <- s.tests.read(r, s.out) }()
	cmd := s.command(ctx, w, "go", append([]string{"test", "-json", "-count=1"}, args...)...)
	err := cmd.Run()
	_ = w.Close()
	err = errors.Join(err, <-counted)
	if err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	return nil
}

// command is a program that, with its children, gets the chance to clean up when ctx ends.
func (s *suite) command(ctx context.Context, out io.Writer, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, s.out, s.env
	// The go command does not pass a signal on to the tests that it runs, so the whole group gets it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 2 * time.Minute
	return cmd
}

// output runs a program and returns what it wrote.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return string(text), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(text), nil
}
