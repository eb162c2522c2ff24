package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/roll-deploy/roll/deploy"
)

// ending tells a person how a roll ended.
type ending struct {
	deploy.Result
	plan  deploy.Plan // the zero value: not known
	typed string      // how roll was called; empty: by its name alone
}

// String is the whole text: the headline and what follows from it.
func (e ending) String() string { return e.headline() + "\n" + e.details() }

// headline is the result in one line.
func (e ending) headline() string {
	took := lapse(e.Took)
	switch e.Outcome {
	case deploy.UpToDate:
		return e.Service + ": up to date, nothing to do"
	case deploy.Done:
		if e.keeps() {
			return fmt.Sprintf("%s: %s drained in %s%s; it goes on running", e.Service, namesOf(e.Removed), took, e.proof())
		}
		return fmt.Sprintf("%s: %s in %s%s%s", e.Service, e.change(), took, e.proof(), e.names())
	case deploy.Failed:
		return fmt.Sprintf("%s: failed after %s: %s; nothing was replaced, what was begun is undone", e.Service, took, e.cause())
	case deploy.RolledBack:
		return fmt.Sprintf("%s: rolled back after %s: %s; the old version serves", e.Service, took, e.cause())
	case deploy.Partial:
		if len(e.Left) == 0 {
			return fmt.Sprintf("%s: partial after %s: %s; %s, the rest is as it was", e.Service, took, e.cause(), e.change())
		}
		return fmt.Sprintf("%s: partial after %s: %s; a person is needed for %s", e.Service, took, e.cause(), nounOf(len(e.Left), "replica"))
	case deploy.Interrupted:
		rest := "nothing was replaced, what was begun is undone"
		if len(e.Created)+len(e.Removed) > 0 {
			rest = e.change() + ", what was not committed is undone"
		}
		return fmt.Sprintf("%s: interrupted after %s: %s", e.Service, took, rest)
	}
	return fmt.Sprintf("%s: ended as %q after %s", e.Service, e.Outcome, took)
}

// keeps reports whether the replicas that left are still running: roll drain.
func (e ending) keeps() bool {
	return len(e.Removed) > 0 && slices.ContainsFunc(e.plan.Slots, func(s deploy.Slot) bool { return s.Keep })
}

// change counts what was changed for good.
func (e ending) change() string {
	created, removed := len(e.Created), len(e.Removed)
	var parts []string
	if n := min(created, removed); n > 0 {
		parts = append(parts, nounOf(n, "replica")+" replaced")
	}
	if n := created - removed; n > 0 {
		parts = append(parts, nounOf(n, "replica")+" came into service")
	}
	if n := removed - created; n > 0 {
		parts = append(parts, nounOf(n, "replica")+" left")
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case e.Outcome == deploy.Done:
		return "leftovers removed"
	}
	return "nothing was replaced"
}

func (e ending) proof() string {
	switch {
	case len(e.Created)+len(e.Removed) == 0:
		return ""
	case e.Unproven != "":
		return ", NOT PROVEN at Traefik (" + oneLine(e.Unproven) + ")"
	case e.Proven:
		return ", every change proven at Traefik"
	}
	return ", not behind Traefik"
}

func (e ending) names() string {
	switch {
	case len(e.Created) > 0 && len(e.Removed) > 0:
		return "; " + namesOf(e.Removed) + " -> " + namesOf(e.Created)
	case len(e.Created) > 0:
		return "; in service: " + namesOf(e.Created)
	case len(e.Removed) > 0:
		return "; gone: " + namesOf(e.Removed)
	}
	return ""
}

// cause is the first failure in a few words.
func (e ending) cause() string {
	if len(e.Failures) == 0 {
		return "it was given up"
	}
	f := e.Failures[0]
	text, _, _ := strings.Cut(failure(f), "\n")
	if f.Replica == "" {
		return text
	}
	return f.Replica + ": " + text
}

// failure is what went wrong, without the name of the replica that it went
// wrong with.
func failure(f deploy.Failure) string {
	return strings.TrimPrefix(printable(f.Err.Error()), f.Replica+": ")
}

// details is everything below the headline, empty when there is no need of
// it: why it failed, what is left, and what to type next.
func (e ending) details() string {
	var b strings.Builder
	section := func(title string, lines []string) {
		for i, line := range lines {
			if i > 0 {
				title = ""
			}
			fmt.Fprintf(&b, "  %-9s %s\n", title, line)
		}
	}
	if e.Outcome != deploy.UpToDate && e.Outcome != deploy.Done {
		section("failed", e.failed())
		section("in", oneIf(e.Created))
		section("out", oneIf(e.Removed))
		section("restored", oneIf(e.Restored))
		section("left", e.left())
		if e.Unproven != "" {
			section("proof", []string{"NOT PROVEN at Traefik: " + oneLine(e.Unproven)})
		}
	}
	section("exits", e.exits())
	var next []string
	for _, s := range e.next() {
		next = append(next, fmt.Sprintf("%-24s  # %s", s.command, s.why))
	}
	section("next", next)
	return b.String()
}

