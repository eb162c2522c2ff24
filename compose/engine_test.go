package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

// daemon is an Engine API that answers from maps and remembers what it was
// asked.
type daemon struct {
	mu     sync.Mutex
	list   []map[string]any
	bodies map[string]string // "GET /containers/a/json" -> body
	codes  map[string]int    // the same -> status; 200 when absent
	once   map[string]func() // called after the answer to a request, one time
	asked  []string
	stream chan string // what /events sends
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if _, rest, ok := strings.Cut(path, "/v1.41"); ok {
		path = rest
	}
	key := r.Method + " " + path
	if strings.HasSuffix(path, "/stop") {
		key += " t=" + r.URL.Query().Get("t")
	}
	if path == "/events" {
		w.(http.Flusher).Flush()
		d.note(key + " " + r.URL.Query().Get("filters"))
		for {
			select {
			case <-r.Context().Done():
				return
			case line := <-d.stream:
				if line == "" {
					return
				}
				_, _ = fmt.Fprintln(w, line)
				w.(http.Flusher).Flush()
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, key)
	if then := d.once[key]; then != nil {
		delete(d.once, key)
		defer then()
	}
	if code := d.codes[key]; code != 0 {
		w.WriteHeader(code)
	}
	if path == "/containers/json" {
		_ = json.NewEncoder(w).Encode(d.list)
		return
	}
	_, _ = fmt.Fprint(w, d.bodies[key])
}

func (d *daemon) note(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, key)
}

// set makes a container that list and inspect agree about.
func (d *daemon) set(id, number, state, status, health string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(id, number, state, status, health)
}

func (d *daemon) put(id, number, state, status, health string) {
	entry := map[string]any{
		"Id": id, "Names": []string{"/shop-web-" + number}, "State": state, "Status": status,
		"Labels": map[string]string{labelProject: "shop", labelService: "web", labelNumber: number},
	}
	found := false
	for i, c := range d.list {
		if c["Id"] == id {
			d.list[i], found = entry, true
		}
	}
	if !found {
		d.list = append(d.list, entry)
	}
	healthJSON := "null"
	if health != "" {
		healthJSON = fmt.Sprintf(`{"Status":%q}`, health)
	}
	d.bodies["GET /containers/"+id+"/json"] = fmt.Sprintf(
		`{"Id":%q,"Name":"/shop-web-%s","State":{"Status":%q,"Health":%s},"Config":{"Labels":{%q:"shop",%q:"web",%q:%q}}}`,
		id, number, state, healthJSON, labelProject, labelService, labelNumber, number)
}

// inspects counts the inspects of a container since the last call.
func (d *daemon) inspects(id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for i, key := range d.asked {
		if key == "GET /containers/"+id+"/json" {
			n++
			d.asked[i] = ""
		}
	}
	return n
}

func fake(t *testing.T) (*daemon, *Engine) {
	t.Helper()
	d := &daemon{bodies: map[string]string{}, codes: map[string]int{}, once: map[string]func(){}, stream: make(chan string)}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	api, err := client.NewClientWithOpts(client.WithHost("tcp://"+strings.TrimPrefix(server.URL, "http://")), client.WithVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return d, NewEngine(api)
}

func replicas(t *testing.T, e *Engine) string {
	t.Helper()
	all, err := e.Replicas(t.Context(), "shop", "web")
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, r := range all {
		text = append(text, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.ID, r.State, r.Health)))
	}
	return strings.Join(text, ", ")
}

func TestOnlyWhatChangedIsInspectedAgain(t *testing.T) {
	d, e := fake(t)
	d.set("b", "10", "running", "Up 2 hours (healthy)", "healthy")
	d.set("a", "2", "running", "Up 2 hours (healthy)", "healthy")
	if got := replicas(t, e); got != "a running healthy, b running healthy" {
		t.Fatalf("got %s", got)
	}
	if got := e.Calls(); got != 3 {
		t.Errorf("two new containers took %d requests, want 3", got)
	}
	d.inspects("a")
	d.inspects("b")

	steps := []struct {
		name, state, status, health string
		inspects                    int
	}{
		{"only older", "running", "Up 3 hours (healthy)", "healthy", 0},
		{"unhealthy", "running", "Up 3 hours (unhealthy)", "unhealthy", 1},
		{"still unhealthy", "running", "Up 3 hours (unhealthy)", "unhealthy", 0},
		{"restarted", "running", "Up 1 second (unhealthy)", "unhealthy", 1},
		{"restarted again, perhaps", "running", "Up 1 second (unhealthy)", "unhealthy", 1},
		{"starting", "running", "Up 2 seconds (health: starting)", "starting", 1},
		{"restarting", "restarting", "Restarting (1) 1 second ago", "", 1},
		{"restarting, other exit code", "restarting", "Restarting (2) 1 second ago", "", 1},
		{"exited", "exited", "Exited (0) 1 second ago", "", 1},
		{"exited longer ago", "exited", "Exited (0) 2 hours ago", "", 0},
	}
	for _, step := range steps {
		d.set("a", "2", step.state, step.status, step.health)
		want := strings.TrimSpace("a "+step.state+" "+step.health) + ", b running healthy"
		if got := replicas(t, e); got != want {
			t.Errorf("%s: got %s, want %s", step.name, got, want)
		}
		if got := d.inspects("a"); got != step.inspects {
			t.Errorf("%s: %d inspects, want %d", step.name, got, step.inspects)
		}
	}
	if got := d.inspects("b"); got != 0 {
		t.Errorf("the other container was inspected %d times", got)
	}
}

