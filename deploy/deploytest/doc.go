// Package deploytest is a world in memory to try rolls in: an Engine with
// containers, Compose, Traefik instances and clients that send requests. It
// keeps time with the package time, so that inside a testing/synctest bubble
// an hour passes at once.
//
// It behaves as facts.md says of the real parts: health as in D1, exits as in
// D3 and D4, Compose as in C, Traefik as in A1. A World watches itself: what a
// roll must never do (a stop signal for a replica that is routed, a hand laid
// on another service) is noted in Violations at the instant it happens.
//
//	synctest.Test(t, func(t *testing.T) {
//		w := deploytest.New(deploytest.Options{Replicas: 3, Version: deploytest.Version{Name: "v1"}})
//		defer w.Close()
//		w.Settle()
//		w.Declare(deploytest.Version{Name: "v2"}, 3)
//		s := w.Session()
//		result := s.Roller().Run(t.Context(), plan, s.Snapshot())
//	})
package deploytest
