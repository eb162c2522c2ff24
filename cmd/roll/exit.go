package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/internal/probe"
)

// usageError says that the command line makes no sense; hint is what to type.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...), hint: cmd.CommandPath() + " --help"}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	hint := cmd.CommandPath() + " --help"
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		hint = cmd.CommandPath() + " " + near[0]
	}
	return &usageError{err: fmt.Errorf("unknown command %q", name), hint: hint}
}

// outcomeError carries the outcome of a roll that did not go as planned. Its
// text has been shown by the renderer already.
type outcomeError struct{ outcome deploy.Outcome }

func (e *outcomeError) Error() string { return e.outcome.String() }

// explain is the one place that maps errors to exit codes and to what a person
// reads: the message, and after it what to type next, where roll is how this
// program was called.
func explain(err error, roll string) (code int, text string) {
	var (
		outcome     *outcomeError
		usage       *usageError
		refused     *deploy.RefusedError
		noFile      *compose.NoFileError
		badFile     *compose.FileError
		noService   *compose.UnknownServiceError
		noCompose   *compose.NoComposeError
		unreachable *unreachableError
		lost        *probe.ErrorsError
		history     *deploy.HistoryError
		alive       *aliveError
		locked      *deploy.LockedError
		findings    *findingsError
	)
	switch {
	case errors.As(err, &outcome):
		switch outcome.outcome {
		case deploy.Failed:
			return 1, ""
		case deploy.RolledBack:
			return 3, ""
		case deploy.Partial:
			return 4, ""
		case deploy.Interrupted:
			return 130, ""
		}
		return 0, ""
	case errors.As(err, &findings):
		return 1, ""
	case errors.As(err, &usage):
		return 2, say(err, "type "+usage.hint)
	case errors.As(err, &refused):
		hint := ""
		if refused.Overlap {
			hint = "to accept a gap: " + roll + " up --order stop-first " + refused.Service
		}
		return 2, say(err, hint)
	case errors.As(err, &noFile), errors.As(err, &badFile), errors.As(err, &noCompose):
		return 2, say(err, "")
	case errors.As(err, &history):
		return 2, say(err, "type "+roll+" history "+history.Service+" to see it")
	case errors.As(err, &noService):
		return 2, say(err, "type "+roll+" status to see the services")
	case errors.As(err, &unreachable):
		return 2, say(err, "start it, or name another with -H or --context")
	case errors.As(err, &alive):
		return 5, say(err, "to break its lock all the same: "+roll+" unlock --force")
	case errors.As(err, &locked):
		return 5, say(err, "to wait for it, add --wait-lock 10m; to break its lock, see "+roll+" unlock --help")
	case errors.As(err, &lost):
		return 1, say(err, "")
	case errors.Is(err, context.Canceled):
		return 130, "roll: interrupted before anything was changed"
	}
	return 1, say(err, "")
}

func say(err error, hint string) string {
	text := "roll: " + err.Error()
	if hint != "" {
		text += "\n" + hint
	}
	return text
}
