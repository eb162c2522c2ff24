package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/healthflip"
	"github.com/roll-deploy/roll/internal/check"
	"github.com/roll-deploy/roll/internal/program"
	"github.com/roll-deploy/roll/traefik"
)

// The layers of a check. Each works without the others.
const (
	layerFile     = "file"     // the Compose file; needs no Engine
	layerImage    = "image"    // what would be started
	layerReplicas = "replicas" // what runs
	layerTraefik  = "traefik"
)

var layers = []string{layerFile, layerImage, layerReplicas, layerTraefik}

type checkOptions struct {
	layers   []string
	format   string
	failOn   string
	explain  string
	fix      bool
	rehearse bool
	probe    probeFlags
}

// has reports whether a layer was asked for.
func (o checkOptions) has(layer string) bool {
	return len(o.layers) == 0 || slices.Contains(o.layers, layer)
}

// findingsError says that there were findings at or above --fail-on. They have
// been printed.
type findingsError struct{ worst check.Level }

func (e *findingsError) Error() string { return "there are findings: " + e.worst.String() }

func newCheckCmd(a *app) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check [SERVICE...]",
		Short: "Say what a deploy would lose, and what to write instead",
		Long: `Look at the Compose file, the images, the running replicas and Traefik, change
nothing, and say what the stop signal will do to each replica, what of a roll
would be refused or slow, how sure that is, what proves it, and the line to
write instead. docs/check.md lists the verdicts, docs/programs.md the programs
that are known.

The exit code is 0 when there is no finding at or above --fail-on, and 1 when
there is.`,
		Example: `  roll check                        everything
  roll check --layer file           the Compose file alone, without an Engine
  roll check web --fix              a patch of the Compose file
  roll check --format github        annotations, for a workflow
  roll check --explain nginx        what is known about a program
  roll check --rehearse web         flip one replica, measure, and flip it back`,
		ValidArgsFunction: completeServices(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.valid(cmd); err != nil {
				return err
			}
			switch {
			case o.explain != "":
				return a.explainProgram(cmd, o.explain)
			case o.rehearse:
				return a.rehearse(cmd, args, o)
			}
			return a.check(cmd.Context(), args, o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.layers, "layer", nil, "only these: file (needs no Engine), image, replicas, traefik")
	f.StringVar(&o.format, "format", "table", "table, json, sarif or github")
	f.StringVar(&o.failOn, "fail-on", "error", "exit 1 from this level on: warn or error")
	f.BoolVar(&o.fix, "fix", false, "print a patch of the Compose file, and the findings on stderr")
	f.StringVar(&o.explain, "explain", "", "print what is known about a program, as nginx")
	f.BoolVar(&o.rehearse, "rehearse", false, "flip one replica of SERVICE, measure what follows, and flip it back")
	o.probe.addTo(cmd)
	return cmd
}

func (o checkOptions) valid(cmd *cobra.Command) error {
	for _, layer := range o.layers {
		if !slices.Contains(layers, layer) {
			return usagef(cmd, "--layer %s: it must be %s", layer, strings.Join(layers, ", "))
		}
	}
	if !slices.Contains([]string{"table", "json", "sarif", "github"}, o.format) {
		return usagef(cmd, "--format %s: it must be table, json, sarif or github", o.format)
	}
	if o.failOn != "warn" && o.failOn != "error" {
		return usagef(cmd, "--fail-on %s: it must be warn or error", o.failOn)
	}
	if o.probe.url != "" && !o.rehearse {
		return usagef(cmd, "--probe goes with --rehearse")
	}
	return nil
}

func (a *app) explainProgram(cmd *cobra.Command, name string) error {
	known := program.ByName(name)
	if known == nil {
		return usagef(cmd, "%s is not a program that is known: docs/programs.md lists them", name)
	}
	_, err := fmt.Fprint(a.streams.Out, known.Explain())
	return err
}

// checkup is one check of a project.
type checkup struct {
	*session
	options  checkOptions
	services []compose.Service
	replicas []compose.Replica
	images   map[string]compose.Image // by service; those that are here
	healers  []healer
	found    []check.Finding
	notes    []string
}

func (a *app) check(ctx context.Context, args []string, o checkOptions) error {
	project, err := compose.Load(ctx, a.composeOptions())
	if err != nil {
		return err
	}
	for _, name := range args {
		if _, err := project.Service(name); err != nil {
			return err
		}
	}
	c := &checkup{session: &session{app: a, project: project}, options: o, images: map[string]compose.Image{}}
	for _, service := range c.named(args) {
		if !service.OneShot || slices.Contains(args, service.Name) {
			c.services = append(c.services, service)
		}
	}
	if o.has(layerImage) || o.has(layerReplicas) || o.has(layerTraefik) {
		if err := c.connect(ctx); err != nil {
			return err
		}
	} else {
		c.flipper = healthflip.New(noDocker{})
	}
	if o.has(layerFile) {
		for _, service := range c.services {
			c.found = append(c.found, c.file(service)...)
		}
	}
	if o.has(layerReplicas) || o.has(layerImage) {
		if err := c.look(ctx); err != nil {
			return err
		}
	}
	if o.has(layerTraefik) {
		c.traefik(ctx)
	}
	return c.report()
}

