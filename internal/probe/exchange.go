package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

// idleTimeout is how long a connection is kept for reuse. It is longer than
// the longest pause between two requests (1 s), and shorter than what servers
// usually allow (gunicorn 2 s, Node.js and Apache 5 s, Traefik 180 s), so that
// a server hardly ever closes a connection just as a request goes out on it.
const idleTimeout = 1500 * time.Millisecond

// maxExcerpt is how many bytes of a bad answer are shown: enough to tell
// Traefik's "404 page not found" from the application's own.
const maxExcerpt = 80

// answer is what became of one request.
type answer struct {
	kind   string // empty: good
	text   string // says more about kind
	status int    // 0: no answer came
	whole  bool   // an answer came, to its last byte
}

// newTransport returns a transport that speaks HTTP/1.1 alone: there, a
// connection carries one request at a time and none is ever moved to another
// connection, so what is lost can be told exactly.
func newTransport(c Config) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		Protocols:           &protocols,
		DisableKeepAlives:   c.NoKeepAlive,
		DisableCompression:  true, // the lengths are to be those that the server sent
		MaxIdleConnsPerHost: c.MaxWorkers,
		IdleConnTimeout:     idleTimeout,
	}
}

// exchange sends one request and reads its answer to the end.
func exchange(ctx context.Context, c Config, transport http.RoundTripper) answer {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})

	req, err := newRequest(ctx, c)
	if err != nil {
		return answer{kind: kindOf(err), text: err.Error()}
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		a := answer{kind: kindOf(err), text: err.Error()}
		switch {
		case a.kind != KindTimeout:
		case connected.Load():
			a.text = fmt.Sprintf("connected, but no answer within %s", c.Timeout)
		default:
			a.text = fmt.Sprintf("no connection within %s", c.Timeout)
		}
		return a
	}
	defer resp.Body.Close()

	var excerpt bytes.Buffer
	size, err := io.Copy(&excerpt, io.LimitReader(resp.Body, maxExcerpt))
	if err == nil {
		var rest int64
		rest, err = io.Copy(io.Discard, resp.Body)
		size += rest
	}

	a := answer{status: resp.StatusCode, whole: err == nil}
	switch {
	case !c.good(resp.StatusCode):
		a.kind = fmt.Sprintf("status %d", resp.StatusCode)
		a.text = strings.TrimSpace(fmt.Sprintf("%d %s: %s", resp.StatusCode, http.StatusText(resp.StatusCode), firstLine(excerpt.String())))
	case err != nil:
		a.kind = kindOf(err)
		of, why := "", err.Error()
		if resp.ContentLength >= 0 {
			of = fmt.Sprintf(" of %d", resp.ContentLength)
		}
		if a.kind == KindTimeout {
			why = fmt.Sprintf("not complete within %s", c.Timeout)
		}
		a.text = fmt.Sprintf("body of status %d ended after %d%s bytes: %s", resp.StatusCode, size, of, why)
	}
	return a
}

func newRequest(ctx context.Context, c Config) (*http.Request, error) {
	var body io.Reader = emptyBody{}
	if len(c.Body) > 0 {
		body = bytes.NewReader(c.Body)
	}
	req, err := http.NewRequestWithContext(ctx, c.Method, c.URL, body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}

	for name, values := range c.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "roll-probe")
	}
	if user := req.URL.User; user != nil && req.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	req.Host = c.Host

	// http.Transport sends a request a second time, and tells nobody, when a
	// connection that was used before breaks ahead of the answer (net/http,
	// Request.isReplayable). That would hide exactly the losses that are
	// looked for here. It cannot do so with a body that it cannot rewind. The
	// price: a connection that the server closed while it was idle, at the very
	// moment of the next request, counts as a loss too (see idleTimeout).
	req.GetBody = nil
	if len(c.Body) == 0 && !usuallyLacksBody(c.Method) {
		req.Body = nil // not sent again unless it has an Idempotency-Key
	}
	return req, nil
}

// usuallyLacksBody lists the methods of which http.Transport looks whether a
// body of unknown length is empty before it announces one (net/http,
// transferWriter.shouldSendChunkedRequestBody).
func usuallyLacksBody(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions, "PROPFIND", "SEARCH":
		return true
	}
	return false
}

// emptyBody is a body of nothing. Unlike http.NoBody it is not known to be so.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.ToValidUTF8(strings.TrimSpace(line), "?")
}

// innermost is the error at the bottom of a chain, free of the addresses and
// ports that net adds to it.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
