package probe

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// rough is 30 requests, 100 ms apart, of which four are lost: at 1.2, 1.3 and
// 2.0 s, and one sent at 2.5 s that is given up at 3.5 s.
func rough(t *testing.T) (Report, Snapshot) {
	t.Helper()
	var seen atomic.Int32
	p := newVirtual(t, Config{Rate: 10, Duration: 3 * time.Second, Timeout: time.Second}, func(w http.ResponseWriter, r *http.Request) {
		switch seen.Add(1) - 1 {
		case 12:
			w.WriteHeader(http.StatusBadGateway)
			w.Write([]byte("Bad Gateway"))
		case 13:
			http.NotFound(w, r)
		case 20:
			panic(http.ErrAbortHandler)
		case 25:
			<-r.Context().Done()
		default:
			time.Sleep(20 * time.Millisecond)
		}
	})
	snapshot := make(chan Snapshot, 1)
	time.AfterFunc(1150*time.Millisecond, func() { p.Mark("web-1 flipped") })
	time.AfterFunc(1950*time.Millisecond, func() { p.Mark("web-1 stopped") })
	time.AfterFunc(2950*time.Millisecond, func() { snapshot <- p.Snapshot() })
	time.AfterFunc(3450*time.Millisecond, func() { p.Mark("done") })
	report, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report, <-snapshot
}

func TestTheTextTellsWhatFailedAndWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report, snapshot := rough(t)
		const want = `GET http://virtual/: 30 sent in 3.5s (10/s), 26 ok, 4 failed
  latency   p50 20ms, p90 20ms, p99 20ms, max 20ms
  failed    1 closed, 1 status 404, 1 status 502, 1 timeout
  second 1   2 failed, 10 sent: 1 status 404, 1 status 502
  second 2   1 failed, 10 sent: 1 closed
  second 3   1 failed, 0 sent: 1 timeout
  phase "web-1 flipped", from 1.15s: 2 failed, 8 sent: 1 status 404, 1 status 502
  phase "web-1 stopped", from 1.95s: 1 failed, 10 sent: 1 closed
  phase "done", from 3.45s: 1 failed, 0 sent: 1 timeout
  first     after 1.2s, sent after 1.2s: status 502: 502 Bad Gateway: Bad Gateway`
		if got := report.String(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}

		const live = `2s  30 sent, 26 ok, 3 failed (1 closed, 1 status 404, 1 status 502), 1 in flight, p50 20ms, p99 20ms, max 20ms`
		if got := snapshot.String(); got != live || snapshot.Phase != "web-1 stopped" {
			t.Errorf("live line in phase %q: got\n%s\nwant\n%s", snapshot.Phase, got, live)
		}
	})
}

func TestTheJSONIsAContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report, _ := rough(t)
		got, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != roughJSON {
			t.Errorf("got\n%s\nwant\n%s", got, roughJSON)
		}

		var back Report
		if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back, report) {
			t.Errorf("read back: %v, got\n%+v\nwant\n%+v", err, back, report)
		}
	})
}

func TestAQuietRunIsTwoLinesAndEmptyLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report, err := newVirtual(t, Config{Method: "HEAD", Rate: 1, Duration: 2 * time.Second}, func(http.ResponseWriter, *http.Request) {
			time.Sleep(1500 * time.Microsecond)
		}).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		const text = `HEAD http://virtual/: 2 sent in 1s (1/s), 2 ok, 0 failed
  latency   p50 1.5ms, p90 1.5ms, p99 1.5ms, max 1.5ms`
		if report.String() != text {
			t.Errorf("got\n%s\nwant\n%s", report, text)
		}
		const want = `{"method":"HEAD","url":"http://virtual/","rate":1,"achieved_rate":1,"duration_ms":1001.5,` +
			`"sent":2,"ok":2,"failed":0,"not_sent":0,"by_kind":{},` +
			`"latency":{"answered":2,"p50_ms":1.5,"p90_ms":1.5,"p99_ms":1.5,"max_ms":1.5},"seconds":[],` +
			`"phases":[{"name":"start","at_ms":0,"sent":2,"failed":0,"not_sent":0,"by_kind":{}}],"failures":[]}`
		got, err := json.Marshal(report)
		if err != nil || string(got) != want {
			t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
		}
	})
}

func TestLongListsAreCutInTheTextOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report, err := newVirtual(t, Config{Rate: 10, Duration: 12 * time.Second}, http.NotFound).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		const want = `GET http://virtual/: 120 sent in 11.9s (10/s), 0 ok, 120 failed
  latency   p50 0s, p90 0s, p99 0s, max 0s
  failed    120 status 404
  second 0   10 failed, 10 sent: 10 status 404
  second 1   10 failed, 10 sent: 10 status 404
  second 2   10 failed, 10 sent: 10 status 404
  second 3   10 failed, 10 sent: 10 status 404
  second 4   10 failed, 10 sent: 10 status 404
  second 5   10 failed, 10 sent: 10 status 404
  second 6   10 failed, 10 sent: 10 status 404
  second 7   10 failed, 10 sent: 10 status 404
  second 8   10 failed, 10 sent: 10 status 404
  second 9   10 failed, 10 sent: 10 status 404
  and 2 more seconds
  first     after 0s, sent after 0s: status 404: 404 Not Found: 404 page not found`
		if report.String() != want {
			t.Errorf("got\n%s\nwant\n%s", report, want)
		}
		if len(report.Seconds) != 12 || len(report.Failures) != MaxFailures || report.ByKind["status 404"] != 120 {
			t.Errorf("got %d seconds, %d failures, %v", len(report.Seconds), len(report.Failures), report.ByKind)
		}
	})
}

