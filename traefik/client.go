package traefik

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
)

const (
	// defaultTimeout bounds one request, body included.
	defaultTimeout = 10 * time.Second
	// maxBody is far above what thousands of services need: 64 MiB.
	maxBody = 64 << 20
	// perPage is Traefik's own default (facts.md A4).
	perPage = 100
	// maxPages ends the reading of a list that never says that it has ended.
	maxPages = 10_000
)

// Client asks the API of one Traefik instance. It must lead to one instance,
// never through a load balancer: each instance has its own view (facts.md A4).
// It is safe for concurrent use and keeps its connection alive.
type Client struct {
	name     string
	base     *url.URL // without credentials and without a trailing slash
	host     string   // Host header; empty: the base's host
	user     *url.Userinfo
	timeout  time.Duration
	maxBody  int64
	http     *http.Client
	requests atomic.Int64
}

// Option changes how a Client reaches its instance.
type Option func(*options) error

type options struct {
	name     string
	host     string
	timeout  time.Duration
	maxBody  int64
	client   *http.Client
	tls      *tls.Config
	noProxy  bool
	insecure bool
}

// WithName sets what errors call the instance. The default is the URL.
func WithName(name string) Option {
	return func(o *options) error { o.name = name; return nil }
}

// WithHost sets the Host header, and the server name for TLS, for a router
// whose rule asks for one while the URL holds an address.
func WithHost(host string) Option {
	return func(o *options) error { o.host = host; return nil }
}

// WithTimeout bounds each request, body included. The default is 10 s; zero
// leaves it to the caller's context.
func WithTimeout(timeout time.Duration) Option {
	return func(o *options) error { o.timeout = timeout; return nil }
}

// WithHTTPClient replaces the HTTP client. Redirects are not followed whatever
// it says, and the options on TLS have no effect on it.
func WithHTTPClient(client *http.Client) Option {
	return func(o *options) error { o.client = client; return nil }
}

// WithTLS sets the TLS configuration.
func WithTLS(config *tls.Config) Option {
	return func(o *options) error { o.tls = config.Clone(); return nil }
}

// WithCAFile trusts the certificates of a PEM file instead of the system's.
func WithCAFile(path string) Option {
	return func(o *options) error {
		pem, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read CA file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("read CA file %s: it holds no certificate in PEM form", path)
		}
		if o.tls == nil {
			o.tls = &tls.Config{}
		}
		o.tls.RootCAs = pool
		return nil
	}
}

// WithInsecureSkipVerify accepts any certificate.
func WithInsecureSkipVerify() Option {
	return func(o *options) error { o.insecure = true; return nil }
}

// withoutProxy ignores HTTP_PROXY: no proxy leads to a container.
func withoutProxy() Option {
	return func(o *options) error { o.noProxy = true; return nil }
}

// withMaxBody is for tests that do not want to send 64 MiB.
func withMaxBody(size int64) Option {
	return func(o *options) error { o.maxBody = size; return nil }
}

// New makes a client. baseURL is http or https, may carry user:password for
// basic auth and Traefik's api.basePath, and may be pasted from a browser: a
// trailing /api or /dashboard/ is dropped. Nothing is asked yet.
func New(baseURL string, opts ...Option) (*Client, error) {
	const example = "write it like http://127.0.0.1:8080 or https://user:password@traefik.example.com"
	// The text may hold a password, so that no error may quote it.
	base, err := url.Parse(baseURL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the Traefik URL: it is not a URL: %s", example)
	case base.Scheme != "http" && base.Scheme != "https":
		return nil, fmt.Errorf("read the Traefik URL: %s has no http:// or https://: %s", redact(base), example)
	case base.Hostname() == "":
		return nil, fmt.Errorf("read the Traefik URL: %s has no host: %s", redact(base), example)
	case base.RawQuery != "" || base.ForceQuery:
		return nil, fmt.Errorf("read the Traefik URL: %s must not have a query: %s", redact(base), example)
	}
	o := options{timeout: defaultTimeout, maxBody: maxBody}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	c := &Client{name: o.name, user: base.User, host: o.host, timeout: o.timeout, maxBody: o.maxBody}
	base.User, base.Fragment, base.RawFragment, base.RawPath = nil, "", "", ""
	base.Path = strings.TrimRight(base.Path, "/")
	for _, page := range []string{"/dashboard", "/api"} {
		if rest, found := strings.CutSuffix(base.Path, page); found {
			base.Path = strings.TrimRight(rest, "/")
			break
		}
	}
	c.base = base
	if o.client == nil {
		o.client = &http.Client{Transport: transport(o)}
	}
	client := *o.client
	// A redirect leads away from the instance, or from http to https: the
	// caller has to name the right URL.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http = &client
	return c, nil
}

