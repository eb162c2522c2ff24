package deploy

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/roll-deploy/roll/compose"
)

// What a lease holds was written by anybody who may use the daemon, and is
// shown on a terminal.
func FuzzLease(f *testing.F) {
	f.Add(beat{Token: "a", Beat: 3, Owner: Owner{Who: "ann", Host: "ci", PID: 7, Command: "roll up web", Since: time.Unix(1e9, 0)}, Phase: "planning"}.marshal())
	f.Add([]byte(`{"token":"a","who":"\u001b[2J\u202e"}`))
	f.Add([]byte(`{"token":"a","since":"0000-01-01T00:00:00+23:59","pid":-1,"beat":9223372036854775807}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, content []byte) {
		b, unreadable := unmarshal(content)
		if (b.Token == "") == (unreadable == "") {
			t.Fatalf("%+v, unreadable %q", b, unreadable)
		}
		shown := Holder{Owner: b.Owner, Phase: b.Phase, Unreadable: unreadable}
		for _, text := range []string{shown.String(), shown.Phase, (&LockedError{Project: "shop", Holder: shown}).Error()} {
			if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(text) > 8000 {
				t.Errorf("not fit to be shown: %q", text)
			}
		}
		again, unreadable := unmarshal(b.marshal())
		if b.Token != "" && (unreadable != "" || again.Token != b.Token || again.Beat != b.Beat || again.Owner.PID != b.PID) {
			t.Errorf("%+v became %+v (%s)", b, again, unreadable)
		}
	})
}

// What the history holds was written by anybody who may use the daemon.
func FuzzHistory(f *testing.F) {
	f.Add([]byte(`{"kept":{"ID":"a","Name":"shop-web-1","ImageID":"sha256:1","Config":{"Labels":{"com.docker.compose.container-number":"1"},"Healthcheck":{"Test":["CMD","a"],"Retries":-1}},"Host":{"Mounts":[{"Type":"volume","Target":"/a"}],"Binds":["a:/a"]},"Networks":{"a":null,"b":{"Aliases":["shop-web-1"]}},"Anonymous":["a"]},"replicas":3}`))
	f.Add([]byte(`{"Kept":{"ImageID":"a","Config":{},"Host":{}}}`))
	f.Add([]byte(`{"Kept":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := remembered(compose.Record{Number: 4, Content: content})
		if err != nil {
			return
		}
		if e.Number != 4 {
			t.Errorf("number %d", e.Number)
		}
		image, hash := e.Kept.Kind()
		_ = e.Was.Same(Version{ImageID: image, Hash: hash})
		service := e.Kept.Declared(compose.Service{Project: "shop", Name: "web", Replicas: 2})
		for name := range service.Labels {
			if strings.HasPrefix(name, "com.docker.compose.") {
				t.Errorf("label %s of Compose's is declared", name)
			}
		}
		if policy, err := NewPolicy(service, Overrides{}); err == nil {
			_, _ = New(Goal{Verb: "roll", Target: -1}, Snapshot{Service: service}, policy)
		}
		for n := range 3 {
			k, err := e.Kept.Numbered(n + 1)
			if err != nil {
				t.Fatalf("an entry that is whole: %v", err)
			}
			if was, now := k.Kind(); was != image || now != hash {
				t.Errorf("another kind: %s %s, was %s %s", was, now, image, hash)
			}
		}
		text, err := json.Marshal(e)
		if err != nil {
			return // a year that JSON cannot write
		}
		again, err := remembered(compose.Record{Number: 4, Content: text})
		if err != nil || !reflect.DeepEqual(again.Was, e.Was) || again.Replicas != e.Replicas {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add("10s", "500ms", "rollback", "start-first", int64(2))
	f.Add("9223372036854775807", "-1", "explode", "", int64(-1))
	f.Add("1e3s", " 5", "\x1b[2J", "stop-first", int64(1)<<62)
	f.Fuzz(func(t *testing.T, drain, settle, action, order string, monitor int64) {
		watch := time.Duration(monitor)
		s := compose.Service{
			Project: "shop", Name: "web", Replicas: 1, Labels: map[string]string{labelDrain: drain, labelSettle: settle},
			Update: compose.Update{FailureAction: action, Order: compose.Order(order), Monitor: &watch},
		}
		p, err := NewPolicy(s, Overrides{})
		if err != nil {
			var refused *RefusedError
			if !errors.As(err, &refused) || len(refused.Refusals) == 0 {
				t.Fatalf("not a refusal: %v", err)
			}
			for _, r := range refused.Refusals {
				if r.What == "" || r.Why == "" || r.Instead == "" || len(r.Path) == 0 {
					t.Errorf("half a refusal: %+v", r)
				}
			}
			return
		}
		if p.Drain.Value < 0 || p.Settle.Value < 0 {
			t.Errorf("drain %s, settle %s", p.Drain.Value, p.Settle.Value)
		}
	})
}
