package healthflip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/docker/docker/api/types/container"
)

const (
	dialTimeout = 3 * time.Second // an address of this machine answers in far less, unless the machine is very busy
	bodyShown   = 200             // runes of a response body in an error
)

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

// httpWay calls the replica.
type httpWay struct {
	method  string
	on, off string // path and query
	port    int    // 0: the single exposed port, which only the container knows
}

func parseHTTP(labels map[string]string) (way, error) {
	on, off, err := pair(labels, labelHTTP, labelUnflipHTTP, "/sethealth/ko", "/sethealth/ok")
	if err != nil {
		return nil, err
	}
	w := httpWay{method: "GET", on: on, off: off}
	if err := checkPath(labelHTTP, on); err != nil {
		return nil, err
	}
	if err := checkPath(labelUnflipHTTP, off); err != nil {
		return nil, err
	}
	if value, ok := labels[labelMethod]; ok {
		w.method = strings.ToUpper(value)
		if !slices.Contains(methods, w.method) {
			return nil, LabelError{labelMethod, value, "it must be one of " + strings.Join(methods, ", "), labelMethod + ": POST"}
		}
	}
	w.port, err = labelledPort(labels)
	return w, err
}

func checkPath(label, value string) error {
	refuse := func(problem, instead string) error {
		return LabelError{label, value, problem, label + ": " + instead}
	}
	if parsed, err := url.Parse(value); err == nil && parsed.Host != "" {
		instead := parsed.RequestURI()
		return refuse("it must be a path: the replica's address is known", instead)
	}
	switch {
	case value[0] != '/':
		return refuse("the path must begin with a slash", "/"+strings.TrimLeft(strings.TrimSpace(value), "/"))
	case strings.ContainsFunc(value, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return refuse("it has a blank or a control character", "the path with %20 for a blank")
	case strings.Contains(value, "#"):
		return refuse("a fragment is never sent to a server", value[:strings.Index(value, "#")])
	}
	if _, err := url.ParseRequestURI(value); err != nil {
		return refuse("it is no valid path", "/sethealth/ko")
	}
	return nil
}

// labelledPort returns 0 when no label tells the port.
func labelledPort(labels map[string]string) (int, error) {
	if value, ok := labels[labelPort]; ok {
		return parsePort(labelPort, value)
	}
	ports := map[int]bool{}
	for name, value := range labels {
		if isServerPort(name) {
			port, err := parsePort(name, value)
			if err != nil {
				return 0, err
			}
			ports[port] = true
		}
	}
	if len(ports) == 1 {
		for port := range ports {
			return port, nil
		}
	}
	return 0, nil
}

// isServerPort recognises traefik.http.services.NAME.loadbalancer.server.port;
// Traefik ignores the case of label names.
func isServerPort(name string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(name), "traefik.http.services.")
	service, ok2 := strings.CutSuffix(rest, ".loadbalancer.server.port")
	return ok && ok2 && service != "" && !strings.Contains(service, ".")
}

func parsePort(label, value string) (int, error) {
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil || port == 0 {
		return 0, LabelError{label, value, "it must be a number from 1 to 65535", label + ": 3000"}
	}
	return int(port), nil
}

func (w httpWay) text() string {
	if w.port == 0 {
		return fmt.Sprintf("http %s %s on the exposed port", w.method, w.on)
	}
	return fmt.Sprintf("http %s %s on port %d", w.method, w.on, w.port)
}

func (w httpWay) flip(ctx context.Context, f *Flipper, r replica) error {
	return w.send(ctx, f, r, w.on)
}

func (w httpWay) unflip(ctx context.Context, f *Flipper, r replica) error {
	return w.send(ctx, f, r, w.off)
}

// send tries the replica's addresses from here, then from inside it.
func (w httpWay) send(ctx context.Context, f *Flipper, r replica, target string) error {
	port := w.port
	if port == 0 {
		if len(r.exposed) != 1 {
			return LabelError{labelPort, "", fmt.Sprintf("nothing tells which port to call: %s", portList(r.exposed)), labelPort + ": 3000"}
		}
		port = r.exposed[0]
	}
	var tried []string
	if !f.network {
		tried = append(tried, f.distant)
	} else if len(r.addresses) == 0 {
		tried = append(tried, "it has no network address")
	} else {
		for _, address := range r.addresses {
			err := f.call(ctx, w.method, netip.AddrPortFrom(address, uint16(port)), target)
			var unreachable *net.OpError
			if !errors.As(err, &unreachable) || unreachable.Op != "dial" {
				return err
			}
			if ctx.Err() != nil {
				return fmt.Errorf("%s %s on %s:%d: no connection: %w", w.method, target, address, port, context.Cause(ctx))
			}
			tried = append(tried, unreachable.Error())
		}
	}
	return f.callInside(ctx, r, w.method, uint16(port), target, tried)
}

func portList(ports []int) string {
	if len(ports) == 0 {
		return "the container exposes none"
	}
	words := make([]string, len(ports))
	for i, port := range ports {
		words[i] = strconv.Itoa(port)
	}
	return "the container exposes " + strings.Join(words, ", ")
}

