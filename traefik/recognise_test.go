package traefik

import (
	"fmt"
	"testing"
)

func TestRecognition(t *testing.T) {
	official := map[string]string{"org.opencontainers.image.source": "https://github.com/traefik/traefik"}
	for name, c := range map[string]struct {
		image  string
		argv   []string
		labels map[string]string
		want   bool
	}{
		"official image":                       {"traefik:v3.6", []string{"/entrypoint.sh", "traefik"}, nil, true},
		"by digest":                            {"traefik@sha256:0123", nil, nil, true},
		"by tag and digest, in a registry":     {"registry.example.com:5000/mirror/traefik:v3@sha256:0123", nil, nil, true},
		"its own organisation":                 {"traefik/traefik:latest", nil, nil, true},
		"another image of its organisation":    {"traefik/whoami:v1.10", []string{"/whoami"}, nil, false},
		"a name that only begins alike":        {"traefik-certs-dumper:latest", []string{"/usr/bin/traefik-certs-dumper"}, nil, false},
		"own image, plain command":             {"proxy:1", []string{"/usr/bin/traefik", "--api"}, nil, true},
		"own image, default command":           {"proxy:1", []string{"/entrypoint.sh", "traefik"}, nil, true},
		"own image, flags alone":               {"proxy:1", []string{"/entrypoint.sh", "--log.level=DEBUG", "--providers.docker=true"}, nil, true},
		"own image, flags of something else":   {"app:1", []string{"/entrypoint.sh", "--log.level=DEBUG"}, nil, false},
		"an id for a name, by command":         {"sha256:0123", []string{"/entrypoint.sh", "traefik"}, nil, true},
		"below an init":                        {"proxy:1", []string{"/sbin/tini", "-g", "--", "traefik"}, nil, true},
		"in a shell":                           {"proxy:1", []string{"/bin/sh", "-c", "exec traefik --api.insecure"}, nil, true},
		"built on the official image":          {"proxy:1", []string{"/start"}, official, true},
		"something that asks Traefik":          {"curl:1", []string{"curl", "http://traefik"}, nil, false},
		"something that waits for Traefik":     {"app:1", []string{"wait-for", "traefik"}, nil, false},
		"something that greps":                 {"app:1", []string{"sh", "-c", "ping traefik"}, nil, false},
		"an app":                               {"app:1", []string{"/app"}, nil, false},
		"nothing known":                        {"", nil, nil, false},
		"a shell with nothing to run after -c": {"app:1", []string{"sh", "-c"}, nil, false},
	} {
		if got := recognised(c.image, c.argv, c.labels); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestArgumentsOfTraefik(t *testing.T) {
	for name, c := range map[string]struct {
		argv []string
		want string
	}{
		"after its name":       {[]string{"/entrypoint.sh", "traefik", "--api", "--log"}, "[--api --log] true"},
		"after a script":       {[]string{"/entrypoint.sh", "--log", "--api"}, "[--log --api] true"},
		"in a shell's command": {[]string{"sh", "-c", "exec traefik --api '--log'"}, "[--api --log] true"},
		"none":                 {[]string{"/traefik"}, "[] true"},
	} {
		args, found := arguments(c.argv)
		if got := fmt.Sprint(args, " ", found); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
