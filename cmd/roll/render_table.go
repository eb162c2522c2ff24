package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/roll-deploy/roll/deploy"
)

// table is one roll as a person watches it: what is known of every slot, from
// the plan and the events. It draws itself for a given instant and size.
type table struct {
	service string
	title   string // the plan's headline
	began   time.Time
	ended   time.Time // zero: it still goes on
	turned  string    // why it turned back; empty: it goes forward
	note    string    // what happens outside of any slot
	rows    []*row
}

// row is one slot.
type row struct {
	number  int
	next    *side // comes in; nil: nobody
	old     *side // leaves; nil: nobody
	keep    bool  // the old one is not stopped
	moving  *side // the one that the last event was about; nil: its turn has not come
	failure string
	left    string // why a person has to look at it
}

// side is one replica of a slot.
type side struct {
	name   string
	phase  deploy.Phase
	since  time.Time
	budget time.Duration
	detail string // the last thing seen in this phase
}

// settled reports whether nothing is awaited of the replica.
func (s *side) settled() bool {
	switch s.phase {
	case deploy.Planned, deploy.Arrived, deploy.Departed, deploy.Returned:
		return true
	}
	return false
}

func (s *side) serves() bool { return s.phase == deploy.Arrived || s.phase == deploy.Returned }

// newTable is a roll of which only the plan is known.
func newTable(p deploy.Plan, now time.Time) *table {
	t := &table{service: p.Service, title: p.Headline(), began: now}
	for i, s := range p.Slots {
		r := &row{number: i + 1, keep: s.Keep}
		if s.New || s.Adopt != nil {
			r.next = &side{}
			if s.Adopt != nil {
				r.next.name = s.Adopt.Name
			}
		}
		if s.Old != nil {
			r.old = &side{name: s.Old.Name}
		}
		t.rows = append(t.rows, r)
	}
	return t
}

// grow adds slots of which nothing is known until there are n.
func (t *table) grow(n int) {
	for len(t.rows) < n {
		t.rows = append(t.rows, &row{number: len(t.rows) + 1, next: &side{}, old: &side{}})
	}
}

// row is the slot of this number. One that the plan did not have is added, so
// that nothing that happens is left out.
func (t *table) row(number int) *row {
	t.grow(number)
	return t.rows[number-1]
}

// on takes note of an event.
func (t *table) on(e deploy.Event) {
	switch e.Kind {
	case deploy.KindPlan:
		t.title, t.began = oneLine(e.Detail), e.Time
		t.grow(e.Slots)
		return
	case deploy.KindUndo:
		t.turned = oneLine(e.Detail)
		return
	case deploy.KindPhase, deploy.KindSeen, deploy.KindFailure:
	default:
		return
	}
	if e.Slot == 0 {
		t.note = ""
		if e.Phase == deploy.Removing {
			t.note = strings.TrimSuffix(fmt.Sprintf("removing leftover %s: %s", e.Replica, oneLine(e.Detail)), ": ")
		}
		return
	}
	r := t.row(e.Slot)
	at := &r.next
	if e.Role == deploy.OldReplica {
		at = &r.old
	}
	if *at == nil {
		*at = &side{}
	}
	s := *at
	r.moving = s
	if e.Replica != "" {
		s.name = e.Replica
	}
	switch e.Kind {
	case deploy.KindPhase:
		s.phase, s.since, s.budget, s.detail = e.Phase, e.Time, e.Budget, oneLine(e.Detail)
	case deploy.KindSeen:
		s.detail = oneLine(e.Detail)
	case deploy.KindFailure:
		r.failure = oneLine(e.Detail)
	}
}

// end stops the clock and notes what is left.
func (t *table) end(now time.Time, left []deploy.Left) {
	t.ended, t.note = now, ""
	for _, l := range left {
		for _, r := range t.rows {
			if r.next != nil && r.next.name == l.Replica || r.old != nil && r.old.name == l.Replica {
				r.left = oneLine(l.Reason)
			}
		}
	}
}

// standing is where a slot stands as a whole.
type standing int

const (
	waits standing = iota // its turn has not come
	moves
	isDone
	isBack // as it was before the roll
	isLeft // a person is needed
)

func (r *row) standing() standing {
	oldGone := r.old == nil || r.old.phase == deploy.Departed || r.keep && r.old.phase == deploy.Draining
	oldHere := r.old == nil || r.old.phase == deploy.Planned || r.old.serves()
	newIn := r.next == nil || r.next.serves()
	newOut := r.next == nil || r.next.phase == deploy.Departed || r.next.phase == deploy.Planned || r.next.phase == deploy.Creating && r.failure != ""
	switch {
	case r.left != "":
		return isLeft
	case r.moving == nil:
		return waits
	case newIn && oldGone:
		return isDone
	case newOut && oldHere && !(r.next == nil && r.old.phase == deploy.Planned), newIn && r.old != nil && r.old.serves() && r.failure != "":
		return isBack
	}
	return moves
}

// awaits is what the slot waits for right now. When it has to be terse, what
// was seen last stands alone: the phase says the rest.
func (r *row) awaits(terse bool) string {
	switch r.standing() {
	case waits:
		return "its turn"
	case isDone:
		return "done"
	case isBack:
		if r.failure != "" {
			return "as before; failed: " + r.failure
		}
		return "as before"
	case isLeft:
		return "a person: " + r.left
	}
	if r.moving.settled() {
		return "the others of its window"
	}
	switch {
	case r.moving.detail == "":
		return r.moving.phase.Awaits()
	case terse:
		return r.moving.detail
	}
	return r.moving.phase.Awaits() + ": " + r.moving.detail
}

