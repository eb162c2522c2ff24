package deploy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/roll-deploy/roll/compose"
)

// candidate is a replica with all that decides who leaves first.
type candidate struct {
	replica  compose.Replica
	outdated string // why, empty when it is what Compose would create today
	replace  bool   // the goal asks for a new one in its place
	routed   bool
	named    bool // --remove
}

// reason is why this one was picked, in the words of the plan.
func (c candidate) reason() string {
	switch {
	case c.named:
		return "named with --remove"
	case !c.replica.Ready():
		return "it is " + condition(c.replica)
	case c.outdated != "":
		return c.outdated
	case c.replace:
		return "asked to replace every replica"
	case !c.routed:
		return "no router sends requests to it"
	}
	return fmt.Sprintf("newest number (%d)", c.replica.Number)
}

// rank sorts who leaves first: named, then unhealthy, then outdated, then not
// routed, then newest number (DESIGN 2, selection).
func rank(gated bool) func(a, b candidate) int {
	score := func(c candidate) int {
		switch {
		case c.named:
			return 0
		case !c.replica.Ready():
			return 1
		case c.outdated != "":
			return 2
		case gated && !c.routed:
			return 3
		}
		return 4
	}
	return func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(score(a), score(b)),
			cmp.Compare(b.replica.Number, a.replica.Number),
			cmp.Compare(a.replica.Name, b.replica.Name),
		)
	}
}

// condition is a replica's state in one phrase.
func condition(r compose.Replica) string {
	switch {
	case r.State != compose.Running:
		return string(r.State)
	case r.Health != compose.NoHealth:
		return string(r.Health)
	}
	return "running"
}

// pick finds the named replicas, by id. A name is the
// container's name, its number, or the start of its id (at least four digits).
func pick(replicas []compose.Replica, names []string) (map[string]bool, error) {
	picked := map[string]bool{}
	for _, name := range names {
		i := slices.IndexFunc(replicas, func(r compose.Replica) bool {
			return r.Name == name || fmt.Sprint(r.Number) == name || len(name) >= 4 && strings.HasPrefix(r.ID, name)
		})
		if i < 0 {
			known := make([]string, 0, len(replicas))
			for _, r := range replicas {
				known = append(known, r.Name)
			}
			return nil, fmt.Errorf("no replica %q; there are %s", name, strings.Join(known, ", "))
		}
		picked[replicas[i].ID] = true
	}
	return picked, nil
}
