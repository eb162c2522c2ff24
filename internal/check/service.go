package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/internal/program"
)

// defaultGrace is the Engine's (facts.md D3).
const defaultGrace = 10 * time.Second

// slowFlip is the time from flip to unhealthy from which on it is told, and
// slowStart the one to the first probe.
const (
	slowFlip  = 15 * time.Second
	slowStart = 5 * time.Second
)

// AsDeclared is a replica that Compose would create of the service now. A nil
// image was not looked at.
func AsDeclared(s compose.Service, image *compose.Image) Replica {
	r := Replica{
		Service: s.Name, Signal: program.TERM, Grace: defaultGrace, Entrypoint: s.Entrypoint, Command: s.Command, Environ: s.Environ, Init: s.Init,
	}
	signal := s.StopSignal
	if image != nil {
		r.Dir = image.WorkingDir
		r.Environ = slices.Concat(s.Environ, image.Environ)
		if signal == "" {
			signal = image.StopSignal
		}
		if len(r.Entrypoint) == 0 {
			r.Entrypoint = image.Entrypoint
			if len(r.Command) == 0 {
				r.Command = image.Command
			}
		}
	}
	if parsed, ok := program.ParseSignal(signal); ok {
		r.Signal = parsed
	}
	if s.StopGrace != nil {
		r.Grace = *s.StopGrace
	}
	return r
}

// Declared judges what the Compose file alone tells about the end of a
// service's replicas. What an image may decide is left to it.
func Declared(s compose.Service) []Finding {
	r := AsDeclared(s, nil)
	if len(r.argv()) == 0 {
		return nil
	}
	return slices.DeleteFunc(Stop(r), func(f Finding) bool {
		if f.Level < Warn {
			return true
		}
		switch f.ID {
		case GraceTooShort, DevServer, KilledByInitExit:
			return false
		case KnobTooShort:
			return f.Level == Error // of a file that nobody has read
		}
		return s.StopSignal == "" && f.Confidence != Unknown
	})
}

// Health judges the timing of a healthcheck against the flip: where it says
// that it is slow, a roll is as well. path is where in the file it is.
func Health(service string, h *compose.Healthcheck, inFile bool) []Finding {
	if h == nil {
		return nil
	}
	var found []Finding
	path := []string{"healthcheck"}
	add := func(f Finding) {
		f.Service, f.Path = service, path
		if !inFile {
			f.Edits = nil // of the image: a part of it cannot be set in the file
		}
		found = append(found, f)
	}
	edit := func(key, value string) Edit {
		return Edit{Service: service, Path: []string{"healthcheck", key}, Value: value}
	}
	retries := max(h.Retries, 1)
	if flip := time.Duration(retries) * h.Interval; flip >= slowFlip {
		add(Finding{ID: SlowHealthcheck, Level: Warn, Confidence: Certain,
			Text:  fmt.Sprintf("a replica that is told to leave is noticed after up to %s, and serves meanwhile: every drain takes that long", flip),
			Proof: fmt.Sprintf("healthcheck: %d retries x interval %s", retries, h.Interval), Fix: "healthcheck: {interval: 2s, timeout: 2s, retries: 2}",
			Edits: []Edit{edit("interval", "2s"), edit("retries", "2")}})
	}
	first := h.Interval
	if h.StartPeriod > 0 {
		first = min(first, h.StartInterval)
	}
	if first >= slowStart {
		add(Finding{ID: SlowStart, Level: Note, Confidence: Certain,
			Text:  fmt.Sprintf("a new replica is probed for the first time after %s, and serves nobody before", first),
			Proof: fmt.Sprintf("healthcheck: interval %s, start_period %s", h.Interval, h.StartPeriod), Fix: "healthcheck: {start_period: 30s, start_interval: 1s}; start_interval needs Engine 25"})
	}
	return found
}

