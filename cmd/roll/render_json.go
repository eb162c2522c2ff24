package main

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// jsonRenderer writes one JSON object a line on stdout: the contract of
// docs/json.md. The types below are that contract; a field of theirs is never
// renamed or given another meaning.
type jsonRenderer struct {
	mu  sync.Mutex // guards the rest
	out *json.Encoder
	now func() time.Time

	typed    string // see ending
	plan     deploy.Plan
	prepared struct{ took, compose time.Duration } // of the next plan
}

func newJSONRenderer(stdout io.Writer, now func() time.Time) *jsonRenderer {
	out := json.NewEncoder(stdout)
	out.SetEscapeHTML(false)
	return &jsonRenderer{out: out, now: now}
}

// jsonTime is RFC 3339 in UTC with milliseconds.
type jsonTime time.Time

func (t jsonTime) MarshalText() ([]byte, error) {
	return []byte(time.Time(t).UTC().Format("2006-01-02T15:04:05.000Z07:00")), nil
}

// jsonEvent is a line of every type but plan and result.
type jsonEvent struct {
	Type     deploy.Kind `json:"type"`
	Time     jsonTime    `json:"time"`
	Project  string      `json:"project"`
	Service  string      `json:"service"`
	Slot     int         `json:"slot,omitempty"`
	Slots    int         `json:"slots"`
	Role     deploy.Role `json:"role,omitempty"`
	Replica  string      `json:"replica,omitempty"`
	Phase    string      `json:"phase,omitempty"`
	BudgetMS int64       `json:"budget_ms,omitempty"`
	Detail   string      `json:"detail,omitempty"`
}

type jsonPlan struct {
	Type        deploy.Kind `json:"type"`
	Time        jsonTime    `json:"time"`
	Project     string      `json:"project"`
	Service     string      `json:"service"`
	Slots       int         `json:"slots"`
	Detail      string      `json:"detail"`
	Verb        string      `json:"verb"`
	Target      int         `json:"target"`
	Floor       int         `json:"floor"`
	Order       string      `json:"order"`
	Parallelism int         `json:"parallelism"`
	Gated       bool        `json:"gated"`
	Routers     []string    `json:"routers"`
	Unproven    string      `json:"unproven,omitempty"`
	Changes     []jsonSlot  `json:"changes"`
	Clean       []jsonNote  `json:"clean"`
	Stay        []jsonNote  `json:"stay"`
	Warnings    []string    `json:"warnings"`

	PrepareMS        int64 `json:"prepare_ms,omitempty"`
	PrepareComposeMS int64 `json:"prepare_compose_ms,omitempty"`
}

type jsonSlot struct {
	Slot          int      `json:"slot"`
	Create        bool     `json:"create"`
	Adopt         string   `json:"adopt,omitempty"`
	Unflip        bool     `json:"unflip,omitempty"`
	Old           string   `json:"old,omitempty"`
	OldReason     string   `json:"old_reason,omitempty"`
	Keep          bool     `json:"keep,omitempty"`
	Flip          string   `json:"flip,omitempty"`
	Wanted        []string `json:"wanted"`
	ReadyBudgetMS int64    `json:"ready_budget_ms,omitempty"`
	FlipExpectMS  int64    `json:"flip_expect_ms,omitempty"`
	FlipBudgetMS  int64    `json:"flip_budget_ms,omitempty"`
	Reason        string   `json:"reason"`
}

type jsonNote struct {
	Replica string `json:"replica"`
	Reason  string `json:"reason"`
}

type jsonResult struct {
	Type     deploy.Kind    `json:"type"`
	Time     jsonTime       `json:"time"`
	Project  string         `json:"project"`
	Service  string         `json:"service"`
	Outcome  string         `json:"outcome"`
	Detail   string         `json:"detail"`
	Proven   bool           `json:"proven"`
	Unproven string         `json:"unproven,omitempty"`
	Created  []string       `json:"created"`
	Removed  []string       `json:"removed"`
	Restored []string       `json:"restored"`
	Left     []jsonLeft     `json:"left"`
	Failures []jsonFailure  `json:"failures"`
	Warnings []string       `json:"warnings"`
	Exits    map[string]int `json:"exits"`
	TookMS   int64          `json:"took_ms"`
	Calls    jsonCalls      `json:"calls"`
	Next     []string       `json:"next"`
}

type jsonCalls struct {
	Engine    int64 `json:"engine"`
	Traefik   int64 `json:"traefik"`
	Compose   int64 `json:"compose"`
	ComposeMS int64 `json:"compose_ms"`
}

type jsonLeft struct {
	Replica string      `json:"replica"`
	Role    deploy.Role `json:"role"`
	Phase   string      `json:"phase"`
	Reason  string      `json:"reason"`
}

type jsonFailure struct {
	Slot    int         `json:"slot,omitempty"`
	Replica string      `json:"replica,omitempty"`
	Role    deploy.Role `json:"role,omitempty"`
	Phase   string      `json:"phase"`
	Error   string      `json:"error"`
	Last    string      `json:"last,omitempty"`
	Probes  []jsonProbe `json:"probes"`
	Logs    []string    `json:"logs"`
}

type jsonProbe struct {
	Start    jsonTime `json:"start"`
	End      jsonTime `json:"end"`
	ExitCode int      `json:"exit_code"`
	Output   string   `json:"output"`
}

