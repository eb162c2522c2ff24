package compose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/consts"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// Options are what a person gives `docker compose` to say which project is
// meant: its flags, and the environment that its COMPOSE_ variables are in.
type Options struct {
	Files            []string // -f; "-" is Stdin
	ProjectName      string   // -p
	ProjectDirectory string   // --project-directory
	EnvFiles         []string // --env-file
	Profiles         []string // --profile
	Environ          []string // NAME=value; nothing else is read from the environment

	// WorkingDir is what relative paths are relative to. Empty: the process's
	// own.
	WorkingDir string

	// Stdin is read once, and only when Files (or COMPOSE_FILE) names "-".
	Stdin io.Reader
}

// NoFileError says that no Compose file was named and none was found in Dir
// or above it.
type NoFileError struct{ Dir string }

func (e *NoFileError) Error() string {
	return fmt.Sprintf("no Compose file in %s or above it (looked for %s): name one with -f",
		e.Dir, strings.Join(cli.DefaultFileNames, ", "))
}

// UnknownServiceError says that the project has no such service, or that it
// has one but no profile of it is active.
type UnknownServiceError struct {
	Name     string
	Known    []string // services that are there, sorted
	Nearest  string   // the known service that Name may be a misspelling of; may be empty
	Profiles []string // not empty: the service is there, and any of these enables it
}

func (e *UnknownServiceError) Error() string {
	if len(e.Profiles) > 0 {
		return fmt.Sprintf("service %q is not active: give --profile %s", e.Name, strings.Join(e.Profiles, " or --profile "))
	}
	text := fmt.Sprintf("no service %q in this project", e.Name)
	if e.Nearest != "" {
		return fmt.Sprintf("%s: did you mean %q?", text, e.Nearest)
	}
	if len(e.Known) == 0 {
		return text + ": it has none"
	}
	return fmt.Sprintf("%s: it has %s", text, strings.Join(e.Known, ", "))
}

// Project is a loaded Compose project: the desired state.
type Project struct {
	Name  string
	Dir   string   // project directory, absolute
	Files []string // as loaded, absolute; "-" is what was read from stdin

	// Stdin is what "-" held, for whoever has to give it to `docker compose`
	// again. Nil when no file was "-".
	Stdin []byte

	services []Service
	inactive map[string][]string // service -> its profiles
	sources  []source
}

// Load reads a project as `docker compose` does (facts.md C): files from
// flags, from COMPOSE_FILE, or searched upwards; `.env` and --env-file;
// profiles; include, extends, overrides. Mistakes in a file come back as
// *FileError; no file at all as *NoFileError.
func Load(ctx context.Context, o Options) (*Project, error) {
	found, err := find(o)
	if err != nil {
		return nil, err
	}
	details, stdin, err := read(found, o)
	if err != nil {
		return nil, err
	}
	dir := details.WorkingDir
	sources, err := parse(details.ConfigFiles, dir, found.Environment)
	if err != nil {
		return nil, err
	}

	setup := []func(*loader.Options){
		loader.WithProfiles(profiles(o, found.Environment)),
		func(l *loader.Options) { nameProject(l, found, dir) },
	}
	dict, err := loader.LoadModelWithContext(ctx, *details, setup...)
	if err != nil {
		return nil, locate(err, sources, dir)
	}
	present := statedUpdates(dict) // ModelToProject consumes the model
	options := loader.ToOptions(details, setup)
	name, _ := dict["name"].(string)
	options.SetProjectName(name, true)
	model, err := loader.ModelToProject(dict, options, *details)
	if err != nil {
		return nil, locate(err, sources, dir)
	}

	p := &Project{Name: model.Name, Dir: dir, Stdin: stdin, sources: sources, inactive: map[string][]string{}}
	for _, file := range details.ConfigFiles {
		p.Files = append(p.Files, file.Filename)
	}
	for name, service := range model.DisabledServices {
		p.inactive[name] = service.Profiles
	}
	p.services = services(model, present, found.Environment)
	return p, nil
}