func transport(o options) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if o.noProxy {
		t.Proxy = nil
	}
	config := o.tls
	if config == nil {
		config = &tls.Config{}
	}
	if o.insecure {
		config.InsecureSkipVerify = true
	}
	if o.host != "" {
		config.ServerName = hostname(o.host)
	}
	t.TLSClientConfig = config
	return t
}

// hostname is host without a port.
func hostname(host string) string {
	return (&url.URL{Host: host}).Hostname()
}

// redact is the URL without credentials.
func redact(u *url.URL) string {
	bare := *u
	bare.User = nil
	if strings.Contains(bare.Opaque, "@") { // user:password@host, without a scheme
		return bare.Scheme + ":..."
	}
	return bare.String()
}

// Name is what errors call the instance.
func (c *Client) Name() string {
	if c.name == "" {
		return c.URL()
	}
	return c.name
}

// URL is the base that every request goes below, without credentials.
func (c *Client) URL() string {
	return c.base.String()
}

// Calls is how many requests were sent so far.
func (c *Client) Calls() int64 {
	return c.requests.Load()
}

// Close drops idle connections. The client stays usable.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
}

// StatusError is an answer of something that speaks HTTP, other than 200.
type StatusError struct {
	Code    int
	Message string // the API's own message, or the beginning of the body
	Moved   string // where a redirect leads to; empty for others
}

func (e *StatusError) Error() string {
	text := strings.TrimSpace(fmt.Sprintf("%d %s", e.Code, http.StatusText(e.Code)))
	switch {
	case e.Moved != "":
		return fmt.Sprintf("%s: it leads to %s", text, e.Moved)
	case e.Code == http.StatusUnauthorized:
		return text + ": it wants a user and a password, like http://user:password@host"
	case e.Message != "":
		return text + ": " + e.Message
	}
	return text
}

// Version is Traefik's answer to /api/version.
type Version struct {
	Version  string // 3.6.12; "dev" when it was built without release flags
	Codename string
	// Started is when the process started, by the clock of its host. Zero
	// when the instance does not say.
	Started time.Time
	// Uptime is how long it has run, by the clock of its own host. Negative
	// when the instance does not say.
	Uptime time.Duration
}

// Version asks which Traefik this is. It is the cheapest proof that the API
// answers.
func (c *Client) Version(ctx context.Context) (Version, error) {
	const path = "/api/version"
	var raw struct {
		Version   *string
		Codename  string
		StartDate time.Time `json:"startDate"`
	}
	answer, err := c.get(ctx, path)
	if err == nil {
		err = decode(answer.body, &raw)
	}
	if err == nil && raw.Version == nil {
		err = fmt.Errorf("not an answer of Traefik's API: it names no version: %s", excerpt(answer.body))
	}
	if err != nil {
		return Version{}, c.fail(path, err)
	}
	version := Version{Version: *raw.Version, Codename: raw.Codename, Started: raw.StartDate, Uptime: -1}
	if date, err := http.ParseTime(answer.header.Get("Date")); err == nil && !raw.StartDate.IsZero() {
		version.Uptime = max(0, date.Sub(raw.StartDate))
	}
	return version, nil
}

// Raw asks for everything that the instance routes, in one request.
func (c *Client) Raw(ctx context.Context) (View, error) {
	view, _, err := c.raw(ctx)
	return view, err
}

// raw also reports whether the answer came over a new connection, which is
// all that a restart between two questions leaves to be seen.
func (c *Client) raw(ctx context.Context) (view View, connected bool, err error) {
	const path = "/api/rawdata"
	answer, err := c.get(ctx, path)
	if err == nil {
		view, err = ParseView(answer.body)
	}
	if err != nil {
		return View{}, false, c.fail(path, err)
	}
	return view, answer.connected, nil
}

// Services asks for the services of all three protocols through the paginated
// lists. Raw answers the same in one request.
func (c *Client) Services(ctx context.Context) ([]Service, error) {
	var services []Service
	for _, protocol := range []Protocol{HTTP, TCP, UDP} {
		raws, err := list[rawService](ctx, c, "/api/"+string(protocol)+"/services")
		if err != nil {
			return nil, err
		}
		for _, raw := range raws {
			services = append(services, raw.parse(raw.Name, protocol))
		}
	}
	return services, nil
}

// Routers asks for the routers of all three protocols through the paginated
// lists.
func (c *Client) Routers(ctx context.Context) ([]Route, error) {
	var routers []Route
	for _, protocol := range []Protocol{HTTP, TCP, UDP} {
		raws, err := list[rawRouter](ctx, c, "/api/"+string(protocol)+"/routers")
		if err != nil {
			return nil, err
		}
		for _, raw := range raws {
			routers = append(routers, raw.parse(raw.Name, protocol))
		}
	}
	return routers, nil
}

// Count is how many objects of a kind there are, and how many of them Traefik
// complains about.
type Count struct {
	Total    int `json:"total"`
	Warnings int `json:"warnings"`
	Errors   int `json:"errors"`
}

