package deploytest

import (
	"maps"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// Version is what a service is declared as: its image, its healthcheck and how
// its application behaves. The zero value, once named, is a good one: it
// serves at once, hears its flip, and on its stop signal finishes at once.
type Version struct {
	Name  string // its hash and image derive from it
	Check *compose.Healthcheck
	// NoCheck runs it without a healthcheck. Otherwise a nil Check means one of
	// interval 1 s, timeout 1 s, retries 2.
	NoCheck bool
	Labels  map[string]string

	Boot    time.Duration // from its start until it serves
	Linger  time.Duration // from its stop signal until it exits
	Serves  bool          // it serves while it lingers
	Grace   time.Duration // its stop timeout; zero: the Engine's 10 s
	Deaf    bool          // it exits on SIGKILL alone
	Abrupt  bool          // it dies by its stop signal: exit code 143
	Restart bool          // the Engine starts it again when it dies by itself

	Crashes     time.Duration // it dies that long after each start; zero: never
	Sick        bool          // its healthcheck never passes
	Hollow      bool          // its healthcheck passes, but it answers no request
	Unroutable  bool          // Traefik does not take it
	NoWay       bool          // it carries no label that says how to flip it
	Losses      bool          // it carries roll.flip: none
	Ineffective bool          // its flip does nothing
	Forgets     bool          // a restart clears its flip
}

// flipLabel marks a version that can be flipped.
const flipLabel = "roll.flip.file"

func (v Version) labels() map[string]string {
	labels := map[string]string{"traefik.enable": "true"}
	switch {
	case v.Losses:
		labels["roll.flip"] = "none"
	case !v.NoWay:
		labels[flipLabel] = "/tmp/drain"
	}
	maps.Copy(labels, v.Labels)
	return labels
}

func (v Version) hash() string  { return "hash-of-" + v.Name }
func (v Version) image() string { return "sha256:image-of-" + v.Name }

func (v Version) check() *compose.Healthcheck {
	switch {
	case v.NoCheck:
		return nil
	case v.Check != nil:
		return v.Check
	}
	return &compose.Healthcheck{Test: []string{"CMD", "check"}, Interval: time.Second, Timeout: time.Second, StartInterval: 5 * time.Second, Retries: 2}
}

func (v Version) grace() time.Duration {
	if v.Grace > 0 {
		return v.Grace
	}
	return 10 * time.Second
}
