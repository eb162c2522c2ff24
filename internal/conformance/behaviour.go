package conformance

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/roll-deploy/roll/compose"
)

// Behaviours are all of them. Each leaves its service without a container.
func Behaviours() []Behaviour {
	return []Behaviour{
		{"replicas are numbered, get healthy, are routed, and events ring", Graceful, begins},
		{"a flipped replica turns unhealthy and leaves the routers, and comes back", Graceful, flips},
		{"a stopped replica is out of service and stays listed until it is removed", Graceful, stops},
		{"what is gone stays gone, and that is no error to those who want it gone", Graceful, vanishes},
		{"a removed replica comes back as it was", Graceful, returns},
		{"Compose counts what does not run, starts it, and gives no number twice", Graceful, counts},
		{"a replica without a healthcheck is routed at once; one that does not hear its stop signal is killed", Deaf, killed},
		{"a replica that dies by its stop signal says which", Abrupt, signalled},
		{"a replica that breaks is started again until it is stopped", Crashing, restarts},
	}
}

func begins(t *testing.T, w World) {
	defer w.clear(t)
	if all := w.list(t); len(all) != 0 {
		t.Fatalf("there are %d containers", len(all))
	}
	rings := w.Notifier.Changes(t.Context())
	all := w.create(t, 2)
	if got := numbers(all); !slices.Equal(got, []int{1, 2}) {
		t.Fatalf("numbers %v", got)
	}
	for _, r := range all {
		if want := fmt.Sprintf("%s-%s-%d", w.Project, w.Service, r.Number); r.Name != want || r.Project != w.Project || r.Service != w.Service {
			t.Errorf("replica %q of %q %q, want %s", r.Name, r.Project, r.Service, want)
		}
		if !r.Running() || r.Created.IsZero() || r.Started.Before(r.Created) || len(r.Addresses) != 1 {
			t.Errorf("%s: %s, created %s, started %s, addresses %v", r.Name, r.State, r.Created, r.Started, r.Addresses)
		}
		if r.Health != compose.Starting && r.Health != compose.Healthy {
			t.Errorf("%s begins as %q", r.Name, r.Health)
		}
		if r.ImageID == "" || r.ImageID != all[0].ImageID || r.ConfigHash == "" || r.ConfigHash != all[0].ConfigHash {
			t.Errorf("%s: image %s, hash %s; the first: %s, %s", r.Name, r.ImageID, r.ConfigHash, all[0].ImageID, all[0].ConfigHash)
		}
		if r.Healthcheck == nil || r.Healthcheck.Retries != 2 {
			t.Errorf("%s: healthcheck %+v", r.Name, r.Healthcheck)
		}
		if !w.healthy(t, r.ID, compose.Healthy).Finished.IsZero() {
			t.Errorf("%s has finished", r.Name)
		}
	}
	w.routed(t, all...)
	select {
	case <-rings:
	default:
		t.Error("four events and no ring")
	}
}

