package main

// newRenderer chooses how this invocation shows progress and results.
func (a *app) newRenderer() (renderer, error) {
	size, tty := terminal(a.streams.Err)
	color := tty && a.streams.env("NO_COLOR") == "" && a.streams.env("TERM") != "dumb"
	return newRenderer(a.progress, a.streams.Out, a.streams.Err, tty, size, color, typed(a.command))
}
