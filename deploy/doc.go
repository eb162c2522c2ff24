// Package deploy replaces the replicas of a service without losing a request.
//
// A roll is observed once (Snapshot), planned purely (New) and executed dumbly
// (Roller.Run). Each slot of a plan brings one replica in, takes one out, or
// both:
//
//	in:   creating -> booting -> joining -> arrived
//	                                           | commit
//	out:  flipping -> sinking -> leaving -> settling -> draining -> pre_stop -> stopping -> removing -> departed
//	back: unflipping -> recovering -> rejoining -> returned
//
// What holds at every instant: a replica gets its stop signal only after it
// was seen out of every router, and the number of replicas that are healthy
// and routed is never less than the smaller of what is declared and what it
// was at the start, except under stop-first.
//
// Until the commit of a slot a failure removes the new replica and the old
// one was never touched. After it, the old one comes back first and is seen
// routed again; only then the new one leaves, by the same way as any other.
package deploy
