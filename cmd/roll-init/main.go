// Command roll-init is the first process of a container: it reaps, passes signals on, and on the stop signal makes the
// replica report unhealthy and serve on for a while, before the application gets the signal. See docs/roll-init.md.
package main

import "os"

func main() {
	os.Exit(run(os.Args, os.LookupEnv))
}
