package main

import "github.com/spf13/cobra"

func (a *app) rehearse(cmd *cobra.Command, args []string, o checkOptions) error { return nil }
