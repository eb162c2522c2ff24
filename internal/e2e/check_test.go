//go:build e2e

package e2e

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"

	"github.com/roll-deploy/roll/internal/lab"
)

// finding is one line of roll check --format json; see docs/check.md.
type finding struct {
	ID         string   `json:"id"`
	Level      string   `json:"level"`
	Confidence string   `json:"confidence"`
	Service    string   `json:"service"`
	Replicas   []string `json:"replicas"`
	Text       string   `json:"text"`
	Proof      string   `json:"proof"`
	Fix        string   `json:"fix"`
}

// checked runs roll check and returns what it found, by service.
func checked(t *testing.T, p *lab.Project, args ...string) map[string][]finding {
	t.Helper()
	o := exits(t, command(t.Context(), p, append([]string{"check", "--format", "json"}, args...)...))
	var all []finding
	if err := json.Unmarshal([]byte(o.stdout), &all); err != nil || o.code > 1 {
		t.Fatalf("roll check: %v: %s", err, o)
	}
	found := map[string][]finding{}
	for _, f := range all {
		found[f.Service] = append(found[f.Service], f)
	}
	return found
}

// shellImage makes an image with dash, sleep and the replica.
func shellImage(t *testing.T) string {
	t.Helper()
	const ref = "roll-lab/shell:check"
	ctx := t.Context()
	made, err := theLab.Docker.ContainerCreate(ctx, &container.Config{Image: lab.ReplicaImage + ":v1"}, nil, nil, nil, "")
	must(t, err)
	replica, _, err := theLab.Docker.CopyFromContainer(ctx, made.ID, "/replica")
	must(t, err)
	r, w := io.Pipe()
	go func() { w.CloseWithError(errors.Join(writeShell(w, replica), replica.Close())) }()
	body, err := theLab.Docker.ImageImport(ctx, image.ImportSource{Source: r, SourceName: "-"}, ref, image.ImportOptions{Changes: []string{"ENV PATH=/bin"}})
	must(t, err)
	_, err = io.Copy(io.Discard, body)
	must(t, err)
	must(t, body.Close())
	must(t, theLab.Docker.ContainerRemove(ctx, made.ID, container.RemoveOptions{}))
	t.Cleanup(func() {
		_, err := theLab.Docker.ImageRemove(context.WithoutCancel(ctx), ref, image.RemoveOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	return ref
}

func writeShell(w io.Writer, replica io.Reader) error {
	out := tar.NewWriter(w)
	in := tar.NewReader(replica)
	header, err := in.Next()
	if err != nil {
		return err
	}
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	needed, err := exec.Command("ldd", "/bin/dash", "/bin/sleep").Output()
	if err != nil {
		return fmt.Errorf("find the libraries of dash: %w", err)
	}
	files := map[string]string{"bin/sh": "/bin/dash", "bin/sleep": "/bin/sleep"}
	for _, library := range regexp.MustCompile(`(/\S+\.so\S*) \(0x`).FindAllStringSubmatch(string(needed), -1) {
		files[strings.TrimPrefix(library[1], "/")] = library[1]
	}
	for name, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o755}); err != nil {
			return err
		}
		if _, err := out.Write(content); err != nil {
			return err
		}
	}
	return out.Close()
}

