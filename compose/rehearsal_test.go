package compose

import (
	"slices"
	"strings"
	"testing"
)

// What Compose 2.40.3 prints for a network that changed, a volume that
// changed and an inline secret; what 2.26 prints; what 5.x prints.
const (
	jsonNetwork = `{"dry-run":true,"id":"Container shop-web-1","status":"Stopping"}
{"dry-run":true,"id":"Container shop-web-1","status":"Stopped"}
{"dry-run":true,"id":"Network shop_front","status":"Removed"}
{"dry-run":true,"id":"Container shop-web-1","status":"Running"}
{"dry-run":true,"id":"Container shop-web-2","status":"Creating"}
{"dry-run":true,"id":"Container shop-web-2","status":"Created"}
{"dry-run":true,"id":"Container shop-web-2","status":"Starting"}
{"dry-run":true,"id":"Container shop-web-2","status":"Started"}
`
	jsonVolume = `Volume "shop_vol" exists but doesn't match configuration in compose file. Recreate (data will be lost)?
{"dry-run":true,"id":"Container shop-web-2","status":"Creating"}
`
	jsonSecret = `{"dry-run":true,"id":"Container shop-web-1","status":"Running"}
{"dry-run":true,"id":"Container shop-web-3","status":"Creating"}
{"dry-run":true,"id":"Container shop-web-2","status":"Creating"}
{"dry-run":true,"id":"Container shop-web-2","status":"Created"}
{"error":true,"message":"  DRY-RUN MODE -  Could not find the file / in container shop-web-2"}
`
	jsonPull = `{"dry-run":true,"id":"web","text":"Pulling"}
{"dry-run":true,"id":"web","text":"Error","status":"no such host"}
{"error":true,"message":"no such host"}
`
	plainLines = `time="2025-01-01T00:00:00Z" level=warning msg="the attribute version is obsolete"
 DRY-RUN MODE -  Container shop-web-1  Running
 DRY-RUN MODE -  Container shop-web-2  Creating
 DRY-RUN MODE -  Container shop-web-2  Created
 DRY-RUN MODE -  Container shop-web-2  Starting
 DRY-RUN MODE -  Container shop-web-2  Started
end of 'compose up' output, interactive run is not supported in dry-run mode
`
	jsonFive = `{"level":"warning","msg":"orphans","time":"2026-01-01T00:00:00Z"}
{"dry-run":true,"id":"Container shop-web-1","status":"Done","text":"Running"}
{"dry-run":true,"id":"Image web:1","status":"Working","text":"Pulling"}
{"dry-run":true,"id":"a1b2","parent_id":"Image web:1","status":"Working","text":"Downloading"}
{"dry-run":true,"id":"Container shop-web-2","status":"Working","text":"Creating"}
{"dry-run":true,"id":"Container shop-web-2","status":"Error","text":"no space left"}
`
)

