package probe

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// ten is a run of exactly ten requests.
const (
	tenRate     = 200
	tenDuration = 50 * time.Millisecond
)

func TestEveryFailureIsCountedByItsKind(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		config  Config
		want    string // the kind of all ten; empty: all are good
		text    string // of the first failure, when it is certain
	}{
		{name: "200 is good", handler: answer(200, "hello")},
		{name: "204 is good", handler: answer(204, "")},
		{name: "a redirect is good and not followed", handler: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				t.Errorf("followed to %s", r.URL)
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}},
		{name: "404 is a failure", handler: http.NotFound, want: "status 404", text: "404 Not Found: 404 page not found"},
		{name: "401 is a failure", handler: answer(401, ""), want: "status 401", text: "401 Unauthorized:"},
		{name: "401 is good when expected", handler: answer(401, ""), config: Config{Expect: []int{401}}},
		{name: "200 is a failure when 401 is expected", handler: answer(200, "in\nside"), config: Config{Expect: []int{401}}, want: "status 200", text: "200 OK: in"},
		{name: "502 is a failure", handler: answer(502, "Bad Gateway"), want: "status 502", text: "502 Bad Gateway: Bad Gateway"},
		{name: "a hanging server is a timeout", handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			config: Config{Timeout: 100 * time.Millisecond}, want: "timeout", text: "connected, but no answer within 100ms"},
		{name: "a body that never ends is a timeout", handler: func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "begin")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, config: Config{Timeout: 100 * time.Millisecond}, want: "timeout", text: "body of status 200 ended after 5 bytes: not complete within 100ms"},
		{name: "a reset is a reset", handler: func(w http.ResponseWriter, _ *http.Request) { hangUp(t, w, true) }, want: "reset"},
		{name: "a connection closed without an answer", handler: func(w http.ResponseWriter, _ *http.Request) { hangUp(t, w, false) }, want: "closed", text: "EOF"},
		{name: "a body shorter than announced is truncated", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "hello")
		}, want: "truncated", text: "body of status 200 ended after 5 of 100 bytes: unexpected EOF"},
		{name: "a long body that breaks off is truncated", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write(make([]byte, 500))
		}, want: "truncated", text: "body of status 200 ended after 500 of 1000 bytes: unexpected EOF"},
		{name: "an aborted chunked body is truncated", handler: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, want: "truncated", text: "body of status 200 ended after 5 bytes: unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.handler)
			t.Cleanup(server.Close)

			c := test.config
			c.URL, c.Rate, c.Duration = server.URL, tenRate, tenDuration
			wantAll(t, run(t, c), test.want, test.text)
		})
	}
}

func TestNobodyListeningIsRefused(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()

	wantAll(t, run(t, Config{URL: server.URL, Rate: tenRate, Duration: tenDuration}), "refused", "")
}

func TestAnUnknownCertificateIsTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)

	wantAll(t, run(t, Config{URL: server.URL, Rate: tenRate, Duration: tenDuration}), "tls", "")
}

func TestTheServerGetsWhatWasConfigured(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		for what, pair := range map[string][2]string{
			"method":     {r.Method, "POST"},
			"path":       {r.RequestURI, "/orders?x=1"},
			"host":       {r.Host, "shop.example.com"},
			"header":     {r.Header.Get("X-Tenant"), "blue"},
			"user agent": {r.Header.Get("User-Agent"), "roll-probe"},
			"user":       {user + ":" + password, "ann:secret"},
			"body":       {string(body), "one order"},
			"vegeta's":   {r.Header.Get("X-Vegeta-Seq"), ""},
		} {
			if err != nil || pair[0] != pair[1] {
				t.Errorf("%s: got %q, want %q (%v)", what, pair[0], pair[1], err)
				w.WriteHeader(http.StatusBadRequest)
			}
		}
	}))
	t.Cleanup(server.Close)

	r := run(t, Config{
		URL:  "http://ann:secret@" + server.Listener.Addr().String() + "/orders?x=1",
		Host: "shop.example.com", Header: http.Header{"x-tenant": {"blue"}}, Body: []byte("one order"),
		Rate: tenRate, Duration: tenDuration,
	})
	wantAll(t, r, "", "")
	if want := "http://ann:xxxxx@" + server.Listener.Addr().String() + "/orders?x=1"; r.URL != want {
		t.Errorf("reported URL: got %s, want %s", r.URL, want)
	}
}

