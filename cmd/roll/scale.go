package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

func newScaleCmd(a *app) *cobra.Command {
	var o upOptions
	var remove []string
	cmd := &cobra.Command{
		Use:   "scale SERVICE=N...",
		Short: "Change the number of replicas without losing a request",
		Long: `Bring services to N replicas. New ones are waited for until they are healthy
and routed. Those that leave are drained first; unhealthy ones leave first, then
outdated ones, then those that are not routed, then the newest.`,
		Example: `  roll scale web=5
  roll scale web=1
  roll scale web=3 --remove shop-web-2   exactly this one leaves`,
		ValidArgsFunction: completeServices(a),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef(cmd, "say how many: roll scale SERVICE=N")
			}
			if len(remove) > 0 && len(args) != 1 {
				return usagef(cmd, "--remove goes with one service, not %d", len(args))
			}
			return a.scale(cmd, args, remove, o)
		},
	}
	o.policy.add(cmd)
	o.probe.addTo(cmd)
	o.addLogs(cmd)
	cmd.Flags().StringArrayVar(&remove, "remove", nil, "replica that leaves: its name, number or id (repeatable)")
	return cmd
}

// parseScale reads SERVICE=N.
func parseScale(cmd *cobra.Command, arg string) (service string, n int, err error) {
	service, number, ok := strings.Cut(arg, "=")
	if !ok || service == "" {
		return "", 0, usagef(cmd, "%q is not SERVICE=N", arg)
	}
	n, err = strconv.Atoi(number)
	if err != nil {
		return "", 0, usagef(cmd, "%q: %q is not a number of replicas", arg, number)
	}
	if n < 0 {
		return "", 0, usagef(cmd, "%q: the number of replicas cannot be negative", arg)
	}
	return service, n, nil
}

func (a *app) scale(cmd *cobra.Command, args, remove []string, o upOptions) error {
	targets := map[string]int{}
	var names []string
	for _, arg := range args {
		service, n, err := parseScale(cmd, arg)
		if err != nil {
			return err
		}
		targets[service] = n
		names = append(names, service)
	}
	o.pull = "missing"
	return a.rollServices(cmd, names, func(service compose.Service) deploy.Goal {
		return deploy.Goal{Verb: "scale", Target: targets[service.Name], Replace: deploy.ReplaceNone, Remove: remove}
	}, o)
}
