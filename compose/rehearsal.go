package compose

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Action is one thing that Compose says it would do.
type Action struct {
	Kind   string // Container, Network, Volume, Image; another word: something else of Compose's
	Name   string
	Status string // Compose's word: Running, Creating, Created, Starting, Started, Stopping, Removed, ...
	Detail string // what Compose added, such as the text of an error
}

// Statuses that are roll's own words for what Compose only says in prose.
const (
	// Diverged: a volume differs from its definition in the file, and
	// Compose would ask whether to recreate it.
	Diverged = "Diverged"
	// CutShort: the rehearsal ended at this container, because Compose cannot
	// rehearse how it copies a secret or config into a container that does
	// not exist. What comes after the creation was not rehearsed.
	CutShort = "Cut short"
)

// Compose writes events as lines. 2.27 and newer, with --progress json:
//
//	{"dry-run":true,"id":"Container lab-web-4","status":"Creating"}
//
// where 5.0 and newer have the word in "text" and a coarser "status". Older
// ones:
//
//	DRY-RUN MODE -  Container lab-web-4  Creating
type rehearsalLine struct {
	ID       string `json:"id"`
	ParentID string `json:"parent_id"`
	Status   string `json:"status"`
	Text     string `json:"text"`
	Details  string `json:"details"`
	Error    bool   `json:"error"`
	Message  string `json:"message"`
}

const dryRun = "DRY-RUN MODE -"

var (
	volumeQuestion = regexp.MustCompile(`Volume "([^"]+)" exists but doesn't match configuration`)
	copyFailure    = regexp.MustCompile(`Could not find the file .* in container (?:[0-9a-f]{12}_)?(\S+)`) // the prefix: while it is recreated
	kinds          = []string{"Container", "Network", "Volume", "Image"}
	coarse         = []string{"", "Working", "Done", "Warning", "Error"}
)

// ParseRehearsal reads what `docker compose --dry-run up` wrote, both streams
// together. Lines that are neither events nor known prose (warnings, hints)
// say nothing about actions and are passed over; a broken event is an error.
func ParseRehearsal(output []byte) ([]Action, error) {
	var actions []Action
	for line := range strings.Lines(string(output)) {
		line = strings.TrimSpace(line)
		for { // questions are not ended by a newline, so events may follow in the same line
			m := volumeQuestion.FindStringSubmatchIndex(line)
			if m == nil {
				break
			}
			actions = append(actions, Action{Kind: "Volume", Name: line[m[2]:m[3]], Status: Diverged})
			line = strings.TrimSpace(line[m[1]:])
			if i := strings.IndexAny(line, "?"); i >= 0 {
				line = strings.TrimSpace(line[i+1:])
			}
		}
		switch {
		case strings.HasPrefix(line, "{"):
			action, ok, err := jsonAction(line)
			if err != nil {
				return nil, err
			}
			if ok {
				actions = append(actions, action)
			}
		case strings.Contains(line, dryRun):
			_, event, _ := strings.Cut(line, dryRun)
			action, ok := plainAction(event)
			if !ok {
				return nil, fmt.Errorf("read Compose's rehearsal: no action in line %.200q", line)
			}
			actions = append(actions, action)
		}
	}
	return actions, nil
}

func jsonAction(line string) (Action, bool, error) {
	var event rehearsalLine
	if err := json.Unmarshal([]byte(line), &event); err != nil {
		return Action{}, false, fmt.Errorf("read Compose's rehearsal: line %.200q: %w", line, err)
	}
	switch {
	case event.Error:
		return prose(event.Message), true, nil
	case event.ID == "" || event.ParentID != "": // a log line, or one layer of an image
		return Action{}, false, nil
	}
	kind, name := subject(event.ID)
	action := Action{Kind: kind, Name: name, Status: event.Status, Detail: event.Details}
	if event.Text == "Error" { // before 5.0, with the message as the status
		action.Status, action.Detail = "Error", event.Status
	} else if slices.Contains(coarse, event.Status) && event.Text != "" {
		action.Status = event.Text
		if event.Status == "Error" && event.Text != "Error" {
			action.Status, action.Detail = "Error", event.Text
		}
	}
	if action.Status == "" {
		return Action{}, false, fmt.Errorf("read Compose's rehearsal: no status in line %.200q", line)
	}
	return action, true, nil
}

// plainAction reads "Container NAME  STATUS".
func plainAction(event string) (Action, bool) {
	event = strings.TrimSpace(event)
	if copyFailure.MatchString(event) {
		return prose(event), true
	}
	words := strings.Fields(event)
	switch {
	case len(words) == 0:
		return Action{}, false
	case len(words) >= 3 && slices.Contains(kinds, words[0]):
		return Action{Kind: words[0], Name: words[1], Status: words[2], Detail: strings.Join(words[3:], " ")}, true
	case len(words) == 2 && !slices.Contains(kinds, words[0]): // an image is shown by its service's name
		return Action{Kind: "Image", Name: words[0], Status: words[1]}, true
	}
	return Action{Kind: "Compose", Status: "Error", Detail: event}, true
}

