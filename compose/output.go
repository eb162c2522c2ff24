package compose

import (
	"io"
	"strings"
	"sync"
)

// tail keeps the last lines of what is written to it, and no line longer
// than longest.
type tail struct {
	max   int
	lines []string
	open  bool // the last line has no end yet
}

const longest = 2000

func (t *tail) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		text, ended := strings.CutSuffix(line, "\n")
		if t.open {
			t.lines[len(t.lines)-1] += text
		} else {
			t.lines = append(t.lines, text)
		}
		t.open = !ended
		if last := &t.lines[len(t.lines)-1]; len(*last) > longest {
			*last = (*last)[:longest]
		}
		if len(t.lines) > t.max {
			t.lines = t.lines[1:]
		}
	}
	return len(p), nil
}

func (t *tail) String() string {
	return strings.TrimSpace(strings.Join(t.lines, "\n"))
}

// oneAtATime lets the two streams of a child share one writer.
type oneAtATime struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *oneAtATime) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}
