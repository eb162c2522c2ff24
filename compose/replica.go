package compose

import (
	"net/netip"
	"slices"
	"time"
)

// State is the Engine's word for what a container is doing.
type State string

// The states of the Engine API.
const (
	Created    State = "created"
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting"
	Removing   State = "removing"
	Exited     State = "exited"
	Dead       State = "dead"
)

// Health is the Engine's verdict from a container's healthcheck.
type Health string

// NoHealth is the zero value: the container has no healthcheck.
const (
	NoHealth  Health = ""
	Starting  Health = "starting"
	Healthy   Health = "healthy"
	Unhealthy Health = "unhealthy"
)

// Probe is one run of a healthcheck, as the Engine logged it. The Engine
// keeps the last five (facts.md D1).
type Probe struct {
	Start    time.Time
	End      time.Time
	ExitCode int
	Output   string
}

// Healthcheck is the check that a container was created with, the Engine's
// defaults filled in, so that every duration can be used as it is.
type Healthcheck struct {
	Test          []string
	Interval      time.Duration // default 30 s
	Timeout       time.Duration // default 30 s
	StartPeriod   time.Duration // default 0
	StartInterval time.Duration // default 5 s; Engine 25 and newer, only inside StartPeriod
	Retries       int           // default 3
}

// Mount is a place in a container's file system that is not its own layer.
type Mount struct {
	Type        string // bind, volume, tmpfs, image
	Source      string // host path, or the volume's name
	Destination string
	ReadOnly    bool
}

// Replica is one container of a service, as the Engine showed it at one
// instant. It carries what decides how this container leaves: its own
// healthcheck, stop signal and grace, whatever the Compose file says today.
type Replica struct {
	ID      string // full id
	Name    string // without the leading slash
	Project string
	Service string
	Number  int // com.docker.compose.container-number

	Image      string // reference the container was created from
	ImageID    string // sha256:...
	ConfigHash string // com.docker.compose.config-hash
	Version    string // com.docker.compose.version: who computed ConfigHash

	State         State
	Health        Health
	FailingStreak int
	Probes        []Probe // oldest first, at most five
	RestartCount  int
	ExitCode      int
	OOMKilled     bool
	Error         string // the Engine's reason why a start failed
	Created       time.Time
	Started       time.Time
	Finished      time.Time

	Addresses []netip.Addr     // on every network that the container is attached to
	Published []netip.AddrPort // host address and port pairs
	Networks  []string         // names, sorted

	Labels      map[string]string
	Healthcheck *Healthcheck   // nil: none
	StopSignal  string         // empty: SIGTERM
	StopTimeout *time.Duration // nil: the daemon's default, 10 s (facts.md D3)
	Mounts      []Mount
	ReadOnly    bool     // root file system is read-only
	Entrypoint  []string // with Command: what PID 1 was started as
	Command     []string
	Init        bool   // started below docker-init
	PID         int    // of its first process, on the host of the Engine; 0: it does not run
	PIDMode     string // whose processes it shares: empty, host, container:ID
	WorkingDir  string
	Environ     []string // NAME=value
}

// Has reports whether address leads to this replica: one of its own network
// addresses with any port, or one of its published ports.
func (r Replica) Has(address netip.AddrPort) bool {
	return slices.Contains(r.Addresses, address.Addr()) || slices.Contains(r.Published, address)
}

// Short is the first twelve digits of the id, as docker prints it.
func (r Replica) Short() string {
	return r.ID[:min(12, len(r.ID))]
}

// Grace is the time between stop signal and SIGKILL that the container was
// created with, 10 s when it names none (facts.md D3).
func (r Replica) Grace() time.Duration {
	if r.StopTimeout != nil {
		return *r.StopTimeout
	}
	return 10 * time.Second
}

// Running reports whether the replica's process runs and is not paused.
func (r Replica) Running() bool { return r.State == Running }

// Ready reports whether the replica runs and its healthcheck, if it has one,
// is passing.
func (r Replica) Ready() bool {
	return r.State == Running && (r.Health == NoHealth || r.Health == Healthy)
}
