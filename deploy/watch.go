package deploy

import (
	"bytes"
	"context"
	"time"
)

// watch follows the heartbeat of a lease by the reader's own clock: what the
// owner's clock says does not matter.
type watch struct {
	id      string // empty: not seen yet
	content []byte
	since   time.Time // when this content was first seen, or when it could last not be looked at
	moved   time.Time // when it was last seen to change; zero: never

	says       beat
	unreadable string
}

// look reads the lease once. After an error the time in which it stood still
// starts again: whoever cannot read may not be the only one who cannot write.
func (w *watch) look(ctx context.Context, store LeaseStore, project string) error {
	var id string
	var content []byte
	err := request(ctx, func(ctx context.Context) (err error) {
		id, content, err = store.Read(ctx, project)
		return err
	})
	now := time.Now()
	switch {
	case err != nil:
		w.since = now
		return err
	case id == w.id && bytes.Equal(content, w.content):
		return nil
	case w.id != "":
		w.moved = now
	}
	w.id, w.content, w.since = id, content, now
	w.says, w.unreadable = unmarshal(content)
	return nil
}

// remove breaks the lease that was watched, by its id: of two readers that do
// it at the same time none removes what the other claimed meanwhile.
func (w *watch) remove(ctx context.Context, store LeaseStore) error {
	return request(ctx, func(ctx context.Context) error { return store.Release(ctx, w.id) })
}

// alive reports whether its owner was seen to be at work a moment ago.
func (w *watch) alive() bool { return !w.moved.IsZero() && time.Since(w.moved) < leaseFresh }

// dead reports whether the heartbeat has stood still for too long.
func (w *watch) dead() bool { return w.id != "" && time.Since(w.since) >= leaseDead }

func (w *watch) holder() Holder {
	return Holder{Owner: w.says.Owner, Phase: w.says.Phase, Unreadable: w.unreadable}
}

func (w *watch) locked(project string) error {
	return &LockedError{Project: project, Holder: w.holder(), Beat: time.Since(w.moved)}
}
