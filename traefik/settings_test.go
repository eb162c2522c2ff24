package traefik

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAllSourcesOfSettingsReadTheSame(t *testing.T) {
	const want = "throttle 5s api true insecure true base /ops traefik :9000 web :80 docker {true false true Label(`a`,`b`)  front 0s} swarm {true true false    5s}"
	flags := flatFlags([]string{
		"--api.insecure", "--api.basePath=/ops/", "--entryPoints.traefik.address", ":9000", "-entrypoints.WEB.address=:80",
		"--providers.providersThrottleDuration=5s", "--providers.docker", "--providers.docker.exposedbydefault=false",
		"--providers.docker.allowEmptyServices=true", "--providers.docker.constraints=Label(`a`,`b`)", "--providers.docker.network=front",
		"--providers.swarm.refreshSeconds=5", "ends", "--providers.docker.network=never",
	})
	environment := flatEnvironment([]string{
		"PATH=/bin", "TRAEFIK_API_INSECURE=true", "TRAEFIK_API_BASEPATH=/ops", "traefik_entrypoints_traefik_address=:9000", "TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:80",
		"TRAEFIK_PROVIDERS_PROVIDERSTHROTTLEDURATION=5", "TRAEFIK_PROVIDERS_DOCKER_EXPOSEDBYDEFAULT=false",
		"TRAEFIK_PROVIDERS_DOCKER_ALLOWEMPTYSERVICES=true", "TRAEFIK_PROVIDERS_DOCKER_CONSTRAINTS=Label(`a`,`b`)", "TRAEFIK_PROVIDERS_DOCKER_NETWORK=front",
		"TRAEFIK_PROVIDERS_SWARM_REFRESHSECONDS=5s",
	})
	yaml, err := flatFile("/etc/traefik/traefik.yml", []byte("api: {insecure: true, basePath: /ops}\n"+
		"entryPoints:\n  traefik: {address: ':9000'}\n  web: {address: ':80'}\n"+
		"providers:\n  providersThrottleDuration: 5\n  docker:\n    exposedByDefault: false\n    allowEmptyServices: true\n    constraints: Label(`a`,`b`)\n    network: front\n"+
		"  swarm: {refreshSeconds: 5s}\n  file: null\nlist: [1, 2]\n"))
	if err != nil {
		t.Fatal(err)
	}
	toml, err := flatFile("/etc/traefik/traefik.toml", []byte("[api]\ninsecure = true\nbasePath = '/ops'\n"+
		"[entryPoints.traefik]\naddress = ':9000'\n[entryPoints.web]\naddress = ':80'\n"+
		"[providers]\nprovidersThrottleDuration = '5s'\n[providers.docker]\nexposedByDefault = false\nallowEmptyServices = true\nconstraints = 'Label(`a`,`b`)'\nnetwork = 'front'\n"+
		"[providers.swarm]\nrefreshSeconds = 5\n"))
	if err != nil {
		t.Fatal(err)
	}
	for source, flat := range map[string]map[string]string{"command line": flags, "environment": environment, "yaml": yaml, "toml": toml} {
		s, err := settingsFrom(source, flat)
		if err != nil {
			t.Errorf("%s: %v", source, err)
		}
		got := fmt.Sprintf("throttle %v api %v insecure %v base %s traefik %s web %s docker %v swarm %v",
			s.Throttle, s.API, s.Insecure, s.BasePath, s.EntryPoints["traefik"], s.EntryPoints["web"], s.Docker, s.Swarm)
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", source, got, want)
		}
	}
}

func TestSettingsThatAreNotWritten(t *testing.T) {
	s, err := settingsFrom("defaults", nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Throttle != 2*time.Second || s.API || s.Insecure || s.Docker.Enabled || !s.Docker.ExposedByDefault || s.EntryPoints["traefik"] != ":8080" || s.EntryPoints["http"] != ":80" {
		t.Errorf("defaults are %+v", s)
	}
	for name, c := range map[string]struct {
		flags []string
		want  string // API, Docker, Swarm, throttle
	}{
		"sections by themselves":         {[]string{"--api", "--providers.docker"}, "true true false 2s"},
		"sections switched off":          {[]string{"--api=false", "--providers.docker=false"}, "false false false 2s"},
		"one option makes the section":   {[]string{"--api.dashboard=false"}, "true false false 2s"},
		"no throttle":                    {[]string{"--providers.providersthrottleduration=0"}, "false false false 0s"},
		"Swarm mode of Traefik 2":        {[]string{"--providers.docker.swarmMode=true"}, "false false true 2s"},
		"a switch before another option": {[]string{"--api.insecure", "--providers.docker"}, "true true false 2s"},
	} {
		s, err := settingsFrom("command line", flatFlags(c.flags))
		if got := fmt.Sprint(s.API, s.Docker.Enabled, s.Swarm.Enabled, s.Throttle); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, c.want)
		}
	}
}

func TestSettingsThatCannotBeReadNameSourceAndValue(t *testing.T) {
	for flag, want := range map[string]string{
		"--api.insecure=perhaps":                        `read Traefik's settings (command line): api.insecure is "perhaps", want true or false`,
		"--providers.providersthrottleduration=quickly": `read Traefik's settings (command line): providers.providersthrottleduration is "quickly", want a duration like 2s`,
	} {
		if _, err := settingsFrom("command line", flatFlags([]string{flag})); err == nil || err.Error() != want {
			t.Errorf("%s: %v", flag, err)
		}
	}
	for file, content := range map[string]string{"/a.yml": "api: [", "/a.toml": "api = ", "/a.ini": "api", "/b.yml": "- 1"} {
		if _, err := flatFile(file, []byte(content)); err == nil || !strings.HasPrefix(err.Error(), "read Traefik's settings ("+file+"): ") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestWhereAnEntryPointListens(t *testing.T) {
	for address, want := range map[string]string{
		":8080":          "8080 127.0.0.1:8080 true",
		":8080/tcp":      "8080 127.0.0.1:8080 true",
		"0.0.0.0:81":     "81 127.0.0.1:81 true",
		"[::]:81":        "81 127.0.0.1:81 true",
		"127.0.0.1:81":   "81 127.0.0.1:81 true",
		"[fd00::1]:81":   "81 [fd00::1]:81 true",
		":53/udp":        "  false",
		"8080":           "  false",
		"":               "  false",
		"127.0.0.1:/tcp": "  false",
	} {
		port, inside, ok := Settings{EntryPoints: map[string]string{"traefik": address}}.port("Traefik")
		if got := fmt.Sprint(port, " ", inside, " ", ok); got != want {
			t.Errorf("%q: %s, want %s", address, got, want)
		}
	}
}
