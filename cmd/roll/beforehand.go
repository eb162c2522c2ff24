package main

import (
	"time"

	"github.com/roll-deploy/roll/compose"
	"github.com/roll-deploy/roll/internal/check"
)

// beforehand is the part of roll check that costs nothing: what the plan of a
// service should warn about, from what has been read anyway. It asks nobody
// and never fails. Settings that only a file in the image would tell are left
// to roll check.
func beforehand(service compose.Service, image compose.Image, throttle time.Duration) []string {
	if image.ID == "" {
		return nil
	}
	declared := check.AsDeclared(service, &image)
	found := append(check.Stop(declared), check.Drain(declared, healthcheckOf(service, &image), throttle)...)
	var notes []string
	for _, f := range check.Merge(found) {
		if f.Level < check.Warn || f.Confidence == check.Unknown || f.ID == check.KnobTooShort {
			continue
		}
		notes = append(notes, joined("; instead: ", f.Text, f.Fix)+" (more: roll check "+service.Name+")")
	}
	return notes
}
