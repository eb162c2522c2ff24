package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/roll-deploy/roll/internal/probe"
)

// ink says whether text may be coloured.
type ink bool

func (i ink) paint(code, text string) string {
	if !i {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (i ink) bold(text string) string  { return i.paint("1", text) }
func (i ink) dim(text string) string   { return i.paint("2", text) }
func (i ink) red(text string) string   { return i.paint("1;31", text) }
func (i ink) green(text string) string { return i.paint("1;32", text) }

// row is what one deploy did to the requests that came in meanwhile.
type row struct {
	command string
	took    time.Duration // the command alone
	report  probe.Report  // until the service was whole again
}

// lost are the requests that failed or could not be sent.
func (r row) lost() int { return r.report.Failed + r.report.NotSent }

// table prints the rows below a heading.
func table(rows []row, i ink) string {
	cells := [][]string{{"", "sent", "failed", "p99", "seconds", ""}}
	for _, r := range rows {
		cells = append(cells, []string{
			r.command, grouped(r.report.Sent), grouped(r.lost()), r.report.Latency.P99.String(), strconv.FormatFloat(r.took.Seconds(), 'f', 1, 64), kinds(r.report),
		})
	}
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for column, cell := range line {
			widths[column] = max(widths[column], len([]rune(cell)))
		}
	}
	var text strings.Builder
	for n, line := range cells {
		fmt.Fprintf(&text, "  %-*s", widths[0], line[0])
		for column := 1; column < len(line)-1; column++ {
			cell := fmt.Sprintf("%*s", widths[column], line[column])
			switch {
			case n == 0:
				cell = i.dim(cell)
			case column == 2 && rows[n-1].lost() == 0:
				cell = i.green(cell)
			case column == 2:
				cell = i.red(cell)
			}
			text.WriteString("   " + cell)
		}
		if last := line[len(line)-1]; last != "" {
			text.WriteString("   " + i.dim(last))
		}
		text.WriteString("\n")
	}
	return text.String()
}

// kinds lists what failed how often, the most frequent first.
func kinds(r probe.Report) string {
	names := slices.SortedFunc(maps.Keys(r.ByKind), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.ByKind[b], r.ByKind[a]), cmp.Compare(a, b))
	})
	var all []string
	for _, name := range names {
		all = append(all, fmt.Sprintf("%s %s", grouped(r.ByKind[name]), name))
	}
	if r.NotSent > 0 {
		all = append(all, grouped(r.NotSent)+" not sent")
	}
	return strings.Join(all, ", ")
}

// grouped is a number with a comma before every three digits.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
