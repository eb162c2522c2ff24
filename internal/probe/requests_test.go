package probe

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestHeldRequestsKeepTheirOutcomes(t *testing.T) {
	var seen atomic.Int32
	finish := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := seen.Add(1)
		<-finish
		if n == 2 {
			hangUp(t, w, true)
		}
	}))
	t.Cleanup(server.Close)

	held, err := HoldRequests(t.Context(), Config{URL: server.URL}, 5)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-held.Done():
		t.Fatal("done while every request is held")
	default:
	}
	close(finish)

	good, lost := 0, 0
	for _, o := range held.Wait() {
		switch {
		case o.Kind == "" && o.Status == 200 && o.Error == "":
			good++
		case o.Kind == KindReset && o.Status == 0 && o.Error != "":
			lost++
		}
	}
	if good != 4 || lost != 1 || seen.Load() != 5 {
		t.Errorf("got %d good, %d reset, %d seen; want 4, 1, 5: %+v", good, lost, seen.Load(), held.Wait())
	}
	if held.Err() == nil {
		t.Error("the loss is no error")
	}
}

func TestHoldReturnsOnceEveryRequestHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := serve(t, func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Second) })
		c := Config{URL: "http://virtual/", NoKeepAlive: true}.withDefaults()
		transport := newTransport(c)
		transport.Proxy = nil
		var dialled atomic.Int32
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(time.Duration(dialled.Add(1)) * time.Second)
			return server.dial(ctx, network, address)
		}

		began := time.Now()
		held := holdRequests(t.Context(), c, 3, transport)
		if left := time.Since(began); left != 3*time.Second {
			t.Errorf("returned after %s, want 3s: when the slowest has its connection", left)
		}
		if err := held.Err(); err != nil {
			t.Error(err)
		}
		if all := time.Since(began); all != 23*time.Second {
			t.Errorf("all answered after %s, want 23s", all)
		}
	})
}

func TestHeldRequestsThatAllSucceedAreNoError(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)

	held, err := HoldRequests(t.Context(), Config{URL: server.URL}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Err(); err != nil {
		t.Error(err)
	}
}

func TestHoldReturnsWhenNobodyListens(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()

	held, err := HoldRequests(t.Context(), Config{URL: server.URL}, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range held.Wait() {
		if o.Kind != KindRefused {
			t.Errorf("got %+v, want kind refused", o)
		}
	}
}

func TestHeldRequestsEndWithTheirContextOrTimeout(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(server.Close)

	ctx, cancel := context.WithCancel(t.Context())
	canceled, err := HoldRequests(ctx, Config{URL: server.URL}, 1)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if o := canceled.Wait()[0]; o.Kind != KindCanceled {
		t.Errorf("got %+v, want kind canceled", o)
	}

	late, err := HoldRequests(t.Context(), Config{URL: server.URL, Timeout: 50 * time.Millisecond}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if o := late.Wait()[0]; o.Kind != KindTimeout {
		t.Errorf("got %+v, want kind timeout", o)
	}
}

func TestHoldRefusesWhatItCannotSend(t *testing.T) {
	if _, err := HoldRequests(t.Context(), Config{URL: "http://localhost/"}, 0); err == nil || err.Error() != "hold 0 requests: must be at least 1" {
		t.Errorf("got %v", err)
	}
	if _, err := HoldRequests(t.Context(), Config{}, 1); err == nil {
		t.Error("a config without URL was accepted")
	}
}
