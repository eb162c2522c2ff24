package main

import (
	"testing"

	"github.com/docker/cli/cli/flags"
	"github.com/spf13/cobra"
)

func TestASuggestedCommandMeansTheSameProjectAndDaemon(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no flag", []string{"version"}, "roll"},
		{"project and files in their order", []string{"version", "--file", "b.yaml", "-f", "a.yaml", "-p", "shop"}, "roll -f b.yaml -f a.yaml -p shop"},
		{"a path that a shell would split", []string{"version", "--project-directory", "my shop's"}, `roll --project-directory 'my shop'\''s'`},
		{"a daemon", []string{"version", "-H", "ssh://ops@host", "--tlsverify=false"}, "roll -H ssh://ops@host --tlsverify=false"},
		{"how progress is shown is not part of it", []string{"version", "--progress", "plain"}, "roll"},
		{"a password is not repeated", []string{"version", "--traefik", "https://me:secret@host", "--traefik", "http://other"}, "roll --traefik http://other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			a := &app{}
			root := a.newRootCmd()
			flags.NewClientOptions().InstallFlags(root.PersistentFlags())
			root.PersistentPreRun = func(cmd *cobra.Command, _ []string) { got = typed(cmd) }
			for _, sub := range root.Commands() {
				sub.RunE = func(*cobra.Command, []string) error { return nil }
			}
			root.SetArgs(c.args)
			if err := root.ExecuteContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
