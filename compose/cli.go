package compose

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// OldestCLI is the oldest `docker compose` that roll works with: the first
// whose dry run and hashes are what roll reads.
const OldestCLI = "2.20"

// Invocation is how the user's own `docker compose` has to be called so that
// it sees the project that the user means.
type Invocation struct {
	Options              // the same as for Load; Environ becomes the child's environment
	DockerArgs []string  // docker's global flags as the user gave them: --context, -H, --tls...
	Env        []string  // NAME=value, on top of Environ
	Input      []byte    // what -f - holds: Project.Stdin
	Output     io.Writer // progress of Pull and Build; nil: discarded
}

// CLI is the user's own Compose v2 program. It alone creates containers, so
// that they are exactly what `docker compose up` makes.
type CLI struct {
	program []string // the words before compose's own flags
	call    Invocation
	version [3]int
	usage   usage
}

// usage counts the calls of one CLI.
type usage struct{ calls, spent atomic.Int64 }

// NoComposeError says that there is no Compose that roll can work with.
type NoComposeError struct {
	Found string // what is there instead, with its version; empty: nothing
	Err   error  // why it could not be asked; may be nil
}

func (e *NoComposeError) Error() string {
	want := "install Docker Compose " + OldestCLI + " or newer (the docker-compose-plugin package), or set ROLL_COMPOSE to its program"
	if e.Found == "" {
		return "no Docker Compose found: " + want
	}
	if e.Err != nil {
		return fmt.Sprintf("%s does not say its version (%v): %s", e.Found, e.Err, want)
	}
	return fmt.Sprintf("%s is too old: %s", e.Found, want)
}

func (e *NoComposeError) Unwrap() error { return e.Err }

// CommandError is a call of Compose that failed.
type CommandError struct {
	Args     []string // the whole command line
	ExitCode int      // -1: it was killed, or never started
	Stderr   string   // its last lines
	Err      error    // why it ended, when not by its own exit
}

func (e *CommandError) Error() string {
	text := strings.Join(e.Args, " ")
	if e.Err != nil {
		text += ": " + e.Err.Error()
	} else {
		text += fmt.Sprintf(": exit code %d", e.ExitCode)
	}
	if e.Stderr != "" {
		text += "\n" + e.Stderr
	}
	return text
}

func (e *CommandError) Unwrap() error { return e.Err }

// Find looks for Compose v2: what $ROLL_COMPOSE names (a program, or a
// program and its first arguments, without quoting), else the plugin of
// `docker`, else `docker-compose`. Nothing new enough: *NoComposeError.
func Find(ctx context.Context, call Invocation) (*CLI, error) {
	candidates := [][]string{{"docker", "compose"}, {"docker-compose"}}
	env := environ(call)
	if override := lookup(env, "ROLL_COMPOSE"); override != "" {
		candidates = [][]string{{override}}
		if _, err := exec.LookPath(override); err != nil {
			candidates = [][]string{strings.Fields(override)}
		}
	}
	missing := &NoComposeError{}
	for _, program := range candidates {
		if _, err := exec.LookPath(program[0]); err != nil {
			continue
		}
		c := &CLI{program: program, call: call}
		out, err := c.run(ctx, []string{"version", "--short"}, nil)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask Compose for its version: %w", context.Cause(ctx))
		}
		name := strings.Join(program, " ")
		if err != nil {
			// docker without the plugin answers with its help: nothing is there.
			if name != "docker compose" {
				missing = &NoComposeError{Found: name, Err: err}
			}
			continue
		}
		text := strings.TrimPrefix(strings.TrimSpace(out), "v")
		version, ok := parseVersion(text)
		switch {
		case !ok:
			missing = &NoComposeError{Found: name, Err: fmt.Errorf("it answered %.80q", text)}
		case slices.Compare(version[:], []int{2, 20, 0}) < 0:
			missing = &NoComposeError{Found: name + " " + text}
		default:
			c.version = version
			return c, nil
		}
	}
	if lookup(env, "ROLL_COMPOSE") != "" && missing.Found == "" {
		missing = &NoComposeError{Found: strings.Join(candidates[0], " "), Err: errors.New("no such program")}
	}
	return nil, missing
}

var versionNumber = regexp.MustCompile(`^(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?`)

func parseVersion(text string) (version [3]int, ok bool) {
	m := versionNumber.FindStringSubmatch(text)
	if m == nil {
		return version, false
	}
	for i := range version {
		version[i], _ = strconv.Atoi(m[i+1])
	}
	return version, true
}

