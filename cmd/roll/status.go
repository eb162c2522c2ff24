package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	units "github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/traefik"
)

func newStatusCmd(a *app) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status [SERVICE...]",
		Short: "Show every replica, and where Traefik routes",
		Long: `One line a replica: its image, whether it is what docker compose would create
now, what Docker says about it, and in which services of which Traefik it is.`,
		ValidArgsFunction: completeServices(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "table" && format != "json" {
				return usagef(cmd, "--format %s: it must be table or json", format)
			}
			rows, note, err := a.status(cmd.Context(), args)
			if err != nil {
				return err
			}
			if format == "json" {
				return json.NewEncoder(a.streams.Out).Encode(rows)
			}
			return a.printStatus(rows, note)
		},
	}
	cmd.Flags().StringVar(&format, "format", "table", "table or json")
	return cmd
}

// statusRow is one replica; its JSON is a contract (docs/json.md).
type statusRow struct {
	Service  string        `json:"service"`
	Replica  string        `json:"replica"` // empty: the service has none
	ID       string        `json:"id"`
	Image    string        `json:"image"`
	Current  bool          `json:"current"`
	Outdated string        `json:"outdated,omitempty"` // why
	State    string        `json:"state"`
	Health   string        `json:"health,omitempty"`
	Flipped  bool          `json:"flipped"` // unhealthy, and there is a way to tell it so
	Routes   []statusRoute `json:"routes"`
	Started  time.Time     `json:"started,omitzero"`
	Note     string        `json:"note,omitempty"`

	Rolling *statusRolling `json:"rolling,omitempty"` // who is at work on the project
}

type statusRoute struct {
	Traefik string `json:"traefik"`
	Service string `json:"service"`
	Status  string `json:"status"` // UP or DOWN
}

func (a *app) status(ctx context.Context, args []string) (rows []statusRow, note string, err error) {
	s, err := a.open(ctx, args...)
	if err != nil {
		return nil, "", err
	}
	services := s.named(args)
	hashes, err := s.hashes(ctx, services)
	if err != nil {
		return nil, "", err
	}
	views, notes := s.views(ctx)
	rolling, note := s.rolling(ctx)
	rows = []statusRow{}
	for _, service := range services {
		replicas, err := s.replicas(ctx, service, hashes[service.Name])
		if err != nil && replicas == nil {
			return nil, "", err
		}
		if err != nil {
			notes = strings.TrimPrefix(notes+"; "+err.Error(), "; ")
		}
		imageID, _ := s.engine.ImageID(ctx, service.Image) // not here: every replica is outdated
		for _, r := range replicas {
			rows = append(rows, s.row(r, hashes[service.Name], imageID, views, notes))
		}
		if len(replicas) == 0 {
			rows = append(rows, statusRow{Service: service.Name, Image: service.Image, State: "no replicas", Routes: []statusRoute{}})
		}
	}
	for i := range rows {
		rows[i].Rolling = rolling
	}
	return rows, note, nil
}

// views are what each Traefik that can be asked lists, and why others cannot.
func (s *session) views(ctx context.Context) (map[string]traefik.View, string) {
	views := map[string]traefik.View{}
	var notes []string
	for _, i := range s.instances {
		if i.Client == nil {
			notes = append(notes, i.Name+" cannot be asked: "+i.Reason)
			continue
		}
		view, err := i.Client.Raw(ctx)
		if err != nil {
			notes = append(notes, err.Error())
			continue
		}
		views[i.Name] = view
	}
	return views, strings.Join(notes, "; ")
}

func (s *session) row(r compose.Replica, hash, imageID string, views map[string]traefik.View, note string) statusRow {
	row := statusRow{
		Service: r.Service, Replica: r.Name, ID: r.Short(), Image: r.Image, State: string(r.State), Health: string(r.Health),
		Started: r.Started, Routes: []statusRoute{}, Note: note,
	}
	reason, outdated := compose.Outdated(r, hash, imageID)
	row.Current, row.Outdated = !outdated, reason
	way, err := s.flipper.Way(r.Labels, append(append([]string{}, r.Entrypoint...), r.Command...))
	row.Flipped = err == nil && way != "" && way != "none" && r.Health == compose.Unhealthy
	for _, instance := range s.instances {
		for _, l := range views[instance.Name].Where(r.Has) {
			status := "UP"
			if l.Status == traefik.Down {
				status = "DOWN"
			}
			row.Routes = append(row.Routes, statusRoute{instance.Name, l.Service, status})
		}
	}
	return row
}

func (a *app) printStatus(rows []statusRow, note string) error {
	w := tabwriter.NewWriter(a.streams.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tREPLICA\tIMAGE\tVERSION\tSTATE\tHEALTH\tFLIPPED\tTRAEFIK\tAGE")
	notes := map[string]bool{}
	if note != "" {
		notes[note] = true
	}
	for _, r := range rows {
		version, flipped, age := "current", "-", "-"
		if !r.Current {
			version = "outdated"
		}
		if r.Replica == "" {
			version = "-"
		}
		if r.Flipped {
			flipped = "flipped"
		}
		if !r.Started.IsZero() {
			age = units.HumanDuration(time.Since(r.Started))
		}
		routes := make([]string, 0, len(r.Routes))
		for _, route := range r.Routes {
			routes = append(routes, route.Traefik+"/"+route.Service+" "+route.Status)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Service, dash(r.Replica), r.Image, version, r.State, dash(r.Health), flipped, dash(strings.Join(routes, ", ")), age)
		if r.Note != "" {
			notes[r.Note] = true
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for note := range notes {
		fmt.Fprintln(a.streams.Err, note)
	}
	return nil
}
