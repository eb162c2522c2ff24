package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestKindOfTellsErrorsApart(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{Port: 4711}, Err: os.NewSyscallError("connect", err)}
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{dial(syscall.ECONNREFUSED), "refused"},
		{dial(syscall.ECONNRESET), "reset"},
		{dial(syscall.EPIPE), "reset"},
		{dial(syscall.EHOSTUNREACH), "no route"},
		{dial(syscall.ENETUNREACH), "no route"},
		{dial(syscall.ETIMEDOUT), "timeout"},
		{context.DeadlineExceeded, "timeout"},
		{os.ErrDeadlineExceeded, "timeout"},
		{context.Canceled, "canceled"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x"}}, "dns"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", Name: "x", IsTimeout: true}}, "dns"},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "tls"},
		{errors.New("http: server gave HTTP response to HTTPS client"), "tls"},
		{errors.New("remote error: tls: handshake failure"), "tls"},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), "truncated"},
		{fmt.Errorf("read: %w", io.EOF), "closed"},
		{errors.New("http: server closed idle connection"), "closed"},
		{dial(syscall.EMFILE), "other: too many open files"},
		{errors.New(strings.Repeat("x", 200)), "other: " + strings.Repeat("x", 100) + "..."},
	} {
		if got := kindOf(test.err); got != test.want {
			t.Errorf("%v: got %q, want %q", test.err, got, test.want)
		}
	}
}

func TestARequestIsNotRepeatedWhenAKeptConnectionBreaks(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST"} {
		t.Run(method, func(t *testing.T) {
			var seen atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if seen.Add(1) == 2 {
					hangUp(t, w, false)
				}
			}))
			t.Cleanup(server.Close)

			c := Config{URL: server.URL, Method: method}.withDefaults()
			transport := newTransport(c)
			t.Cleanup(transport.CloseIdleConnections)

			if a := exchange(t.Context(), c, transport); a.kind != "" {
				t.Fatalf("first request: %+v", a)
			}
			if a := exchange(t.Context(), c, transport); a.kind != KindClosed {
				t.Errorf("request on the kept connection: got %+v, want kind %s", a, KindClosed)
			}
			if n := seen.Load(); n != 2 {
				t.Errorf("the server saw %d requests, want 2", n)
			}
		})
	}
}

func TestARequestWithoutBodyAnnouncesNone(t *testing.T) {
	for method, want := range map[string]int64{"GET": 0, "DELETE": 0, "POST": 0, "PUT": 0} {
		got := make(chan *http.Request, 1)
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r }))
		t.Cleanup(server.Close)

		c := Config{URL: server.URL, Method: method, NoKeepAlive: true}.withDefaults()
		if a := exchange(t.Context(), c, newTransport(c)); a.kind != "" {
			t.Fatalf("%s: %+v", method, a)
		}
		if r := <-got; r.ContentLength != want || len(r.TransferEncoding) > 0 {
			t.Errorf("%s: got length %d, transfer encoding %v", method, r.ContentLength, r.TransferEncoding)
		}
	}
}

// hangUp ends the connection without an answer: with a reset, or in order.
func hangUp(t *testing.T, w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Errorf("hijack: %v", err)
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		tcp.SetLinger(0)
	}
	conn.Close()
}