// Version is the program's version without what a packager appends to it, as
// Compose labels containers with it.
func (c *CLI) Version() string {
	return fmt.Sprintf("%d.%d.%d", c.version[0], c.version[1], c.version[2])
}

// Calls is how often Compose was called so far, Find's question included.
func (c *CLI) Calls() int64 { return c.usage.calls.Load() }

// Spent is how long all calls took that have ended, one after the other.
func (c *CLI) Spent() time.Duration { return time.Duration(c.usage.spent.Load()) }

// Hash asks for the configuration hash of services (none: of all), as `docker
// compose config --hash` tells it. That is not always the hash in the label
// of a container made from the same configuration: 2.40 hashes env_file,
// label_file, volumes_from and the service: modes before it has resolved them
// here, and after that in `up`. Stale has no such gap.
func (c *CLI) Hash(ctx context.Context, services ...string) (map[string]string, error) {
	out, err := c.run(ctx, []string{"config", "--hash", cmp.Or(strings.Join(services, ","), "*")}, nil)
	if err != nil {
		return nil, fmt.Errorf("ask Compose for hashes: %w", err)
	}
	hashes, err := parseHashes(out, services)
	if err != nil {
		return nil, fmt.Errorf("ask Compose for hashes: %w", err)
	}
	return hashes, nil
}

// parseHashes reads lines of "web 0123...": those of these services have to be
// there.
func parseHashes(out string, services []string) (map[string]string, error) {
	hashes := map[string]string{}
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) == 2 && hexadecimal.MatchString(fields[1]) {
			hashes[fields[0]] = fields[1]
		}
	}
	for _, name := range services {
		if hashes[name] == "" {
			return nil, fmt.Errorf("no hash of service %q in its answer %.200q", name, out)
		}
	}
	return hashes, nil
}

var hexadecimal = regexp.MustCompile(`^[0-9a-f]{64}$`)

// up is the one command that creates replicas. Images are pulled before, so
// that creation never waits for a registry: --pull never overrides the
// service's pull_policy, which is not part of the hash. -y is never given:
// Compose asks before it recreates a volume, and no answer means no.
func up(service string, total int) []string {
	return []string{
		"up", "-d", "--no-deps", "--no-recreate", "--no-build", "--pull", "never",
		"--scale", service + "=" + strconv.Itoa(total), service,
	}
}

// Stale asks which containers of a service `docker compose up` would replace,
// because of their configuration or their image: the same command as Create's,
// without --no-recreate, in a rehearsal. total has to be the number of
// containers that there are, in whatever state.
func (c *CLI) Stale(ctx context.Context, service string, total int) (Stale, error) {
	command := slices.DeleteFunc(up(service, total), func(arg string) bool { return arg == "--no-recreate" })
	actions, err := c.dryRun(ctx, command)
	if err != nil {
		return nil, fmt.Errorf("ask Compose which replicas of %s are outdated: %w", service, err)
	}
	return stale(actions), nil
}

// Create brings the service to total containers by making new ones and
// starting them. Compose counts stopped containers as well, and starts them.
func (c *CLI) Create(ctx context.Context, service string, total int) error {
	if _, err := c.run(ctx, up(service, total), nil); err != nil {
		return fmt.Errorf("create replicas of %s: %w", service, err)
	}
	return nil
}

// Rehearse says what Create would do. That an image is missing is not
// noticed: Compose does not look in a rehearsal (Engine.ImageID does).
func (c *CLI) Rehearse(ctx context.Context, service string, total int) ([]Action, error) {
	actions, err := c.dryRun(ctx, up(service, total))
	if err != nil {
		return nil, fmt.Errorf("rehearse the creation of replicas of %s: %w", service, err)
	}
	return actions, nil
}

func (c *CLI) dryRun(ctx context.Context, command []string) ([]Action, error) {
	args := []string{"--dry-run"}
	if slices.Compare(c.version[:], []int{2, 27, 0}) >= 0 {
		args = append(args, "--progress", "json")
	}
	var stderr bytes.Buffer
	stdout, failed := c.start(ctx, append(args, command...), io.Discard, &stderr)
	actions, err := ParseRehearsal([]byte(stdout + "\n" + stderr.String()))
	var exit *CommandError
	if errors.As(failed, &exit) && exit.Err == nil && err == nil && cutShort(actions) {
		failed = nil
	}
	return actions, cmp.Or(failed, err)
}