func subject(id string) (kind, name string) {
	kind, name, ok := strings.Cut(id, " ")
	if ok && slices.Contains(kinds, kind) {
		return kind, strings.TrimSpace(name)
	}
	return "Image", id
}

func prose(message string) Action {
	if m := copyFailure.FindStringSubmatch(message); m != nil {
		return Action{Kind: "Container", Name: m[1], Status: CutShort}
	}
	return Action{Kind: "Compose", Status: "Error", Detail: strings.TrimSpace(message)}
}

// cutShort reports whether the only thing wrong with a rehearsal is that it
// could not copy into containers that it had just pretended to create.
func cutShort(actions []Action) bool {
	made := map[string]bool{}
	found := false
	for _, a := range actions {
		switch {
		case a.Kind == "Container" && (a.Status == "Creating" || a.Status == "Recreate"):
			made[a.Name] = true
		case a.Status == CutShort && made[a.Name]:
			found = true
		case a.Status == CutShort || a.Status == "Error":
			return false
		}
	}
	return found
}

// Unexpected says, in sentences, what Compose would do besides creating and
// starting k new replicas of a service. existing are the service's replicas;
// those of them that do not run are taken to be gone by then, because roll
// removes leftovers before it creates. That Compose makes a network or volume
// that was not there harms nobody and is not mentioned.
func Unexpected(actions []Action, service string, existing []Replica, k int) []string {
	known := map[string]Replica{}
	for _, r := range existing {
		known[r.Name] = r
	}
	isNew := newNames(service, existing)

	var sentences []string
	say := func(format string, args ...any) {
		if sentence := fmt.Sprintf(format, args...); !slices.Contains(sentences, sentence) {
			sentences = append(sentences, sentence)
		}
	}
	created := map[string]bool{}
	for _, a := range actions {
		old, exists := known[a.Name]
		harmless := a.Status == "Creating" || a.Status == "Created"
		switch {
		case a.Status == "Error":
			say("Compose would fail at %s: %s", strings.TrimSpace(a.Kind+" "+a.Name), a.Detail)
		case a.Status == Diverged:
			say("volume %s differs from its definition in the Compose file: Compose would ask to recreate it, and its data would be lost", a.Name)
		case a.Kind == "Network" || a.Kind == "Volume":
			if !harmless {
				say("%s would be %s", strings.ToLower(a.Kind)+" "+a.Name, passive(a.Status))
			}
		case a.Kind == "Image":
			say("the image of %s would be fetched or built (%s): it has to be here before replicas are created", a.Name, a.Status)
		case a.Kind != "Container":
			say("Compose would do this: %s", strings.TrimSpace(strings.Join([]string{a.Kind, a.Name, a.Status, a.Detail}, " ")))
		case exists && old.Running():
			if a.Status != "Running" {
				say("running replica %s would be %s", a.Name, passive(a.Status))
			}
		case exists: // a leftover
		case !isNew(a.Name):
			say("container %s, which is not a replica of %s, would be %s", a.Name, service, passive(a.Status))
		case harmless || a.Status == CutShort:
			created[a.Name] = true
		case a.Status == "Starting" || a.Status == "Started":
			if !created[a.Name] {
				say("container %s, which roll does not know, would be started", a.Name)
			}
		default:
			say("container %s, which roll does not know, would be %s", a.Name, passive(a.Status))
		}
	}
	leftovers := 0
	for _, r := range existing {
		if !r.Running() {
			leftovers++
		}
	}
	partly := cutShort(actions) // not every creation was shown
	if n := len(created); n > k || n < k-leftovers && !partly {
		say("Compose would create %d instead of %d new replicas of %s", n, k, service)
	}
	return sentences
}

// newNames tells the names that Compose gives to replicas of a service:
// PROJECT-SERVICE-NUMBER, with underscores in compatibility mode. The project
// is not known when no replica exists.
func newNames(service string, existing []Replica) func(string) bool {
	project := ""
	if len(existing) > 0 {
		project = existing[0].Project
	}
	return func(name string) bool {
		rest := strings.TrimRight(name, "0123456789")
		for _, separator := range []string{"-", "_"} {
			owner, ok := strings.CutSuffix(rest, separator+service+separator)
			if ok && rest != name && owner != "" && (project == "" || owner == project) {
				return true
			}
		}
		return false
	}
}

// passive turns Compose's word into the end of "would be".
func passive(status string) string {
	switch status {
	case "Recreate", "Recreated":
		return "recreated"
	case "Creating", "Created":
		return "created"
	case "Starting", "Started", "Restarting":
		return "started"
	case "Stopping", "Stopped":
		return "stopped"
	case "Removing", "Removed":
		return "removed"
	}
	return "touched (" + status + ")"
}