// noDocker stands where no Engine is asked: the file layer only reads labels.
type noDocker struct{ healthflip.Docker }

// connect reaches the Engine and reads what all its layers share.
func (c *checkup) connect(ctx context.Context) error {
	c.api = c.app.docker.Client()
	c.engine = compose.NewEngine(c.api)
	c.flipper = healthflip.New(c.api)
	if _, err := c.api.Ping(ctx); err != nil {
		return fmt.Errorf("%w; the Compose file alone: roll check --layer file", &unreachableError{c.app.docker.DockerEndpoint().Host, err})
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	group.Go(func() error { return c.findTraefik(ctx) })
	group.Go(func() (err error) {
		c.replicas, err = c.engine.AllReplicas(gctx, c.project.Name)
		return err
	})
	group.Go(func() (err error) {
		c.healers, err = healersOn(gctx, c.api)
		return err
	})
	images := make([]*compose.Image, len(c.services))
	for i, service := range c.services {
		group.Go(func() error {
			image, err := c.engine.Image(gctx, service.Image)
			if err == nil {
				images[i] = &image
			} else if !errors.Is(err, compose.ErrNoImage) {
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, image := range images {
		if image != nil {
			c.images[c.services[i].Name] = *image
		}
	}
	return nil
}

// image is what is known of a service's image; nil: it is not here, or nobody
// looked.
func (c *checkup) image(service compose.Service) *compose.Image {
	image, ok := c.images[service.Name]
	if !ok {
		return nil
	}
	return &image
}

// of are the replicas of a service.
func (c *checkup) of(service compose.Service) []compose.Replica {
	return slices.DeleteFunc(slices.Clone(c.replicas), func(r compose.Replica) bool { return r.Service != service.Name })
}

// look judges replicas and images.
func (c *checkup) look(ctx context.Context) error {
	var targets []compose.Replica
	for _, service := range c.services {
		targets = append(targets, c.of(service)...)
	}
	lookout := newLookout(c.api)
	facts := make([]*check.Replica, len(targets))
	gone := make([]bool, len(targets))
	var kills []check.Kill
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(64) // most of it waits: Engine 20.10 takes up to a second to tell a container's counts
	if c.options.has(layerReplicas) {
		for i, r := range targets {
			if !r.Running() {
				continue
			}
			group.Go(func() error {
				seen, err := lookout.see(gctx, r)
				switch {
				case errors.Is(err, compose.ErrGone):
					gone[i] = true
				case err != nil:
					return err
				default:
					facts[i] = &seen
				}
				return nil
			})
		}
		group.Go(func() (err error) {
			kills, err = killEvents(gctx, c.api, c.project.Name, time.Now())
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if lookout.blind.Load() {
		c.notes = append(c.notes, "the ps of the Engine's host does not know the columns of signal masks ("+lookout.reason()+"): verdicts rest on the names of programs alone")
	}
	for i, r := range targets {
		switch {
		case gone[i]:
			c.found = append(c.found, check.Finding{ID: check.Vanished, Level: check.Note, Confidence: check.Certain, Service: r.Service, Replicas: []string{r.Name}, Text: "it vanished while it was looked at: nothing is known about it"})
		case facts[i] != nil:
			c.found = append(c.found, check.Stop(*facts[i])...)
			c.found = append(c.found, check.Drain(*facts[i], r.Healthcheck, c.throttle())...)
			c.found = append(c.found, check.History(r)...)
		case c.options.has(layerReplicas):
			c.found = append(c.found, check.History(r)...)
		}
	}
	for _, k := range check.Killed(kills) {
		if slices.ContainsFunc(c.services, func(s compose.Service) bool { return s.Name == k.Service }) {
			c.found = slices.DeleteFunc(c.found, func(f check.Finding) bool { // the exit code says less
				return f.ID == k.ID && slices.Equal(f.Replicas, k.Replicas)
			})
			c.found = append(c.found, k)
		}
	}
	if !c.options.has(layerImage) {
		return nil
	}
	for _, service := range c.services {
		if err := c.next(ctx, service, lookout); err != nil {
			return err
		}
	}
	return nil
}

// next judges a replica that Compose would create now, unless one of the same
// image runs, which tells more.
func (c *checkup) next(ctx context.Context, service compose.Service, lookout *lookout) error {
	image := c.image(service)
	if image == nil {
		c.found = append(c.found, check.Finding{ID: check.Undecided, Level: check.Note, Confidence: check.Unknown, Service: service.Name, Path: []string{"image"},
			Text: "the image " + service.Image + " is not on this Engine: what it starts is not known", Fix: "docker compose pull " + service.Name})
		return nil
	}
	replicas := c.of(service)
	same := func(r compose.Replica) bool { return r.ImageID == image.ID }
	if c.options.has(layerReplicas) && slices.ContainsFunc(replicas, func(r compose.Replica) bool { return r.Running() && same(r) }) {
		return nil
	}
	declared := check.AsDeclared(service, image)
	if i := slices.IndexFunc(replicas, same); i >= 0 { // its files are the image's
		if err := lookout.read(ctx, replicas[i], &declared); err != nil && !errors.Is(err, compose.ErrGone) {
			return err
		}
	}
	found := check.Stop(declared)
	found = append(found, check.Drain(declared, healthcheckOf(service, image), c.throttle())...)
	if len(replicas) > 0 && c.options.has(layerReplicas) { // those that run have a verdict of their own
		found = slices.DeleteFunc(found, func(f check.Finding) bool { return f.Level < check.Warn })
	}
	c.found = append(c.found, found...)
	return nil
}

// healthcheckOf is the one that a new replica would have; nil: none, or one
// that is not known.
func healthcheckOf(service compose.Service, image *compose.Image) *compose.Healthcheck {
	if service.Healthcheck == nil && !service.NoHealthcheck && image != nil {
		return image.Healthcheck
	}
	return service.Healthcheck
}

// report places, merges and prints what was found.
func (c *checkup) report() error {
	for i := range c.found {
		f := &c.found[i]
		if f.Where == "" && f.Service != "" {
			f.Where = c.project.Where(f.Service, f.Path...)
		}
		f.Where = c.app.fromHere(c.project.Dir, f.Where)
	}
	found := check.Merge(c.found)
	out := c.app.streams.Out
	if c.options.fix {
		out = c.app.streams.Err
	}
	if err := printFindings(out, c.options.format, found); err != nil {
		return err
	}
	for _, note := range c.notes {
		fmt.Fprintln(c.app.streams.Err, "roll: "+note)
	}
	if c.options.fix {
		if err := c.patch(found); err != nil {
			return err
		}
	}
	limit := check.Error
	if c.options.failOn == "warn" {
		limit = check.Warn
	}
	if worst := check.Worst(found); worst >= limit {
		return &findingsError{worst}
	}
	return nil
}

// patch prints the changes of the Compose files that the findings ask for.
func (c *checkup) patch(found []check.Finding) error {
	files := map[string][]check.Edit{}
	var names []string
	for _, f := range found {
		if f.Level < check.Warn || f.Confidence == check.Unknown {
			continue
		}
		for _, e := range f.Edits {
			file, _ := splitPlace(c.app.fromHere(c.project.Dir, c.project.Where(e.Service, e.Path...)))
			if _, there := files[file]; !there {
				names = append(names, file)
			}
			files[file] = append(files[file], e)
		}
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read %s to patch it: %w", name, err)
		}
		patch, unmade, err := check.Patch(name, text, files[name])
		if err != nil {
			return fmt.Errorf("patch %s: %w", name, err)
		}
		if _, err := c.app.streams.Out.Write(patch); err != nil {
			return err
		}
		for _, e := range unmade {
			fmt.Fprintf(c.app.streams.Err, "roll: to be written by hand, into service %s of %s: %s: %s\n", e.Service, name, strings.Join(e.Path, "."), e.Value)
		}
	}
	return nil
}

// fromHere turns a place below the project directory into one below the
// working directory, which is what editors and workflows know.
func (a *app) fromHere(dir, place string) string {
	file, line := splitPlace(place)
	if file == "" || file == "stdin" {
		return place
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	here, err := filepath.Abs(".")
	if err != nil {
		return place
	}
	if relative, err := filepath.Rel(here, file); err == nil && !strings.HasPrefix(relative, "..") {
		file = relative
	}
	if line > 0 {
		file += ":" + strconv.Itoa(line)
	}
	return file
}

// splitPlace parts file:line; a line of 0 is none.
func splitPlace(place string) (file string, line int) {
	if i := strings.LastIndexByte(place, ':'); i > 0 {
		if n, err := strconv.Atoi(place[i+1:]); err == nil {
			return place[:i], n
		}
	}
	return place, 0
}

// behind reports whether a service is behind Traefik, as far as its labels
// tell.
func behind(service compose.Service, image *compose.Image) bool {
	labels := service.Labels
	if image != nil {
		labels = newcomer(service, *image).Labels
	}
	enabled, _ := traefik.Enabled(labels)
	return enabled
}
