package probe

import (
	"maps"
	"slices"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

const (
	// MaxFailures is how many failures a Report describes one by one. All are counted.
	MaxFailures = 50

	// maxKinds bounds the kinds of failure told apart, against a server whose
	// every answer breaks in words of its own.
	maxKinds = 100

	kindMany = "other: more kinds of errors than are told apart"
)

// tally counts. It has no lock of its own, and no clock: every moment is an
// offset from the start.
type tally struct {
	began    time.Time
	last     time.Duration // when the last request was due
	ended    time.Duration // when the last answer came
	sent     int
	ok       int
	failed   int
	notSent  int
	answered int
	byKind   map[string]int
	latency  vegeta.LatencyMetrics // of the answered ones
	seconds  []Second              // by number
	phases   []Phase               // by time
	failures []Failure
}

func newTally(began time.Time) tally {
	return tally{
		began:  began,
		byKind: map[string]int{},
		phases: []Phase{{Name: "start", ByKind: map[string]int{}}},
	}
}

func (t *tally) mark(name string, at time.Duration) {
	t.phases = append(t.phases, Phase{Name: name, At: Millis(at), ByKind: map[string]int{}})
}

// send notes a request that is due at this moment, and tells whether it may go
// out: there may be no more than limit of them in flight.
func (t *tally) send(at time.Duration, limit int) bool {
	t.last, t.ended = at, max(at, t.ended)
	second, phase := t.second(at), t.phase(at)
	if t.sent-t.ok-t.failed >= limit {
		t.notSent++
		second.NotSent++
		phase.NotSent++
		return false
	}
	t.sent++
	second.Sent++
	phase.Sent++
	return true
}

func (t *tally) settle(sent, at time.Duration, a answer) {
	t.ended = max(at, t.ended)
	if a.whole {
		t.answered++
		t.latency.Add(at - sent)
	}
	if a.kind == "" {
		t.ok++
		return
	}

	if t.byKind[a.kind] == 0 && len(t.byKind) >= maxKinds {
		a.kind = kindMany
	}
	second, phase := t.second(at), t.phase(at)
	t.failed++
	second.Failed++
	phase.Failed++
	t.byKind[a.kind]++
	second.ByKind[a.kind]++
	phase.ByKind[a.kind]++

	if len(t.failures) < MaxFailures {
		t.failures = append(t.failures, Failure{
			At:        Millis(at),
			Second:    secondOf(at),
			Phase:     phase.Name,
			SentAt:    Millis(sent),
			SentPhase: t.phase(sent).Name,
			Kind:      a.kind,
			Status:    a.status,
			Error:     a.text,
		})
	}
}

func secondOf(at time.Duration) int { return int(at / time.Second) }

func (t *tally) second(at time.Duration) *Second {
	n := secondOf(at)
	for len(t.seconds) <= n {
		t.seconds = append(t.seconds, Second{Second: len(t.seconds), ByKind: map[string]int{}})
	}
	return &t.seconds[n]
}

// phase is the last one that had begun at the moment.
func (t *tally) phase(at time.Duration) *Phase {
	for i := len(t.phases) - 1; i > 0; i-- {
		if time.Duration(t.phases[i].At) <= at {
			return &t.phases[i]
		}
	}
	return &t.phases[0]
}

func (t *tally) quantile(q float64) Millis {
	if t.answered == 0 {
		return 0 // vegeta's estimator knows no quantile of nothing
	}
	return Millis(min(t.latency.Quantile(q), t.latency.Max))
}

func (t *tally) snapshot(elapsed time.Duration) Snapshot {
	s := Snapshot{
		Elapsed:  elapsed,
		Phase:    t.phases[len(t.phases)-1].Name,
		Sent:     t.sent,
		OK:       t.ok,
		Failed:   t.failed,
		NotSent:  t.notSent,
		InFlight: t.sent - t.ok - t.failed,
		ByKind:   maps.Clone(t.byKind),
		P50:      time.Duration(t.quantile(0.50)),
		P99:      time.Duration(t.quantile(0.99)),
		Max:      t.latency.Max,
	}
	return s
}

func (t *tally) report(c Config) Report {
	r := Report{
		Method:   c.Method,
		URL:      c.redactedURL(),
		Rate:     c.Rate,
		Duration: Millis(t.ended),
		Sent:     t.sent,
		OK:       t.ok,
		Failed:   t.failed,
		NotSent:  t.notSent,
		ByKind:   maps.Clone(t.byKind),
		Latency: Latency{
			Answered: t.answered,
			P50:      t.quantile(0.50),
			P90:      t.quantile(0.90),
			P99:      t.quantile(0.99),
			Max:      Millis(t.latency.Max),
		},
		Seconds:  []Second{},
		Phases:   []Phase{},
		Failures: append([]Failure{}, t.failures...),
	}
	if t.sent > 0 {
		// The last request stands for the interval that follows it.
		period := t.last + time.Second/time.Duration(c.Rate)
		r.AchievedRate = rounded(float64(t.sent)/period.Seconds(), 10)
	}
	for _, second := range t.seconds {
		if second.Failed > 0 || second.NotSent > 0 {
			second.ByKind = maps.Clone(second.ByKind)
			r.Seconds = append(r.Seconds, second)
		}
	}
	for _, phase := range slices.Clone(t.phases) {
		phase.ByKind = maps.Clone(phase.ByKind)
		r.Phases = append(r.Phases, phase)
	}
	return r
}
