package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/compose"
)

// completeServices offers the project's services that are not named yet.
func completeServices(a *app) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		project, err := compose.Load(cmd.Context(), a.composeOptions())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, s := range project.Services() {
			if strings.HasPrefix(s.Name, prefix) && !slices.Contains(args, s.Name) {
				names = append(names, s.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeReplicas offers the names of the project's containers.
func completeReplicas(a *app) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		project, err := compose.Load(cmd.Context(), a.composeOptions())
		if err != nil || len(args) > 0 || a.initialize(cmd.Context()) != nil {
			return nil, none
		}
		replicas, err := compose.NewEngine(a.docker.Client()).AllReplicas(cmd.Context(), project.Name)
		if err != nil {
			return nil, none
		}
		var names []string
		for _, r := range replicas {
			if strings.HasPrefix(r.Name, prefix) {
				names = append(names, r.Name)
			}
		}
		return names, none
	}
}

// initialize reaches the daemon also where cobra runs no hooks before, as in
// completions.
func (a *app) initialize(ctx context.Context) error {
	_, err := a.docker.Client().Ping(ctx)
	return err
}

// named are the services that the arguments name, all of them when there are
// none, in the order in which they have to be rolled.
func (s *session) named(args []string) []compose.Service {
	var services []compose.Service
	for _, service := range s.project.Services() {
		if len(args) == 0 || slices.Contains(args, service.Name) {
			services = append(services, service)
		}
	}
	return services
}
