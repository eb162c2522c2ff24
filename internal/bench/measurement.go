package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roll-deploy/roll/deploy"
)

// The bars that a roll has to keep.
const (
	ownBar      = 500 * time.Millisecond
	stretchBar  = 1.1         // of what cannot be avoided
	upToDateBar = time.Second // the whole command, when there is nothing to do
)

// line is one line of --progress json; see docs/json.md.
type line struct {
	Type             string      `json:"type"`
	Time             time.Time   `json:"time"`
	Slot             int         `json:"slot"`
	Role             deploy.Role `json:"role"`
	Replica          string      `json:"replica"`
	Phase            string      `json:"phase"`
	Outcome          string      `json:"outcome"`
	PrepareMS        int64       `json:"prepare_ms"`
	PrepareComposeMS int64       `json:"prepare_compose_ms"`
	Calls            calls       `json:"calls"`
}

type calls struct {
	Engine  int64 `json:"engine"`
	Traefik int64 `json:"traefik"`
	Compose int64 `json:"compose"`
}

// change is something that the Engine did to a container, by its own account.
type change struct {
	replica string
	what    string // the event's action, such as "die"
	at      time.Time
}

// endOf are the changes of which the last ends a phase; what is not here ends
// otherwise. A container that was told to stop has ended with "stop": "die"
// comes before the Engine has taken down its network.
var endOf = map[deploy.Phase][]string{
	deploy.Booting:  {"health_status: healthy"},
	deploy.Sinking:  {"health_status: unhealthy"},
	deploy.Stopping: {"stop", "die"},
	deploy.Removing: {"destroy"},
}

// measurement is where the time of one command went, or of several on average.
type measurement struct {
	timing         deploy.Timing
	late           time.Duration // along the critical path: from what the Engine did to roll's next phase
	wall           time.Duration // the whole command, start and end of its process included
	prepare        time.Duration // before the plan
	prepareCompose time.Duration // of it, waiting for Compose
	calls          calls
	path           string // the steps of the critical path, one a line
}