// failed describes every failure with what the replica left behind.
func (e ending) failed() []string {
	var lines []string
	for _, f := range e.Failures {
		lines = append(lines, strings.Split(strings.TrimPrefix(whoFailed(f)+": ", ": ")+failure(f), "\n")...)
		if f.Last != "" {
			lines = append(lines, "  last seen: "+oneLine(f.Last))
		}
		for _, p := range f.Probes[max(0, len(f.Probes)-shownProbes):] {
			lines = append(lines, strings.TrimSuffix(fmt.Sprintf("  health: exit code %d, %s", p.ExitCode, oneLine(p.Output)), ", "))
		}
		for _, l := range f.Logs {
			lines = append(lines, "  log: "+oneLine(l))
		}
	}
	return lines
}

// shownProbes is how many of a failed replica's last health probes people are
// shown; the Engine keeps five, which mostly say the same.
const shownProbes = 3

func whoFailed(f deploy.Failure) string {
	var who []string
	if f.Replica != "" {
		who = append(who, f.Replica)
	}
	if f.Role != "" {
		who = append(who, string(f.Role))
	}
	if f.Slot > 0 {
		who = append(who, fmt.Sprintf("slot %d", f.Slot))
	}
	if f.Phase != deploy.Planned || len(who) > 0 { // else it is about the roll as a whole
		who = append(who, "while "+f.Phase.String())
	}
	return strings.Join(who, ", ")
}

func (e ending) left() []string {
	var lines []string
	for _, l := range e.Left {
		lines = append(lines, fmt.Sprintf("%s (%s) in phase %s: %s", l.Replica, l.Role, l.Phase, oneLine(l.Reason)))
	}
	return lines
}

// exits are the exit codes that do not mean a graceful end: 0, or 143 for a
// process that SIGTERM ended.
func (e ending) exits() []string {
	var odd []string
	for name, code := range e.Exits {
		if code != 0 && code != 143 {
			odd = append(odd, fmt.Sprintf("%s with code %d", name, code))
		}
	}
	slices.Sort(odd)
	return odd
}

// step is a command to type and what it is good for.
type step struct{ command, why string }

// next is what to type after this.
func (e ending) next() []step {
	var steps []step
	add := func(command, why string) { steps = append(steps, step{command, why}) }
	roll := cmp.Or(e.typed, "roll")
	up := roll + " up " + e.Service
	switch e.Outcome {
	case deploy.Done:
		if e.keeps() {
			for _, name := range e.Removed {
				add(roll+" undrain "+name, "to bring it back into service")
			}
		}
		if e.Unproven != "" {
			add(roll+" status "+e.Service, "to see for yourself")
		}
	case deploy.Failed:
		add(up, "once the cause is mended")
	case deploy.RolledBack:
		what := "the cause"
		if slices.ContainsFunc(e.Failures, func(f deploy.Failure) bool { return f.Role == deploy.NewReplica }) {
			what = "the new version"
		}
		add(up, "once "+what+" is mended")
	case deploy.Interrupted:
		add(up, "to go on")
	case deploy.Partial:
		add(roll+" status "+e.Service, "to see where each replica stands")
		for _, l := range e.Left {
			switch {
			case l.Role == deploy.NewReplica:
				add("docker logs "+l.Replica, "to see what is wrong with it")
			case toldUnhealthy(l.Phase):
				add(roll+" undrain "+l.Replica, "to bring it back into service")
			}
		}
		add(up, "to go on to the new version")
	}
	return steps
}

// commands is what to type without the reasons.
func (e ending) commands() []string {
	var all []string
	for _, s := range e.next() {
		all = append(all, s.command)
	}
	return all
}

// toldUnhealthy reports whether a replica that stands in this phase may have
// been told to report unhealthy and runs on, so that it can be told otherwise.
func toldUnhealthy(p deploy.Phase) bool {
	return p >= deploy.Flipping && p < deploy.Stopping || p >= deploy.Unflipping && p <= deploy.Rejoining
}

func oneIf(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	return []string{namesOf(names)}
}

// namesOf joins names, and counts those beyond the first ten.
func namesOf(names []string) string {
	const most = 10
	if len(names) <= most+1 {
		return strings.Join(names, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], " "), len(names)-most)
}

// nounOf prints a number with its noun: 1 replica, 3 replicas.
func nounOf(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