func TestErrSaysHowManyWereLostAndAllowed(t *testing.T) {
	for _, test := range []struct {
		name   string
		report Report
		max    int
		want   *ErrorsError
		text   string
	}{
		{"none lost", Report{Sent: 5, OK: 5}, 0, nil, ""},
		{"as many as allowed", Report{Failed: 2}, 2, nil, ""},
		{"one lost", Report{Failed: 1}, 0, &ErrorsError{Failed: 1}, "1 request failed, 0 allowed"},
		{"more than allowed", Report{Failed: 3}, 2, &ErrorsError{Failed: 3, Max: 2}, "3 requests failed, 2 allowed"},
		{"unsent ones count", Report{Failed: 1, NotSent: 2}, 2, &ErrorsError{Failed: 1, NotSent: 2, Max: 2}, "1 request failed and 2 could not be sent, 2 allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.report.Err(test.max)
			if test.want == nil {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			var got *ErrorsError
			if !errors.As(err, &got) || *got != *test.want || err.Error() != test.text {
				t.Errorf("got %v, want %s", err, test.text)
			}
		})
	}
}

func TestKindsBeyondTheBoundAreCountedTogether(t *testing.T) {
	tally := newTally(time.Time{})
	for i := range maxKinds + 7 {
		tally.send(0, 1000)
		tally.settle(0, 0, answer{kind: "other: " + string(rune('a'+i))})
	}
	if tally.failed != maxKinds+7 || len(tally.byKind) != maxKinds+1 || tally.byKind[kindMany] != 7 {
		t.Errorf("got %d failed, %d kinds, %d of many", tally.failed, len(tally.byKind), tally.byKind[kindMany])
	}
}

const roughJSON = `{
  "method": "GET",
  "url": "http://virtual/",
  "rate": 10,
  "achieved_rate": 10,
  "duration_ms": 3500,
  "sent": 30,
  "ok": 26,
  "failed": 4,
  "not_sent": 0,
  "by_kind": {
    "closed": 1,
    "status 404": 1,
    "status 502": 1,
    "timeout": 1
  },
  "latency": {
    "answered": 28,
    "p50_ms": 20,
    "p90_ms": 20,
    "p99_ms": 20,
    "max_ms": 20
  },
  "seconds": [
    {
      "second": 1,
      "sent": 10,
      "failed": 2,
      "not_sent": 0,
      "by_kind": {
        "status 404": 1,
        "status 502": 1
      }
    },
    {
      "second": 2,
      "sent": 10,
      "failed": 1,
      "not_sent": 0,
      "by_kind": {
        "closed": 1
      }
    },
    {
      "second": 3,
      "sent": 0,
      "failed": 1,
      "not_sent": 0,
      "by_kind": {
        "timeout": 1
      }
    }
  ],
  "phases": [
    {
      "name": "start",
      "at_ms": 0,
      "sent": 12,
      "failed": 0,
      "not_sent": 0,
      "by_kind": {}
    },
    {
      "name": "web-1 flipped",
      "at_ms": 1150,
      "sent": 8,
      "failed": 2,
      "not_sent": 0,
      "by_kind": {
        "status 404": 1,
        "status 502": 1
      }
    },
    {
      "name": "web-1 stopped",
      "at_ms": 1950,
      "sent": 10,
      "failed": 1,
      "not_sent": 0,
      "by_kind": {
        "closed": 1
      }
    },
    {
      "name": "done",
      "at_ms": 3450,
      "sent": 0,
      "failed": 1,
      "not_sent": 0,
      "by_kind": {
        "timeout": 1
      }
    }
  ],
  "failures": [
    {
      "at_ms": 1200,
      "second": 1,
      "phase": "web-1 flipped",
      "sent_at_ms": 1200,
      "sent_phase": "web-1 flipped",
      "kind": "status 502",
      "status": 502,
      "error": "502 Bad Gateway: Bad Gateway"
    },
    {
      "at_ms": 1300,
      "second": 1,
      "phase": "web-1 flipped",
      "sent_at_ms": 1300,
      "sent_phase": "web-1 flipped",
      "kind": "status 404",
      "status": 404,
      "error": "404 Not Found: 404 page not found"
    },
    {
      "at_ms": 2000,
      "second": 2,
      "phase": "web-1 stopped",
      "sent_at_ms": 2000,
      "sent_phase": "web-1 stopped",
      "kind": "closed",
      "status": 0,
      "error": "EOF"
    },
    {
      "at_ms": 3500,
      "second": 3,
      "phase": "done",
      "sent_at_ms": 2500,
      "sent_phase": "web-1 stopped",
      "kind": "timeout",
      "status": 0,
      "error": "connected, but no answer within 1s"
    }
  ]
}`
