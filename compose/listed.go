package compose

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

// listed is what a list of containers tells about one of them, without the
// age in its status line: as long as it stays the same, an earlier inspect
// holds. What an inspect shows beyond it (probes, the failing streak) may be
// as old as that.
type listed struct {
	state   State
	health  Health
	names   string
	network string
	status  string // "Up", "Exited (137)", "Restarting (1)"
}

var parenthesis = regexp.MustCompile(`\([^)]*\)`)

func listing(c container.Summary) listed {
	l := listed{state: State(c.State), names: strings.Join(slices.Sorted(slices.Values(c.Names)), ",")}
	word, _, _ := strings.Cut(c.Status, " ")
	l.status = word
	for _, group := range parenthesis.FindAllString(c.Status, -1) {
		switch group {
		case "(healthy)":
			l.health = Healthy
		case "(unhealthy)":
			l.health = Unhealthy
		case "(health: starting)":
			l.health = Starting
		default:
			l.status += " " + group
		}
	}
	if c.NetworkSettings != nil {
		for _, name := range slices.Sorted(maps.Keys(c.NetworkSettings.Networks)) {
			l.network += name + "="
			if endpoint := c.NetworkSettings.Networks[name]; endpoint != nil {
				l.network += endpoint.IPAddress + "," + endpoint.GlobalIPv6Address
			}
			l.network += ";"
		}
	}
	return l
}

// agrees reports whether an inspect shows what the list showed just before. If
// not, something changed in between and the inspect must not be kept: the
// container may be back at what the list says before anybody looks again.
func (l listed) agrees(r Replica) bool {
	return l.state == r.State && (l.state != Running || l.health == r.Health)
}

// age reads how long a container has been up from its status line: at least
// low, less than high. The Engine writes "Less than a second", "5 seconds",
// "About a minute", "3 hours" and so on.
func age(status string) (low, high time.Duration, ok bool) {
	rest, up := strings.CutPrefix(status, "Up ")
	if !up {
		return 0, 0, false
	}
	rest = strings.TrimSpace(parenthesis.ReplaceAllString(rest, ""))
	switch rest {
	case "Less than a second":
		return 0, time.Second, true
	case "About a minute":
		return time.Minute, 2 * time.Minute, true
	case "About an hour":
		return 45 * time.Minute, 2 * time.Hour, true
	}
	number, unit, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > 1_000_000 {
		return 0, 0, false
	}
	var size time.Duration
	switch strings.TrimSuffix(unit, "s") {
	case "second":
		size = time.Second
	case "minute":
		size = time.Minute
	default: // hours and more are rounded in ways that do not matter here
		return time.Hour, 1<<63 - 1, true
	}
	return time.Duration(n) * size, time.Duration(n+1) * size, true
}

// restarted reports whether a container that was first seen with the status
// line before, elapsed ago, must have started again since to be as young as
// its line says now. A restart between two looks changes nothing else that
// the list shows.
func restarted(before, now string, elapsed time.Duration) bool {
	low, _, ok := age(before)
	_, high, okNow := age(now)
	return ok && okNow && high < low+elapsed
}

// fresh reports whether a container that starts again right after this status line was written may have the line that is
// expected of it: the Engine writes whole seconds.
func fresh(status string) bool {
	low, _, ok := age(status)
	return ok && low < 2*time.Second
}
