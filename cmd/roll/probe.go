package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/roll-deploy/roll/deploy"
	"github.com/roll-deploy/roll/internal/probe"
)

// probeFlags say what load to send. On `up` they are prefixed with --probe.
type probeFlags struct {
	url         string
	rate        int
	method      string
	body        string
	headers     []string
	host        string
	noKeepAlive bool
	timeout     time.Duration
	duration    time.Duration
	maxErrors   int
	expect      []int
}

// addTo adds the flags of a probe that runs beside a roll.
func (p *probeFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.url, "probe", "", "URL to send requests to while it rolls; failed ones are counted")
	p.add(cmd, "probe-")
}

func (p *probeFlags) add(cmd *cobra.Command, prefix string) {
	f := cmd.Flags()
	f.IntVar(&p.rate, prefix+"rate", probe.DefaultRate, "requests a second")
	f.StringVar(&p.method, prefix+"method", "", "HTTP method (default GET, with a body POST)")
	f.StringVar(&p.body, prefix+"body", "", "request body; @FILE reads it from a file")
	f.StringArrayVar(&p.headers, prefix+"header", nil, "request header, as 'Name: value' (repeatable)")
	f.StringVar(&p.host, prefix+"host", "", "Host header, to choose a router without DNS")
	f.BoolVar(&p.noKeepAlive, prefix+"no-keepalive", false, "a new connection for every request")
	f.DurationVar(&p.timeout, prefix+"timeout", probe.DefaultTimeout, "time limit of one request")
	f.IntVar(&p.maxErrors, prefix+"max-errors", 0, "exit non-zero when more requests than this fail")
	f.IntSliceVar(&p.expect, prefix+"expect", nil, "the only statuses that count as good (default: every 2xx and 3xx)")
}

// validate checks the flags of a probe beside a roll before anything begins.
func (p *probeFlags) validate(cmd *cobra.Command) error {
	if p.url == "" {
		return nil
	}
	config, err := p.config()
	if err == nil {
		err = config.Validate()
	}
	if err != nil {
		return usagef(cmd, "--probe: %v", err)
	}
	return nil
}

func (p *probeFlags) config() (probe.Config, error) {
	c := probe.Config{
		URL: p.url, Method: p.method, Body: []byte(p.body), Rate: p.rate, Timeout: p.timeout, Duration: p.duration,
		NoKeepAlive: p.noKeepAlive, Host: p.host, Expect: p.expect, Header: http.Header{},
	}
	if file, ok := strings.CutPrefix(p.body, "@"); ok {
		content, err := os.ReadFile(file)
		if err != nil {
			return c, fmt.Errorf("read body: %w", err)
		}
		c.Body = content
	}
	for _, line := range p.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return c, fmt.Errorf("header %q: write it as 'Name: value'", line)
		}
		c.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return c, nil
}

// probing is a probe that runs beside a roll; the zero value is none.
type probing struct {
	probe     *probe.Probe
	stop      context.CancelFunc
	done      chan struct{}
	report    probe.Report
	err       error
	maxErrors int
	veto      chan error // of the roll that runs; gets one error when too much fails
}

func (a *app) startProbe(ctx context.Context, flags probeFlags) (*probing, error) {
	if flags.url == "" {
		return &probing{}, nil
	}
	config, err := flags.config()
	if err != nil {
		return nil, err
	}
	p, err := probe.New(config)
	if err != nil {
		return nil, err
	}
	w := &probing{probe: p, done: make(chan struct{}), maxErrors: flags.maxErrors, veto: make(chan error, 1)}
	// An interrupted roll undoes things; requests are counted until it is done.
	ctx, w.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(w.done)
		w.report, w.err = p.Run(ctx)
	}()
	go w.judge(ctx)
	return w, nil
}

// judge vetoes the roll as soon as more requests have failed than may.
func (w *probing) judge(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if now := w.probe.Snapshot(); now.Failed > w.maxErrors {
			w.veto <- fmt.Errorf("the probe lost requests (%s), more than --probe-max-errors %d", now, w.maxErrors)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// mark attributes the requests from now on to a phase of the roll.
func (w *probing) mark(e deploy.Event) {
	if w.probe != nil && (e.Kind == deploy.KindPhase || e.Kind == deploy.KindUndo) {
		w.probe.Mark(strings.TrimSpace(e.Service + " " + e.Replica + " " + e.Phase.String()))
	}
}

// end stops the probe, prints its account and says whether too much failed.
func (w *probing) end(s Streams) error {
	if w == nil || w.probe == nil {
		return nil
	}
	w.stop()
	<-w.done
	fmt.Fprintln(s.Err, w.report.String())
	if w.err != nil {
		return w.err
	}
	return w.report.Err(w.maxErrors)
}

func newProbeCmd(a *app) *cobra.Command {
	var p probeFlags
	var format string
	cmd := &cobra.Command{
		Use:   "probe URL",
		Short: "Send requests at a constant rate and count what fails",
		Long: `Send requests at a constant rate, whatever the answers do, until --duration is
over or Ctrl-C, and tell what failed, in which second, and how long answers took.
Exits with 1 when more than --max-errors requests failed.`,
		Example: `  roll probe http://localhost/ --rate 200 --duration 30s
  roll probe http://localhost/orders --body '{"n":1}' --header 'Content-Type: application/json'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(cmd, "name one URL")
			}
			if format != "text" && format != "json" {
				return usagef(cmd, "--format %s: it must be text or json", format)
			}
			p.url = args[0]
			config, err := p.config()
			if err != nil {
				return usagef(cmd, "%v", err)
			}
			run, err := probe.New(config)
			if err != nil {
				return usagef(cmd, "%v", err)
			}
			report, err := a.watchProbe(cmd.Context(), run)
			if err != nil {
				return err
			}
			if format == "json" {
				if err := json.NewEncoder(a.streams.Out).Encode(report); err != nil {
					return err
				}
			} else {
				fmt.Fprintln(a.streams.Out, report.String())
			}
			return report.Err(p.maxErrors)
		},
	}
	p.add(cmd, "")
	cmd.Flags().DurationVar(&p.duration, "duration", 0, "how long to send (default: until Ctrl-C)")
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}

// watchProbe runs a probe with a live line on a terminal.
func (a *app) watchProbe(ctx context.Context, run *probe.Probe) (probe.Report, error) {
	size, tty := terminal(a.streams.Err)
	if !tty || a.progress == "quiet" {
		return run.Run(ctx)
	}
	type ended struct {
		report probe.Report
		err    error
	}
	done := make(chan ended, 1)
	go func() {
		report, err := run.Run(ctx)
		done <- ended{report, err}
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case e := <-done:
			fmt.Fprint(a.streams.Err, "\r\x1b[K")
			return e.report, e.err
		case <-tick.C:
			width, _ := size()
			line := []rune(run.Snapshot().String())
			fmt.Fprintf(a.streams.Err, "\r\x1b[K%s", string(line[:min(len(line), width-1)]))
		}
	}
}