// Pull brings the image of a service to this Engine. policy is "always",
// "missing" or "never" (nothing is done). Compose before 2.22 knows no
// "missing" and asks the registry: with it, ask Engine.ImageID first.
func (c *CLI) Pull(ctx context.Context, service, policy string) error {
	args := []string{"pull"}
	switch policy {
	case "never":
		return nil
	case "always", "missing":
		if slices.Compare(c.version[:], []int{2, 22, 0}) >= 0 {
			args = append(args, "--policy", policy)
		}
	default:
		return fmt.Errorf("pull image of %s: unknown policy %q: use always, missing or never", service, policy)
	}
	if _, err := c.run(ctx, append(args, service), c.call.Output); err != nil {
		return fmt.Errorf("pull image of %s: %w", service, err)
	}
	return nil
}

// Build builds the image of a service.
func (c *CLI) Build(ctx context.Context, service string) error {
	if _, err := c.run(ctx, []string{"build", service}, c.call.Output); err != nil {
		return fmt.Errorf("build image of %s: %w", service, err)
	}
	return nil
}

// Args is the whole command line for a compose command, the program first.
func (c *CLI) Args(command ...string) []string {
	o := c.call.Options
	args := slices.Concat(c.program[:1], c.call.DockerArgs, c.program[1:])
	for _, file := range o.Files {
		args = append(args, "--file", file)
	}
	if o.ProjectName != "" {
		args = append(args, "--project-name", o.ProjectName)
	}
	if o.ProjectDirectory != "" {
		args = append(args, "--project-directory", o.ProjectDirectory)
	}
	for _, file := range o.EnvFiles {
		args = append(args, "--env-file", file)
	}
	for _, profile := range o.Profiles {
		args = append(args, "--profile", profile)
	}
	return append(args, command...)
}

// run returns what the command wrote to stdout. progress, when given, gets
// both streams as they come.
func (c *CLI) run(ctx context.Context, command []string, progress io.Writer) (string, error) {
	if progress == nil {
		return c.start(ctx, command, io.Discard, io.Discard)
	}
	shared := &oneAtATime{w: progress}
	return c.start(ctx, command, shared, shared)
}

func (c *CLI) start(ctx context.Context, command []string, stdout, stderr io.Writer) (string, error) {
	c.usage.calls.Add(1)
	defer func(began time.Time) { c.usage.spent.Add(int64(time.Since(began))) }(time.Now())
	args := c.Args(command...)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = c.call.WorkingDir
	cmd.Env = environ(c.call)
	if c.call.Input != nil {
		cmd.Stdin = bytes.NewReader(c.call.Input)
	}
	detach(cmd)
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	last := &tail{max: 20}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, stdout), io.MultiWriter(last, stderr)
	err := cmd.Run()
	if err == nil {
		return out.String(), nil
	}
	failed := &CommandError{Args: args, ExitCode: -1, Stderr: last.String()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		failed.Err = context.Cause(ctx)
	case errors.As(err, &exit) && exit.Exited():
		failed.ExitCode = exit.ExitCode()
	default:
		failed.Err = err
	}
	return out.String(), failed
}

// settings make the child's output and deeds independent of what the user
// prefers for his own calls: roll reads the output, and `up` of one service
// must never remove orphans.
var settings = []string{
	"COMPOSE_ANSI=never", "COMPOSE_PROGRESS=plain", "COMPOSE_STATUS_STDOUT=", "COMPOSE_MENU=0",
	"COMPOSE_REMOVE_ORPHANS=0", "COMPOSE_IGNORE_ORPHANS=1", "DOCKER_CLI_HINTS=false",
}

// environ is the child's environment. The variables with which docker starts
// a plugin are meant for roll alone: with them the child would believe that
// docker had started it.
func environ(call Invocation) []string {
	values := map[string]string{}
	for _, line := range slices.Concat(call.Environ, call.Env, settings) {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, "DOCKER_CLI_PLUGIN_") {
			values[name] = value
		}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		lines = append(lines, name+"="+values[name])
	}
	return lines
}

func lookup(environ []string, name string) string {
	for _, line := range environ {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value
		}
	}
	return ""
}

// Program is the program that is called, for messages.
func (c *CLI) Program() string {
	return strings.Join(append([]string{filepath.Base(c.program[0])}, c.program[1:]...), " ")
}
