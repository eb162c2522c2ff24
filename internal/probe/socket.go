package probe

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// SocketConfig says which WebSocket is held open, and how it is tried.
type SocketConfig struct {
	// URL of a server that sends every message back: ws, wss, http or https.
	URL string

	// Header and Host are sent with the handshake, as in Config.
	Header http.Header
	Host   string

	// Every is the time between two messages. 0 means 250 ms.
	Every time.Duration

	// Timeout bounds the handshake and the way of each message there and back.
	// 0 means 10 s.
	Timeout time.Duration
}

// Socket is an open WebSocket that sends messages and expects them back, to
// see whether something cuts it.
type Socket struct {
	config  SocketConfig
	conn    *websocket.Conn
	release chan struct{}
	let     sync.Once
	done    chan struct{}
	report  SocketReport // written before done is closed
}

// SocketReport is what became of a Socket.
type SocketReport struct {
	Echoes int           // messages that came back
	Held   time.Duration // from the handshake to the end
	Cut    error         // nil: it was open and echoing until it was released
}

// HoldSocket opens the WebSocket and returns when its first message has come
// back. It stays open until Release, or until ctx ends, which is no cut.
func HoldSocket(ctx context.Context, c SocketConfig) (*Socket, error) {
	if c.Every == 0 {
		c.Every = 250 * time.Millisecond
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}

	conn, err := dialSocket(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &Socket{config: c, conn: conn, release: make(chan struct{}), done: make(chan struct{})}
	began := time.Now()
	if err := s.echo(ctx); err != nil {
		conn.CloseNow()
		return nil, err
	}

	go func() {
		defer close(s.done)
		s.report.Cut = s.hold(ctx)
		s.report.Held = time.Since(began)
		if s.report.Cut == nil && ctx.Err() == nil {
			conn.Close(websocket.StatusNormalClosure, "released") // how the peer takes it is not our question
		}
		conn.CloseNow()
	}()
	return s, nil
}

// Done is closed when the socket was cut or released.
func (s *Socket) Done() <-chan struct{} { return s.done }

// Release closes the socket, unless it was cut before, and returns its report.
func (s *Socket) Release() SocketReport {
	s.let.Do(func() { close(s.release) })
	<-s.done
	return s.report
}

func dialSocket(ctx context.Context, c SocketConfig) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()

	conn, _, err := websocket.Dial(ctx, c.URL, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: newTransport(Config{NoKeepAlive: true})},
		HTTPHeader: c.Header,
		Host:       c.Host,
	})
	if err != nil {
		return nil, fmt.Errorf("open websocket %s: %w", c.URL, err)
	}
	return conn, nil
}

func (s *Socket) hold(ctx context.Context) error {
	ticker := time.NewTicker(s.config.Every)
	defer ticker.Stop()

	for {
		select {
		case <-s.release:
			return nil
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := s.echo(ctx); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
	}
}

func (s *Socket) echo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()

	n := s.report.Echoes + 1
	message := fmt.Sprintf("message %d", n)
	if err := s.conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		return fmt.Errorf("send websocket message %d: %w", n, err)
	}
	_, got, err := s.conn.Read(ctx)
	if err != nil {
		return fmt.Errorf("read echo of websocket message %d within %s: %w", n, s.config.Timeout, err)
	}
	if string(got) != message {
		return fmt.Errorf("read echo of websocket message %d: got %q", n, got)
	}
	s.report.Echoes = n
	return nil
}