func TestRehearsalIsRead(t *testing.T) {
	tests := map[string]struct{ output, want string }{
		"2.40, a network that changed": {jsonNetwork, `Container shop-web-1 Stopping
Container shop-web-1 Stopped
Network shop_front Removed
Container shop-web-1 Running
Container shop-web-2 Creating
Container shop-web-2 Created
Container shop-web-2 Starting
Container shop-web-2 Started`},
		"2.40, a volume that changed": {jsonVolume, "Volume shop_vol Diverged\nContainer shop-web-2 Creating"},
		"the question has no line end": {
			strings.Replace(jsonVolume, "?\n", "?", 1), "Volume shop_vol Diverged\nContainer shop-web-2 Creating",
		},
		"2.40, an inline secret": {jsonSecret, `Container shop-web-1 Running
Container shop-web-3 Creating
Container shop-web-2 Creating
Container shop-web-2 Created
Container shop-web-2 Cut short`},
		"2.40, an image that is missing": {jsonPull, "Image web Pulling\nImage web Error no such host\nCompose Error no such host"},
		"2.26": {plainLines, `Container shop-web-1 Running
Container shop-web-2 Creating
Container shop-web-2 Created
Container shop-web-2 Starting
Container shop-web-2 Started`},
		"2.26, an inline secret": {" DRY-RUN MODE -  Could not find the file / in container shop-web-2\n", "Container shop-web-2 Cut short"},
		"5.x": {jsonFive, `Container shop-web-1 Running
Image web:1 Pulling
Container shop-web-2 Creating
Container shop-web-2 Error no space left`},
		"nothing": {"", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			actions, err := ParseRehearsal([]byte(test.output))
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, a := range actions {
				lines = append(lines, strings.Join(strings.Fields(strings.Join([]string{a.Kind, a.Name, a.Status, a.Detail}, " ")), " "))
			}
			if got := strings.Join(lines, "\n"); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestBrokenRehearsalIsAnError(t *testing.T) {
	for _, output := range []string{
		`{"dry-run":true,"id":"Container shop-web-1","status":`,
		`{"dry-run":true,"id":7}`,
		`{"dry-run":true,"id":"Container shop-web-1"}`,
		` DRY-RUN MODE -  `,
	} {
		if actions, err := ParseRehearsal([]byte(output)); err == nil {
			t.Errorf("%q: got %v", output, actions)
		}
	}
}

func FuzzRehearsal(f *testing.F) {
	for _, seed := range []string{jsonNetwork, jsonVolume, jsonSecret, jsonPull, plainLines, jsonFive, "{", dryRun, `{"id":"Container "}`} {
		f.Add([]byte(seed), "web", 2)
	}
	existing := []Replica{{Name: "shop-web-1", Project: "shop", State: Running}, {Name: "shop-web-9", Project: "shop", State: Exited}}
	f.Fuzz(func(t *testing.T, output []byte, service string, k int) {
		actions, err := ParseRehearsal(output)
		if err != nil && actions != nil {
			t.Error("actions beside an error")
		}
		for _, a := range actions {
			if a.Kind == "" || a.Status == "" {
				t.Errorf("half an action: %+v", a)
			}
		}
		for _, sentence := range Unexpected(actions, service, existing, k) {
			if strings.TrimSpace(sentence) == "" {
				t.Error("empty sentence")
			}
		}
		// Whatever else a line does, an action on a running replica other
		// than Running is never accepted.
		for _, a := range actions {
			if a.Kind == "Container" && a.Name == "shop-web-1" && a.Status != "Running" && len(Unexpected(actions, service, existing, k)) == 0 {
				t.Errorf("accepted %+v", a)
			}
		}
	})
}

func TestUnexpected(t *testing.T) {
	running := Replica{Name: "shop-web-1", Project: "shop", Service: "web", State: Running}
	leftover := Replica{Name: "shop-web-7", Project: "shop", Service: "web", State: Exited}
	const create2 = `{"id":"Container shop-web-2","status":"Creating"}
{"id":"Container shop-web-2","status":"Created"}
{"id":"Container shop-web-2","status":"Starting"}
{"id":"Container shop-web-2","status":"Started"}
`
	tests := map[string]struct {
		output   string
		existing []Replica
		k        int
		want     []string
	}{
		"one new replica":                     {create2, []Replica{running}, 1, nil},
		"the running one is shown as running": {`{"id":"Container shop-web-1","status":"Running"}` + "\n" + create2, []Replica{running}, 1, nil},
		"the first replica, with network and volume": {
			`{"id":"Network shop_default","status":"Creating"}` + "\n" + `{"id":"Network shop_default","status":"Created"}` + "\n" +
				`{"id":"Volume shop_vol","status":"Created"}` + "\n" + create2, nil, 1, nil,
		},
		"a leftover would be started": {`{"id":"Container shop-web-7","status":"Starting"}` + "\n" + create2, []Replica{running, leftover}, 2, nil},
		"an inline secret":            {jsonSecret, []Replica{running}, 2, nil},
		"an inline secret, and too few shown": {
			`{"id":"Container shop-web-2","status":"Creating"}` + "\n" +
				`{"error":true,"message":"Could not find the file / in container shop-web-2"}`, []Replica{running}, 9, nil,
		},
		"a copy failure of a container that was not created": {
			`{"error":true,"message":"Could not find the file / in container shop-web-1"}`, []Replica{running}, 0,
			[]string{"running replica shop-web-1 would be touched (Cut short)"},
		},
		"a network that changed": {
			jsonNetwork, []Replica{running}, 1,
			[]string{"running replica shop-web-1 would be stopped", "network shop_front would be removed"},
		},
		"a volume that changed": {
			jsonVolume, []Replica{running}, 1,
			[]string{"volume shop_vol differs from its definition in the Compose file: Compose would ask to recreate it, and its data would be lost"},
		},
		"a running replica would be recreated": {
			`{"id":"Container shop-web-1","status":"Recreate"}`, []Replica{running}, 0,
			[]string{"running replica shop-web-1 would be recreated"},
		},
		"another service": {
			`{"id":"Container shop-db-1","status":"Starting"}` + "\n" + create2, []Replica{running}, 1,
			[]string{"container shop-db-1, which is not a replica of web, would be started"},
		},
		"another service whose name ends the same": {
			`{"id":"Container shop-my-web-2","status":"Creating"}` + "\n" + create2, []Replica{running}, 1,
			[]string{"container shop-my-web-2, which is not a replica of web, would be created"},
		},
		"a container that appeared meanwhile": {
			`{"id":"Container shop-web-5","status":"Starting"}` + "\n" + create2, []Replica{running}, 1,
			[]string{"container shop-web-5, which roll does not know, would be started"},
		},
		"a replica too many": {create2, []Replica{running}, 0, []string{"Compose would create 1 instead of 0 new replicas of web"}},
		"output of a Compose that is not understood": {
			"nothing to see", []Replica{running}, 2,
			[]string{"Compose would create 0 instead of 2 new replicas of web"},
		},
		"an image that is missing": {
			jsonPull, []Replica{running}, 0,
			[]string{
				"the image of web would be fetched or built (Pulling): it has to be here before replicas are created",
				"Compose would fail at Image web: no such host", "Compose would fail at Compose: no such host",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			actions, err := ParseRehearsal([]byte(test.output))
			if err != nil {
				t.Fatal(err)
			}
			if got := Unexpected(actions, "web", test.existing, test.k); !slices.Equal(got, test.want) {
				t.Errorf("got\n%q\nwant\n%q", got, test.want)
			}
		})
	}
}
