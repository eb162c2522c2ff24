package deploy

import (
	"fmt"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// text is a policy in one line a value, with its source.
func (p Policy) text() string {
	stop := "its own"
	if p.StopTimeout.Value != nil {
		stop = short(*p.StopTimeout.Value)
	}
	return fmt.Sprintf(`order %s (%s)
parallelism %d (%s)
delay %s (%s)
monitor %s (%s)
failure action %s (%s)
ratio %g (%s)
settle %s (%s)
drain %s (%s)
ready %s (%s)
stop %s (%s)
`, p.Order.Value, p.Order.Source, p.Parallelism.Value, p.Parallelism.Source, short(p.Delay.Value), p.Delay.Source, short(p.Monitor.Value), p.Monitor.Source,
		p.FailureAction.Value, p.FailureAction.Source, p.MaxFailureRatio.Value, p.MaxFailureRatio.Source, short(p.Settle.Value), p.Settle.Source,
		short(p.Drain.Value), p.Drain.Source, short(p.ReadyTimeout.Value), p.ReadyTimeout.Source, stop, p.StopTimeout.Source)
}

func TestPolicy(t *testing.T) {
	update := compose.Update{
		Parallelism: new(2), Delay: new(time.Minute), Order: compose.StopFirst, FailureAction: "continue", Monitor: new(9 * time.Second), MaxFailureRatio: new(0.5),
	}
	for _, test := range []struct {
		name      string
		service   compose.Service
		overrides Overrides
		want      string
	}{
		{
			name: "without a word everything is a default",
			want: `order start-first (default)
parallelism 0 (default)
delay 0s (default)
monitor 5s (default)
failure action rollback (default)
ratio 0 (default)
settle 500ms (default)
drain 0s (default)
ready 0s ()
stop its own ()
`,
		},
		{
			name:    "update_config and labels are honoured",
			service: compose.Service{Update: update, Labels: map[string]string{"roll.drain": "10", "roll.settle": "1m30s"}},
			want: `order stop-first (deploy.update_config)
parallelism 2 (deploy.update_config)
delay 1m (deploy.update_config)
monitor 9s (deploy.update_config)
failure action continue (deploy.update_config)
ratio 0.5 (deploy.update_config)
settle 1m30s (label roll.settle)
drain 10s (label roll.drain)
ready 0s ()
stop its own ()
`,
		},
		{
			name:    "the command line wins",
			service: compose.Service{Update: update, Labels: map[string]string{"roll.drain": "10"}},
			overrides: Overrides{
				Order: compose.StartFirst, Parallelism: new(0), Delay: new(time.Duration(0)), Monitor: new(time.Second), Drain: new(time.Second), ReadyTimeout: new(time.Minute), StopTimeout: new(3 * time.Second),
			},
			want: `order start-first (command line)
parallelism 0 (command line)
delay 0s (command line)
monitor 1s (command line)
failure action continue (deploy.update_config)
ratio 0.5 (deploy.update_config)
settle 500ms (default)
drain 1s (command line)
ready 1m (command line)
stop 3s (command line)
`,
		},
		{
			name:      "rollback_config goes before update_config on the way to an earlier version, and the command line before both",
			service:   compose.Service{Update: update, Rollback: compose.Update{Parallelism: new(3), Delay: new(time.Second), Order: compose.StartFirst, FailureAction: "pause"}},
			overrides: Overrides{Rollback: true, Delay: new(2 * time.Second)},
			want: `order stop-first (deploy.update_config)
parallelism 3 (deploy.rollback_config)
delay 2s (command line)
monitor 9s (deploy.update_config)
failure action pause (deploy.rollback_config)
ratio 0.5 (deploy.update_config)
settle 500ms (default)
drain 0s (default)
ready 0s ()
stop its own ()
`,
		},
		{
			name:    "labels and actions that make no sense are refused, all at once",
			service: compose.Service{Name: "web", Update: compose.Update{FailureAction: "panic"}, Labels: map[string]string{"roll.drain": "soon", "roll.settle": "-1s"}},
			want: `refused to roll web: nothing was changed
  failure_action is "panic": roll knows rollback, pause and continue; instead: failure_action: rollback
  label roll.drain is "soon": it must be a duration of zero or more; instead: roll.drain: 10s
  label roll.settle is "-1s": it must be a duration of zero or more; instead: roll.settle: 10s
`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy, err := NewPolicy(test.service, test.overrides)
			got := policy.text()
			if err != nil {
				got = err.Error() + "\n"
			}
			if got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}
