package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/deploy"
)

var start = time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// output is a roll of one replica. Its new one is healthy 200 ms before roll
// says so, its old one is gone 300 ms before.
const output = `
{"type":"plan","time":"2026-03-01T14:00:00.000Z","prepare_ms":900,"prepare_compose_ms":700}
{"type":"phase","time":"2026-03-01T14:00:00.100Z","slot":1,"role":"new","phase":"creating"}
{"type":"phase","time":"2026-03-01T14:00:01.000Z","slot":1,"role":"new","replica":"web-2","phase":"booting"}
{"type":"seen","time":"2026-03-01T14:00:01.500Z","slot":1,"role":"new","replica":"web-2","phase":"booting","detail":"starting"}
{"type":"phase","time":"2026-03-01T14:00:02.000Z","slot":1,"role":"new","replica":"web-2","phase":"joining"}
{"type":"phase","time":"2026-03-01T14:00:04.000Z","slot":1,"role":"new","replica":"web-2","phase":"arrived"}
{"type":"phase","time":"2026-03-01T14:00:04.000Z","slot":1,"role":"old","replica":"web-1","phase":"stopping"}
{"type":"phase","time":"2026-03-01T14:00:05.000Z","slot":1,"role":"old","replica":"web-1","phase":"departed"}
{"type":"result","time":"2026-03-01T14:00:06.000Z","outcome":"done","calls":{"engine":30,"traefik":20,"compose":4,"compose_ms":1500}}
`

func TestARollIsMeasuredFromItsLinesAndFromWhatTheEngineDid(t *testing.T) {
	m, err := measure([]byte(strings.TrimSpace(output)), 7*time.Second, []change{
		{"web-2", "start", at(900)}, {"web-2", "health_status: healthy", at(1800)}, {"web-1", "health_status: healthy", at(1950)},
		{"web-1", "die", at(4400)}, {"web-1", "stop", at(4700)}, {"web-1", "die", at(9000)},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := measurement{
		timing: deploy.Timing{
			Total: 6 * time.Second, Compose: 900 * time.Millisecond, Docker: time.Second, App: time.Second, Traefik: 2 * time.Second,
			Monitor: time.Second, Own: 100 * time.Millisecond,
		},
		late: 500 * time.Millisecond, wall: 7 * time.Second, prepare: 900 * time.Millisecond, prepareCompose: 700 * time.Millisecond,
		calls: calls{30, 20, 4},
	}
	got := mean([]measurement{m, m})
	for _, f := range fields {
		if f.of(got) != f.of(want) {
			t.Errorf("%s is %s, want %s", f.name, f.of(got), f.of(want))
		}
	}
	if got.calls != want.calls {
		t.Errorf("got %+v, want %+v", got.calls, want.calls)
	}
	if got.own() != 600*time.Millisecond || got.unavoidable() != 5400*time.Millisecond {
		t.Errorf("%s of its own, %s unavoidable", got.own(), got.unavoidable())
	}
}

func TestWhatTheEngineDidBeforeAPhaseBeganMakesTheWholePhaseLate(t *testing.T) {
	step := deploy.Step{Replica: "web-2", Phase: deploy.Booting, From: at(1000), Took: 50 * time.Millisecond}
	if late := lateness(step, []change{{"web-2", "health_status: healthy", at(400)}}); late != 50*time.Millisecond {
		t.Error(late)
	}
}

func TestARollThatDidNotEndWellIsNotMeasured(t *testing.T) {
	for _, text := range []string{
		strings.Replace(output, `"done"`, `"rolled_back"`, 1), `{"type":"plan","time":"2026-03-01T14:00:00.000Z"}`, "no JSON", "",
	} {
		if _, err := measure([]byte(strings.TrimSpace(text)), time.Second, nil); err == nil {
			t.Errorf("no error for %s", text)
		}
	}
}

func TestTheTableHasOneLineForEachScenario(t *testing.T) {
	m := measurement{timing: deploy.Timing{Total: 10 * time.Second, Traefik: 9900 * time.Millisecond, Own: 100 * time.Millisecond}, calls: calls{30, 20, 4}}
	got := strings.Split(table([]series{{"up", []measurement{m, m}}, {"up to date", []measurement{{wall: 400 * time.Millisecond}}}}), "\n")
	want := []string{
		"rolls total compose docker app traefik settle monitor own late prepare of-compose wall own<=0.5 <=1.1x engine traefik compose",
		"up 2 10.00 0.00 0.00 0.00 9.90 0.00 0.00 0.10 0.00 0.00 0.00 0.00 PASS PASS 30 20 4",
		"up to date 1 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.40 PASS PASS 0 0 0",
		"",
	}
	if len(got) != len(want) {
		t.Fatalf("%d lines:\n%s", len(got), strings.Join(got, "\n"))
	}
	for i := range want {
		if text := strings.Join(strings.Fields(got[i]), " "); text != want[i] {
			t.Errorf("got  %s\nwant %s", text, want[i])
		}
	}
}

func TestTheBars(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name  string
		m     measurement
		own   string
		total string
	}{
		{"both just kept", measurement{timing: deploy.Timing{Total: 5500 * ms, Own: 400 * ms}, late: 100 * ms}, "PASS", "PASS"},
		{"a long roll with too much of its own", measurement{timing: deploy.Timing{Total: 60 * time.Second, Own: 400 * ms}, late: 101 * ms}, "over", "PASS"},
		{"a short roll with too large a share of its own", measurement{timing: deploy.Timing{Total: 2 * time.Second, Own: 200 * ms}}, "PASS", "over"},
		{"nothing to do, quickly", measurement{timing: deploy.Timing{Total: ms, Own: ms}, wall: 999 * ms}, "PASS", "PASS"},
		{"nothing to do, slowly", measurement{timing: deploy.Timing{Total: ms, Own: ms}, wall: time.Second}, "PASS", "over"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if own, total := test.m.verdict(); own != test.own || total != test.total {
				t.Errorf("own %s, total %s; want %s, %s", own, total, test.own, test.total)
			}
		})
	}
}