func flips(t *testing.T, w World) {
	defer w.clear(t)
	all := w.create(t, 2)
	for _, r := range all {
		healthy := w.healthy(t, r.ID, compose.Healthy)
		if n := len(healthy.Probes); n == 0 || healthy.Probes[n-1].ExitCode != 0 || healthy.FailingStreak != 0 {
			t.Errorf("%s is healthy, streak %d, probes %+v", r.Name, healthy.FailingStreak, healthy.Probes)
		}
	}
	w.routed(t, all...)
	for range 2 { // twice is once
		if err := w.Flipper.Flip(t.Context(), all[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	sunk := w.healthy(t, all[0].ID, compose.Unhealthy)
	if n := len(sunk.Probes); !sunk.Running() || sunk.FailingStreak < 2 || sunk.Probes[n-1].ExitCode == 0 || n > 5 {
		t.Errorf("flipped: %s, streak %d, probes %+v", sunk.State, sunk.FailingStreak, sunk.Probes)
	}
	w.routed(t, all[1])
	if sunk.RestartCount != 0 || !sunk.Started.Equal(all[0].Started) {
		t.Errorf("a flip restarted it: %+v", sunk)
	}
	if err := w.Flipper.Unflip(t.Context(), all[0].ID); err != nil {
		t.Fatal(err)
	}
	if back := w.healthy(t, all[0].ID, compose.Healthy); back.FailingStreak != 0 || back.Probes[len(back.Probes)-1].ExitCode != 0 {
		t.Errorf("un-flipped: streak %d, probes %+v", back.FailingStreak, back.Probes)
	}
	w.routed(t, all...)
	if err := w.Flipper.Unflip(t.Context(), all[1].ID); err != nil {
		t.Errorf("un-flip what was not flipped: %v", err)
	}
}

func stops(t *testing.T, w World) {
	defer w.clear(t)
	all := w.create(t, 2)
	for _, r := range all {
		w.healthy(t, r.ID, compose.Healthy)
	}
	w.routed(t, all...)
	if err := w.Engine.Remove(t.Context(), all[0].ID); err == nil || errors.Is(err, compose.ErrGone) {
		t.Errorf("remove one that runs: %v", err)
	}
	if !w.inspect(t, all[0].ID).Running() {
		t.Error("a removal that was refused stopped it")
	}
	r := w.stop(t, all[0].ID)
	if r.State != compose.Exited || r.ExitCode != 0 || r.OOMKilled || r.Finished.Before(r.Started) || len(r.Addresses) != 0 {
		t.Errorf("stopped: %s, code %d, OOM %v, started %s, finished %s, addresses %v", r.State, r.ExitCode, r.OOMKilled, r.Started, r.Finished, r.Addresses)
	}
	if r.Health == compose.Healthy || r.Ready() {
		t.Errorf("stopped: health %q", r.Health)
	}
	listed := w.list(t)
	if len(listed) != 2 || listed[0].State != compose.Exited || listed[1].State != compose.Running {
		t.Errorf("listed: %+v", listed)
	}
	w.routed(t, all[1])
	again := w.stop(t, r.ID)
	if again.ExitCode != r.ExitCode || !again.Finished.Equal(r.Finished) {
		t.Errorf("stopped twice: %+v", again)
	}
	if err := w.Flipper.Flip(t.Context(), r.ID); err == nil {
		t.Error("flip one that does not run: no error")
	}
	if _, err := w.Hooks.Hook(t.Context(), r.ID, compose.Hook{Command: []string{"/replica", "health"}}); err != nil {
		t.Errorf("a hook in one that does not run: %v", err)
	}
	if lines, err := w.Logs.Logs(t.Context(), r.ID, 1); err != nil || len(lines) != 1 {
		t.Errorf("the last line of its log: %q, %v", lines, err)
	}
	w.remove(t, r.ID)
	if left := w.list(t); len(left) != 1 || left[0].ID != all[1].ID {
		t.Errorf("removed, and listed: %+v", left)
	}
}

func vanishes(t *testing.T, w World) {
	defer w.clear(t)
	r := w.create(t, 1)[0]
	w.stop(t, r.ID)
	w.remove(t, r.ID)
	for _, id := range []string{r.ID, "0123456789ab0123456789ab0123456789ab0123456789ab0123456789ab0123"} {
		ctx := t.Context()
		_, inspect := w.Engine.Inspect(ctx, id)
		_, keep := w.Keeper.Keep(ctx, id)
		_, logs := w.Logs.Logs(ctx, id, 5)
		for call, err := range map[string]error{"inspect": inspect, "keep": keep, "logs": logs} {
			if !errors.Is(err, compose.ErrGone) {
				t.Errorf("%s: %v", call, err)
			}
		}
		_, hook := w.Hooks.Hook(ctx, id, compose.Hook{Command: []string{"/replica", "health"}})
		for call, err := range map[string]error{"stop": w.Engine.Stop(ctx, id, nil), "remove": w.Engine.Remove(ctx, id), "hook": hook} {
			if err != nil {
				t.Errorf("%s: %v", call, err)
			}
		}
		for call, err := range map[string]error{"flip": w.Flipper.Flip(ctx, id), "un-flip": w.Flipper.Unflip(ctx, id)} {
			if err == nil {
				t.Errorf("%s: no error", call)
			}
		}
	}
}

func returns(t *testing.T, w World) {
	defer w.clear(t)
	all := w.create(t, 2)
	old := all[0]
	w.healthy(t, old.ID, compose.Healthy)
	if err := w.Flipper.Flip(t.Context(), old.ID); err != nil {
		t.Fatal(err)
	}
	w.healthy(t, old.ID, compose.Unhealthy)
	w.stop(t, old.ID)
	kept, err := w.Keeper.Keep(t.Context(), old.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.remove(t, old.ID)
	id, name, err := w.Keeper.Restore(t.Context(), kept)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := w.Keeper.Restore(t.Context(), kept)
	if err != nil || again != id {
		t.Errorf("restored once more: %s, %v; it is %s", again, err, id)
	}
	r := w.healthy(t, id, compose.Healthy) // its flip did not come back
	if id == old.ID || name != old.Name || r.Name != old.Name || r.Number != old.Number || r.ImageID != old.ImageID || r.ConfigHash != old.ConfigHash || r.Service != old.Service {
		t.Errorf("was %+v\nis %+v (%s)", old, r, name)
	}
	if now := w.list(t); len(now) != 2 || now[0].ID != id || now[1].ID != all[1].ID {
		t.Errorf("listed: %+v", now)
	}
	w.routed(t, r, all[1])
	if same := w.create(t, 2); len(same) != 2 || same[0].ID != id || !same[0].Started.Equal(r.Started) {
		t.Errorf("Compose does not take it for its own: %+v", same)
	}
}

func counts(t *testing.T, w World) {
	defer w.clear(t)
	all := w.create(t, 3)
	if got := numbers(all); !slices.Equal(got, []int{1, 2, 3}) {
		t.Fatalf("numbers %v", got)
	}
	w.stop(t, all[0].ID)
	now := w.create(t, 3)
	if got := numbers(now); !slices.Equal(got, []int{1, 2, 3}) || now[0].ID != all[0].ID || !now[0].Running() || !now[0].Started.After(all[0].Started) {
		t.Errorf("one of three had ended: %+v", now)
	}
	if !now[1].Started.Equal(all[1].Started) || now[1].RestartCount != 0 {
		t.Errorf("one that ran was touched: %+v", now[1])
	}
	w.stop(t, all[1].ID)
	w.remove(t, all[1].ID)
	if got := numbers(w.create(t, 3)); !slices.Equal(got, []int{1, 3, 4}) {
		t.Errorf("after number 2 had gone: %v", got)
	}
	last := w.list(t)[2]
	w.stop(t, last.ID)
	w.remove(t, last.ID)
	if got := numbers(w.create(t, 4)); !slices.Equal(got, []int{1, 3, 4, 5}) {
		t.Errorf("after the last had gone: %v", got)
	}
}

func killed(t *testing.T, w World) {
	defer w.clear(t)
	r := w.create(t, 1)[0]
	if r.Health != compose.NoHealth || r.Healthcheck != nil || !r.Ready() || r.Grace().Seconds() != 2 {
		t.Errorf("health %q, healthcheck %+v, grace %s", r.Health, r.Healthcheck, r.Grace())
	}
	w.routed(t, r)
	if r = w.stop(t, r.ID); r.State != compose.Exited || r.ExitCode != 137 || r.OOMKilled || r.Health != compose.NoHealth {
		t.Errorf("%s, code %d, OOM %v, health %q", r.State, r.ExitCode, r.OOMKilled, r.Health)
	}
	w.routed(t)
}

func signalled(t *testing.T, w World) {
	defer w.clear(t)
	r := w.create(t, 1)[0]
	w.routed(t, r)
	if r = w.stop(t, r.ID); r.State != compose.Exited || r.ExitCode != 128+w.StopSignal {
		t.Errorf("%s, code %d", r.State, r.ExitCode)
	}
	if now := w.inspect(t, r.ID); now.RestartCount != 0 || now.Running() {
		t.Errorf("stopped, and it is %s", now.State)
	}
}

func restarts(t *testing.T, w World) {
	defer w.clear(t)
	if err := w.Creator.Create(t.Context(), w.Service, 1); err != nil {
		t.Fatal(err)
	}
	id := w.list(t)[0].ID
	await(t, "it was started again twice", func() (bool, string) {
		r := w.inspect(t, id)
		return r.RestartCount >= 2, fmt.Sprintf("%s, code %d, restarted %d times", r.State, r.ExitCode, r.RestartCount)
	})
	await(t, "it waits for its next start", func() (bool, string) {
		r := w.inspect(t, id)
		return r.State == compose.Restarting && r.ExitCode != 0 && !r.Running() && !r.Ready(), fmt.Sprintf("%s, code %d", r.State, r.ExitCode)
	})
	r := w.stop(t, id)
	if r.State != compose.Exited || r.Running() {
		t.Errorf("stopped, and it is %s", r.State)
	}
	if all := w.list(t); len(all) != 1 || all[0].State != compose.Exited {
		t.Errorf("listed: %+v", all)
	}
}

// clear removes all containers of the service, and expects its routes to end.
func (w World) clear(t *testing.T) {
	t.Helper()
	for _, r := range w.list(t) {
		w.stop(t, r.ID)
		w.remove(t, r.ID)
	}
	w.routed(t)
}
