package traefik

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// consumer is what package deploy asks of a router.
type consumer interface {
	Instances() []string
	Routes(ctx context.Context) (map[string][]netip.AddrPort, error)
	Calls() int64
}

var _ consumer = (*Router)(nil)

// stub is a Traefik without a network: it answers at whatever address.
type stub struct {
	mu      sync.Mutex
	up      bool
	started time.Time
	routes  string // the services of rawdata
	calls   atomic.Int64
}

const webAt = `"web@docker":{"loadBalancer":{"servers":[{"url":"http://%s:80"}]},"serverStatus":{"http://%[1]s:80":"UP"}}`

func newStub(address string) *stub {
	return &stub{up: true, started: started, routes: fmt.Sprintf(webAt, address)}
}

func (s *stub) set(change func(*stub)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *stub) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls.Add(1)
	if !s.up {
		return nil, errors.New("connection refused")
	}
	body := `{"services":{"api@internal":{}` + strings.TrimSuffix(","+s.routes, ",") + `}}`
	if r.URL.Path == "/api/version" {
		body = fmt.Sprintf(`{"Version":"3.6.12","startDate":%q}`, s.started.Format(time.RFC3339Nano))
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Request: r,
		Header: http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}}, nil
}

func (s *stub) instance(t *testing.T, name, id string) Instance {
	t.Helper()
	return Instance{Name: name, ContainerID: id, Client: newClient(t, "http://"+name, WithName(name), WithHTTPClient(&http.Client{Transport: s}))}
}

func routesOf(t *testing.T, r *Router) string {
	t.Helper()
	routes, err := r.Routes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return routesText(routes)
}

func TestRoutesJoinsAllInstances(t *testing.T) {
	one, two := newStub("10.0.0.1"), newStub("10.0.0.2")
	r := NewRouter([]Instance{two.instance(t, "proxy-2", "b"), one.instance(t, "proxy-1", "a")}, nil)
	if got := fmt.Sprint(r.Instances()); got != "[proxy-1 proxy-2]" {
		t.Errorf("instances are %s", got)
	}
	const want = "proxy-1 api@internal []\nproxy-1 web@docker [10.0.0.1:80]\nproxy-2 api@internal []\nproxy-2 web@docker [10.0.0.2:80]\n"
	if got := routesOf(t, r); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if sent := one.calls.Load() + two.calls.Load(); r.Calls() != sent || sent == 0 {
		t.Errorf("%d calls are counted, %d were made", r.Calls(), sent)
	}
}

func TestNoInstancesRouteNothing(t *testing.T) {
	if got := routesOf(t, NewRouter(nil, nil)); got != "" {
		t.Errorf("got %s", got)
	}
}

func TestOneQuestionAnInstanceOnceConnected(t *testing.T) {
	instance := Instance{Name: "proxy-1", Client: newClient(t, serve(t, replay(t, lists)))}
	instance.Settings.Source = "command line" // without a Docker provider, nothing warms up
	r := NewRouter([]Instance{instance}, nil)
	routesOf(t, r) // connects, and asks for the version once
	before := r.Calls()
	for range 5 {
		routesOf(t, r)
	}
	if calls := r.Calls() - before; calls != 5 {
		t.Errorf("%d requests for 5 answers", calls)
	}
}

func TestEveryInstanceThatDoesNotAnswerIsNamed(t *testing.T) {
	one, two, three := newStub("10.0.0.1"), newStub("10.0.0.2"), newStub("10.0.0.3")
	two.up, three.up = false, false
	instances := []Instance{one.instance(t, "proxy-1", "a"), three.instance(t, "proxy-3", "c"), two.instance(t, "proxy-2", "b"), {Name: "proxy-4", ContainerID: "d", Reason: "its API is off"}}
	const want = "ask Traefik proxy-2: GET http://proxy-2/api/rawdata: connection refused\n" +
		"ask Traefik proxy-3: GET http://proxy-3/api/rawdata: connection refused\n" +
		"ask Traefik proxy-4: its API is off"
	for name, rediscover := range map[string]func(context.Context) ([]Instance, error){
		"without discovery":         nil,
		"found again as they were":  func(context.Context) ([]Instance, error) { return instances, nil },
		"discovery works, they not": func(context.Context) ([]Instance, error) { return instances, nil },
	} {
		routes, err := NewRouter(instances, rediscover).Routes(t.Context())
		if routes != nil || err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v", name, routes, err)
		}
	}
	_, err := NewRouter(instances, func(context.Context) ([]Instance, error) { return nil, errors.New("no daemon") }).Routes(t.Context())
	if err == nil || err.Error() != want+"\nno daemon" {
		t.Errorf("got %v", err)
	}
}

