package deploy

import (
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
)

func TestBudgets(t *testing.T) {
	slow := &compose.Healthcheck{Interval: 30 * time.Second, Timeout: 5 * time.Second, Retries: 3}
	started := &compose.Healthcheck{Interval: 10 * time.Second, Timeout: time.Second, StartPeriod: time.Minute, StartInterval: 250 * time.Millisecond, Retries: 1}
	for _, test := range []struct {
		name string
		got  Budget
		want Budget
	}{
		{"a flip takes retries x interval, and is given up after the timeouts, too", flipBudget(slow), Budget{90 * time.Second, 115 * time.Second, "3 x interval 30s"}},
		{"a flip with retries 0 needs one probe", flipBudget(&compose.Healthcheck{Interval: time.Second, Timeout: time.Second}), Budget{time.Second, 12 * time.Second, "1 x interval 1s"}},
		{"without a healthcheck a flip has no budget", flipBudget(nil), Budget{}},
		{"one passing probe un-flips", unflipBudget(slow), Budget{30 * time.Second, 80 * time.Second, "interval 30s"}},
		{"without a healthcheck an un-flip has no budget", unflipBudget(nil), Budget{}},
		{"a new replica has its start period and then its retries", readyBudget(started, time.Second, 0), Budget{250 * time.Millisecond, 81 * time.Second, "start_period 1m + 1 x (interval 10s + timeout 1s) + 10s"}},
		{"--ready-timeout is the limit", readyBudget(slow, time.Second, time.Minute), Budget{30 * time.Second, time.Minute, "--ready-timeout"}},
		{"without a healthcheck a new replica has to run for monitor", readyBudget(nil, 5*time.Second, 0), Budget{5 * time.Second, 15 * time.Second, "no healthcheck: running for monitor 5s"}},
		{"a --ready-timeout below monitor cannot cut monitor", readyBudget(nil, 5*time.Second, time.Second), Budget{5 * time.Second, 6 * time.Second, "no healthcheck: running for monitor 5s"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.got != test.want {
				t.Errorf("got %+v, want %+v", test.got, test.want)
			}
		})
	}
}

func TestShortDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 250 * time.Millisecond: "250ms", 1500 * time.Microsecond: "2ms", time.Second: "1s", 1234 * time.Millisecond: "1.2s",
		90 * time.Second: "1m30s", 2 * time.Minute: "2m", time.Hour: "1h", 61 * time.Minute: "1h1m",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%v) = %q, want %q", d, got, want)
		}
	}
}
