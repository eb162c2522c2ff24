package healthflip

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/kballard/go-shellquote"
)

// execWay runs commands in the replica.
type execWay struct{ on, off []string }

func parseExec(labels map[string]string) (way, error) {
	on, off, err := pair(labels, labelExec, labelUnflipExec, "touch /tmp/drain", "rm -f /tmp/drain")
	if err != nil {
		return nil, err
	}
	w := execWay{}
	if w.on, err = parseCommand(labelExec, on); err != nil {
		return nil, err
	}
	if w.off, err = parseCommand(labelUnflipExec, off); err != nil {
		return nil, err
	}
	return w, nil
}

// parseCommand reads a command line with quotes, or a JSON array. No shell
// ever sees it, so what only a shell understands is refused.
func parseCommand(label, value string) ([]string, error) {
	refuse := func(problem, instead string) ([]string, error) {
		return nil, LabelError{label, value, problem, label + ": " + instead}
	}
	var command []string
	if strings.HasPrefix(strings.TrimSpace(value), "[") {
		if err := json.Unmarshal([]byte(value), &command); err != nil {
			return refuse("it is no JSON array of strings", `["touch", "/tmp/drain"]`)
		}
	} else {
		var err error
		if command, err = shellquote.Split(value); err != nil {
			return refuse("a quote is not closed", "the command with its quotes in pairs")
		}
		for _, word := range command {
			if slices.Contains([]string{"&&", "||", "|", ";", "&", ">", ">>", "<"}, word) {
				return refuse(fmt.Sprintf("no shell runs it, so %s would be an argument", word), "sh -c "+shellquote.Join(value))
			}
		}
	}
	if len(command) == 0 || command[0] == "" {
		return refuse("it names no program", "touch /tmp/drain")
	}
	for _, word := range command {
		if strings.ContainsRune(word, 0) {
			return refuse("it has a zero byte", "touch /tmp/drain")
		}
	}
	return command, nil
}

// quote shows a command on one line.
func quote(command []string) string {
	line := shellquote.Join(command...)
	if strings.ContainsFunc(line, unicode.IsControl) {
		return strconv.Quote(line)
	}
	return line
}

func (w execWay) text() string { return "exec " + quote(w.on) }

func (w execWay) flip(ctx context.Context, f *Flipper, r replica) error {
	return f.mustRun(ctx, r, w.on)
}

func (w execWay) unflip(ctx context.Context, f *Flipper, r replica) error {
	return f.mustRun(ctx, r, w.off)
}

// mustRun runs a command as the container's own user; anything but exit code
// 0 is an error.
func (f *Flipper) mustRun(ctx context.Context, r replica, command []string) error {
	done, err := f.run(ctx, r, container.ExecOptions{Cmd: command})
	if err != nil {
		return err
	}
	if done.code == 0 {
		return nil
	}
	text := fmt.Sprintf("run %s in the replica: exit code %d", quote(command), done.code)
	switch done.code {
	case 126:
		text += " (not in the image, or not executable)"
	case 127:
		text += " (not in the image)"
	}
	if lines := lastLines(done.stderr.tail, done.stdout.tail); lines != "" {
		text += ": " + lines
	}
	return &RefusedError{text}
}

// result is how a command in a replica ended.
type result struct {
	code           int
	stdout, stderr capture
}

// missing reports that the program could not be started. An Engine says 126 or
// 127 for a program that is not in the image (facts.md D5).
func (r result) missing() bool { return r.code == 126 || r.code == 127 }

// run runs one command in the replica and waits for its end.
func (f *Flipper) run(ctx context.Context, r replica, options container.ExecOptions) (result, error) {
	begin := time.Now()
	limited, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	options.AttachStdout, options.AttachStderr = true, true
	verb := fmt.Sprintf("run %s in the replica", quote(options.Cmd))
	var done result
	explain := func(err error) error {
		if limited.Err() == nil {
			return wrap(err, verb)
		}
		seen := lastLines(done.stderr.tail, done.stdout.tail)
		if seen == "" {
			seen = "it printed nothing"
		}
		return fmt.Errorf("%s: not finished after %s: %s: %w", verb, time.Since(begin).Round(time.Millisecond), seen, context.Cause(limited))
	}

	f.calls.Add(1)
	created, err := f.docker.ContainerExecCreate(limited, r.id, options)
	if err != nil {
		return done, explain(err)
	}
	f.calls.Add(1)
	stream, err := f.docker.ContainerExecAttach(limited, created.ID, container.ExecAttachOptions{})
	switch {
	case err == nil:
		// The hijacked connection does not know the context.
		release := context.AfterFunc(limited, stream.Close)
		_, err = stdcopy.StdCopy(&done.stdout, &done.stderr, stream.Reader)
		release()
		stream.Close()
		if err != nil || limited.Err() != nil {
			return done, explain(err)
		}
	case cerrdefs.IsNotFound(err) || limited.Err() != nil:
		return done, explain(err)
	default:
		// Some Engines tell here that the program cannot be started, others
		// in the stream; the exit code is there in both cases.
		started, inspectErr := f.inspectExec(limited, created.ID)
		if inspectErr != nil || started.ExitCode == 0 {
			return done, explain(err)
		}
		done.code = started.ExitCode
		_, _ = done.stderr.Write([]byte(err.Error()))
		return done, nil
	}

	// The output may end a moment before the Engine notes the exit code.
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		state, err := f.inspectExec(limited, created.ID)
		if err != nil {
			return done, explain(err)
		}
		if !state.Running {
			done.code = state.ExitCode
			return done, nil
		}
		select {
		case <-ticker.C:
		case <-limited.Done():
			return done, explain(nil)
		}
	}
}

func (f *Flipper) inspectExec(ctx context.Context, id string) (container.ExecInspect, error) {
	f.calls.Add(1)
	return f.docker.ContainerExecInspect(ctx, id)
}

// keep is how many bytes of each end of an output are kept.
const keep = 4096

// capture keeps the beginning and the end of an output of any length.
type capture struct{ head, tail []byte }

func (c *capture) Write(p []byte) (int, error) {
	c.head = append(c.head, p[:min(len(p), keep-len(c.head))]...)
	c.tail = append(c.tail, p[max(0, len(p)-keep):]...)
	c.tail = c.tail[max(0, len(c.tail)-keep):]
	return len(p), nil
}

// lastLines returns up to three last lines of the first output that has any.
func lastLines(outputs ...[]byte) string {
	for _, output := range outputs {
		lines := strings.Split(strings.TrimSpace(string(output)), "\n")
		if text := oneLine(strings.Join(lines[max(0, len(lines)-3):], " "), 300); text != "" {
			return text
		}
	}
	return ""
}