// measure reads what one roll of one service printed. changes are those of its
// containers meanwhile.
func measure(output []byte, wall time.Duration, changes []change) (measurement, error) {
	m := measurement{wall: wall}
	var events []deploy.Event
	outcome := ""
	text := bufio.NewScanner(bytes.NewReader(output))
	text.Buffer(nil, 1<<20)
	for text.Scan() {
		var l line
		if err := json.Unmarshal(text.Bytes(), &l); err != nil {
			return m, fmt.Errorf("read %q: %w", text.Text(), err)
		}
		events = append(events, deploy.Event{Time: l.Time, Kind: deploy.Kind(l.Type), Slot: l.Slot, Role: l.Role, Replica: l.Replica, Phase: phaseOf(l.Phase)})
		switch deploy.Kind(l.Type) {
		case deploy.KindPlan:
			m.prepare, m.prepareCompose = milliseconds(l.PrepareMS), milliseconds(l.PrepareComposeMS)
		case deploy.KindResult:
			m.calls, outcome = l.Calls, l.Outcome
		}
	}
	if err := text.Err(); err != nil {
		return m, err
	}
	if outcome != "done" && outcome != "up_to_date" {
		return m, fmt.Errorf("the roll ended with outcome %q", outcome)
	}
	m.timing = deploy.Measure(events)
	for _, step := range m.timing.Path {
		late := lateness(step, changes)
		m.late += late
		m.path += fmt.Sprintf("  %-10s %6.3f  late %.3f  slot %d %s %s\n", step.Phase, step.Took.Seconds(), late.Seconds(), step.Slot, step.Role, step.Replica)
	}
	return m, nil
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// phaseOf is the phase with a name; Planned without one.
func phaseOf(name string) deploy.Phase {
	for p := deploy.Planned; p <= deploy.Returned; p++ {
		if p.String() == name {
			return p
		}
	}
	return deploy.Planned
}

// lateness is how long a phase went on after the Engine had done what it
// waited for; 0 when that is not known.
func lateness(step deploy.Step, changes []change) time.Duration {
	end := step.From.Add(step.Took)
	for i := len(changes) - 1; i >= 0; i-- {
		c := changes[i]
		if c.replica == step.Replica && slices.Contains(endOf[step.Phase], c.what) && !c.at.After(end) {
			return min(step.Took, end.Sub(c.at))
		}
	}
	return 0
}

// own is what roll itself takes: time in which nothing was waited for, and
// time in which what was waited for had happened already.
func (m measurement) own() time.Duration { return m.timing.Own + m.late }

// unavoidable is how long roll waited for what had not happened yet.
func (m measurement) unavoidable() time.Duration { return m.timing.Total - m.own() }

// verdict says which bars are kept.
func (m measurement) verdict() (own, total string) {
	if m.timing.Waits() == 0 { // up to date
		return pass(m.own() <= ownBar), pass(m.wall < upToDateBar)
	}
	return pass(m.own() <= ownBar), pass(float64(m.timing.Total) <= stretchBar*float64(m.unavoidable()))
}

func pass(ok bool) string {
	if ok {
		return "PASS"
	}
	return "over"
}

// field is one column of the table.
type field struct {
	name string
	of   func(measurement) time.Duration
}

var fields = []field{
	{"total", func(m measurement) time.Duration { return m.timing.Total }},
	{"compose", func(m measurement) time.Duration { return m.timing.Compose }},
	{"docker", func(m measurement) time.Duration { return m.timing.Docker }},
	{"app", func(m measurement) time.Duration { return m.timing.App }},
	{"traefik", func(m measurement) time.Duration { return m.timing.Traefik }},
	{"settle", func(m measurement) time.Duration { return m.timing.Settle }},
	{"monitor", func(m measurement) time.Duration { return m.timing.Monitor }},
	{"own", func(m measurement) time.Duration { return m.timing.Own }},
	{"late", func(m measurement) time.Duration { return m.late }},
	{"prepare", func(m measurement) time.Duration { return m.prepare }},
	{"of-compose", func(m measurement) time.Duration { return m.prepareCompose }},
	{"wall", func(m measurement) time.Duration { return m.wall }},
}

// mean is the average of measurements of the same thing. Its path is empty.
func mean(all []measurement) measurement {
	var sum measurement
	if len(all) == 0 {
		return sum
	}
	n := time.Duration(len(all))
	for _, m := range all {
		t := &sum.timing
		t.Total += m.timing.Total / n
		t.Compose += m.timing.Compose / n
		t.Docker += m.timing.Docker / n
		t.App += m.timing.App / n
		t.Traefik += m.timing.Traefik / n
		t.Settle += m.timing.Settle / n
		t.Monitor += m.timing.Monitor / n
		t.Own += m.timing.Own / n
		sum.late += m.late / n
		sum.wall += m.wall / n
		sum.prepare += m.prepare / n
		sum.prepareCompose += m.prepareCompose / n
		sum.calls.Engine += m.calls.Engine
		sum.calls.Traefik += m.calls.Traefik
		sum.calls.Compose += m.calls.Compose
	}
	sum.calls.Engine /= int64(n)
	sum.calls.Traefik /= int64(n)
	sum.calls.Compose /= int64(n)
	return sum
}

// series are the measurements of one scenario.
type series struct {
	name string
	all  []measurement
}

// table prints the means in seconds, with the verdicts and the calls.
func table(all []series) string {
	head := []string{"", "rolls"}
	for _, f := range fields {
		head = append(head, f.name)
	}
	cells := [][]string{append(head, "own<=0.5", "<=1.1x", "engine", "traefik", "compose")}
	for _, s := range all {
		m := mean(s.all)
		row := []string{s.name, strconv.Itoa(len(s.all))}
		for _, f := range fields {
			row = append(row, strconv.FormatFloat(f.of(m).Seconds(), 'f', 2, 64))
		}
		own, total := m.verdict()
		row = append(row, own, total)
		for _, n := range []int64{m.calls.Engine, m.calls.Traefik, m.calls.Compose} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		cells = append(cells, row)
	}
	widths := make([]int, len(cells[0]))
	for _, row := range cells {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	var text strings.Builder
	for _, row := range cells {
		fmt.Fprintf(&text, "%-*s", widths[0], row[0])
		for i, cell := range row[1:] {
			fmt.Fprintf(&text, "  %*s", widths[i+1], cell)
		}
		text.WriteString("\n")
	}
	return text.String()
}
