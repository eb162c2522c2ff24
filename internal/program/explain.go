package program

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Explain is the row for people, a line each field that says something.
func (p *Program) Explain() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	line("program", p.Name+" ("+string(p.Kind)+")")
	line("recognised by", p.recognised())
	line("graceful", list(p.Graceful))
	line("fast", list(p.Fast))
	line("never reaches PID 1", list(p.Dropped))
	line("SIGTERM", p.Term)
	line("needs", p.Needs)
	line("limit", p.Limit.String())
	line("other settings", p.Knobs)
	line("official image", p.Image)
	if p.Rewrite != 0 {
		line("roll-init --auto", "SIGTERM becomes "+p.Rewrite.String())
	}
	line("evidence", p.evidence())
	line("source", p.Source)
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

// Markdown is the whole table, for docs/programs.md.
func Markdown() string {
	var b strings.Builder
	kinds := []struct {
		kind  Kind
		title string
	}{
		{Server, "Servers, workers and stores"}, {Dev, "Servers for development"}, {Runtime, "Runtimes: the program that they run decides"},
		{Init, "Inits"}, {Manager, "Process managers"}, {Wrapper, "Commands that run others"}, {Shell, "Shells"},
	}
	for _, k := range kinds {
		fmt.Fprintf(&b, "\n## %s\n\n", k.title)
		b.WriteString("| program | graceful | fast | SIGTERM, as PID 1 | needs | limit, other settings | official STOPSIGNAL | evidence |\n")
		b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
		for i := range Table {
			p := &Table[i]
			if p.Kind != k.kind {
				continue
			}
			limits := strings.TrimPrefix(p.Limit.String()+"; "+p.Knobs, "; ")
			cells := []string{p.Name, list(p.Graceful), list(p.Fast), p.Term, p.Needs, strings.TrimSuffix(limits, "; "), p.Image, "[" + p.evidence() + "](" + p.Source + ")"}
			for j, cell := range cells {
				cells[j] = cmp.Or(strings.ReplaceAll(cell, "|", "\\|"), "-")
			}
			b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
		}
	}
	return b.String()
}

func (p *Program) evidence() string {
	if p.Observed {
		return "observed"
	}
	return "documented"
}

func (p *Program) recognised() string {
	text := strings.Join(p.Names, ", ")
	if len(p.Modules) > 0 {
		text = strings.TrimPrefix(text+", python -m "+strings.Join(p.Modules, ", "), ", ")
	}
	if len(p.Words) > 0 {
		text += " with " + strings.Join(p.Words, " ")
	}
	if len(p.Without) > 0 {
		text += " without " + strings.Join(p.Without, " and ")
	}
	return text
}

// String is the name and the default, as "graceful_timeout (30s)".
func (k Knob) String() string {
	switch {
	case k.Name == "":
		return ""
	case k.Default > 0:
		return k.Name + " (" + short(k.Default) + ")"
	case k.Zero:
		return k.Name + " (0s: no grace)"
	}
	return k.Name + " (unset: no limit)"
}

func short(d time.Duration) string { return d.String() }

func list(signals []Signal) string {
	names := make([]string, len(signals))
	for i, s := range signals {
		names[i] = s.String()
	}
	return strings.Join(names, ", ")
}