// Drain judges the drain of a roll-init against what it takes to be noticed,
// and against the grace period that it is a part of.
func Drain(r Replica, h *compose.Healthcheck, throttle time.Duration) []Finding {
	drain, where, ok := r.drain()
	if !ok {
		return nil
	}
	f := Finding{Service: r.Service, Level: Warn, Confidence: Certain, Proof: where}
	if r.Name != "" {
		f.Replicas = []string{r.Name}
	}
	var found []Finding
	if drain >= r.Grace {
		value := seconds(drain + defaultGrace)
		f.ID, f.Level, f.Text = GraceTooShort, Error, fmt.Sprintf("roll-init drains for %s and is killed after %s: the application never gets its stop signal", drain, r.Grace)
		f.Fix, f.Path, f.Edits = "stop_grace_period: "+value, []string{"stop_grace_period"}, []Edit{{Service: r.Service, Path: []string{"stop_grace_period"}, Value: value}}
		found = append(found, f)
	}
	if h == nil {
		return found
	}
	if needed := time.Duration(max(h.Retries, 1))*h.Interval + throttle; drain < needed {
		f.ID, f.Level, f.Path, f.Edits = DrainTooShort, Warn, []string{"environment"}, nil
		f.Text = fmt.Sprintf("roll-init drains for %s, and Traefik lets go of a replica up to %s after the stop signal: a docker stop without roll loses requests", drain, needed)
		f.Fix = "ROLL_INIT_DRAIN: " + seconds(needed+time.Second)
		found = append(found, f)
	}
	return found
}

// drain is how long a roll-init in front serves on; ok is false when there is
// none, or it has no drain.
func (r Replica) drain() (d time.Duration, where string, ok bool) {
	argv := r.argv()
	if len(argv) == 0 || program.Find(argv[0], argv[:1]) == nil || program.Find(argv[0], argv[:1]).Name != "roll-init" {
		return 0, "", false
	}
	for i, a := range argv {
		value, flag := strings.CutPrefix(a, "--drain=")
		if a == "--drain" && i+1 < len(argv) {
			value, flag = argv[i+1], true
		}
		if a == "--" {
			break
		}
		if flag {
			d, err := period(value)
			return d, "--drain " + value, err == nil && d > 0
		}
	}
	if value, told := r.env("ROLL_INIT_DRAIN"); told {
		d, err := period(value)
		return d, "ROLL_INIT_DRAIN=" + value, err == nil && d > 0
	}
	return 0, "", false
}

// History judges how the replicas of a service ended before.
func History(r compose.Replica) []Finding {
	f := Finding{Service: r.Service, Replicas: []string{r.Name}, Confidence: Certain}
	switch {
	case r.State == compose.Running && r.RestartCount == 0:
		return nil
	case r.OOMKilled:
		f.ID, f.Level, f.Text = OutOfMemory, Warn, "it was killed because it had no memory left"
		f.Proof, f.Fix = "OOMKilled", "more memory (mem_limit, deploy.resources.limits.memory), or a leak to find"
	case r.State == compose.Exited && r.ExitCode == 137:
		f.ID, f.Level, f.Text = KilledLastTime, Warn, fmt.Sprintf("its last end was SIGKILL, after a grace period of %s or by hand", r.Grace())
		f.Proof, f.Fix = "exit code 137, not out of memory", "see what its stop signal does, in the other findings; or a longer stop_grace_period"
	default:
		return nil
	}
	return []Finding{f}
}

// Killed judges the kill events of a project's containers: a stop that ended
// in SIGKILL is its stop signal, SIGKILL after the grace period, and the end.
func Killed(events []Kill) []Finding {
	asked := map[string]Kill{}
	var found []Finding
	for _, e := range events {
		if e.Signal != killSignal {
			asked[e.ID] = e
			continue
		}
		before, ok := asked[e.ID]
		if !ok || e.At.Sub(before.At) < time.Second {
			continue // a docker kill
		}
		found = append(found, Finding{ID: KilledLastTime, Level: Warn, Confidence: Certain, Service: e.Service, Replicas: []string{e.Name},
			Text:  fmt.Sprintf("its last stop ended in SIGKILL: %s did not end it", before.Signal),
			Proof: fmt.Sprintf("events: %s at %s, SIGKILL %s later", before.Signal, before.At.UTC().Format(time.TimeOnly), e.At.Sub(before.At).Round(100*time.Millisecond)),
			Fix:   "see what its stop signal does, in the other findings; or a longer stop_grace_period"})
		delete(asked, e.ID)
	}
	return found
}

const killSignal program.Signal = 9

// Kill is one signal that the Engine sent to a container, oldest first.
type Kill struct {
	ID, Name, Service string
	Signal            program.Signal
	At                time.Time
}
