// Package bench measures where the time of a roll goes: real rolls of the roll
// program in the lab, without load, told apart by their events. It measures and
// judges; no time makes it fail. `make bench` runs it.
package bench
