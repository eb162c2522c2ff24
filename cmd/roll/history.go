package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

func newHistoryCmd(a *app) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "history SERVICE",
		Short: "Show the last rolls of a service, and what ran before each",
		Long: `One line a successful roll, the newest first: when, by whom, and what it replaced
by what. roll rollback SERVICE --to N brings back what ran before roll N.

The last five are kept on the Docker Engine itself, in containers that never run
(roll-history-...), so that everybody sees the same. They keep the old images
from docker image prune; docker container prune removes them.`,
		ValidArgsFunction: completeServices(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd, "name one service")
			}
			if format != "table" && format != "json" {
				return usagef(cmd, "--format %s: it must be table or json", format)
			}
			s, err := a.open(cmd.Context(), args...)
			if err != nil {
				return err
			}
			entries, err := deploy.Entries(cmd.Context(), compose.NewHistory(s.api), s.project.Name, args[0])
			if err != nil {
				return err
			}
			return a.printHistory(entries, format)
		},
	}
	cmd.Flags().StringVar(&format, "format", "table", "table or json")
	return cmd
}

func (a *app) printHistory(entries []deploy.Entry, format string) error {
	if format == "json" {
		for i := range entries {
			entries[i].Kept = nil // what the replica was given, its secrets too
		}
		if entries == nil {
			entries = []deploy.Entry{}
		}
		return json.NewEncoder(a.streams.Out).Encode(entries)
	}
	w := tabwriter.NewWriter(a.streams.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROLL\tENDED\tBY\tCOMMAND\tRAN BEFORE\tREPLICAS\tTHEN\tTOOK")
	for _, e := range entries {
		by := e.By.Who
		if e.By.Host != "" {
			by += "@" + e.By.Host
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", e.Number, e.Ended.Local().Format("2006-01-02 15:04:05"), dash(printable(by)), dash(printable(e.By.Command)),
			versionOf(e.Was), e.Replicas, versionOf(e.Became), lapse(e.Took))
	}
	return w.Flush()
}

// versionOf is a version in a few words: two of one reference differ in the id.
func versionOf(v deploy.Version) string {
	id := strings.TrimPrefix(v.ImageID, "sha256:")
	return oneLine(v.Image + " (" + id[:min(8, len(id))] + ", config " + v.Hash[:min(8, len(v.Hash))] + ")")
}

// remembering is a keeper that remembers what it kept.
type remembering struct {
	keeper
	mu   sync.Mutex
	kept map[string]*compose.Kept // by the replica's name
}

func (r *remembering) Keep(ctx context.Context, id string) (any, error) {
	kept, err := r.keeper.Keep(ctx, id)
	if k, ok := kept.(*compose.Kept); ok && err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.kept[k.Name] = k
	}
	return kept, err
}

// recordLimit bounds the writing of one entry of the history.
const recordLimit = time.Minute

// record writes a roll that replaced one version by another into the history.
// Of several versions that ran before, the one with the most replicas counts.
func (s *session) record(ctx context.Context, r *remembering, by deploy.Owner, j job, result deploy.Result) error {
	if result.Outcome != deploy.Done || len(result.Created) == 0 || len(result.Removed) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordLimit)
	defer cancel()
	now, err := s.versions(ctx, result.Service, result.Created[0])
	if err != nil || len(now) == 0 {
		return err
	}
	entry := deploy.Entry{By: by, Ended: time.Now(), Took: result.Took, Proven: result.Proven, Removed: result.Removed, Created: result.Created, Became: now[0]}
	entry.Became.Image = j.snapshot.Service.Image
	for _, name := range result.Removed {
		k := r.kept[name]
		if k == nil || k.Config == nil {
			continue
		}
		entry.Volumes = append(entry.Volumes, k.Anonymous...)
		image, hash := k.Kind()
		alike := 0
		for _, other := range result.Removed {
			if o := r.kept[other]; o != nil {
				if i, h := o.Kind(); i == image && h == hash {
					alike++
				}
			}
		}
		if was := (deploy.Version{Image: k.Config.Image, ImageID: image, Hash: hash}); alike > entry.Replicas && !was.Same(entry.Became) {
			entry.Was, entry.Kept, entry.Replicas = was, k, alike
		}
	}
	if entry.Kept == nil {
		return nil
	}
	entry.Was.Digests = s.digests(ctx, entry.Was.ImageID)
	entry.Became.Digests = s.digests(ctx, entry.Became.ImageID)
	return deploy.Record(ctx, compose.NewHistory(s.api), s.project.Name, result.Service, entry)
}

// versions are what the replicas of a service were made from: those with the
// given names, or all that run.
func (s *session) versions(ctx context.Context, service string, names ...string) ([]deploy.Version, error) {
	replicas, err := s.engine.Replicas(ctx, s.project.Name, service)
	if err != nil {
		return nil, err
	}
	var all []deploy.Version
	for _, r := range replicas {
		if len(names) == 0 && r.Running() || len(names) > 0 && r.Name == names[0] {
			all = append(all, deploy.Version{Image: r.Image, ImageID: r.ImageID, Hash: r.ConfigHash})
		}
	}
	return all, nil
}

// digests are what registries know an image by; none when it never was in one.
func (s *session) digests(ctx context.Context, id string) []string {
	image, err := s.api.ImageInspect(ctx, id)
	if err != nil {
		return nil // a help for people, nothing else
	}
	return image.RepoDigests
}