func TestAnInstanceThatWasRestartedIsFoundAtItsNewAddress(t *testing.T) {
	before, after, other := newStub("10.0.0.1"), newStub("10.0.0.9"), newStub("10.0.0.2")
	kept := other.instance(t, "proxy-2", "b")
	r := NewRouter([]Instance{before.instance(t, "proxy-1", "a"), kept}, func(context.Context) ([]Instance, error) {
		return []Instance{after.instance(t, "proxy-1", "a"), other.instance(t, "proxy-2", "b")}, nil
	})
	routesOf(t, r)
	before.set(func(s *stub) { s.up = false })
	const want = "proxy-1 api@internal []\nproxy-1 web@docker [10.0.0.9:80]\nproxy-2 api@internal []\nproxy-2 web@docker [10.0.0.2:80]\n"
	for range 2 {
		if got := routesOf(t, r); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	if r.Found()[1].Client != kept.Client {
		t.Error("the instance that answers lost its connection")
	}
	if sent := before.calls.Load() + after.calls.Load() + other.calls.Load(); r.Calls() != sent {
		t.Errorf("%d calls are counted, %d were made", r.Calls(), sent)
	}
}

func TestAnInstanceWhoseContainerHasGoneIsLeftOutUntilItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newStub("10.0.0.1"), newStub("10.0.0.2")
		searches := 0
		running := func() []Instance {
			instances := []Instance{two.instance(t, "proxy-2", "b")}
			if one.up {
				instances = append(instances, one.instance(t, "proxy-1", "a"))
			}
			return instances
		}
		r := NewRouter(running(), func(context.Context) ([]Instance, error) { searches++; return running(), nil })
		one.set(func(s *stub) { s.up = false })
		if got := routesOf(t, r); strings.Contains(got, "proxy-1") || !strings.Contains(got, "proxy-2 web@docker [10.0.0.2:80]") {
			t.Errorf("got\n%s", got)
		}
		if got := fmt.Sprint(r.Instances()); got != "[proxy-2]" {
			t.Errorf("instances are %s", got)
		}
		one.set(func(s *stub) { s.up = true })
		routesOf(t, r)
		if searches != 1 {
			t.Errorf("searched %d times within a second", searches)
		}
		time.Sleep(lookAgain)
		if got := routesOf(t, r); !strings.Contains(got, "proxy-1 web@docker [10.0.0.1:80]") {
			t.Errorf("it is back, but got\n%s", got)
		}
		time.Sleep(10 * lookAgain)
		routesOf(t, r)
		if searches != 2 {
			t.Errorf("searched %d times, with nothing missing any more", searches)
		}
	})
}

func TestWhenNoTraefikIsLeftThatIsAnErrorUntilOneIsBack(t *testing.T) {
	one := newStub("10.0.0.1")
	var running []Instance
	r := NewRouter([]Instance{one.instance(t, "proxy-1", "a")}, func(context.Context) ([]Instance, error) { return running, nil })
	one.set(func(s *stub) { s.up = false })
	for range 2 {
		_, err := r.Routes(t.Context())
		if err == nil || !strings.HasSuffix(err.Error(), "no Traefik runs any more, there was proxy-1") {
			t.Errorf("got %v", err)
		}
	}
	running = []Instance{newStub("10.0.0.3").instance(t, "proxy-9", "z")}
	if got := routesOf(t, r); !strings.Contains(got, "proxy-9 web@docker [10.0.0.3:80]") {
		t.Errorf("got\n%s", got)
	}
}

func TestATraefikThatHasJustStartedIsNotBelievedToRouteNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := newStub("10.0.0.1")
		one.started, one.routes = time.Now(), ""
		r := NewRouter([]Instance{one.instance(t, "proxy-1", "a")}, nil)
		begin := time.Now()
		go func() {
			time.Sleep(500 * time.Millisecond)
			one.set(func(s *stub) { s.routes = fmt.Sprintf(webAt, "10.0.0.1") })
		}()
		if got := routesOf(t, r); !strings.Contains(got, "web@docker [10.0.0.1:80]") {
			t.Errorf("got\n%s", got)
		}
		if waited := time.Since(begin); waited > time.Second {
			t.Errorf("waited %s although the containers were there after 0.5 s", waited)
		}
		// When it has run for a while, "nothing" is an answer.
		one.set(func(s *stub) { s.routes = "" })
		time.Sleep(warmUp)
		begin = time.Now()
		if got := routesOf(t, r); got != "proxy-1 api@internal []\n" || time.Since(begin) != 0 {
			t.Errorf("got after %s\n%s", time.Since(begin), got)
		}
		// A restart behind our back starts it all over, and for longer: it had containers.
		one.set(func(s *stub) { s.started = time.Now() })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Routes(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "ask Traefik proxy-1: it has just started and shows no container yet") {
			t.Errorf("got %v", err)
		}
		if got := routesOf(t, r); got != "proxy-1 api@internal []\n" || time.Since(one.started) < warmUpAgain {
			t.Errorf("got after %s\n%s", time.Since(one.started), got)
		}
	})
}

func TestManyCallsAtOnceSearchOnce(t *testing.T) {
	dead, alive := newStub("10.0.0.1"), newStub("10.0.0.2")
	dead.up = false
	var searches atomic.Int64
	r := NewRouter([]Instance{dead.instance(t, "proxy-1", "a")}, func(context.Context) ([]Instance, error) {
		searches.Add(1)
		return []Instance{alive.instance(t, "proxy-1", "a")}, nil
	})
	synchronised := make(chan struct{})
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			<-synchronised
			if _, err := r.Routes(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	close(synchronised)
	group.Wait()
	if searches.Load() != 1 {
		t.Errorf("searched %d times", searches.Load())
	}
}