// Within its first two seconds a container may start again and have the same line in the list.
func TestAFreshContainerIsRememberedOnlyWhileChangesAreHeard(t *testing.T) {
	d, e := fake(t)
	d.set("a", "1", "running", "Up Less than a second (health: starting)", "starting")
	look := func(what string, want int) {
		t.Helper()
		replicas(t, e)
		if got := d.inspects("a"); got != want {
			t.Errorf("%s: %d inspects, want %d", what, got, want)
		}
	}
	look("first", 1)
	look("nobody hears", 1)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes := e.Changes(ctx, "shop")
	<-changes
	look("seen before anybody heard", 1)
	look("nothing heard", 0)
	d.stream <- `{"Type":"container","Action":"start","Actor":{"ID":"a"}}`
	<-changes
	look("an event", 1)
	look("nothing more", 0)

	// An event that comes while the container is inspected: the answer may be older than the event.
	d.set("a", "1", "running", "Up 1 second (healthy)", "healthy")
	d.mu.Lock()
	d.once["GET /containers/a/json"] = func() {
		d.stream <- `{"Type":"container","Action":"start","Actor":{"ID":"a"}}`
		<-changes
	}
	d.mu.Unlock()
	look("an event in between", 1)
	look("after it", 1)
	look("in the end", 0)
}

func TestInspectThatDisagreesWithTheListIsNotKept(t *testing.T) {
	d, e := fake(t)
	d.set("a", "1", "running", "Up 2 hours (healthy)", "healthy")
	healthy := d.bodies["GET /containers/a/json"]
	d.bodies["GET /containers/a/json"] = strings.ReplaceAll(healthy, "healthy", "unhealthy")
	if got := replicas(t, e); got != "a running unhealthy" {
		t.Fatalf("got %s", got)
	}
	d.mu.Lock()
	d.bodies["GET /containers/a/json"] = healthy
	d.mu.Unlock()
	if got := replicas(t, e); got != "a running healthy" {
		t.Errorf("the passing state stuck: got %s", got)
	}
}

func TestContainersThatAreNoReplicasAreLeftOut(t *testing.T) {
	d, e := fake(t)
	d.set("a", "1", "running", "Up 1 hour", "")
	d.set("hook", "1", "running", "Up 1 hour", "")
	d.list[1]["Labels"].(map[string]string)[labelHook] = "pre_start"
	d.set("vanished", "2", "running", "Up 1 hour", "")
	d.codes["GET /containers/vanished/json"] = http.StatusNotFound
	if got := replicas(t, e); got != "a running" {
		t.Errorf("got %s", got)
	}
	if d.inspects("hook") != 0 {
		t.Error("the hook runner was inspected")
	}
}

func TestContainersThatAreGoneAreForgotten(t *testing.T) {
	d, e := fake(t)
	d.set("a", "1", "running", "Up 1 hour", "")
	replicas(t, e)
	d.mu.Lock()
	d.list = nil
	d.mu.Unlock()
	if _, err := e.Replicas(t.Context(), "shop", "other"); err != nil {
		t.Fatal(err)
	}
	if len(e.seen) != 1 {
		t.Error("listing another service forgot this one")
	}
	if got := replicas(t, e); got != "" || len(e.seen) != 0 {
		t.Errorf("got %s, %d remembered", got, len(e.seen))
	}
}