// What roll check says about processes that run is what a stop then does.
func TestCheckSaysWhatAStopDoes(t *testing.T) {
	t.Parallel()
	cases := []struct {
		service, body string // of the Compose file
		want          string // verdict and confidence
		code          int    // after a stop
	}{
		{"shell", `command: ["/bin/sh", "-c", "/replica"]`, "DROPPED certain", 137},
		{"exec", `command: ["/bin/sh", "-c", "exec /replica"]`, "OK likely", 0},
		{"scratch", `command: ["/replica"]`, "OK likely", 0},
		{"init", `{command: ["/replica"], init: true}`, "OK likely", 0},
		{"initshell", `{command: ["/bin/sh", "-c", "/replica; true"], init: true}`, "KILLED-BY-INIT-EXIT certain", 143},
		{"onewait", `command: ["/bin/sh", "-c", "/replica & pid=$$!; trap 'kill -TERM $$pid' TERM; wait $$pid"]`, "KILLED-BY-INIT-EXIT likely", 143},
		{"twowaits", `command: ["/bin/sh", "-c", "/replica & pid=$$!; trap 'kill -TERM $$pid' TERM; wait $$pid; wait $$pid"]`, "OK likely", 0},
		{"ignored", `command: ["/bin/sh", "-c", "trap '' TERM; exec sleep 1000"]`, "IGNORED certain", 137},
		{"nohandler", `{command: ["sleep", "1000"], init: true}`, "INSTANT-DEATH certain", 143},
		{"winch", `{command: ["sleep", "1000"], init: true, stop_signal: SIGWINCH}`, "DROPPED certain", 137},
		{"zombie", `command: ["/bin/sh", "-c", "(sleep 0.1 & exec sleep 1000); true"]`, "DROPPED certain, ZOMBIES likely", 137},
	}
	ref := shellImage(t)
	var file strings.Builder
	fmt.Fprintf(&file, "services:\n")
	for _, c := range cases {
		body := strings.TrimSuffix(strings.TrimPrefix(c.body, "{"), "}")
		fmt.Fprintf(&file, "  %s: {image: %s, stop_grace_period: 1s, %s}\n", c.service, ref, body)
	}
	p := theLab.Project(t, lab.Source{Compose: file.String()})
	must(t, p.Up(t.Context()))
	// While a container starts there is no verdict, and the zombie takes a
	// moment to die.
	var found map[string][]finding
	settled := func() bool {
		found = checked(t, p, "--layer", "replicas")
		unsettled := func(f finding) bool { return f.ID == "UNKNOWN" }
		for _, c := range cases {
			if slices.ContainsFunc(found[c.service], unsettled) {
				return false
			}
		}
		return slices.ContainsFunc(found["zombie"], func(f finding) bool { return f.ID == "ZOMBIES" })
	}
	for deadline := time.Now().Add(time.Minute); !settled() && time.Now().Before(deadline); {
	}
	for _, c := range cases {
		var got []string
		for _, f := range found[c.service] {
			if f.ID != "KILLED-LAST-TIME" {
				got = append(got, f.ID+" "+f.Confidence)
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %v, want %s: %+v", c.service, got, c.want, found[c.service])
		}
	}

	_, err := p.Compose(t.Context(), "stop")
	must(t, err)
	containers, err := p.Containers(t.Context())
	must(t, err)
	for _, c := range cases {
		i := slices.IndexFunc(containers, func(s container.Summary) bool { return s.Labels["com.docker.compose.service"] == c.service })
		if i < 0 {
			t.Fatalf("no container of %s", c.service)
		}
		inspected, err := theLab.Docker.ContainerInspect(t.Context(), containers[i].ID)
		must(t, err)
		if got := inspected.State.ExitCode; got != c.code {
			t.Errorf("%s: exit code %d after a stop, want %d", c.service, got, c.code)
		}
	}
	if after := checked(t, p, "--layer", "replicas")["shell"]; len(after) != 1 || after[0].ID != "KILLED-LAST-TIME" || !strings.Contains(after[0].Proof, "SIGTERM") {
		t.Errorf("after the stop: %+v", after)
	}
}

func TestARehearsalFlipsOneReplicaAndPutsItBack(t *testing.T) {
	t.Parallel()
	p := started(t, 2)
	before := names(t, p, "web")
	o := exits(t, command(t.Context(), p, "check", "--rehearse", "web", "--format", "json", "--traefik", p.API, "--progress", "quiet", "--probe", p.URL+"/", "--probe-rate", "50"))
	var took struct {
		Replica   string        `json:"replica"`
		Failing   time.Duration `json:"failing_ns"`
		Unhealthy time.Duration `json:"unhealthy_ns"`
		Unrouted  time.Duration `json:"unrouted_ns"`
		Healthy   time.Duration `json:"healthy_ns"`
		Routed    time.Duration `json:"routed_ns"`
		Proven    bool          `json:"proven"`
	}
	if err := json.Unmarshal([]byte(o.stdout), &took); err != nil || o.code != 0 {
		t.Fatalf("roll check --rehearse: %v: %s", err, o)
	}
	if !slices.Contains(before, took.Replica) || !took.Proven || took.Failing <= 0 || took.Unhealthy < took.Failing || took.Unrouted < took.Unhealthy || took.Healthy <= 0 || took.Routed < took.Healthy {
		t.Errorf("the times are %+v", took)
	}
	if after := names(t, p, "web"); !slices.Equal(after, before) {
		t.Errorf("replicas were %v, are %v", before, after)
	}
	must(t, p.WaitServers(t.Context(), "web", 2))
}

func TestARehearsalThatIsInterruptedPutsTheReplicaBack(t *testing.T) {
	t.Parallel()
	p := started(t, 2)
	cmd := command(t.Context(), p, "check", "--rehearse", "web", "--traefik", p.API, "--progress", "plain")
	progress, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	flipped := false
	for lines := bufio.NewScanner(progress); lines.Scan(); {
		if !flipped && strings.Contains(lines.Text(), " failing 1 of 2") {
			flipped = true
			must(t, cmd.Process.Signal(os.Interrupt))
		}
		t.Log(lines.Text())
	}
	err = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); !flipped || code != 130 {
		t.Errorf("flipped %t, exit code %d (%v), want 130", flipped, code, err)
	}
	containers, err := p.Containers(t.Context(), "web")
	must(t, err)
	for _, c := range containers {
		if !strings.Contains(c.Status, "(healthy)") {
			t.Errorf("%s is %s", c.Names, c.Status)
		}
	}
	must(t, p.WaitServers(t.Context(), "web", 2))
}

func TestTheLastReplicaIsNotRehearsed(t *testing.T) {
	t.Parallel()
	p := started(t, 1)
	o := exits(t, command(t.Context(), p, "check", "--rehearse", "web", "--traefik", p.API))
	if o.code != 2 || !strings.Contains(o.stderr, "is the last replica in service") {
		t.Errorf("want a refusal: %s", o)
	}
	// The same project, as it is: nothing of it is an error.
	for service, all := range checked(t, p, "--traefik", p.API) {
		for _, f := range all {
			if f.Level == "error" {
				t.Errorf("%s: %+v", service, f)
			}
		}
	}
}
