package main

import (
	"strings"
	"testing"
	"time"

	"github.com/roll-deploy/roll/compose"
)

func TestAPlanWarnsAboutStopsThatLoseRequests(t *testing.T) {
	for _, c := range []struct {
		name    string
		service compose.Service
		image   compose.Image
		want    string // empty: nothing
	}{
		{"the wrong signal", compose.Service{StopSignal: "SIGTERM"}, compose.Image{ID: "i", Command: []string{"nginx", "-g", "daemon off;"}, StopSignal: "SIGQUIT"}, "instead: stop_signal: SIGQUIT"},
		{"the image's own is right", compose.Service{}, compose.Image{ID: "i", Command: []string{"nginx"}, StopSignal: "SIGQUIT"}, ""},
		{"too short a grace", compose.Service{Command: []string{"gunicorn", "app:app"}}, compose.Image{ID: "i"}, "instead: stop_grace_period: 35s"},
		{"a drain that nobody notices", compose.Service{Entrypoint: []string{"/roll-init", "--drain", "2s", "--", "/app"}, Healthcheck: &compose.Healthcheck{Interval: time.Second, Retries: 2}}, compose.Image{ID: "i"}, "ROLL_INIT_DRAIN: 5s"},
		{"a drain longer than the grace", compose.Service{Entrypoint: []string{"/roll-init", "--", "/app"}, Environ: []string{"ROLL_INIT_DRAIN=15s"}}, compose.Image{ID: "i"}, "stop_grace_period: 25s"},
		{"a setting that only a file tells", compose.Service{StopSignal: "SIGQUIT"}, compose.Image{ID: "i", Command: []string{"php-fpm"}}, ""},
		{"a shell that may make room", compose.Service{}, compose.Image{ID: "i", Command: []string{"/bin/sh", "-c", "app"}}, ""},
		{"a program that nobody knows", compose.Service{}, compose.Image{ID: "i", Entrypoint: []string{"/app"}}, ""},
		{"an image that is not here", compose.Service{Command: []string{"gunicorn"}}, compose.Image{}, ""},
		{"a command that is empty", compose.Service{Entrypoint: []string{""}}, compose.Image{ID: "i"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.service.Name = "web"
			got := strings.Join(beforehand(c.service, c.image, 2*time.Second), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
