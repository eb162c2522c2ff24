package deploytest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/roll-deploy/roll/deploy/deploytest"
	"github.com/roll-deploy/roll/internal/conformance"
)

// kinds are the services of the conformance test, in memory.
var kinds = map[conformance.Kind]deploytest.Version{
	conformance.Graceful: {Name: "v1"},
	conformance.Deaf:     {Name: "v1", NoCheck: true, Deaf: true, Grace: 2 * time.Second},
	conformance.Abrupt:   {Name: "v1", NoCheck: true, Abrupt: true},
	conformance.Crashing: {Name: "v1", NoCheck: true, Crashes: time.Millisecond, Restart: true},
}

func TestTheWorldInMemoryBehavesAsTheRealOne(t *testing.T) {
	for _, b := range conformance.Behaviours() {
		t.Run(b.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := deploytest.New(deploytest.Options{Service: string(b.Kind), Version: kinds[b.Kind]})
				defer w.Close()
				s := w.Session()
				b.Try(t, conformance.World{
					Engine: s, Creator: s, Router: s, Flipper: s, Keeper: s, Logs: s, Hooks: s, Notifier: s,
					Project: "shop", Service: string(b.Kind), StopSignal: 15,
				})
			})
		})
	}
}
