package probe

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Report is the account of a probe. Sent is always OK plus Failed; a request
// that was due and could not be sent is in NotSent alone.
//
// Its JSON is a contract: fields may be added, none changes its meaning.
// Lists and maps are never null. Everything named _ms is in milliseconds, and
// a moment is counted from the first request.
//
//	method, url          what was sent where; a password in the URL is hidden
//	rate, achieved_rate  requests a second: asked for, and sent
//	duration_ms          from the first request to the last answer
//	sent, ok, failed     requests
//	not_sent             due, but max workers were in flight
//	by_kind              failures: "status 502", "refused", "reset", "closed", "truncated",
//	                     "timeout", "no route", "dns", "tls", "other: ..."
//	latency              answered (how many it is about), p50_ms, p90_ms, p99_ms, max_ms;
//	                     of complete answers, good and bad
//	seconds              those with a failure or a request not sent: second, sent,
//	                     failed, not_sent, by_kind
//	phases               all, by time: name, at_ms, sent, failed, not_sent, by_kind
//	failures             the first 50: at_ms, second, phase, sent_at_ms, sent_phase, kind,
//	                     status (0: no answer), error
type Report struct {
	Method       string         `json:"method"`
	URL          string         `json:"url"`
	Rate         int            `json:"rate"`
	AchievedRate float64        `json:"achieved_rate"`
	Duration     Millis         `json:"duration_ms"`
	Sent         int            `json:"sent"`
	OK           int            `json:"ok"`
	Failed       int            `json:"failed"`
	NotSent      int            `json:"not_sent"`
	ByKind       map[string]int `json:"by_kind"`
	Latency      Latency        `json:"latency"`
	Seconds      []Second       `json:"seconds"`
	Phases       []Phase        `json:"phases"`
	Failures     []Failure      `json:"failures"`
}

// Latency is of the Answered requests: those whose answer came whole, whatever
// its status. The quantiles are estimates, Max is exact.
type Latency struct {
	Answered int    `json:"answered"`
	P50      Millis `json:"p50_ms"`
	P90      Millis `json:"p90_ms"`
	P99      Millis `json:"p99_ms"`
	Max      Millis `json:"max_ms"`
}

// Second counts what was sent and what failed within one second from the
// start. A failure may be that of a request sent in an earlier one.
type Second struct {
	Second  int            `json:"second"`
	Sent    int            `json:"sent"`
	Failed  int            `json:"failed"`
	NotSent int            `json:"not_sent"`
	ByKind  map[string]int `json:"by_kind"`
}

// Phase counts what was sent and what failed from one Mark to the next. A
// failure may be that of a request sent in an earlier one.
type Phase struct {
	Name    string         `json:"name"`
	At      Millis         `json:"at_ms"`
	Sent    int            `json:"sent"`
	Failed  int            `json:"failed"`
	NotSent int            `json:"not_sent"`
	ByKind  map[string]int `json:"by_kind"`
}

// Failure is one lost request. At, Second and Phase tell when it was noticed,
// SentAt and SentPhase when it was sent: for a timeout the telling ones.
type Failure struct {
	At        Millis `json:"at_ms"`
	Second    int    `json:"second"`
	Phase     string `json:"phase"`
	SentAt    Millis `json:"sent_at_ms"`
	SentPhase string `json:"sent_phase"`
	Kind      string `json:"kind"`
	Status    int    `json:"status"`
	Error     string `json:"error"`
}

// ErrorsError says that more requests were lost than allowed. A request that
// could not be sent counts: nothing is known of it.
type ErrorsError struct {
	Failed  int
	NotSent int
	Max     int
}

func (e *ErrorsError) Error() string {
	text := plural(e.Failed, "request", "requests") + " failed"
	if e.NotSent > 0 {
		text += fmt.Sprintf(" and %d could not be sent", e.NotSent)
	}
	return fmt.Sprintf("%s, %d allowed", text, e.Max)
}

// Err returns an *ErrorsError when more than maxErrors requests failed or
// could not be sent, else nil.
func (r Report) Err(maxErrors int) error {
	if r.Failed+r.NotSent <= maxErrors {
		return nil
	}
	return &ErrorsError{Failed: r.Failed, NotSent: r.NotSent, Max: maxErrors}
}