// find settles files, environment and working directory in the order in
// which `docker compose` does. compose-go resolves against the directory of
// the process; o.WorkingDir takes its place here.
func find(o Options) (*cli.ProjectOptions, error) {
	wd, err := filepath.Abs(o.WorkingDir)
	if err != nil {
		return nil, fmt.Errorf("find working directory: %w", err)
	}
	environment := types.NewMapping(o.Environ)
	environment["PWD"] = wd

	envFiles := o.EnvFiles
	if len(envFiles) == 0 && environment["COMPOSE_ENV_FILES"] != "" {
		envFiles = strings.Split(environment["COMPOSE_ENV_FILES"], ",")
	}
	envFiles = absolute(wd, envFiles)
	dotenv := func(p *cli.ProjectOptions) error {
		if disabled := environment[consts.ComposeDisableDefaultEnvFile]; len(envFiles) == 0 && isTrue(disabled) {
			return nil
		}
		if err := cli.WithEnvFiles(envFiles...)(p); err != nil {
			return err
		}
		return cli.WithDotEnv(p)
	}
	inWorkingDir := func(step cli.ProjectOptionsFn) cli.ProjectOptionsFn {
		return func(p *cli.ProjectOptions) error {
			if p.WorkingDir != "" || len(p.ConfigPaths) > 0 {
				return step(p)
			}
			p.WorkingDir = wd
			err := step(p)
			p.WorkingDir = ""
			return err
		}
	}
	composeFile := func(p *cli.ProjectOptions) error {
		value := p.Environment[consts.ComposeFilePath]
		if len(p.ConfigPaths) > 0 || value == "" {
			return nil
		}
		separator := cmp.Or(p.Environment[consts.ComposePathSeparator], string(os.PathListSeparator))
		p.ConfigPaths = absolute(wd, strings.Split(value, separator))
		return nil
	}
	projectDir := o.ProjectDirectory
	if projectDir != "" {
		projectDir = absolute(wd, []string{projectDir})[0]
	}

	found, err := cli.NewProjectOptions(absolute(wd, o.Files),
		cli.WithWorkingDirectory(projectDir),
		func(p *cli.ProjectOptions) error { p.Environment = environment; return nil },
		inWorkingDir(dotenv),
		composeFile,
		inWorkingDir(cli.WithDefaultConfigPath),
		inWorkingDir(dotenv),
		cli.WithName(o.ProjectName))
	if err != nil {
		return nil, fmt.Errorf("find project: %w", err)
	}
	if len(found.ConfigPaths) == 0 {
		return nil, &NoFileError{Dir: cmp.Or(projectDir, wd)}
	}
	if found.WorkingDir == "" && !slices.ContainsFunc(found.ConfigPaths, func(f string) bool { return f != "-" }) {
		found.WorkingDir = wd
	}
	return found, nil
}

// read reads every file once, so that what is loaded and what Where points
// into are the same text.
func read(found *cli.ProjectOptions, o Options) (*types.ConfigDetails, []byte, error) {
	dir, err := found.GetWorkingDir()
	if err != nil {
		return nil, nil, fmt.Errorf("find project directory: %w", err)
	}
	details := &types.ConfigDetails{WorkingDir: dir, Environment: found.Environment}
	var stdin []byte
	for _, path := range found.ConfigPaths {
		var content []byte
		switch {
		case path != "-":
			content, err = os.ReadFile(path)
		case stdin != nil:
			content = stdin
		case o.Stdin == nil:
			err = errors.New("no standard input to read it from")
		default:
			stdin, err = io.ReadAll(o.Stdin)
			content = stdin
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read Compose file: %w", err)
		}
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: path, Content: content})
	}
	return details, stdin, nil
}

// nameProject follows compose's order: -p, COMPOSE_PROJECT_NAME, `name:` in a
// file, the directory's name.
func nameProject(l *loader.Options, found *cli.ProjectOptions, dir string) {
	if name := cmp.Or(found.Name, found.Environment[consts.ComposeProjectName]); name != "" {
		l.SetProjectName(name, true)
		return
	}
	l.SetProjectName(loader.NormalizeProjectName(filepath.Base(dir)), false)
}

func profiles(o Options, environment types.Mapping) []string {
	if len(o.Profiles) > 0 {
		return o.Profiles
	}
	var names []string
	for name := range strings.SplitSeq(environment[consts.ComposeProfiles], ",") {
		names = append(names, strings.TrimSpace(name))
	}
	return names
}

// Services returns the active services, dependencies before those who depend
// on them, otherwise by name.
func (p *Project) Services() []Service { return slices.Clone(p.services) }

// Service returns one active service, or *UnknownServiceError.
func (p *Project) Service(name string) (Service, error) {
	for _, s := range p.services {
		if s.Name == name {
			return s, nil
		}
	}
	unknown := &UnknownServiceError{Name: name, Profiles: p.inactive[name]}
	for _, s := range p.services {
		unknown.Known = append(unknown.Known, s.Name)
	}
	slices.Sort(unknown.Known)
	unknown.Nearest = nearest(name, unknown.Known)
	return Service{}, unknown
}

// Where says where a service, or something in it, is written: "file:line",
// the file relative to the project directory. Each element of path is a key
// or, in a list, an index or the NAME of a NAME=value item. What is written
// in several files is looked for in the last one first; what is not written
// anywhere is the service's own line; a service that is not, is the file.
func (p *Project) Where(service string, path ...string) string {
	for _, path := range [][]string{path, nil} {
		for i := len(p.sources) - 1; i >= 0; i-- {
			if file, node := p.sources[i].service(p.sources, service, path, 0); node != nil {
				return fmt.Sprintf("%s:%d", relative(p.Dir, file), node.Line)
			}
		}
	}
	if len(p.Files) == 0 {
		return ""
	}
	return relative(p.Dir, p.Files[0])
}

func absolute(dir string, paths []string) []string {
	var all []string
	for _, path := range paths {
		if path != "-" && !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		all = append(all, path)
	}
	return all
}

func relative(dir, file string) string {
	if file == "-" {
		return "stdin"
	}
	if rel, err := filepath.Rel(dir, file); err == nil {
		return rel
	}
	return file
}

func isTrue(s string) bool {
	switch strings.ToLower(s) {
	case "1", "t", "true":
		return true
	}
	return false
}

// nearest returns the name that differs from the wrong one in the fewest
// letters, when those are few enough to be a slip.
func nearest(wrong string, names []string) string {
	best, distance := "", 1+max(1, len(wrong)/3)
	for _, name := range names {
		if d := edits(wrong, name); d < distance {
			best, distance = name, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
