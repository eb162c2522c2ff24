package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain lets the test binary play `docker compose`: it appends how it was
// called to the file CALLS and answers with VERSION, ANSWER, COMPLAINT, CODE.
func TestMain(m *testing.M) {
	if os.Getenv("PLAY_COMPOSE") == "" {
		os.Exit(m.Run())
	}
	if slices.Contains(os.Args, "version") {
		fmt.Println(os.Getenv("VERSION"))
		return
	}
	input, _ := io.ReadAll(os.Stdin)
	dir, _ := os.Getwd()
	log, err := os.OpenFile(os.Getenv("CALLS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	if err := json.NewEncoder(log).Encode(call{Args: os.Args[1:], Env: os.Environ(), Dir: dir, Input: string(input)}); err != nil {
		panic(err)
	}
	fmt.Print(os.Getenv("ANSWER"))
	fmt.Fprint(os.Stderr, os.Getenv("COMPLAINT"))
	var code int
	_, _ = fmt.Sscan(os.Getenv("CODE"), &code)
	os.Exit(code)
}

type call struct {
	Args  []string
	Env   []string
	Dir   string
	Input string
}

// player is an Invocation whose program is this test binary.
func player(t *testing.T, version string, environ ...string) (Invocation, func() []call) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "calls")
	calls := func() []call {
		t.Helper()
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		var all []call
		for line := range bytes.Lines(text) {
			var c call
			if err := json.Unmarshal(line, &c); err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		return all
	}
	env := append([]string{"PLAY_COMPOSE=1", "GORACE=atexit_sleep_ms=0", "ROLL_COMPOSE=" + self, "VERSION=" + version, "CALLS=" + log}, environ...)
	return Invocation{Options: Options{Environ: env}}, calls
}

