package main

import (
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/internal/probe"
)

func rows() []row {
	return []row{
		{"roll up web", 21340 * time.Millisecond, probe.Report{Sent: 4312, OK: 4312, Latency: probe.Latency{P99: probe.Millis(31 * time.Millisecond)}}},
		{"docker compose up -d", 4 * time.Second, probe.Report{
			Sent: 1001234, Failed: 700, NotSent: 2, ByKind: map[string]int{"status 502": 90, "status 404": 605, "reset": 5},
			Latency: probe.Latency{P99: probe.Millis(1500 * time.Millisecond)},
		}},
	}
}

func TestTheTableTellsWhatEachDeployLost(t *testing.T) {
	want := `
                              sent   failed    p99   seconds
  roll up web                4,312        0   31ms      21.3
  docker compose up -d   1,001,234      702   1.5s       4.0   605 status 404, 90 status 502, 5 reset, 2 not sent
`
	var got strings.Builder
	for line := range strings.Lines(table(rows(), false)) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if got.String() != strings.TrimPrefix(want, "\n") {
		t.Errorf("got\n%s\nwant%s", got.String(), want)
	}
}

func TestColourChangesNoColumn(t *testing.T) {
	coloured := table(rows(), true)
	for _, code := range []string{"1;32", "1;31", "2", "0"} {
		if !strings.Contains(coloured, "\x1b["+code+"m") {
			t.Errorf("no colour %s", code)
		}
		coloured = strings.ReplaceAll(coloured, "\x1b["+code+"m", "")
	}
	if plain := table(rows(), false); coloured != plain {
		t.Errorf("got\n%s\nwant\n%s", coloured, plain)
	}
}
