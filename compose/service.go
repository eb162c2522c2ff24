package compose

import "time"

// Order says which of the two replicas of a slot goes first.
type Order string

// StartFirst overlaps: the new replica serves before the old one leaves.
const (
	StartFirst Order = "start-first"
	StopFirst  Order = "stop-first"
)

// Update is one `deploy.update_config` or `deploy.rollback_config` block. Nil
// and empty fields were not in the file.
type Update struct {
	Parallelism     *int
	Delay           *time.Duration
	Order           Order
	FailureAction   string // rollback, pause, continue
	Monitor         *time.Duration
	MaxFailureRatio *float64
}

// Hook is one `pre_stop` command. The Engine knows no hooks: whoever stops a
// container has to run them (facts.md C, pre_stop).
type Hook struct {
	Command     []string
	User        string
	Privileged  bool
	WorkingDir  string
	Environment []string // NAME=value
}

// Port is one `ports` entry with a fixed host side.
type Port struct {
	HostIP    string
	Published string // "8080", or a range
	Target    uint32
	Protocol  string
}

// Service is one service of a Compose project, as far as a roll needs it:
// what is declared, resolved by compose-go. Who creates its containers is
// `docker compose` alone.
type Service struct {
	Project       string
	Name          string
	Image         string // resolved reference; <project>-<service> when it is only built
	Build         bool   // has a build section
	Replicas      int    // deploy.replicas or scale; 1 when absent
	Update        Update
	Rollback      Update
	StopGrace     *time.Duration // nil: not in the file
	StopSignal    string
	PreStop       []Hook
	Healthcheck   *Healthcheck // nil: the file has none (the image may)
	NoHealthcheck bool         // healthcheck.disable
	Labels        map[string]string
	ContainerName string
	Ports         []Port // with a fixed host port only
	NetworkMode   string
	Networks      []string // names as the Engine knows them, sorted
	DependsOn     []string // services that have to be rolled before this one
	OneShot       bool     // restart "no" and others wait for its completion, or a provider/job: never rolled
	Volumes       []Mount  // as declared
	ReadOnly      bool     // read_only: no root file system to write to
	Entrypoint    []string // empty: the image's
	Command       []string // empty: the image's, unless there is an entrypoint
	Environ       []string // NAME=value, sorted
	Init          bool     // below docker's own init
}
