package deploy

// Phase is where one replica stands on its way in, out or back. The values
// are part of the JSON contract by their names, not their numbers.
type Phase int

// The phases, in the order in which a replica passes them.
const (
	Planned Phase = iota

	Creating // Compose creates and starts it
	Booting  // until Docker calls it healthy
	Joining  // until every router sends requests to it
	Arrived  // in service

	Flipping // it is told to report unhealthy
	Sinking  // until Docker calls it unhealthy
	Leaving  // until no router sends requests to it
	Settling // requests that were on their way arrive
	Draining // roll.drain
	PreStop  // pre_stop hooks of the Compose file
	Stopping // stop signal sent, until it has exited
	Removing // the container is deleted
	Departed // gone

	Unflipping // it is told to report healthy again
	Recovering // until Docker calls it healthy again
	Rejoining  // until every router sends requests to it again
	Returned   // in service again
)

var phaseNames = [...]string{
	Planned:    "planned",
	Creating:   "creating",
	Booting:    "booting",
	Joining:    "joining",
	Arrived:    "arrived",
	Flipping:   "flipping",
	Sinking:    "sinking",
	Leaving:    "leaving",
	Settling:   "settling",
	Draining:   "draining",
	PreStop:    "pre_stop",
	Stopping:   "stopping",
	Removing:   "removing",
	Departed:   "departed",
	Unflipping: "unflipping",
	Recovering: "recovering",
	Rejoining:  "rejoining",
	Returned:   "returned",
}

// String is the phase's name in JSON and in logs.
func (p Phase) String() string {
	if p < 0 || int(p) >= len(phaseNames) {
		return "unknown"
	}
	return phaseNames[p]
}

// MarshalText makes a phase its name in JSON.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

var phaseAwaits = [...]string{
	Planned:    "waiting for its turn",
	Creating:   "Compose to create it",
	Booting:    "Docker to call it healthy",
	Joining:    "Traefik to route to it",
	Arrived:    "in service",
	Flipping:   "it to take the flip",
	Sinking:    "Docker to call it unhealthy",
	Leaving:    "Traefik to stop routing to it",
	Settling:   "requests on their way to arrive",
	Draining:   "its requests to finish (roll.drain)",
	PreStop:    "its pre_stop hooks",
	Stopping:   "it to finish and exit",
	Removing:   "the Engine to remove it",
	Departed:   "gone",
	Unflipping: "it to take the un-flip",
	Recovering: "Docker to call it healthy again",
	Rejoining:  "Traefik to route to it again",
	Returned:   "in service again",
}

// Awaits says in words what a replica in this phase waits for.
func (p Phase) Awaits() string {
	if p < 0 || int(p) >= len(phaseAwaits) {
		return "unknown"
	}
	return phaseAwaits[p]
}