// cells are the columns of a row: number, new replica and where it stands, old
// replica and where it stands, what is awaited.
func (r *row) cells(now time.Time, terse bool) [6]string {
	c := [6]string{fmt.Sprint(r.number), "-", "", "-", "", r.awaits(terse)}
	running := r.standing() == moves || r.standing() == isLeft
	for i, s := range []*side{r.next, r.old} {
		if s == nil {
			continue
		}
		c[1+2*i] = s.name
		if s.name == "" {
			c[1+2*i] = "new"
		}
		c[2+2*i] = s.clock(now, running && r.moving == s)
	}
	return c
}

// clock is a replica's phase, and how long it has been in it of how much when
// something is awaited.
func (s *side) clock(now time.Time, moving bool) string {
	switch {
	case s.phase == deploy.Planned:
		return ""
	case s.settled() || !moving:
		return s.phase.String()
	}
	text := s.phase.String() + " " + lapse(max(0, now.Sub(s.since))).String()
	if s.budget > 0 {
		text += "/" + limit(s.budget).String()
	}
	return text
}

// palette are the styles of a table. Without colour all of them are plain.
type palette struct{ title, head, waiting, done, failed, warning lipgloss.Style }

// lines draws the table in at most height lines of at most width columns. When
// not all slots fit, those on their way are shown and the others are counted.
func (t *table) lines(now time.Time, width, height int, p palette) []string {
	if !t.ended.IsZero() {
		now = t.ended
	}
	count := map[standing]int{}
	for _, r := range t.rows {
		count[r.standing()]++
	}
	header := fmt.Sprintf("%s  %d of %d done  %s", p.title.Render(t.service), count[isDone], len(t.rows), lapse(max(0, now.Sub(t.began))))
	switch {
	case t.turned != "":
		header += "  " + p.failed.Render(t.turned)
	case t.note != "":
		header += "  " + t.note
	case t.title != "":
		header += "  " + t.title
	}
	shown, rest := t.choose(height-2, count)
	lines := []string{header}
	if len(shown) > 0 {
		lines = append(lines, grid(shown, now, width, p)...)
	}
	if rest != "" {
		lines = append(lines, p.waiting.Render("  "+rest))
	}
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, max(1, width), "…")
	}
	return lines[:min(len(lines), max(1, height))]
}

// choose picks the rows for so many lines, and counts the others.
func (t *table) choose(room int, count map[standing]int) (shown []*row, rest string) {
	if len(t.rows) <= room {
		return t.rows, ""
	}
	room--
	// What a person has to look at comes first, then what is on its way.
	for _, want := range []standing{isLeft, moves} {
		for _, r := range t.rows {
			if r.standing() == want && len(shown) < room {
				shown = append(shown, r)
				count[want]--
			}
		}
	}
	var parts []string
	for _, c := range []struct {
		of   standing
		text string
	}{{isLeft, "need a person"}, {moves, "more on their way"}, {isDone, "done"}, {isBack, "as before"}, {waits, "to come"}} {
		if count[c.of] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[c.of], c.text))
		}
	}
	return shown, strings.Join(parts, ", ")
}

// grid lines up the rows below their headings, with fewer words when they do
// not fit.
func grid(rows []*row, now time.Time, width int, p palette) []string {
	lines := align(rows, now, false)
	if slices.ContainsFunc(lines, func(line string) bool { return ansi.StringWidth(line) > width }) {
		lines = align(rows, now, true)
	}
	for i, line := range lines {
		style := p.head
		if i > 0 {
			style = p.of(rows[i-1])
		}
		lines[i] = style.Render(line)
	}
	return lines
}

// align pads the cells of the rows, and of the headings above them, to columns.
func align(rows []*row, now time.Time, terse bool) []string {
	all := [][6]string{{"", "NEW", "", "OLD", "", "WAITING FOR"}}
	for _, r := range rows {
		all = append(all, r.cells(now, terse))
	}
	var widths [6]int
	for _, cells := range all {
		for i, c := range cells {
			widths[i] = max(widths[i], ansi.StringWidth(c))
		}
	}
	if !terse {
		// A clock that grows by a digit must not make the table jump.
		widths[2], widths[4] = max(widths[2], clockWidth), max(widths[4], clockWidth)
	}
	var lines []string
	for _, cells := range all {
		var b strings.Builder
		for j, c := range cells {
			b.WriteString("  ")
			if j == 0 {
				b.WriteString(strings.Repeat(" ", widths[j]-ansi.StringWidth(c)) + c)
				continue
			}
			b.WriteString(c + strings.Repeat(" ", widths[j]-ansi.StringWidth(c)))
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

// clockWidth has room for the usual clock: "joining 12.3s/30s".
const clockWidth = 17

func (p palette) of(r *row) lipgloss.Style {
	switch r.standing() {
	case waits:
		return p.waiting
	case isDone:
		return p.done
	case isLeft:
		return p.failed
	}
	if r.failure != "" {
		return p.failed
	}
	return lipgloss.NewStyle()
}