func TestConnectionsAreKeptUnlessToldOtherwise(t *testing.T) {
	for _, test := range []struct {
		name        string
		noKeepAlive bool
	}{{"kept", false}, {"a new one for every request", true}} {
		t.Run(test.name, func(t *testing.T) {
			var connections atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					connections.Add(1)
				}
			}
			server.Start()
			t.Cleanup(server.Close)

			r := run(t, Config{URL: server.URL, Rate: 100, Duration: 400 * time.Millisecond, NoKeepAlive: test.noKeepAlive})
			if r.Sent != 40 || r.Failed != 0 {
				t.Fatalf("got %s", r)
			}
			switch n := int(connections.Load()); {
			case test.noKeepAlive && n != 40:
				t.Errorf("got %d connections, want 40", n)
			case !test.noKeepAlive && n >= 40:
				t.Errorf("got %d connections for 40 requests, want fewer", n)
			}
		})
	}
}

func TestRequestsInFlightAreFinishedAndCountedWhenTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var seen atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if seen.Add(1) == 3 {
			cancel()
		}
		<-ctx.Done()
		if r.Context().Err() != nil {
			t.Error("a request in flight was cut")
		}
	}))
	t.Cleanup(server.Close)

	p := newProbe(t, Config{URL: server.URL, Rate: 100})
	r, err := p.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent < 3 || r.Sent != int(seen.Load()) || r.OK != r.Sent || r.Failed != 0 {
		t.Errorf("the server saw %d requests, reported: %s", seen.Load(), r)
	}
	if s := p.Snapshot(); s.InFlight != 0 {
		t.Errorf("still in flight after the run: %d", s.InFlight)
	}
}

func TestNothingIsSentOnceTheContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := newProbe(t, Config{URL: "http://127.0.0.1:1/"}).Run(ctx)
	if err != nil || r.Sent != 0 || r.Failed != 0 {
		t.Errorf("got %s, %v", r, err)
	}
}

func TestAProbeRunsOnce(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)

	p := newProbe(t, Config{URL: server.URL, Rate: tenRate, Duration: tenDuration})
	if _, err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context()); err == nil || err.Error() != "run probe: it has run already" {
		t.Errorf("second run: got %v", err)
	}
}

func TestMarkAndSnapshotMayBeCalledWhileItRuns(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)

	p := newProbe(t, Config{URL: server.URL, Rate: 1000, Duration: 100 * time.Millisecond})
	done := make(chan struct{})
	var watchers sync.WaitGroup
	for range 4 {
		watchers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				p.Mark("again")
				if s := p.Snapshot(); s.Sent != s.OK+s.Failed+s.InFlight || len(s.String()) == 0 {
					t.Errorf("does not add up: %+v", s)
				}
			}
		})
	}
	r, err := p.Run(t.Context())
	close(done)
	watchers.Wait()
	if err != nil || r.Sent != 100 || r.Failed != 100 {
		t.Errorf("got %d sent, %d failed, %v", r.Sent, r.Failed, err)
	}
}

// The tests from here on run on a virtual clock, with real HTTP over pipes. A
// goroutine that outlives Run fails them.

func TestThePaceHoldsWhileEveryAnswerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var arrived []time.Duration
		began := time.Now()
		p := newVirtual(t, Config{Rate: 40, Duration: 2 * time.Second, Timeout: time.Minute}, func(http.ResponseWriter, *http.Request) {
			mu.Lock()
			arrived = append(arrived, time.Since(began))
			mu.Unlock()
			time.Sleep(20 * time.Second)
		})
		r, err := p.Run(t.Context())
		if err != nil || r.Sent != 80 || r.OK != 80 || r.AchievedRate != 40 {
			t.Fatalf("got %s, %v", r, err)
		}
		for i, at := range arrived {
			if want := time.Duration(i) * 25 * time.Millisecond; at != want {
				t.Errorf("request %d: got %s, want %s", i, at, want)
			}
		}
		if r.Latency.P50 != Millis(20*time.Second) || r.Latency.Max != Millis(20*time.Second) || time.Duration(r.Duration) != 21975*time.Millisecond {
			t.Errorf("got %s", r)
		}
	})
}

func TestWhatCannotBeSentIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newVirtual(t, Config{Rate: 10, Duration: 3 * time.Second, MaxWorkers: 5}, func(http.ResponseWriter, *http.Request) {
			time.Sleep(10 * time.Second)
		})
		time.AfterFunc(1250*time.Millisecond, func() { p.Mark("late") })
		r, err := p.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		const want = `GET http://virtual/: 5 sent in 10.4s (1.7/s), 5 ok, 0 failed
  latency   p50 10s, p90 10s, p99 10s, max 10s
  not sent  25: too many in flight`
		if r.String() != want {
			t.Errorf("got\n%s\nwant\n%s", r, want)
		}
		if r.Phases[0].NotSent != 8 || r.Phases[1].NotSent != 17 || len(r.Seconds) != 3 || r.Seconds[0].NotSent != 5 {
			t.Errorf("got phases %+v, seconds %+v", r.Phases, r.Seconds)
		}
		var lost *ErrorsError
		if err := r.Err(24); !errors.As(err, &lost) || err.Error() != "0 requests failed and 25 could not be sent, 24 allowed" {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnswersThatNeverComeEndTheRunWithTheirTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1990*time.Millisecond)
		defer cancel()
		began := time.Now()
		r, err := newVirtual(t, Config{Timeout: 5 * time.Second}, func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}).Run(ctx)
		if err != nil || r.Sent != 100 || r.ByKind[KindTimeout] != 100 || len(r.Failures) != MaxFailures {
			t.Errorf("got %s, %v", r, err)
		}
		if took := time.Since(began); took != 6980*time.Millisecond {
			t.Errorf("the run took %s, want 1.98s of requests and 5s for the last", took)
		}
	})
}

func TestAnAddressThatSwallowsConnectionsIsATimeoutThatSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProbe(t, Config{URL: "http://virtual/", Rate: 10, Duration: time.Second, Timeout: 3 * time.Second})
		transport := newTransport(p.config)
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		p.transport = transport
		r, err := p.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantAll(t, r, "timeout", "no connection within 3s")
	})
}

func TestMarksBeforeTheRunCountFromItsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newVirtual(t, Config{Duration: time.Second}, http.NotFound)
		p.Mark("before")
		time.Sleep(time.Hour)
		if s := p.Snapshot(); s.Elapsed != 0 || s.Phase != "before" {
			t.Errorf("before the run: %+v", s)
		}
		r, err := p.Run(t.Context())
		if err != nil || r.Phases[1].At != 0 || r.Phases[0].Failed != 0 || r.Phases[1].Failed != 50 {
			t.Errorf("got %+v, %v", r.Phases, err)
		}
	})
}

func newProbe(t *testing.T, c Config) *Probe {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func run(t *testing.T, c Config) Report {
	t.Helper()
	r, err := newProbe(t, c).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantAll checks a run of ten requests of which all end the same way.
func wantAll(t *testing.T, r Report, kind, text string) {
	t.Helper()
	if kind == "" {
		if r.Sent != 10 || r.OK != 10 || r.Failed != 0 || r.Latency.Answered != 10 {
			t.Errorf("want 10 good answers, got %s", r)
		}
		return
	}
	if r.Sent != 10 || r.OK != 0 || r.Failed != 10 || r.ByKind[kind] != 10 || len(r.ByKind) != 1 || len(r.Failures) != 10 {
		t.Fatalf("want 10 of kind %q, got %s", kind, r)
	}
	if got := r.Failures[0].Error; got == "" || text != "" && got != text {
		t.Errorf("first error: got %q, want %q", got, text)
	}
}

// newVirtual returns a probe of a server that is reached through pipes, so
// that both live on the virtual clock of a synctest bubble.
func newVirtual(t *testing.T, c Config, handler http.HandlerFunc) *Probe {
	t.Helper()
	c.URL = "http://virtual/"
	p := newProbe(t, c)
	transport := newTransport(p.config)
	transport.Proxy = nil
	transport.DialContext = serve(t, handler).dial
	p.transport = transport
	return p
}

func serve(t *testing.T, handler http.HandlerFunc) *pipes {
	t.Helper()
	listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return listener
}

// pipes is a listener without a network.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "virtual", Net: "pipe"} }
