package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

// What a replica's healthcheck and log say is shown, whatever it is, without
// anything that a terminal obeys, and never breaks a line of JSON.
func FuzzHealthLog(f *testing.F) {
	f.Add("curl: (7)\nconnection refused\n", "panic: no database", 1)
	f.Add("\x1b[2J\x1b]0;title\x07\r\n", "\x9b31m\x00\u0085", -1)
	f.Add("\xff\xfe", strings.Repeat("a", 5000), 137)
	f.Fuzz(func(t *testing.T, output, line string, code int) {
		result := rolledBack()
		result.Failures[0].Probes = []compose.Probe{{Start: at(0), End: at(time.Second), ExitCode: code, Output: output}}
		result.Failures[0].Logs, result.Failures[0].Last = []string{line}, output
		result.Failures[0].Err = errors.New(line)
		result.Left = []deploy.Left{{Replica: "web-5", Role: deploy.NewReplica, Phase: deploy.Booting, Reason: output}}
		rec := recording{plan: record().plan, result: result}
		rec.events = []deploy.Event{
			{Time: at(0), Kind: deploy.KindSeen, Slot: 1, Slots: 2, Service: "web", Replica: "web-5", Role: deploy.NewReplica, Phase: deploy.Booting, Detail: output},
			{Time: at(0), Kind: deploy.KindFailure, Slot: 1, Slots: 2, Service: "web", Replica: "web-5", Role: deploy.NewReplica, Phase: deploy.Booting, Detail: line},
			{Time: at(0), Kind: deploy.KindOutput, Service: "web", Replica: "web-5", Detail: line},
		}
		var stdout, stderr bytes.Buffer
		rec.play(&plainRenderer{stdout: &stdout, stderr: &stderr, now: func() time.Time { return recordedAt }})
		for _, text := range []string{stdout.String(), stderr.String()} {
			if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }); i >= 0 {
				t.Errorf("a terminal obeys %q", text[max(0, i-20):min(len(text), i+20)])
			}
		}
		stdout.Reset()
		stderr.Reset()
		rec.play(newJSONRenderer(&stdout, func() time.Time { return recordedAt }))
		for text := range strings.Lines(stdout.String() + stderr.String()) {
			if !json.Valid([]byte(text)) {
				t.Errorf("not JSON: %q", text)
			}
		}
	})
}