// maxLines bounds the seconds and the phases that String lists.
const maxLines = 10

// String is the account for people: two lines when nothing failed, else also
// what failed, when, and in which phase. It ends without a newline.
func (r Report) String() string {
	lines := []string{
		fmt.Sprintf("%s %s: %d sent in %s (%g/s), %d ok, %d failed", r.Method, r.URL, r.Sent, r.Duration, r.AchievedRate, r.OK, r.Failed),
	}
	if r.Latency.Answered > 0 {
		lines = append(lines, fmt.Sprintf("  latency   p50 %s, p90 %s, p99 %s, max %s", r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.Max))
	}
	if r.NotSent > 0 {
		lines = append(lines, fmt.Sprintf("  not sent  %d: too many in flight", r.NotSent))
	}
	if r.Failed == 0 {
		return strings.Join(lines, "\n")
	}

	lines = append(lines, "  failed    "+kinds(r.ByKind))
	var times []string
	for _, s := range r.Seconds {
		if s.Failed > 0 {
			times = append(times, fmt.Sprintf("  second %-3d %d failed, %d sent: %s", s.Second, s.Failed, s.Sent, kinds(s.ByKind)))
		}
	}
	lines = append(lines, bounded(times, "seconds")...)
	if len(r.Phases) > 1 {
		var phases []string
		for _, p := range r.Phases {
			if p.Failed > 0 {
				phases = append(phases, fmt.Sprintf("  phase %q, from %s: %d failed, %d sent: %s", p.Name, p.At, p.Failed, p.Sent, kinds(p.ByKind)))
			}
		}
		lines = append(lines, bounded(phases, "phases")...)
	}
	if len(r.Failures) > 0 {
		f := r.Failures[0]
		lines = append(lines, fmt.Sprintf("  first     after %s, sent after %s: %s: %s", f.At, f.SentAt, f.Kind, f.Error))
	}
	return strings.Join(lines, "\n")
}

func bounded(lines []string, of string) []string {
	if len(lines) <= maxLines {
		return lines
	}
	return append(lines[:maxLines:maxLines], fmt.Sprintf("  and %d more %s", len(lines)-maxLines, of))
}

// kinds lists the most frequent first.
func kinds(byKind map[string]int) string {
	names := slices.SortedFunc(maps.Keys(byKind), func(a, b string) int {
		return cmp.Or(cmp.Compare(byKind[b], byKind[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", byKind[name], name)
	}
	return strings.Join(names, ", ")
}

// Snapshot is how far a running probe has come.
type Snapshot struct {
	Elapsed  time.Duration
	Phase    string // the current one
	Sent     int
	OK       int
	Failed   int
	NotSent  int
	InFlight int
	ByKind   map[string]int // failures; the reader's own copy
	P50      time.Duration  // of the answers so far, like P99 and Max; 0 before the first
	P99      time.Duration
	Max      time.Duration
}

// String is one line, for a terminal that shows it again and again.
func (s Snapshot) String() string {
	text := fmt.Sprintf("%s  %d sent, %d ok, %d failed", s.Elapsed.Truncate(time.Second), s.Sent, s.OK, s.Failed)
	if s.Failed > 0 {
		text += " (" + kinds(s.ByKind) + ")"
	}
	if s.NotSent > 0 {
		text += fmt.Sprintf(", %d not sent", s.NotSent)
	}
	return text + fmt.Sprintf(", %d in flight, p50 %s, p99 %s, max %s", s.InFlight, Millis(s.P50), Millis(s.P99), Millis(s.Max))
}

// Millis is a length of time. In JSON it is a number of milliseconds, to the
// microsecond.
type Millis time.Duration

// String rounds to what a person reads: three digits, more or less.
func (m Millis) String() string {
	d := time.Duration(m)
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}

// MarshalJSON implements json.Marshaler.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, rounded(float64(m)/1e6, 1000), 'f', -1, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Millis) UnmarshalJSON(data []byte) error {
	ms, err := strconv.ParseFloat(string(data), 64)
	if err != nil {
		return fmt.Errorf("read milliseconds: %w", err)
	}
	*m = Millis(math.Round(ms * 1e6))
	return nil
}

// rounded keeps one part in scale.
func rounded(f, scale float64) float64 { return math.Round(f*scale) / scale }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
