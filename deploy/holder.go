package deploy

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Owner is who holds a lease.
type Owner struct {
	Who     string    `json:"who"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Command string    `json:"command"` // without flags: they may hold passwords
	Since   time.Time `json:"since"`   // by the clock of Host
}

// String is a few words; a part that is not known is left out.
func (o Owner) String() string {
	who := o.Who
	if who == "" {
		who = "somebody"
	}
	if o.Host != "" {
		who += " on " + o.Host
	}
	var details []string
	if o.PID != 0 {
		details = append(details, fmt.Sprintf("pid %d", o.PID))
	}
	if o.Command != "" {
		details = append(details, o.Command)
	}
	if !o.Since.IsZero() {
		details = append(details, "since "+o.Since.UTC().Format("2006-01-02 15:04:05 MST"))
	}
	if len(details) > 0 {
		who += " (" + strings.Join(details, ", ") + ")"
	}
	return who
}

// Holder is what a lease says of its holder.
type Holder struct {
	Owner
	Phase      string // what it does, in a few words
	Unreadable string // why the lease says nothing that can be read; empty: it can be read
}

// String is who holds the lease and what it does.
func (h Holder) String() string {
	switch {
	case h.Unreadable != "":
		return "somebody whose lease cannot be read (" + h.Unreadable + ")"
	case h.Phase != "":
		return h.Owner.String() + ", now " + h.Phase
	}
	return h.Owner.String()
}

// LockedError says that somebody else holds the lease, and lives: its
// heartbeat moved while it was looked at.
type LockedError struct {
	Project string
	Holder
	Beat time.Duration // how long ago the heartbeat was last seen to move, by the clock of the reader
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("another roll is at work on project %s: %s; its heartbeat moved %s ago", e.Project, e.Holder, short(e.Beat))
}

// beat is what is written into a lease.
type beat struct {
	Token string `json:"token"` // tells the leases of one owner apart
	Beat  int    `json:"beat"`
	Owner
	Phase string `json:"phase"`
}

func (b beat) marshal() []byte {
	text, err := json.Marshal(b)
	if err != nil { // a year that RFC 3339 cannot write
		b.Since = time.Time{}
		text, _ = json.Marshal(b)
	}
	return text
}

// unmarshal reads what somebody wrote, who may be anybody: the texts are cut
// and rid of what a terminal would obey.
func unmarshal(content []byte) (b beat, unreadable string) {
	if err := json.Unmarshal(content, &b); err != nil || b.Token == "" {
		return beat{}, "it holds no JSON of a roll"
	}
	for _, text := range []*string{&b.Who, &b.Host, &b.Command, &b.Phase} {
		*text = tame(*text)
	}
	return b, ""
}

// tame cuts a text and makes what cannot be printed a question mark.
func tame(text string) string {
	const most = 200
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if letters := []rune(text); len(letters) > most {
		return string(letters[:most]) + "..."
	}
	return text
}
