package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"

	"github.com/roll-deploy/roll/deploy"
)

// ttyRenderer keeps a live table at the end of a terminal. It only writes: the
// cursor stays visible, the terminal keeps its mode and Ctrl-C its meaning, so
// that there is nothing to repair when roll is killed.
//
// During a roll On only takes notes and one goroutine draws, ten times a second:
// a terminal that was stopped with Ctrl-S does not stop a roll.
type ttyRenderer struct {
	size  func() (width, height int)
	now   func() time.Time
	typed string // see ending

	notes sync.Mutex // guards plan, table and above; never held while writing
	plan  deploy.Plan
	table *table   // nil: no roll goes on
	above []string // lines for the scrollback that are not written yet

	screen sync.Mutex // guards what follows
	stdout io.Writer
	stderr io.Writer
	colors palette
	drawn  []string // the lines of the table that are on the screen

	closing sync.Once
	stop    chan struct{}
	stopped chan struct{} // nil: nobody draws by itself
}

// frameEvery is the time between two drawings.
const frameEvery = 100 * time.Millisecond

func newTTYRenderer(stdout, stderr io.Writer, size func() (width, height int), color bool, now func() time.Time) *ttyRenderer {
	style := lipgloss.NewRenderer(stderr)
	style.SetColorProfile(termenv.Ascii)
	if color {
		style.SetColorProfile(termenv.ANSI)
	}
	return &ttyRenderer{size: size, now: now, stdout: stdout, stderr: stderr, stop: make(chan struct{}), colors: palette{
		title:   style.NewStyle().Bold(true),
		head:    style.NewStyle().Faint(true),
		waiting: style.NewStyle().Faint(true),
		done:    style.NewStyle().Foreground(lipgloss.Color("2")),
		failed:  style.NewStyle().Foreground(lipgloss.Color("1")),
		warning: style.NewStyle().Foreground(lipgloss.Color("3")),
	}}
}

// start draws from now on, until Close.
func (t *ttyRenderer) start() {
	t.stopped = make(chan struct{})
	go func() {
		defer close(t.stopped)
		ticker := time.NewTicker(frameEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				t.draw(false)
			case <-t.stop:
				return
			}
		}
	}()
}

// Plan begins a table.
func (t *ttyRenderer) Plan(p deploy.Plan) {
	t.draw(true) // what an earlier roll left
	t.notes.Lock()
	defer t.notes.Unlock()
	for _, w := range p.Warnings {
		t.notice(deploy.Event{Kind: deploy.KindWarning, Service: p.Service, Detail: w})
	}
	t.plan, t.table = p, nil
	if !p.Empty() {
		t.table = newTable(p, t.now())
	}
}

// On takes note of an event.
func (t *ttyRenderer) On(e deploy.Event) {
	t.notes.Lock()
	defer t.notes.Unlock()
	switch e.Kind {
	case deploy.KindWarning, deploy.KindFailure, deploy.KindUndo, deploy.KindOutput:
		t.notice(e)
	case deploy.KindPlan:
		if t.table == nil && e.Slots > 0 {
			t.table = &table{service: e.Service}
		}
	}
	if t.table != nil {
		t.table.on(e)
	}
}

// notice keeps lines for the scrollback.
func (t *ttyRenderer) notice(e deploy.Event) {
	style := lipgloss.NewStyle()
	switch e.Kind {
	case deploy.KindWarning, deploy.KindUndo:
		style = t.colors.warning
	case deploy.KindFailure:
		style = t.colors.failed
	}
	for line := range strings.SplitSeq(noticeText(e), "\n") {
		t.above = append(t.above, style.Render(line))
	}
}

// Result leaves the last table on the screen and writes the result below it.
func (t *ttyRenderer) Result(res deploy.Result) {
	t.notes.Lock()
	if t.table != nil {
		t.table.end(t.now(), res.Left)
	}
	end := ending{res, t.plan, t.typed}
	t.notes.Unlock()
	t.draw(true)
	t.screen.Lock()
	defer t.screen.Unlock()
	fmt.Fprint(t.stdout, end)
}

// Close draws what is still to be seen and leaves it on the screen, the cursor
// at the start of the line below it.
func (t *ttyRenderer) Close() {
	t.closing.Do(func() {
		close(t.stop)
		if t.stopped != nil {
			<-t.stopped
		}
		t.draw(true)
	})
}

// draw writes the new lines of the scrollback and the table below them. After
// the last drawing of a table nothing touches it any more.
func (t *ttyRenderer) draw(last bool) {
	t.screen.Lock()
	defer t.screen.Unlock()
	width, height := t.size()
	if width <= 0 {
		width = 80
	}
	if height <= 0 {
		height = 24
	}
	t.notes.Lock()
	above := t.above
	t.above = nil
	var lines []string
	if t.table != nil {
		// The last column stays free: some terminals wrap when it is written.
		// The last line is the cursor's.
		lines = t.table.lines(t.now(), width-1, height-1, t.colors)
	}
	if last {
		t.table = nil
	}
	t.notes.Unlock()

	if len(above) > 0 || strings.Join(lines, "\n") != strings.Join(t.drawn, "\n") {
		_, _ = io.WriteString(t.stderr, t.frame(above, lines, width))
	}
	t.drawn = lines
	if last {
		t.drawn = nil
	}
}

// frame is one write that replaces the table on the screen. Without news for
// the scrollback each line is cleared just before it is written again, which
// does not flicker.
func (t *ttyRenderer) frame(above, lines []string, width int) string {
	var b strings.Builder
	if rows := rowsOf(t.drawn, width); rows > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA", rows)
	}
	if len(above) > 0 {
		b.WriteString("\x1b[J")
	}
	for _, line := range above {
		b.WriteString(line + "\n")
	}
	for _, line := range lines {
		b.WriteString("\x1b[K" + line + "\n")
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// rowsOf is how many rows lines take on a terminal of this width. It is more
// than one each when the terminal was made narrower and has wrapped them.
func rowsOf(lines []string, width int) int {
	rows := 0
	for _, line := range lines {
		rows += max(1, (ansi.StringWidth(line)+width-1)/width)
	}
	return rows
}
