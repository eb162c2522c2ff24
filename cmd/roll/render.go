package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"github.com/roll-deploy/roll/deploy"
)

// renderer shows rolls to a person or a program. For every service: Plan, then
// the events of the roll, then Result. Close comes once, at the end, whatever
// happened before. All methods may be called from several goroutines.
type renderer interface {
	deploy.Observer
	Plan(deploy.Plan)
	Result(deploy.Result)
	Close()
}

// progressModes are the values of --progress.
var progressModes = []string{"auto", "tty", "plain", "json", "quiet"}

// newRenderer makes the renderer for a value of --progress. isTTY says whether
// stderr is a terminal and size how many columns and lines it has (zero: not
// known); color allows colour, which only the tty renderer uses; typed is how
// roll was called.
func newRenderer(mode string, stdout, stderr io.Writer, isTTY bool, size func() (width, height int), color bool, typed string) (renderer, error) {
	if mode == "auto" {
		mode = "plain"
		if isTTY {
			mode = "tty"
		}
	}
	switch mode {
	case "tty":
		t := newTTYRenderer(stdout, stderr, size, color, time.Now)
		t.typed = typed
		t.start()
		return t, nil
	case "plain":
		return &plainRenderer{stdout: stdout, stderr: stderr, now: time.Now, typed: typed}, nil
	case "json":
		j := newJSONRenderer(stdout, time.Now)
		j.typed = typed
		return j, nil
	case "quiet":
		return &quietRenderer{stdout: stdout, stderr: stderr, typed: typed}, nil
	}
	return nil, fmt.Errorf("--progress %s: there is no such way to show progress; use one of %s", mode, strings.Join(progressModes, ", "))
}

// renderDryRun writes a plan that is not carried out, which makes it the
// result: text for people, the plan's line under --progress json.
func renderDryRun(r renderer, stdout io.Writer, p deploy.Plan) {
	if j, ok := r.(*jsonRenderer); ok {
		j.Plan(p)
		return
	}
	fmt.Fprint(stdout, p.String())
}

// printable is text from a container or a tool without what would move the
// cursor, colour the terminal or break a line. Newlines stay.
func printable(text string) string {
	text = ansi.Strip(strings.ReplaceAll(text, "\r\n", "\n"))
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, strings.TrimRight(text, "\n"))
}

// oneLine is printable text with its lines joined.
func oneLine(text string) string {
	return strings.Join(strings.Fields(printable(text)), " ")
}

// lapse prints time that has passed: 0.4s, 12.3s, 1m05s, 2h03m.
type lapse time.Duration

func (l lapse) String() string {
	d := time.Duration(l)
	switch tenths := d.Round(100 * time.Millisecond); {
	case tenths < time.Minute:
		return fmt.Sprintf("%.1fs", tenths.Seconds())
	case d.Round(time.Second) < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}

// limit prints time that something may take, as people write it: 500ms, 45s,
// 1m30s, 5m.
type limit time.Duration

func (l limit) String() string {
	d := time.Duration(l)
	if d >= time.Second {
		d = d.Round(100 * time.Millisecond)
	} else {
		d = d.Round(time.Millisecond)
	}
	s := d.String()
	if d >= time.Minute && strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if d >= time.Hour && strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
