package probe

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// echoServer sends messages back until it has sent limit of them; then it cuts
// the connection. A limit of 0 means none.
func echoServer(t *testing.T, limit int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "ws.example.com" || r.Header.Get("X-Tenant") != "blue" {
			t.Errorf("got host %q, header %v", r.Host, r.Header)
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer conn.CloseNow()
		for n := 1; ; n++ {
			kind, message, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, message) != nil || n == limit {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http://", "ws://", 1)
}

func socketConfig(url string) SocketConfig {
	return SocketConfig{URL: url, Host: "ws.example.com", Header: http.Header{"X-Tenant": {"blue"}}, Every: time.Millisecond}
}

func TestASocketThatStaysOpenIsNotCut(t *testing.T) {
	s, err := HoldSocket(t.Context(), socketConfig(echoServer(t, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Release(); r.Cut != nil || r.Echoes < 1 {
		t.Errorf("got %+v", r)
	}
	if r := s.Release(); r.Cut != nil {
		t.Errorf("released again: %+v", r)
	}
}

func TestASocketThatIsCutSaysSo(t *testing.T) {
	s, err := HoldSocket(t.Context(), socketConfig(echoServer(t, 3)))
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if r := s.Release(); r.Cut == nil || r.Echoes != 3 {
		t.Errorf("got %+v, want a cut after 3 echoes", r)
	}
}

// mute sends the first message back and no other. It says when it has got one
// that it will not answer.
func mute(t *testing.T) (url string, ignored <-chan struct{}) {
	t.Helper()
	got := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer conn.CloseNow()
		kind, message, err := conn.Read(r.Context())
		if err == nil {
			err = conn.Write(r.Context(), kind, message)
		}
		if err != nil {
			t.Errorf("first echo: %v", err)
		}
		for err == nil {
			if _, _, err = conn.Read(r.Context()); err == nil {
				got <- struct{}{}
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func TestTheEndOfTheContextIsNoCut(t *testing.T) {
	url, ignored := mute(t)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := HoldSocket(ctx, SocketConfig{URL: url, Every: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	<-ignored
	cancel()
	<-s.Done()
	if r := s.Release(); r.Cut != nil || r.Echoes != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestAnEchoThatDoesNotComeIsACut(t *testing.T) {
	url, _ := mute(t)
	s, err := HoldSocket(t.Context(), SocketConfig{URL: url, Every: time.Millisecond, Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if r := s.Release(); r.Cut == nil || r.Echoes != 1 || !strings.HasPrefix(r.Cut.Error(), "read echo of websocket message 2 within 500ms: ") {
		t.Errorf("got %+v", r)
	}
}

func TestASocketThatCannotBeOpenedIsAnError(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)

	if _, err := HoldSocket(t.Context(), SocketConfig{URL: server.URL}); err == nil || !strings.HasPrefix(err.Error(), "open websocket "+server.URL+": ") {
		t.Errorf("got %v", err)
	}
}