func TestGoneContainersAreTold(t *testing.T) {
	d, e := fake(t)
	d.codes["GET /containers/a/json"] = http.StatusNotFound
	d.codes["POST /containers/a/stop t="] = http.StatusNotFound
	d.codes["DELETE /containers/a"] = http.StatusNotFound
	d.codes["POST /containers/a/exec"] = http.StatusNotFound
	d.codes["GET /images/web:1/json"] = http.StatusNotFound
	if _, err := e.Inspect(t.Context(), "a"); !errors.Is(err, ErrGone) {
		t.Errorf("inspect: got %v", err)
	}
	if _, err := e.Logs(t.Context(), "a", 5); !errors.Is(err, ErrGone) {
		t.Errorf("logs: got %v", err)
	}
	if _, err := e.ImageID(t.Context(), "web:1"); !errors.Is(err, ErrNoImage) || !strings.Contains(err.Error(), "web:1") {
		t.Errorf("image: got %v", err)
	}
	if err := e.Stop(t.Context(), "a", nil); err != nil {
		t.Errorf("stop: got %v", err)
	}
	if err := e.Remove(t.Context(), "a"); err != nil {
		t.Errorf("remove: got %v", err)
	}
	if _, err := e.Hook(t.Context(), "a", Hook{Command: []string{"x"}}); err != nil {
		t.Errorf("hook: got %v", err)
	}
}

func TestGraceIsRoundedUpToSeconds(t *testing.T) {
	tests := map[string]*time.Duration{
		"t=":   nil,
		"t=0":  new(time.Duration(0)),
		"t=1":  new(time.Nanosecond),
		"t=2":  new(1001 * time.Millisecond),
		"t=10": new(10 * time.Second),
		"t=-1": new(-time.Nanosecond),
	}
	for want, grace := range tests {
		d, e := fake(t)
		d.codes["POST /containers/a/stop "+want] = http.StatusNoContent
		if err := e.Stop(t.Context(), "a", grace); err != nil {
			t.Fatal(err)
		}
		if got := d.asked[0]; got != "POST /containers/a/stop "+want {
			t.Errorf("%v: asked %s", grace, got)
		}
	}
}

func TestRemoveWaitsForARemovalThatSomebodyElseBegan(t *testing.T) {
	d, e := fake(t)
	d.codes["DELETE /containers/a"] = http.StatusConflict
	d.bodies["GET /containers/a/json"] = `{"Id":"a","State":{"Status":"removing"}}`
	d.once["GET /containers/a/json"] = func() { d.codes["GET /containers/a/json"] = http.StatusNotFound }
	if err := e.Remove(t.Context(), "a"); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestRemoveRefusesWhatRuns(t *testing.T) {
	d, e := fake(t)
	d.codes["DELETE /containers/a"] = http.StatusConflict
	d.bodies["DELETE /containers/a"] = `{"message":"cannot remove a running container"}`
	d.bodies["GET /containers/a/json"] = `{"Id":"a","State":{"Status":"running"}}`
	if err := e.Remove(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "cannot remove a running container") {
		t.Errorf("got %v", err)
	}
}

func TestRemoveSaysForWhatItWaited(t *testing.T) {
	d, e := fake(t)
	d.codes["DELETE /containers/a"] = http.StatusConflict
	d.bodies["GET /containers/a/json"] = `{"Id":"a","State":{"Status":"removing"}}`
	ctx, cancel := context.WithCancelCause(t.Context())
	d.once["GET /containers/a/json"] = func() { cancel(errors.New("told to give up")) }
	err := e.Remove(ctx, "a")
	if err == nil || !strings.Contains(err.Error(), "waited") || !strings.Contains(err.Error(), "told to give up") {
		t.Errorf("got %v", err)
	}
}

func TestChangesAreToldAgainAfterTheStreamBreaks(t *testing.T) {
	d, e := fake(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	changes := e.Changes(ctx, "shop")
	wait := func(what string) {
		t.Helper()
		select {
		case <-changes:
		case <-ctx.Done():
			t.Fatalf("no change told: %s", what)
		}
	}
	wait("the first connection")
	d.stream <- `{"Type":"container","Action":"die","Actor":{"ID":"a"}}`
	wait("an event")
	d.stream <- "" // the stream ends
	wait("the second connection")
	d.stream <- `{"Type":"container","Action":"start","Actor":{"ID":"a"}}`
	wait("an event after the break")
	filter := d.asked[0]
	for _, word := range []string{`"com.docker.compose.project=shop"`, `"health_status"`, `"die"`, `"start"`, `"destroy"`, `"container"`} {
		if !strings.Contains(filter, word) {
			t.Errorf("the daemon is not asked to filter by %s: %s", word, filter)
		}
	}
}