// call makes one request from this process. An error of dialling is a
// *net.OpError in its chain.
func (f *Flipper) call(ctx context.Context, method string, address netip.AddrPort, target string) error {
	where := "http://" + address.String() + target
	begin := time.Now()
	limited, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, method, where, nil)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, where, err)
	}
	client := http.Client{
		// No proxy: the address means something only on this machine.
		Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	f.calls.Add(1)
	answer, err := client.Do(request)
	if err != nil {
		var op *net.OpError
		if limited.Err() != nil && !(errors.As(err, &op) && op.Op == "dial") {
			return fmt.Errorf("%s %s: connected, but no answer after %s: %w",
				method, where, time.Since(begin).Round(time.Millisecond), context.Cause(limited))
		}
		var broken *url.Error
		if errors.As(err, &broken) {
			err = broken.Err // without the method and address that are named here
		}
		return fmt.Errorf("%s %s: %w", method, where, err)
	}
	defer answer.Body.Close()
	// The status decides; a body that breaks off takes nothing away from it.
	body, _ := io.ReadAll(io.LimitReader(answer.Body, keep))
	return judge(method, where, answer.StatusCode, string(body))
}

// judge turns an answer that is not 2xx into an error.
func judge(method, where string, status int, body string) error {
	if status >= 200 && status < 300 {
		return nil
	}
	text := strings.TrimSpace(fmt.Sprintf("status %d %s", status, http.StatusText(status)))
	if body = oneLine(body, bodyShown); body != "" {
		text += ": " + body
	}
	return &RefusedError{fmt.Sprintf("%s %s: %s", method, where, text)}
}

// noProxy keeps a proxy of the container's environment out of the way.
var noProxy = []string{"http_proxy=", "HTTP_PROXY=", "all_proxy=", "ALL_PROXY=", "no_proxy=*", "NO_PROXY=*"}

// callInside makes the request with a tool of the image. tried says why that
// is needed.
func (f *Flipper) callInside(ctx context.Context, r replica, method string, port uint16, target string, tried []string) error {
	hosts := append([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, r.addresses...)
	if slices.ContainsFunc(r.addresses, netip.Addr.Is6) {
		// Without IPv6 in the container, GNU wget would retry this one many times.
		hosts = append(hosts, netip.IPv6Loopback())
	}
	tools := []func(method, where string) []string{curl}
	if method == http.MethodGet {
		tools = append(tools, wget)
	}
	for _, tool := range tools {
		var failed []string
		for _, host := range hosts {
			where := "http://" + netip.AddrPortFrom(host, port).String() + target
			command := tool(method, where)
			done, err := f.run(ctx, r, container.ExecOptions{Cmd: command, Env: noProxy})
			if err != nil {
				return err
			}
			if done.missing() {
				break
			}
			if status, body := answered(done); status != 0 {
				return judge(method, where+" inside the replica", status, body)
			}
			failed = append(failed, fmt.Sprintf("%s exit code %d: %s", where, done.code, lastLines(done.stderr.tail, done.stdout.tail)))
		}
		if len(failed) > 0 {
			return fmt.Errorf("%s %s: nothing answers: from here: %s; with %s inside the replica: %s",
				method, target, strings.Join(tried, ", "), tool("", "")[0], strings.Join(failed, ", "))
		}
	}
	names, install := "neither curl nor wget is", "curl or wget"
	if method != http.MethodGet {
		names, install = "curl is not", "curl"
	}
	return fmt.Errorf("%s %s: the replica cannot be called from here (%s), and %s in the image: make it listen on port %d of its network address, add %s to the image, or use roll.flip.file or roll.flip.signal",
		method, target, strings.Join(tried, ", "), names, port, install)
}

func curl(method, where string) []string {
	command := []string{"curl", "-q", "-sS", "-i", "-g"}
	switch method {
	case http.MethodGet:
	case http.MethodHead:
		command = append(command, "-I")
	default:
		command = append(command, "-X", method, "-H", "Content-Length: 0")
	}
	return append(command, where)
}

// wget has only the options that GNU's and every build of BusyBox's know: some
// builds of the latter crash on -T.
func wget(_, where string) []string {
	return []string{"wget", "-S", "-O", "-", where}
}

// answered finds the first status line that curl -i (stdout) or wget -S (stderr)
// printed, and the body. Status 0: there was no answer.
func answered(done result) (int, string) {
	head, body, _ := strings.Cut(strings.ReplaceAll(string(done.stdout.head), "\r\n", "\n"), "\n\n")
	if status := statusLine(head); status != 0 {
		return status, body
	}
	return statusLine(string(done.stderr.head)), string(done.stdout.head)
}

func statusLine(text string) int {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && strings.HasPrefix(fields[0], "HTTP/") {
			if status, err := strconv.Atoi(fields[1]); err == nil && status >= 100 && status <= 599 {
				return status
			}
		}
	}
	return 0
}
