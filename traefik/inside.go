package traefik

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// inside is an http.RoundTripper that sends GET requests from within a
// container, by running its wget or curl. It is for a Traefik whose API
// listens where only itself can reach it.
type inside struct {
	docker      Execs
	containerID string
	tool        atomic.Int32 // index into tools of the one that is there
}

// errNoTool is a container without wget and without curl.
var errNoTool = errors.New("its image has neither wget nor curl")

// noProxy keeps the container's own proxy settings out of it.
var noProxy = []string{"http_proxy=", "https_proxy=", "all_proxy=", "HTTP_PROXY=", "HTTPS_PROXY=", "ALL_PROXY=", "no_proxy=*"}

var tools = []struct {
	argv  []string
	parse func(stdout, stderr []byte) (status int, header http.Header, body []byte)
}{
	{[]string{"wget", "-q", "-S", "--no-check-certificate", "-O", "-"}, parseWget},
	{[]string{"curl", "-s", "-S", "-i", "-k", "--max-time", "10"}, parseCurl},
}

// RoundTrip runs the tool once.
func (t *inside) RoundTrip(request *http.Request) (*http.Response, error) {
	for i := int(t.tool.Load()); i < len(tools); i++ {
		response, err := t.run(request, i)
		if errors.Is(err, errNoTool) {
			continue
		}
		if err == nil {
			t.tool.Store(int32(i))
		}
		return response, err
	}
	return nil, errNoTool
}

func (t *inside) run(request *http.Request, i int) (*http.Response, error) {
	argv := append([]string{}, tools[i].argv...)
	headers := request.Header.Clone()
	if request.Host != "" {
		headers.Set("Host", request.Host)
	}
	for _, name := range []string{"Host", "Accept", "Authorization"} {
		if value := headers.Get(name); value != "" {
			option := "--header"
			argv = append(argv, option, name+": "+value)
		}
	}
	argv = append(argv, request.URL.String())
	code, stdout, stderr, err := t.exec(request.Context(), argv)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", argv[0], err)
	}
	status, header, body := tools[i].parse(stdout, stderr)
	if status == 0 {
		return nil, fmt.Errorf("%s ended with %d: %s", argv[0], code, excerpt(append(stderr, stdout...)))
	}
	if code != 0 && status == http.StatusOK {
		return nil, fmt.Errorf("%s ended with %d in the middle of the answer", argv[0], code)
	}
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: request,
	}, nil
}

// exec runs argv, which no shell reads. A binary that is not there is
// errNoTool (facts.md D5).
func (t *inside) exec(ctx context.Context, argv []string) (code int, stdout, stderr []byte, err error) {
	created, err := t.docker.ContainerExecCreate(ctx, t.containerID, container.ExecOptions{
		Cmd: argv, Env: noProxy, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return 0, nil, nil, err
	}
	stream, err := t.docker.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if errdefs.IsInvalidArgument(err) {
		return 0, nil, nil, errNoTool
	}
	if err != nil {
		return 0, nil, nil, err
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, stream.Close)
	defer stop()
	out, complaints := &capped{left: maxBody + 1}, &capped{left: 1 << 20}
	if _, err := stdcopy.StdCopy(out, complaints, stream.Reader); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return 0, nil, nil, fmt.Errorf("read its output: %w", err)
	}
	ended, err := t.docker.ContainerExecInspect(ctx, created.ID)
	if err != nil {
		return 0, nil, nil, err
	}
	if ended.ExitCode == 126 || ended.ExitCode == 127 {
		return 0, nil, nil, errNoTool
	}
	return ended.ExitCode, out.Bytes(), complaints.Bytes(), nil
}

// capped is a buffer that refuses to grow without end.
type capped struct {
	bytes.Buffer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	if len(p) > c.left {
		return 0, errors.New("it is too long")
	}
	c.left -= len(p)
	return c.Buffer.Write(p)
}

// parseWget finds the headers that -S prints on stderr, indented, both by
// GNU's and by BusyBox's wget. The latter swallows the body of an error.
func parseWget(stdout, stderr []byte) (status int, header http.Header, body []byte) {
	header = http.Header{}
	for line := range strings.Lines(string(stderr)) {
		line = strings.TrimSpace(line)
		if at := strings.Index(line, "HTTP/1."); at >= 0 {
			if code := statusOf(line[at:]); code != 0 {
				status, header = code, http.Header{}
				continue
			}
		}
		if name, value, ok := strings.Cut(line, ": "); ok && !strings.Contains(name, " ") {
			header.Add(textproto.CanonicalMIMEHeaderKey(name), value)
		}
	}
	return status, header, stdout
}

// parseCurl takes apart what -i prints: headers, and a body that is decoded
// already whatever they say.
func parseCurl(stdout, _ []byte) (status int, header http.Header, body []byte) {
	reader := bufio.NewReader(bytes.NewReader(stdout))
	text := textproto.NewReader(reader)
	for {
		line, err := text.ReadLine()
		if err != nil {
			return 0, nil, nil
		}
		fields, err := text.ReadMIMEHeader()
		if err != nil {
			return 0, nil, nil
		}
		status = statusOf(line)
		if status/100 == 1 {
			continue
		}
		body, _ = io.ReadAll(reader) // from memory
		return status, http.Header(fields), body
	}
}

// statusOf reads "HTTP/1.1 200 OK"; 0 when the line is something else.
func statusOf(line string) int {
	fields := strings.Fields(line)
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "HTTP/") {
		return 0
	}
	code, err := strconv.Atoi(fields[1])
	if err != nil || code < 100 || code > 599 {
		return 0
	}
	return code
}