// On writes every event except plan and result: Plan and Result write those
// lines, with more in them.
func (r *jsonRenderer) On(e deploy.Event) {
	if e.Kind == deploy.KindPlan || e.Kind == deploy.KindResult {
		return
	}
	line := jsonEvent{
		Type: e.Kind, Time: jsonTime(e.Time), Project: e.Project, Service: e.Service, Slot: e.Slot, Slots: e.Slots,
		Role: e.Role, Replica: e.Replica, BudgetMS: milliseconds(e.Budget), Detail: e.Detail,
	}
	switch e.Kind {
	case deploy.KindPhase, deploy.KindSeen, deploy.KindFailure:
		line.Phase = e.Phase.String()
	}
	r.write(line)
}

// Prepared notes how long the plan took that comes next.
func (r *jsonRenderer) Prepared(took, compose time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prepared.took, r.prepared.compose = took, compose
}

// Plan writes the plan's line.
func (r *jsonRenderer) Plan(p deploy.Plan) {
	r.mu.Lock()
	r.plan = p
	prepared := r.prepared
	r.prepared.took, r.prepared.compose = 0, 0
	r.mu.Unlock()
	line := jsonPlan{
		Type: deploy.KindPlan, Time: jsonTime(r.now()), Project: p.Project, Service: p.Service, Slots: len(p.Slots), Detail: p.Headline(),
		Verb: p.Verb, Target: p.Target, Floor: p.Floor, Order: string(p.Policy.Order.Value), Parallelism: p.Policy.Parallelism.Value,
		Gated: p.Gated, Routers: list(p.Routers), Unproven: p.Unproven, Warnings: list(p.Warnings),
		Changes: []jsonSlot{}, Clean: []jsonNote{}, Stay: []jsonNote{},
		PrepareMS: milliseconds(prepared.took), PrepareComposeMS: milliseconds(prepared.compose),
	}
	for i, s := range p.Slots {
		slot := jsonSlot{Slot: i + 1, Create: s.New, Unflip: s.Unflip, Wanted: list(s.Wanted), Reason: s.Reason}
		if s.New || s.Adopt != nil {
			slot.ReadyBudgetMS = milliseconds(s.Ready.Limit)
		}
		if s.Adopt != nil {
			slot.Adopt = s.Adopt.Name
		}
		if s.Old != nil {
			slot.Old, slot.OldReason, slot.Keep, slot.Flip = s.Old.Name, s.Why, s.Keep, s.OldWay
			slot.FlipExpectMS, slot.FlipBudgetMS = milliseconds(s.OldFlip.Expect), milliseconds(s.OldFlip.Limit)
		}
		line.Changes = append(line.Changes, slot)
	}
	for _, c := range p.Clean {
		line.Clean = append(line.Clean, jsonNote{c.Replica.Name, c.Reason})
	}
	for _, s := range p.Stay {
		line.Stay = append(line.Stay, jsonNote{s.Replica.Name, s.Reason})
	}
	r.write(line)
}

// Result writes the last line of a service's roll.
func (r *jsonRenderer) Result(res deploy.Result) {
	r.mu.Lock()
	e := ending{res, r.plan, r.typed}
	r.mu.Unlock()
	line := jsonResult{
		Type: deploy.KindResult, Time: jsonTime(r.now()), Project: res.Project, Service: res.Service,
		Outcome: outcomeName(res.Outcome), Detail: e.headline(), Proven: res.Proven, Unproven: res.Unproven,
		Created: list(res.Created), Removed: list(res.Removed), Restored: list(res.Restored),
		Left: []jsonLeft{}, Failures: []jsonFailure{}, Warnings: list(res.Warnings), Exits: res.Exits,
		TookMS: milliseconds(res.Took), Next: list(e.commands()),
		Calls: jsonCalls{res.Calls.Engine, res.Calls.Traefik, res.Calls.Compose, milliseconds(res.Calls.ComposeTime)},
	}
	if line.Exits == nil {
		line.Exits = map[string]int{}
	}
	for _, l := range res.Left {
		line.Left = append(line.Left, jsonLeft{l.Replica, l.Role, l.Phase.String(), l.Reason})
	}
	for _, f := range res.Failures {
		line.Failures = append(line.Failures, jsonFailure{f.Slot, f.Replica, f.Role, f.Phase.String(), f.Err.Error(), f.Last, jsonProbes(f.Probes), list(f.Logs)})
	}
	r.write(line)
}

func (r *jsonRenderer) Close() {}

// write gives the line to stdout. A reader that has gone away does not stop a
// roll, so an error has nobody to go to.
func (r *jsonRenderer) write(line any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.out.Encode(line)
}

func jsonProbes(probes []compose.Probe) []jsonProbe {
	all := []jsonProbe{}
	for _, p := range probes {
		all = append(all, jsonProbe{jsonTime(p.Start), jsonTime(p.End), p.ExitCode, p.Output})
	}
	return all
}

// outcomeName is an outcome's name in JSON.
func outcomeName(o deploy.Outcome) string {
	switch o {
	case deploy.UpToDate:
		return "up_to_date"
	case deploy.Done:
		return "done"
	case deploy.Failed:
		return "failed"
	case deploy.RolledBack:
		return "rolled_back"
	case deploy.Partial:
		return "partial"
	case deploy.Interrupted:
		return "interrupted"
	}
	return "unknown"
}

func milliseconds(d time.Duration) int64 { return d.Round(time.Millisecond).Milliseconds() }

// list is never null in JSON.
func list(items []string) []string {
	if items == nil {
		return []string{}
	}
	return items
}