func found(t *testing.T, call Invocation) *CLI {
	t.Helper()
	c, err := Find(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestComposeHasToBeNewEnough(t *testing.T) {
	tests := map[string]struct{ version, want string }{
		"2.40.3":     {"2.40.3", ""},
		"a packager": {"v2.40.3-3", ""},
		"2.20.0":     {"2.20.0", ""},
		"5":          {"5.5.0", ""},
		"2.19":       {"2.19.9", "2.19.9 is too old: install Docker Compose 2.20 or newer"},
		"version 1":  {"1.29.2", "1.29.2 is too old"},
		"no version": {"hello", `does not say its version (it answered "hello")`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			call, _ := player(t, test.version)
			c, err := Find(t.Context(), call)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got, want := c.Version(), strings.TrimSuffix(strings.TrimPrefix(test.version, "v"), "-3"); got != want {
					t.Errorf("version %s, want %s", got, want)
				}
				return
			}
			var none *NoComposeError
			if !errors.As(err, &none) || none.Found == "" || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestNoComposeSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Find(t.Context(), Invocation{})
	var none *NoComposeError
	if !errors.As(err, &none) || none.Found != "" || !strings.Contains(err.Error(), "docker-compose-plugin") {
		t.Errorf("got %v", err)
	}
	_, err = Find(t.Context(), Invocation{Options: Options{Environ: []string{"ROLL_COMPOSE=/nope/compose"}}})
	if !errors.As(err, &none) || none.Found != "/nope/compose" {
		t.Errorf("got %v", err)
	}
}

func TestStandAloneComposeIsTakenWhenDockerHasNoPlugin(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "docker-compose")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	c := found(t, Invocation{Options: Options{Environ: []string{"PLAY_COMPOSE=1", "GORACE=atexit_sleep_ms=0", "VERSION=2.30.0"}}})
	if c.Program() != "docker-compose" {
		t.Errorf("got %s", c.Program())
	}
}

func TestChildGetsWhatTheUserGave(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CLI_PLUGIN_SOCKET", "of this process: not passed on at all")
	invocation, calls := player(t, "2.40.3", "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND=/usr/bin/docker", "COMPOSE_REMOVE_ORPHANS=1", "MINE=1", "DOCKER_HOST=a")
	invocation.Files = []string{"a.yaml", "-"}
	invocation.ProjectName = "shop"
	invocation.ProjectDirectory = "/srv/shop"
	invocation.EnvFiles = []string{"x.env"}
	invocation.Profiles = []string{"p", "q"}
	invocation.WorkingDir = dir
	invocation.DockerArgs = []string{"--context", "far"}
	invocation.Env = []string{"DOCKER_HOST=b"}
	invocation.Input = []byte("services: {}")
	c := found(t, invocation)
	if err := c.Create(t.Context(), "web", 5); err != nil {
		t.Fatal(err)
	}
	got := calls()[0]
	want := "--context far --file a.yaml --file - --project-name shop --project-directory /srv/shop --env-file x.env --profile p --profile q " +
		"up -d --no-deps --no-recreate --no-build --pull never --scale web=5 web"
	if strings.Join(got.Args, " ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got.Args, " "), want)
	}
	if resolved, err := filepath.EvalSymlinks(dir); err != nil || got.Dir != resolved || got.Input != "services: {}" {
		t.Errorf("ran in %s with input %q", got.Dir, got.Input)
	}
	for _, line := range []string{"MINE=1", "DOCKER_HOST=b", "COMPOSE_REMOVE_ORPHANS=0", "COMPOSE_IGNORE_ORPHANS=1"} {
		if !slices.Contains(got.Env, line) {
			t.Errorf("environment lacks %s", line)
		}
	}
	for _, line := range got.Env {
		if strings.HasPrefix(line, "DOCKER_CLI_PLUGIN_") || line == "DOCKER_HOST=a" {
			t.Errorf("environment has %s", line)
		}
	}
}

func TestDockersOwnFlagsComeBeforeCompose(t *testing.T) {
	c := &CLI{program: []string{"docker", "compose"}, call: Invocation{DockerArgs: []string{"-H", "tcp://x"}}}
	if got := strings.Join(c.Args("ps"), " "); got != "docker -H tcp://x compose ps" {
		t.Errorf("got %s", got)
	}
}

func TestCommandsOfCompose(t *testing.T) {
	tests := map[string]struct {
		version string
		run     func(context.Context, *CLI) error
		want    string // empty: no call
	}{
		"hash of two":              {"2.40.3", func(ctx context.Context, c *CLI) error { _, err := c.Hash(ctx, "web", "db"); return err }, "config --hash web,db"},
		"hash of all":              {"2.40.3", func(ctx context.Context, c *CLI) error { _, err := c.Hash(ctx); return err }, "config --hash *"},
		"rehearsal":                {"2.27.0", func(ctx context.Context, c *CLI) error { _, err := c.Rehearse(ctx, "web", 2); return err }, "--dry-run --progress json up -d --no-deps --no-recreate --no-build --pull never --scale web=2 web"},
		"stale":                    {"2.40.3", func(ctx context.Context, c *CLI) error { _, err := c.Stale(ctx, "web", 2); return err }, "--dry-run --progress json up -d --no-deps --no-build --pull never --scale web=2 web"},
		"rehearsal before 2.27":    {"2.26.1", func(ctx context.Context, c *CLI) error { _, err := c.Rehearse(ctx, "web", 2); return err }, "--dry-run up -d --no-deps --no-recreate --no-build --pull never --scale web=2 web"},
		"pull always":              {"2.40.3", func(ctx context.Context, c *CLI) error { return c.Pull(ctx, "web", "always") }, "pull --policy always web"},
		"pull missing":             {"2.22.0", func(ctx context.Context, c *CLI) error { return c.Pull(ctx, "web", "missing") }, "pull --policy missing web"},
		"pull missing before 2.22": {"2.21.0", func(ctx context.Context, c *CLI) error { return c.Pull(ctx, "web", "missing") }, "pull web"},
		"pull never":               {"2.40.3", func(ctx context.Context, c *CLI) error { return c.Pull(ctx, "web", "never") }, ""},
		"build":                    {"2.40.3", func(ctx context.Context, c *CLI) error { return c.Build(ctx, "web") }, "build web"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			digest := strings.Repeat("a", 64)
			invocation, calls := player(t, test.version, "ANSWER=web "+digest+"\ndb "+digest+"\n")
			if err := test.run(t.Context(), found(t, invocation)); err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				if _, err := os.Stat(lookup(invocation.Environ, "CALLS")); err == nil {
					t.Errorf("called %v", calls())
				}
				return
			}
			if got := strings.Join(calls()[0].Args, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestUnknownPullPolicyIsRefused(t *testing.T) {
	invocation, _ := player(t, "2.40.3")
	err := found(t, invocation).Pull(t.Context(), "web", "sometimes")
	if err == nil || !strings.Contains(err.Error(), "use always, missing or never") {
		t.Errorf("got %v", err)
	}
}

func TestHashOfEveryServiceIsNeeded(t *testing.T) {
	invocation, _ := player(t, "2.40.3", "ANSWER=db "+strings.Repeat("b", 64)+"\n")
	if _, err := found(t, invocation).Hash(t.Context(), "web"); err == nil || !strings.Contains(err.Error(), `no hash of service "web"`) {
		t.Errorf("got %v", err)
	}
}

func TestFailureOfComposeCarriesItsLastLines(t *testing.T) {
	invocation, _ := player(t, "2.40.3", "CODE=17", "COMPLAINT="+strings.Repeat("noise\n", 50)+"no space left on device\n")
	err := found(t, invocation).Create(t.Context(), "web", 2)
	var failed *CommandError
	if !errors.As(err, &failed) || failed.ExitCode != 17 || !strings.HasSuffix(failed.Stderr, "no space left on device") {
		t.Fatalf("got %v", err)
	}
	if n := strings.Count(failed.Stderr, "\n"); n != 19 {
		t.Errorf("kept %d lines", n+1)
	}
	if !strings.Contains(err.Error(), "create replicas of web: ") || !strings.Contains(err.Error(), "exit code 17") {
		t.Errorf("got %v", err)
	}
}

func TestProgressOfPullGoesToTheWriter(t *testing.T) {
	var progress bytes.Buffer
	invocation, _ := player(t, "2.40.3", "COMPLAINT=web Pulling\n", "ANSWER=out\n")
	invocation.Output = &progress
	if err := found(t, invocation).Pull(t.Context(), "web", "always"); err != nil {
		t.Fatal(err)
	}
	if got := progress.String(); !strings.Contains(got, "web Pulling\n") || !strings.Contains(got, "out\n") {
		t.Errorf("got %q", got)
	}
}

func TestRehearsalOutlivesTheCopyThatCannotBeRehearsed(t *testing.T) {
	invocation, _ := player(t, "2.40.3", "CODE=1", "COMPLAINT="+jsonSecret)
	actions, err := found(t, invocation).Rehearse(t.Context(), "web", 3)
	if err != nil || len(actions) != 5 {
		t.Fatalf("got %v, %v", actions, err)
	}
	invocation, _ = player(t, "2.40.3", "CODE=1", "COMPLAINT="+jsonPull)
	if _, err := found(t, invocation).Rehearse(t.Context(), "web", 3); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("any other failure: got %v", err)
	}
	invocation, _ = player(t, "2.40.3", "COMPLAINT={broken\n")
	if _, err := found(t, invocation).Rehearse(t.Context(), "web", 3); err == nil || !strings.Contains(err.Error(), "{broken") {
		t.Errorf("a broken line: got %v", err)
	}
}

func TestEndOfTheContextIsTheError(t *testing.T) {
	invocation, _ := player(t, "2.40.3")
	c := found(t, invocation)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the user gave up"))
	if err := c.Create(ctx, "web", 2); err == nil || !strings.Contains(err.Error(), "the user gave up") {
		t.Errorf("got %v", err)
	}
}
