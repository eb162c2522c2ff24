package compose

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
)

// What `docker compose config --hash` writes.
func FuzzHashes(f *testing.F) {
	hash := strings.Repeat("0a", 32)
	f.Add("web "+hash+"\ndb "+hash+"\n", "web")
	f.Add("WARN[0000] a b\nweb "+strings.ToUpper(hash)+"\r\n", "web")
	f.Add("", "")
	f.Add("web\t"+hash+" extra", "web")
	f.Fuzz(func(t *testing.T, output, service string) {
		hashes, err := parseHashes(output, []string{service})
		if err == nil && hashes[service] == "" {
			t.Errorf("no hash of %q, and no error", service)
		}
		for name, hash := range hashes {
			if len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" || name == "" || !strings.Contains(output, name) {
				t.Errorf("%q: %q", name, hash)
			}
		}
	})
}

// What `docker compose version --short` writes.
func FuzzVersion(f *testing.F) {
	for _, text := range []string{"2.40.3", "5.1.0-desktop.1", "2.20", "2.", "99999999999999999999.1", "v2.1", "2.2.9999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		version, ok := parseVersion(text)
		if !ok {
			return
		}
		if slices.Min(version[:]) < 0 || !strings.HasPrefix(text, strings.TrimLeft(text[:1], "x")) {
			t.Errorf("%q: %v", text, version)
		}
		again, ok := parseVersion((&CLI{version: version}).Version())
		if !ok || again != version {
			t.Errorf("%v, read again: %v", version, again)
		}
	})
}

// What the Engine says of a container: its labels and its health log come from
// whoever made the image.
func FuzzInspect(f *testing.F) {
	f.Add([]byte(`{"Id":"0123456789abcdef","Name":"/shop-web-1","Image":"sha256:1","State":{"Status":"running","StartedAt":"2026-01-01T00:00:00Z","Health":{"Status":"healthy","FailingStreak":1,"Log":[null,{"Start":"2026-01-01T00:00:00Z","End":"2026-01-01T00:00:00Z","ExitCode":-1,"Output":"\u001b[2J"}]}},
		"Config":{"Labels":{"com.docker.compose.container-number":"1"},"Healthcheck":{"Test":["CMD","a"],"Interval":-1,"Retries":-3},"StopTimeout":-1},"HostConfig":{"Binds":["a:/b"],"Mounts":[{"Type":"volume","Target":"/a/"}]},
		"Mounts":[{"Type":"volume","Name":"v","Destination":"/a"}],"NetworkSettings":{"Networks":{"a":null,"b":{"IPAddress":"10.0.0.1"}},"Ports":{"80/tcp":[{"HostIp":"","HostPort":"99999"}]}}}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"Id":"1","State":null,"Config":null,"HostConfig":{"Healthcheck":{"Test":[]}}}`))
	f.Add([]byte(`{"Id":"a","Image":"b","HostConfig":{"NetworkMode":"container:x","UTSMode":"host"},"Config":{"Hostname":"a","Healthcheck":{"Test":["NONE"]}}}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		var c container.InspectResponse
		if json.Unmarshal(document, &c) != nil {
			return
		}
		r := replica(c)
		if r.Grace() < 0 && (r.StopTimeout == nil || *r.StopTimeout >= 0) {
			t.Errorf("grace %s", r.Grace())
		}
		if r.Ready() && !r.Running() {
			t.Errorf("ready and not running: %+v", r)
		}
		_ = r.Short()
		k, err := kept(c)
		if err != nil {
			return
		}
		text, err := json.Marshal(k)
		if err != nil {
			t.Fatalf("what was kept cannot be written: %v", err)
		}
		var again Kept
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("what was kept cannot be read: %v", err)
		}
		if image, hash := again.Kind(); image != k.ImageID || hash != k.Config.Labels[labelHash] {
			t.Errorf("another kind: %s %s", image, hash)
		}
		if len(again.Anonymous) != len(k.Anonymous) || len(again.Networks) != len(k.Networks) || len(again.Host.Binds) != len(k.Host.Binds) {
			t.Errorf("%+v became %+v", k, again)
		}
		_ = again.firstNetwork()
		if other, err := again.Numbered(7); err != nil || other.Config.Labels[labelNumber] != "7" {
			t.Errorf("another replica of its kind: %+v, %v", other, err)
		}
	})
}

// What the Engine writes into the status line of a list.
func FuzzStatus(f *testing.F) {
	for _, text := range []string{"Up 5 seconds (healthy)", "Up Less than a second (health: starting)", "Exited (137) 3 weeks ago", "Restarting (1) 2 seconds ago", "Up About an hour", "Up 1000000 minutes", "Up -3 seconds", "(((", ""} {
		f.Add(text, "Up 3 seconds (healthy)", int64(time.Second))
	}
	f.Fuzz(func(t *testing.T, before, now string, elapsed int64) {
		low, high, ok := age(before)
		if ok && (low < 0 || high <= low) {
			t.Errorf("%q: from %s to %s", before, low, high)
		}
		if restarted(before, before, 0) {
			t.Errorf("%q restarted without a change", before)
		}
		_ = restarted(before, now, time.Duration(elapsed))
		_ = listing(container.Summary{State: "running", Status: before})
	})
}

// The command line of Compose holds what the user gave as whole words, in the
// places of their flags, whatever is in them: no shell splits them.
func FuzzArgs(f *testing.F) {
	f.Add("compose.yaml", "shop", "web", 3)
	f.Add("; rm -rf /", "$(id)", "`id`", -1)
	f.Add("a b", "--help", "web=5", 1<<40)
	f.Fuzz(func(t *testing.T, file, project, service string, total int) {
		c := &CLI{program: []string{"docker", "compose"}, call: Invocation{Options: Options{Files: []string{file}, ProjectName: project}}}
		want := []string{"docker", "compose", "--file", file}
		if project != "" {
			want = append(want, "--project-name", project)
		}
		want = append(want, "up", "-d", "--no-deps", "--no-recreate", "--no-build", "--pull", "never", "--scale", fmt.Sprintf("%s=%d", service, total), service)
		if got := c.Args(up(service, total)...); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
