package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/roll-deploy/roll/compose"
)

// HistoryStore keeps the records of a service where everybody who may roll it
// finds them: on the daemon that its replicas live on.
type HistoryStore interface {
	Add(ctx context.Context, project, service, imageID string, number int, content []byte) error
	// List is newest first. A record without content was cut off.
	List(ctx context.Context, project, service string) ([]compose.Record, error)
	Drop(ctx context.Context, r compose.Record) error
	// Discard removes anonymous volumes. Those that are gone or in use, and
	// those that have a name of their own, are left alone.
	Discard(ctx context.Context, volumes []string) error
}

// Entry is one roll as the history remembers it, with what ran before it.
type Entry struct {
	Number   int           `json:"number"` // from 1, never used again while a later one is kept
	By       Owner         `json:"by"`
	Ended    time.Time     `json:"ended"`
	Took     time.Duration `json:"took"`
	Proven   bool          `json:"proven"`
	Removed  []string      `json:"removed"` // the replicas that left
	Created  []string      `json:"created"` // and those that came
	Was      Version       `json:"was"`
	Became   Version       `json:"became"`
	Replicas int           `json:"replicas"` // how many of Was ran before

	Kept    *compose.Kept `json:"kept"`              // one replica of Was
	Volumes []string      `json:"volumes,omitempty"` // anonymous ones of the replicas that left
}

// Version is what replicas of one kind were made from.
type Version struct {
	Image   string   `json:"image"` // the reference, as the Compose file had it
	ImageID string   `json:"image_id"`
	Digests []string `json:"digests,omitempty"` // under which a registry knows the image
	Hash    string   `json:"hash"`              // of the configuration
}

// Same reports whether replicas of both are alike.
func (v Version) Same(o Version) bool { return v.ImageID == o.ImageID && v.Hash == o.Hash }

// historyKeeps is how many rolls of a service are remembered.
const historyKeeps = 5

// Record adds a roll to the history of a service, gives it its number, and
// drops those that are too old. With them go the anonymous volumes that their
// replicas left behind: the successors have their own, and nothing but the
// history leads to the old ones.
func Record(ctx context.Context, store HistoryStore, project, service string, e Entry) error {
	records, err := store.List(ctx, project, service)
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	e.Number = 1
	if len(records) > 0 {
		e.Number = records[0].Number + 1
	}
	content, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	if err := store.Add(ctx, project, service, e.Was.ImageID, e.Number, content); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	kept := 1
	for _, r := range records {
		old, err := remembered(r)
		if err == nil && kept < historyKeeps {
			kept++
			continue
		}
		if len(old.Volumes) > 0 {
			if err := store.Discard(ctx, old.Volumes); err != nil {
				return fmt.Errorf("shorten the history: %w", err)
			}
		}
		if err := store.Drop(ctx, r); err != nil {
			return fmt.Errorf("shorten the history: %w", err)
		}
	}
	return nil
}

// Entries is the history of a service, the newest roll first. What cannot be
// read is left out.
func Entries(ctx context.Context, store HistoryStore, project, service string) ([]Entry, error) {
	records, err := store.List(ctx, project, service)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	var entries []Entry
	for _, r := range records {
		if e, err := remembered(r); err == nil {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func remembered(r compose.Record) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(r.Content, &e); err != nil {
		return e, fmt.Errorf("read entry %d: %w", r.Number, err)
	}
	if e.Kept == nil || e.Kept.Config == nil || e.Kept.Host == nil || e.Kept.ImageID == "" {
		return e, fmt.Errorf("read entry %d: it does not say what ran before", r.Number)
	}
	e.Number = r.Number
	return e, nil
}

// HistoryError says that the history has nothing to go back to.
type HistoryError struct {
	Service string
	Number  int // that was asked for; 0: the newest
	Have    []int
}

func (e *HistoryError) Error() string {
	switch {
	case len(e.Have) == 0:
		return fmt.Sprintf("nothing is known of what ran before in service %s: no roll of it was recorded on this daemon", e.Service)
	case e.Number == 0:
		return fmt.Sprintf("service %s runs what it ran before already", e.Service)
	}
	return fmt.Sprintf("the history of service %s has no entry %d; it has %v", e.Service, e.Number, e.Have)
}

// Back picks what to go back to: what ran before roll number to, or with 0
// before the newest roll that was not from what runs now. Its error is a
// *HistoryError.
func Back(service string, entries []Entry, to int, now []Version) (Entry, error) {
	missing := &HistoryError{Service: service, Number: to}
	for _, e := range entries {
		missing.Have = append(missing.Have, e.Number)
		if to == e.Number || to == 0 && !alike(now, e.Was) {
			return e, nil
		}
	}
	return Entry{}, missing
}

// alike reports whether all that runs is of this version.
func alike(now []Version, v Version) bool {
	for _, n := range now {
		if !n.Same(v) {
			return false
		}
	}
	return len(now) > 0
}
