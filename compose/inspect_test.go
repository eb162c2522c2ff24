package compose

import (
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
)

// captured reads what Engine 20.10 answered (bulky host settings are cut).
func captured(t *testing.T) container.InspectResponse {
	t.Helper()
	text, err := os.ReadFile("testdata/inspect-20.10.json")
	if err != nil {
		t.Fatal(err)
	}
	var c container.InspectResponse
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestReplicaIsReadFromAnEngineOf2010(t *testing.T) {
	c := captured(t)
	got := replica(c)
	want := Replica{
		ID:         "52c909e47644d4945bdcdd7371ebd3bdab6c2dab4f9c29d7dfbbd0abf6969e7a",
		Name:       "shop-web-1",
		Project:    "shop",
		Service:    "web",
		Number:     1,
		Image:      "cw-test:1",
		ImageID:    "sha256:01c8c1b9090c835c0704f363b4aaf27538b229603df184daa6e575ca3c8cec73",
		ConfigHash: "5d43dd2f2b8331980dcaf7b91ef0883e410c1df03579d7ab49f98b381664ce66",
		Version:    "2.40.3",
		State:      Running,
		Health:     Healthy,
		Probes: []Probe{
			{Start: at(t, "2026-11-22T13:26:56.613342065Z"), End: at(t, "2026-11-22T13:26:56.71662869Z"), Output: "fine\n"},
			{Start: at(t, "2026-11-22T13:26:57.722650072Z"), End: at(t, "2026-11-22T13:26:57.7877453Z"), Output: "fine\n"},
		},
		Created:     at(t, "2026-11-22T13:26:54.407072359Z"),
		Started:     at(t, "2026-11-22T13:26:55.611827793Z"),
		Addresses:   []netip.Addr{netip.MustParseAddr("172.19.0.2"), netip.MustParseAddr("172.20.0.2")},
		Published:   []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:32769")},
		Networks:    []string{"shop_back", "shop_front"},
		Labels:      c.Config.Labels,
		Healthcheck: &Healthcheck{Test: []string{"CMD", "/app", "health"}, Interval: time.Second, Timeout: 30 * time.Second, StartInterval: 5 * time.Second, Retries: 2},
		StopSignal:  "SIGTERM",
		StopTimeout: new(time.Second),
		Mounts: []Mount{
			{Type: "bind", Source: "/srv/shop/data.txt", Destination: "/data.txt", ReadOnly: true},
			{Type: "tmpfs", Destination: "/run"},
			{Type: "volume", Source: "shop_vol", Destination: "/vol"},
		},
		Entrypoint: []string{"/app"},
		Init:       true,
		PID:        13886,
		Environ:    []string{"A=1"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestReplicaIsReadFromWhateverIsThere(t *testing.T) {
	tests := map[string]struct {
		answer string
		ok     func(Replica) bool
	}{
		"nothing":                      {`{}`, func(r Replica) bool { return reflect.DeepEqual(r, Replica{}) }},
		"no parts":                     {`{"Id":"a","State":null,"HostConfig":null,"Config":null,"NetworkSettings":null,"Mounts":null}`, func(r Replica) bool { return r.ID == "a" }},
		"a network without details":    {`{"NetworkSettings":{"Networks":{"front":null}}}`, func(r Replica) bool { return len(r.Networks) == 1 && r.Addresses == nil }},
		"a port without bindings":      {`{"NetworkSettings":{"Ports":{"80/tcp":null}}}`, func(r Replica) bool { return r.Published == nil }},
		"a port on every address":      {`{"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}}}`, func(r Replica) bool { return r.Published[0] == netip.MustParseAddrPort("0.0.0.0:8080") }},
		"IPv6":                         {`{"NetworkSettings":{"Networks":{"front":{"GlobalIPv6Address":"fd00::2"}}}}`, func(r Replica) bool { return r.Addresses[0] == netip.MustParseAddr("fd00::2") }},
		"only the old address field":   {`{"NetworkSettings":{"IPAddress":"172.17.0.2","Networks":{}}}`, func(r Replica) bool { return r.Addresses == nil }},
		"a healthcheck that is NONE":   {`{"Config":{"Healthcheck":{"Test":["NONE"]}}}`, func(r Replica) bool { return r.Healthcheck == nil }},
		"health that is none":          {`{"Id":"a","State":{"Status":"running","Health":{"Status":"none"}}}`, func(r Replica) bool { return r.Health == NoHealth && r.Ready() }},
		"a broken probe":               {`{"Id":"a","State":{"Health":{"Status":"starting","Log":[null]}}}`, func(r Replica) bool { return r.Health == Starting && r.Probes == nil }},
		"a number that is none":        {`{"Config":{"Labels":{"com.docker.compose.container-number":"x"}}}`, func(r Replica) bool { return r.Number == 0 }},
		"a container that never ended": {`{"Id":"a","State":{"FinishedAt":"0001-01-01T00:00:00Z"}}`, func(r Replica) bool { return r.Finished.IsZero() }},
		"a killed container": {`{"Id":"a","State":{"Status":"exited","ExitCode":137,"OOMKilled":true,"Error":"boom","FinishedAt":"2026-01-02T03:04:05Z"}}`,
			func(r Replica) bool {
				return r.State == Exited && r.ExitCode == 137 && r.OOMKilled && r.Error == "boom" && r.Finished.Year() == 2026
			}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var c container.InspectResponse
			if err := json.Unmarshal([]byte(test.answer), &c); err != nil {
				t.Fatal(err)
			}
			if r := replica(c); !test.ok(r) {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestStatusLineIsReadForWhatMattersInIt(t *testing.T) {
	line := func(state, status string) listed {
		return listing(container.Summary{State: state, Status: status})
	}
	same := [][2]string{
		{"Up Less than a second", "Up 5 seconds"},
		{"Up 5 seconds (healthy)", "Up 2 hours (healthy)"},
		{"Exited (0) 5 seconds ago", "Exited (0) About a minute ago"},
		{"Restarting (1) 1 second ago", "Restarting (1) 9 seconds ago"},
	}
	for _, pair := range same {
		if line("x", pair[0]) != line("x", pair[1]) {
			t.Errorf("%q and %q differ only in age", pair[0], pair[1])
		}
	}
	different := []string{
		"Up 5 seconds", "Up 5 seconds (healthy)", "Up 5 seconds (unhealthy)", "Up 5 seconds (health: starting)", "Up 5 seconds (Paused)",
		"Up 5 seconds (healthy) (Paused)", "Exited (0) 5 seconds ago", "Exited (137) 5 seconds ago", "Restarting (1) 5 seconds ago", "Created", "Dead",
	}
	seen := map[listed]string{}
	for _, status := range different {
		l := line("x", status)
		if other, ok := seen[l]; ok {
			t.Errorf("%q and %q look the same", status, other)
		}
		seen[l] = status
	}
	if line("running", "Up 1 second") == line("exited", "Up 1 second") {
		t.Error("the state does not matter")
	}
}

func TestRestartBetweenTwoLooksIsSeenByAge(t *testing.T) {
	tests := []struct {
		before, now string
		elapsed     time.Duration
		want        bool
	}{
		{"Up 5 seconds", "Up 6 seconds", time.Second, false},
		{"Up 5 seconds", "Up 5 seconds", 100 * time.Millisecond, false},
		{"Up 59 seconds (healthy)", "Up About a minute (healthy)", 2 * time.Second, false},
		{"Up About a minute", "Up 2 minutes", 70 * time.Second, false},
		{"Up 59 minutes", "Up About an hour", time.Minute, false},
		{"Up 30 hours", "Up 2 days", 20 * time.Hour, false},
		{"Up 3 weeks", "Up 3 weeks", time.Hour, false},
		{"Up Less than a second", "Up Less than a second", 500 * time.Millisecond, false},
		{"Up Less than a second", "Up Less than a second", 1500 * time.Millisecond, true},
		{"Up 2 hours", "Up Less than a second", time.Second, true},
		{"Up 2 hours", "Up 3 seconds (healthy)", time.Second, true},
		{"Up 9 seconds", "Up 1 second", time.Second, true},
		{"Up 10 minutes", "Up About a minute", time.Second, true},
		{"Exited (0) 3 seconds ago", "Up 1 second", time.Second, false}, // the state tells
		{"Up -4 seconds", "Up x", time.Second, false},
	}
	for _, test := range tests {
		if got := restarted(test.before, test.now, test.elapsed); got != test.want {
			t.Errorf("%q, %q after %s: got %v", test.before, test.now, test.elapsed, got)
		}
	}
}
