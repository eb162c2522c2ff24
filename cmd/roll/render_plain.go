package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/roll-deploy/roll/deploy"
)

// plainRenderer writes one line an event, for logs and pipes.
type plainRenderer struct {
	mu     sync.Mutex
	stdout io.Writer
	stderr io.Writer
	now    func() time.Time
	plan   deploy.Plan
	typed  string // see ending
}

// On writes the event. What it says in several lines is joined into one.
func (r *plainRenderer) On(e deploy.Event) {
	phase := ""
	if e.Kind == deploy.KindPhase || e.Kind == deploy.KindSeen || e.Kind == deploy.KindFailure {
		phase = e.Phase.String()
	}
	slot := ""
	if e.Slot > 0 {
		slot = fmt.Sprintf("%d/%d", e.Slot, e.Slots)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.stderr, "%s %-10s %-5s %-4s %-20s %-10s %s\n", e.Time.Format("15:04:05.000"),
		dash(e.Service), dash(slot), dash(string(e.Role)), dash(e.Replica), dash(phase), eventText(e))
}

// Plan writes the plan's warnings; its headline comes as an event.
func (r *plainRenderer) Plan(p deploy.Plan) {
	r.mu.Lock()
	r.plan = p
	r.mu.Unlock()
	for _, w := range p.Warnings {
		r.On(deploy.Event{Time: r.now(), Kind: deploy.KindWarning, Project: p.Project, Service: p.Service, Slots: len(p.Slots), Detail: w})
	}
}

func (r *plainRenderer) Result(res deploy.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprint(r.stdout, ending{res, r.plan, r.typed})
}

func (r *plainRenderer) Close() {}

func dash(field string) string {
	if field == "" {
		return "-"
	}
	return field
}

// eventText is what an event says, in one line.
func eventText(e deploy.Event) string {
	detail := oneLine(e.Detail)
	switch e.Kind {
	case deploy.KindPhase:
		text := e.Phase.Awaits()
		switch e.Phase {
		case deploy.Arrived, deploy.Departed, deploy.Returned:
		default:
			text = "waiting for " + text
		}
		if e.Budget > 0 {
			text += ", up to " + limit(e.Budget).String()
		}
		if detail != "" {
			text += ": " + detail
		}
		return text
	case deploy.KindWarning:
		return "warning: " + detail
	case deploy.KindFailure:
		return "failed: " + detail
	case deploy.KindUndo:
		return "turning back: " + detail
	case deploy.KindResult:
		return "ended: " + detail
	case deploy.KindOutput:
		return "| " + detail
	}
	return detail
}

// quietRenderer shows what went wrong on stderr and one line on stdout.
type quietRenderer struct {
	mu     sync.Mutex
	stdout io.Writer
	stderr io.Writer
	plan   deploy.Plan
	typed  string // see ending
}

// On writes warnings and failures.
func (r *quietRenderer) On(e deploy.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Kind {
	case deploy.KindWarning, deploy.KindFailure:
		fmt.Fprintln(r.stderr, noticeText(e))
	}
}

// Plan writes the plan's warnings.
func (r *quietRenderer) Plan(p deploy.Plan) {
	r.mu.Lock()
	r.plan = p
	r.mu.Unlock()
	for _, w := range p.Warnings {
		r.On(deploy.Event{Kind: deploy.KindWarning, Service: p.Service, Detail: w})
	}
}

// Result writes the headline on stdout. The rest of a roll that did not reach
// its end goes to stderr: it says what is left and what to type.
func (r *quietRenderer) Result(res deploy.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := ending{res, r.plan, r.typed}
	fmt.Fprintln(r.stdout, end.headline())
	if res.Outcome != deploy.Done && res.Outcome != deploy.UpToDate {
		fmt.Fprint(r.stderr, end.details())
	}
}

func (r *quietRenderer) Close() {}

// noticeText is a warning, a failure or a change of direction for a person who
// sees it without its columns.
func noticeText(e deploy.Event) string {
	who := cmp.Or(e.Replica, e.Service, e.Project)
	if e.Kind == deploy.KindFailure && e.Slot > 0 {
		who = fmt.Sprintf("%s (slot %d, %s)", who, e.Slot, e.Phase)
	}
	text := printable(e.Detail)
	switch e.Kind {
	case deploy.KindWarning:
		return who + ": warning: " + text
	case deploy.KindFailure:
		return who + ": failed: " + strings.TrimPrefix(text, e.Replica+": ")
	case deploy.KindOutput:
		return who + " | " + text
	}
	return who + ": " + text
}
