package probe

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// What a zero field of Config stands for.
const (
	DefaultRate       = 50 // requests a second
	DefaultTimeout    = 30 * time.Second
	DefaultMaxWorkers = 10000
)

// Config says what is sent, how often and for how long. Only URL is needed.
type Config struct {
	// URL is where every request goes: http or https. A user and password
	// in it are sent as basic authentication.
	URL string

	// Method of every request. Empty means GET, or POST when there is a Body.
	Method string

	// Header is sent with every request. A Host in it counts when Host is empty.
	Header http.Header

	// Host replaces the Host header that follows from URL, so that a router
	// can be chosen without a name in DNS. Empty means the one from URL.
	Host string

	// Body is sent with every request. Empty means none.
	Body []byte

	// Rate is in requests a second. 0 means DefaultRate.
	Rate int

	// Timeout bounds one request from dialling to the last byte of its
	// answer. 0 means DefaultTimeout.
	Timeout time.Duration

	// Duration is how long requests are sent; answers may come later. 0 means
	// until the context of Run ends.
	Duration time.Duration

	// NoKeepAlive opens a new connection for every request.
	NoKeepAlive bool

	// MaxWorkers bounds the requests in flight, and so the connections. A
	// request that is due while so many are in flight is not sent, and
	// reported as such. 0 means DefaultMaxWorkers.
	MaxWorkers int

	// Expect lists the only statuses that are good answers. Empty means every
	// 2xx and 3xx.
	Expect []int
}

// Validate returns nil, or an error that says which field is wrong, why, and
// what to write instead.
func (c Config) Validate() error {
	if err := c.validateURL(); err != nil {
		return err
	}

	method := c.method()
	switch {
	case !httpguts.ValidHeaderFieldName(method): // both are tokens (RFC 9110, 9.1)
		return fmt.Errorf("method %q is not a word that HTTP allows: write GET, POST or the like", method)
	case method != strings.ToUpper(method):
		return fmt.Errorf("method %q: methods are case-sensitive: write %s", method, strings.ToUpper(method))
	case method == http.MethodConnect, method == http.MethodTrace:
		return fmt.Errorf("method %s cannot be probed: write GET, HEAD, POST or the like", method)
	}

	for name, values := range c.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("header name %q is not a word that HTTP allows: write it as Name: value", name)
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return fmt.Errorf("header %s: value %q holds a control character: remove it", name, value)
			}
		}
	}

	switch {
	case !httpguts.ValidHostHeader(c.host()):
		return fmt.Errorf("host %q is not a host name: write one like shop.example.com", c.host())
	case c.Rate < 0:
		return fmt.Errorf("rate %d: must be at least 1 request a second", c.Rate)
	case c.Timeout < 0:
		return fmt.Errorf("timeout %s: must be more than 0, like 30s", c.Timeout)
	case c.Duration < 0:
		return fmt.Errorf("duration %s: must be more than 0, like 1m, or left out to run until it is stopped", c.Duration)
	case c.MaxWorkers < 0:
		return fmt.Errorf("max workers %d: must be at least 1", c.MaxWorkers)
	}

	for _, status := range c.Expect {
		if status < 200 || status > 599 {
			return fmt.Errorf("expected status %d: must be from 200 to 599, like 200 or 401", status)
		}
	}
	return nil
}

func (c Config) validateURL() error {
	if c.URL == "" {
		return errors.New("no URL to probe: give one, like http://localhost:8080/")
	}
	if !strings.Contains(c.URL, "://") {
		return fmt.Errorf("probe URL %q has no scheme: write http://%s", c.URL, c.URL)
	}

	u, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("read probe URL: %w: write one like http://localhost:8080/", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("probe URL %q: scheme %s cannot be probed: write http:// or https://", u.Redacted(), u.Scheme)
	}
	if u.Hostname() == "" {
		return fmt.Errorf("probe URL %q has no host: write one like http://localhost:8080/", u.Redacted())
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.Method = c.method()
	c.Host = c.host()
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxWorkers == 0 {
		c.MaxWorkers = DefaultMaxWorkers
	}
	return c
}

func (c Config) method() string {
	switch {
	case c.Method != "":
		return c.Method
	case len(c.Body) > 0:
		return http.MethodPost
	default:
		return http.MethodGet
	}
}

func (c Config) host() string {
	if c.Host != "" {
		return c.Host
	}
	return c.Header.Get("Host")
}

// good tells whether an answer with this status is one that was hoped for.
func (c Config) good(status int) bool {
	if len(c.Expect) > 0 {
		return slices.Contains(c.Expect, status)
	}
	return status >= 200 && status < 400
}

// redactedURL is the URL without its password, fit for a report.
func (c Config) redactedURL() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return c.URL
	}
	return u.Redacted()
}
