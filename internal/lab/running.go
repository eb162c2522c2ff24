package lab

import (
	"context"
	"io"
)

// Running returns the engine that Start would use because it runs already. ok is false when Start would start one:
// whoever is told so before Start should call Stop in the end.
func Running(ctx context.Context) (engine Engine, ok bool) {
	s, err := openState()
	if err != nil {
		return Engine{}, false
	}
	engine, err = findEngine(ctx, &progress{w: io.Discard}, s)
	return engine, err == nil
}