// Section counts the objects of one protocol.
type Section struct {
	Routers     Count `json:"routers"`
	Services    Count `json:"services"`
	Middlewares Count `json:"middlewares"`
}

// Overview is Traefik's own summary.
type Overview struct {
	HTTP      Section  `json:"http"`
	TCP       Section  `json:"tcp"`
	UDP       Section  `json:"udp"`
	Providers []string `json:"providers"` // Docker, Swarm, File, ...
}

// Overview asks for Traefik's summary.
func (c *Client) Overview(ctx context.Context) (Overview, error) {
	const path = "/api/overview"
	var overview *Overview
	answer, err := c.get(ctx, path)
	if err == nil {
		err = decode(answer.body, &overview)
	}
	if err == nil && overview == nil {
		err = errors.New("not an answer of Traefik's API: null")
	}
	if err != nil {
		return Overview{}, c.fail(path, err)
	}
	return *overview, nil
}

// EntryPoint is a port that Traefik listens on.
type EntryPoint struct {
	Name    string `json:"name"`
	Address string `json:"address"` // as configured: ":80", "127.0.0.1:53/udp"
}

// EntryPoints asks for the ports that Traefik listens on.
func (c *Client) EntryPoints(ctx context.Context) ([]EntryPoint, error) {
	return list[EntryPoint](ctx, c, "/api/entrypoints")
}

// list reads all pages. The header X-Next-Page is 1 on the last one
// (facts.md A4). A list that shrinks meanwhile may answer 400: that is an
// error, because objects may have moved to a page already read.
func list[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	var all []T
	for page := 1; ; {
		path := fmt.Sprintf("%s?page=%d&per_page=%d", path, page, perPage)
		var items []T
		answer, err := c.get(ctx, path)
		if err == nil {
			err = decode(answer.body, &items)
		}
		if err == nil && items == nil {
			err = errors.New("not an answer of Traefik's API: null")
		}
		if err != nil {
			return nil, c.fail(path, err)
		}
		all = append(all, items...)
		header := answer.header.Get("X-Next-Page")
		if header == "" {
			return all, nil
		}
		next, err := strconv.Atoi(header)
		switch {
		case err != nil || next < 1 || next > page+1 || next > maxPages:
			return nil, c.fail(path, fmt.Errorf("X-Next-Page is %q after page %d", header, page))
		case next <= page:
			return all, nil
		}
		page = next
	}
}

// answer is a whole response with status 200.
type answer struct {
	header    http.Header
	body      []byte
	connected bool // over a new connection
}

// get asks for path below the base. Errors do not name the instance yet.
func (c *Client) get(ctx context.Context, path string) (answer, error) {
	parent := ctx
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	// A transport that traces nothing has no connections to keep.
	got := answer{connected: true}
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { got.connected = !info.Reused }}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodGet, c.base.String()+path, nil)
	if err != nil {
		return answer{}, err
	}
	request.Host = c.host
	request.Header.Set("Accept", "application/json")
	if c.user != nil {
		password, _ := c.user.Password()
		request.SetBasicAuth(c.user.Username(), password)
	}
	c.requests.Add(1)
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, c.reason(ctx, parent, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, c.maxBody+1))
	if err != nil {
		return answer{}, c.reason(ctx, parent, fmt.Errorf("read answer: %w", err))
	}
	if int64(len(body)) > c.maxBody {
		return answer{}, fmt.Errorf("answer is larger than %d bytes", c.maxBody)
	}
	if response.StatusCode != http.StatusOK {
		return answer{}, statusError(response, body)
	}
	got.header, got.body = response.Header, body
	return got, nil
}

// statusError understands error bodies, which are JSON whatever their content
// type says (facts.md A4).
func statusError(response *http.Response, body []byte) error {
	var said struct {
		Message string `json:"message"`
	}
	failure := &StatusError{Code: response.StatusCode}
	switch err := json.Unmarshal(body, &said); {
	case err == nil && said.Message != "":
		failure.Message = plain(said.Message)
	case len(body) > 0:
		failure.Message = excerpt(body)
	}
	if location, err := response.Location(); err == nil {
		failure.Moved = redact(location)
	}
	return failure
}

// plain cuts a text and rids it of what a terminal would obey.
func plain(text string) string {
	const most = 200
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if letters := []rune(text); len(letters) > most {
		return string(letters[:most]) + "..."
	}
	return text
}

// reason makes a transport's error readable: without the URL, which fail adds,
// and with the time limit that was hit.
func (c *Client) reason(ctx, parent context.Context, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if ctx.Err() != nil && parent.Err() == nil {
		return fmt.Errorf("no answer within %s", c.timeout)
	}
	return err
}

// fail names instance and URL.
func (c *Client) fail(path string, err error) error {
	where := c.base.String() + path
	if c.name == "" {
		return fmt.Errorf("ask Traefik: GET %s: %w", where, err)
	}
	return fmt.Errorf("ask Traefik %s: GET %s: %w", c.name, where, err)
}
