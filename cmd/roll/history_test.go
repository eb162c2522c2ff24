package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/deploy"
)

func TestTheHistoryIsShownWithoutWhatReplicasWereGiven(t *testing.T) {
	version := func(id, hash string) deploy.Version {
		return deploy.Version{Image: "shop/web:latest", ImageID: "sha256:" + id, Hash: hash}
	}
	entries := []deploy.Entry{
		{Number: 2, By: deploy.Owner{Who: "ann", Host: "ci-1", Command: "roll up web"}, Ended: time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local), Took: 12 * time.Second, Was: version("bbbbbbbbbbbb", "2222222222"), Became: version("cccccccccccc", "2222222222"), Replicas: 3, Kept: &compose.Kept{Name: "secret"}},
		{Number: 1, Ended: time.Date(2026, 2, 1, 12, 0, 0, 0, time.Local), Took: 90 * time.Second, Was: version("aaaaaaaaaaaa", "11"), Became: version("bbbbbbbbbbbb", "2222222222"), Replicas: 1},
	}
	show := func(entries []deploy.Entry, format string) string {
		var out bytes.Buffer
		a := &app{streams: Streams{Out: &out}}
		if err := a.printHistory(entries, format); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	want := `ROLL  ENDED                BY        COMMAND      RAN BEFORE                                   REPLICAS  THEN                                         TOOK
2     2026-03-01 12:00:00  ann@ci-1  roll up web  shop/web:latest (bbbbbbbb, config 22222222)  3         shop/web:latest (cccccccc, config 22222222)  12.0s
1     2026-02-01 12:00:00  -         -            shop/web:latest (aaaaaaaa, config 11)        1         shop/web:latest (bbbbbbbb, config 22222222)  1m30s
`
	if got := show(entries, "table"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := show(entries, "json"); strings.Contains(got, "secret") || !strings.Contains(got, `"image_id":"sha256:bbbbbbbbbbbb"`) {
		t.Errorf("JSON %s", got)
	}
	if got := show(nil, "json"); got != "[]\n" {
		t.Errorf("JSON of none %q", got)
	}
}
