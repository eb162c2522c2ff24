package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/deploy"
)

func TestJSONIsAPlanItsEventsAndAResult(t *testing.T) {
	var stdout bytes.Buffer
	record().play(newJSONRenderer(&stdout, func() time.Time { return at(0) }))
	for line := range strings.Lines(stdout.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	same(t, stdout.String(), `
{"type":"plan","time":"2026-03-01T14:05:06.000Z","project":"shop","service":"web","slots":2,"detail":"roll web to 2 replicas: create 2 replicas, drain and stop 2, remove 1 leftover, keep 1","verb":"roll","target":2,"floor":2,"order":"start-first","parallelism":0,"gated":true,"routers":["proxy"],"changes":[{"slot":1,"create":true,"old":"web-1","flip":"file /tmp/drain","wanted":["proxy web@docker"],"ready_budget_ms":45000,"flip_expect_ms":4000,"flip_budget_ms":30000,"reason":"replaces web-1: its image has changed"},{"slot":2,"create":true,"old":"web-2","flip":"file /tmp/drain","wanted":["proxy web@docker"],"ready_budget_ms":45000,"flip_expect_ms":4000,"flip_budget_ms":30000,"reason":"replaces web-2: its image has changed"}],"clean":[{"replica":"web-9","reason":"exited with code 1"}],"stay":[{"replica":"web-3","reason":"current"}],"warnings":["a flipped replica is unhealthy only after 20s"]}
{"type":"phase","time":"2026-03-01T14:05:06.010Z","project":"shop","service":"web","slots":2,"role":"old","replica":"web-9","phase":"removing","detail":"exited with code 1"}
{"type":"phase","time":"2026-03-01T14:05:06.050Z","project":"shop","service":"web","slots":2,"role":"old","replica":"web-9","phase":"departed"}
{"type":"phase","time":"2026-03-01T14:05:06.060Z","project":"shop","service":"web","slot":1,"slots":2,"role":"new","phase":"creating","budget_ms":300000}
{"type":"phase","time":"2026-03-01T14:05:06.060Z","project":"shop","service":"web","slot":2,"slots":2,"role":"new","phase":"creating","budget_ms":300000}
{"type":"phase","time":"2026-03-01T14:05:07.200Z","project":"shop","service":"web","slot":1,"slots":2,"role":"new","replica":"web-4","phase":"booting","budget_ms":45000}
{"type":"phase","time":"2026-03-01T14:05:07.200Z","project":"shop","service":"web","slot":2,"slots":2,"role":"new","replica":"web-5","phase":"booting","budget_ms":45000}
{"type":"seen","time":"2026-03-01T14:05:07.300Z","project":"shop","service":"web","slot":1,"slots":2,"role":"new","replica":"web-4","phase":"booting","detail":"starting"}
{"type":"seen","time":"2026-03-01T14:05:07.300Z","project":"shop","service":"web","slot":2,"slots":2,"role":"new","replica":"web-5","phase":"booting","detail":"starting: connection refused"}
{"type":"phase","time":"2026-03-01T14:05:08.000Z","project":"shop","service":"web","slot":1,"slots":2,"role":"new","replica":"web-4","phase":"joining","budget_ms":30000}
{"type":"seen","time":"2026-03-01T14:05:08.100Z","project":"shop","service":"web","slot":1,"slots":2,"role":"new","replica":"web-4","phase":"joining","detail":"not in proxy web@docker"}
{"type":"phase","time":"2026-03-01T14:05:08.500Z","project":"shop","service":"web","slot":2,"slots":2,"role":"new","replica":"web-5","phase":"joining","budget_ms":30000}
{"type":"phase","time":"2026-03-01T14:05:10.000Z","project":"shop","service":"web","slot":1,"slots":2,"role":"new","replica":"web-4","phase":"arrived"}
{"type":"phase","time":"2026-03-01T14:05:10.000Z","project":"shop","service":"web","slot":2,"slots":2,"role":"new","replica":"web-5","phase":"arrived"}
{"type":"phase","time":"2026-03-01T14:05:10.100Z","project":"shop","service":"web","slot":1,"slots":2,"role":"old","replica":"web-1","phase":"flipping","budget_ms":30000,"detail":"file /tmp/drain"}
{"type":"phase","time":"2026-03-01T14:05:10.100Z","project":"shop","service":"web","slot":2,"slots":2,"role":"old","replica":"web-2","phase":"flipping","budget_ms":30000,"detail":"file /tmp/drain"}
{"type":"phase","time":"2026-03-01T14:05:10.200Z","project":"shop","service":"web","slot":1,"slots":2,"role":"old","replica":"web-1","phase":"sinking","budget_ms":30000}
{"type":"seen","time":"2026-03-01T14:05:12.200Z","project":"shop","service":"web","slot":1,"slots":2,"role":"old","replica":"web-1","phase":"sinking","detail":"failing 1 of 2"}
{"type":"output","time":"2026-03-01T14:05:12.300Z","project":"shop","service":"web","slots":2,"replica":"web-5","detail":"\u001b[31mpanic:\u001b[0m no database"}
{"type":"warning","time":"2026-03-01T14:05:12.400Z","project":"shop","service":"web","slots":2,"detail":"web-2 was killed for want of memory (OOM)"}
{"type":"failure","time":"2026-03-01T14:05:12.500Z","project":"shop","service":"web","slot":2,"slots":2,"role":"new","replica":"web-5","phase":"arrived","detail":"it exited with code 1"}
{"type":"phase","time":"2026-03-01T14:05:12.500Z","project":"shop","service":"web","slot":2,"slots":2,"role":"old","replica":"web-2","phase":"unflipping","budget_ms":30000}
{"type":"undo","time":"2026-03-01T14:05:12.500Z","project":"shop","service":"web","slots":2,"detail":"the roll goes back"}
{"type":"phase","time":"2026-03-01T14:05:12.500Z","project":"shop","service":"web","slot":1,"slots":2,"role":"old","replica":"web-1","phase":"unflipping","budget_ms":30000}
{"type":"phase","time":"2026-03-01T14:05:15.000Z","project":"shop","service":"web","slot":2,"slots":2,"role":"old","replica":"web-2","phase":"returned"}
{"type":"phase","time":"2026-03-01T14:05:15.000Z","project":"shop","service":"web","slot":2,"slots":2,"role":"new","replica":"web-5","phase":"removing"}
{"type":"phase","time":"2026-03-01T14:05:15.100Z","project":"shop","service":"web","slot":2,"slots":2,"role":"new","replica":"web-5","phase":"departed"}
{"type":"phase","time":"2026-03-01T14:05:15.200Z","project":"shop","service":"web","slot":1,"slots":2,"role":"old","replica":"web-1","phase":"returned"}
{"type":"phase","time":"2026-03-01T14:05:15.200Z","project":"shop","service":"web","slot":1,"slots":2,"role":"new","replica":"web-4","phase":"stopping","budget_ms":10000}
{"type":"phase","time":"2026-03-01T14:05:15.500Z","project":"shop","service":"web","slot":1,"slots":2,"role":"new","replica":"web-4","phase":"departed"}
{"type":"result","time":"2026-03-01T14:05:06.000Z","project":"shop","service":"web","outcome":"rolled_back","detail":"web: rolled back after 9.5s: web-5: it exited with code 1; the old version serves","proven":true,"created":[],"removed":[],"restored":["web-2","web-1"],"left":[],"failures":[{"slot":2,"replica":"web-5","role":"new","phase":"arrived","error":"it exited with code 1","probes":[{"start":"2026-03-01T14:05:06.000Z","end":"2026-03-01T14:05:07.000Z","exit_code":0,"output":"ok 1"},{"start":"2026-03-01T14:05:08.000Z","end":"2026-03-01T14:05:09.000Z","exit_code":0,"output":"ok 2"},{"start":"2026-03-01T14:05:09.000Z","end":"2026-03-01T14:05:10.000Z","exit_code":0,"output":""},{"start":"2026-03-01T14:05:10.000Z","end":"2026-03-01T14:05:11.000Z","exit_code":1,"output":"curl: (7)\nconnection <refused>\n"}],"logs":["\u001b[31mlistening on :80\u001b[0m","panic: no database"]}],"warnings":["a flipped replica is unhealthy only after 20s","web-2 was killed for want of memory (OOM)"],"exits":{"web-4":0,"web-5":1},"took_ms":9500,"calls":{"engine":41,"traefik":17,"compose":4,"compose_ms":1200},"next":["roll up web"]}
`)
}

func TestJSONTellsThePreparationOfThePlanThatFollowsIt(t *testing.T) {
	var stdout bytes.Buffer
	r := newJSONRenderer(&stdout, func() time.Time { return at(0) })
	r.Prepared(1234567*time.Microsecond, 800*time.Millisecond)
	r.Plan(deploy.Plan{})
	r.Plan(deploy.Plan{})
	first, second, _ := strings.Cut(stdout.String(), "\n")
	if !strings.HasSuffix(first, `,"prepare_ms":1235,"prepare_compose_ms":800}`) {
		t.Error(first)
	}
	if strings.Contains(second, "prepare") {
		t.Errorf("told again: %s", second)
	}
}

func TestJSONListsAreNeverNull(t *testing.T) {
	var stdout bytes.Buffer
	r := newJSONRenderer(&stdout, func() time.Time { return at(0) })
	r.Plan(deploy.Plan{Slots: []deploy.Slot{{}}})
	r.Result(deploy.Result{Failures: []deploy.Failure{{Err: os.ErrNotExist}}})
	if strings.Contains(stdout.String(), "null") {
		t.Error(stdout.String())
	}
}

func TestJSONTimesAreUTCWithMilliseconds(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	got, err := json.Marshal(jsonTime(time.Date(2026, 3, 1, 16, 5, 6, 7_900_000, zone)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, string(got), `"2026-03-01T14:05:06.007Z"`)
}

// contract is the text of docs/json.md.
func contract(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheContractNamesEveryField(t *testing.T) {
	text := contract(t)
	for _, line := range []any{jsonEvent{}, jsonPlan{}, jsonSlot{}, jsonNote{}, jsonResult{}, jsonCalls{}, jsonLeft{}, jsonFailure{}, jsonProbe{}} {
		of := reflect.TypeOf(line)
		section := sectionOf(t, text, of.Name())
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if !strings.Contains(section, "\n| `"+name+"` |") {
				t.Errorf("docs/json.md does not have the field %q of %s in its table", name, of.Name())
			}
		}
		for row := range strings.Lines(section) {
			name, ok := strings.CutPrefix(row, "| `")
			if !ok {
				continue
			}
			name, _, _ = strings.Cut(name, "`")
			if !slices.ContainsFunc(reflect.VisibleFields(of), func(f reflect.StructField) bool {
				tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				return tag == name
			}) {
				t.Errorf("docs/json.md has a field %q of %s, which is not written", name, of.Name())
			}
		}
	}
}

// sectionOf is the part of the contract that describes the fields of a type.
func sectionOf(t *testing.T, text, name string) string {
	t.Helper()
	headings := map[string]string{
		"jsonEvent": "## Events", "jsonPlan": "## `plan`", "jsonSlot": "### `changes`", "jsonNote": "### `clean` and `stay`",
		"jsonResult": "## `result`", "jsonCalls": "### `calls`", "jsonLeft": "### `left`", "jsonFailure": "### `failures`", "jsonProbe": "### `probes`",
	}
	_, rest, found := strings.Cut(text, "\n"+headings[name]+"\n")
	if !found {
		t.Fatalf("docs/json.md has no heading %q", headings[name])
	}
	section, _, _ := strings.Cut(rest, "\n##")
	return section
}

func TestTheContractNamesEveryValue(t *testing.T) {
	text := contract(t)
	var names []string
	for p := deploy.Phase(0); p.String() != "unknown"; p++ {
		names = append(names, p.String())
	}
	for o := deploy.Outcome(0); o.String() != "unknown"; o++ {
		if outcomeName(o) == "unknown" {
			t.Errorf("the outcome %q has no name in JSON", o)
		}
		names = append(names, outcomeName(o))
	}
	names = append(names, constantsOf(t, "../../deploy/event.go")...)
	if len(names) < 30 {
		t.Errorf("only %d values were found", len(names))
	}
	for _, name := range names {
		if !strings.Contains(text, "| `"+name+"` |") {
			t.Errorf("docs/json.md does not have the value %q in a table", name)
		}
	}
}

// constantsOf are the values of the string constants in a Go file: event kinds
// and roles.
func constantsOf(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, d := range parsed.Decls {
		if g, ok := d.(*ast.GenDecl); !ok || g.Tok != token.CONST {
			continue
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				value, err := strconv.Unquote(l.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, value)
			}
			return true
		})
	}
	return values
}
